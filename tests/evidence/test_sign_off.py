"""A sign-off is of one delivery as it was: it lapses with it, and frees nothing that the evidence holds back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from calling import Ask, Call
from evidence_runs import DAY, FACT, START, Story, Tell, failed_run, good_run, open_run, warned_run
from test_gate import HOUR, LATER, OF_FACT, RUN, failing, got, marks, of_release, outside

from pipelines.delivery import WEEK06
from run_evidence.evidence.profile_data import declaration
from run_evidence.ledger import Event, Ledger, UsageError, open_snapshot
from run_evidence.ledger.admin.amend import amend, erase, void

SIGNED_OFF = "delivery.signed_off.v1"
WANTED = "sign_off = true"


def sign(call: Call, decision: str = "proceed", actor: str = "ana", **other: str) -> str:
    """Sign the partition off and return the event's id."""
    about = {"product": FACT, "partition": DAY, "decision": decision, "actor": actor, "reason": "seen", **other}
    said = call("sign-off", *(word for name, text in about.items() for word in (f"--{name}", text)))
    assert said.code == 0, said.err
    return said.out.strip()


@pytest.fixture
def gate(call: Call, tmp_path: Path) -> Callable[..., Any]:
    """Ask the gate about the partition by a policy."""

    def ask_by(policy: str = WANTED, *asked: str) -> Any:
        path = tmp_path / "gate.toml"
        path.write_text(policy, encoding="utf-8")
        return call("gate", *(asked or OF_FACT), "--policy", str(path), "--json")

    return ask_by


def recorded(ledger: Ledger) -> list[tuple[str, dict[str, Any]]]:
    with open_snapshot(ledger, views=("events",)) as snapshot:
        rows = snapshot.rows(
            f"SELECT event_id, data::VARCHAR FROM events WHERE event_type = '{SIGNED_OFF}' ORDER BY ALL"
        )
    return [(event_id, orjson.loads(data)) for event_id, data in rows]


def copy(ledger: Ledger, column: str, changed: dict[str, Any]) -> None:
    """Append a copy of the sign-off with other values, as somebody would who can write the ledger."""
    ((_, data),) = recorded(ledger)
    about: dict[str, Any] = {"occurred_at": START + 3 * HOUR, "asset_key": FACT, "partition": column}
    ledger.append([Event(event_type=SIGNED_OFF, data={**data, **changed}, **about)])
    ledger.seal()


def test_who_released_it_when_why_and_on_what_is_recorded(told: Tell, call: Call, gate: Any) -> None:
    """And asked for by the gate; it belongs to no run, whose documents stay as they are."""
    ledger = told(good_run(RUN))
    size = ledger.log().size
    assert failing(gate()) == {"sign_off"}
    event_id = sign(call)
    ((found, data),) = recorded(ledger)
    assert found == event_id
    assert data["checkpoint"]["size"] == size
    assert (data["run_id"], data["actor"], data["reason"], data["decision"]) == (RUN, "ana", "seen", "proceed")
    assert data["evidence_decision"] == "proceed_to_week07"
    said = gate()
    assert (said.code, marks(said)["sign_off"]) == (0, "met")
    (shown,) = said.json["sign_offs"]
    assert (shown["event_id"], shown["lapsed"], shown["basis_sha256"]) == (event_id, None, data["basis_sha256"])
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        assert snapshot.rows("SELECT run_id FROM runs") == [(RUN,)]


def decisions_shown(call: Call, folder: Path) -> set[str]:
    """Return the decision on the partition wherever a person or a program reads it."""
    page, summary = folder / "index.html", folder / "reports" / "week06_delivery_summary.md"
    assert call("page", "--index", "-o", str(page)).code == 0
    assert call("report", RUN, "--out", str(folder / "reports")).code == 0
    overview = re.search(rf"^\| `{DAY}` \| `(\w+)` \|", summary.read_text(), re.MULTILINE)
    heading = re.search(rf"^## `{DAY}`: `(\w+)`$", summary.read_text(), re.MULTILINE)
    of_page = re.search(r'data-p="deliveries.0.decision">(\w+)<', page.read_text())
    shown = re.search(r"^  decision +(\w+) for", call("show", RUN).out, re.MULTILINE)
    (row,) = call("query", "SELECT in_force FROM deliveries", "-f", "json").json
    (listed,) = call("runs", "--json").json
    assert overview
    assert heading
    assert of_page
    assert shown
    found = {overview[1], heading[1], of_page[1], shown[1], row["in_force"], listed["deliveries"][0]["in_force"]}
    assert all(word in call("runs").out for word in found)
    return found


@pytest.mark.soak  # each place in turn, three times
def test_who_holds_it_holds_it_wherever_its_decision_is_read(told: Tell, call: Call, tmp_path: Path) -> None:
    """In lists, pages, summaries and SQL, until that is withdrawn; what counts the deliveries counts it as held."""
    ledger = told(good_run(RUN))
    ledger.append(declaration([WEEK06], (), START))
    ledger.seal()
    assert decisions_shown(call, tmp_path / "before") == {"proceed_to_week07"}
    held = sign(call, "hold")
    assert decisions_shown(call, tmp_path / "held") == {"hold"}
    assert "1 is held by a person" in (tmp_path / "held/reports/week06_delivery_summary.md").read_text()
    assert "0 of 1 partitions may proceed, 1 hold" in (tmp_path / "held/index.html").read_text()
    assert call("void", held, "--reason", "counted anew", "--actor", "ana").code == 0
    assert decisions_shown(call, tmp_path / "after") == {"proceed_to_week07"}


def newer_run(ledger: Ledger) -> None:
    ledger.append(good_run(LATER, start=START + HOUR).events)


def correction(ledger: Ledger) -> None:
    with open_snapshot(ledger, views=("events",)) as snapshot:
        ((event_id,),) = snapshot.rows("SELECT event_id FROM events WHERE event_type = 'check.evaluated.v1'")
    amend(ledger, event_id, reason="a remark", actor="ben")


def late_records(ledger: Ledger) -> None:
    story = good_run(RUN)
    count = len(story.events)
    ledger.append(story.reopen().close(2).events[count:])


def newer_data(ledger: Ledger) -> None:
    outside(ledger, "asset.materialized.v1", START + HOUR, partition=DAY, outcome="passed")


def wiped(ledger: Ledger) -> None:
    outside(ledger, "asset.wiped.v1", START + HOUR, data={"partition_keys": [DAY]})


@pytest.mark.soak
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (newer_run, f"run {LATER} delivers it since"),
        (correction, "corrected since"),
        (late_records, "late records"),
        (newer_data, "data changed"),
        (wiped, "data changed"),
    ],
)
def test_it_lapses_when_the_delivery_changes(
    told: Tell, call: Call, ask: Ask, gate: Any, change: Callable[[Ledger], None], why: str
) -> None:
    """With the reason, wherever it is shown; signed again it holds of the delivery as it is then."""
    ledger = told(good_run(RUN))
    sign(call)
    assert gate().code == 0
    change(ledger)
    ledger.seal()
    said = gate()
    assert "sign_off" in failing(said)
    assert why in got(said, "sign_off")
    assert why in ask("show", LATER if change is newer_run else RUN)
    sign(call)
    assert marks(gate())["sign_off"] == "met"


def test_what_happens_elsewhere_does_not_lapse_it(told: Tell, call: Call, gate: Any) -> None:
    """Another partition's run, another project's, a correction of what it does not rest on."""
    ledger = told(good_run(RUN))
    sign(call)
    other = Story(LATER, start=START + HOUR).plan((), {}).made("shop/orders").end().close()
    outside(ledger, "asset.materialized.v1", START + HOUR, partition="2026-04-18", outcome="passed")
    told(other)
    with open_snapshot(ledger, views=("events",)) as snapshot:
        ids = snapshot.rows(
            "SELECT event_id FROM events WHERE event_type = 'run.started.v1' AND run_id = $r", {"r": RUN}
        )
    amend(ledger, ids[0][0], reason="a remark", actor="ben")
    ledger.seal()
    assert gate().code == 0


@pytest.mark.soak
def test_a_hold_holds_in_every_gate_until_it_is_lifted(told: Tell, call: Call, gate: Any) -> None:
    """Without any policy; the one made last counts, and a void withdraws it, on record."""
    ledger = told(good_run(RUN))
    sign(call)
    held = sign(call, "hold", "ben")
    assert failing(call("gate", *OF_FACT, "--json")) == {"sign_off"}
    assert failing(gate()) == {"sign_off"}
    void(ledger, held, reason="it was another day", actor="ben")
    ledger.seal()
    assert gate().code == 0
    sign(call, "hold", "ben")
    sign(call, "proceed")
    assert gate().code == 0


def test_a_lapsed_release_does_not_come_to_hold_again(told: Tell, call: Call, gate: Any) -> None:
    """A hold that lapsed with the run it was made on holds no other, and the release before it neither."""
    ledger = told(good_run(RUN))
    sign(call)
    sign(call, "hold", "ben")
    newer_run(ledger)
    ledger.seal()
    assert call("gate", *OF_FACT).code == 0
    assert failing(gate()) == {"sign_off"}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("column", "changed"),
    [
        (DAY, {"run_id": LATER}),
        (DAY, {"run_id": LATER, "revision": 1}),
        ("2026-04-18", {"partition": "2026-04-18"}),
        (DAY, {"basis_sha256": "0" * 64}),
        (DAY, {"checkpoint": {"origin": "another", "size": 1, "root_sha256": "0" * 64}}),
        (DAY, {"checkpoint": {}}),
        (DAY, {"decision": "proceed_to_week07"}),
        (DAY, {"actor": ""}),
        (DAY, {"actor": 1}),
        (DAY, {"basis_sha256": None}),
    ],
)
def test_a_sign_off_that_is_copied_or_malformed_releases_nothing(
    told: Tell, call: Call, gate: Any, column: str, changed: dict[str, Any]
) -> None:
    """Replayed on another run, another partition, another log; none of them stops the gate either."""
    ledger = told(good_run(RUN))
    sign(call)
    told(good_run(LATER, start=START + HOUR))
    copy(ledger, column, changed)
    assert "sign_off" in failing(gate())
    assert "sign_off" in failing(gate(WANTED, "--product", FACT, "--partition", "2026-04-18"))


def test_it_sets_nothing_free_that_the_evidence_holds_back(told: Tell, call: Call, gate: Any) -> None:
    """The command says which; what a policy lets a person override is shown as that."""
    told(warned_run(RUN))
    said = call("sign-off", *OF_FACT, "--decision", "proceed", "--actor", "ana", "--reason", "fine")
    assert "the evidence still says" in said.err
    assert failing(gate()) == {"verdict", "decision"}
    assert failing(gate(f'{WANTED}\noverride = ["decision"]')) == {"verdict"}
    said = gate('override = ["verdict", "decision"]')
    assert said.code == 0
    assert {name for name, mark in marks(said).items() if mark == "overridden"} == {"verdict", "decision"}
    assert "overridden by ana" in said.json["sentence"]


@pytest.mark.soak
def test_an_override_takes_a_release_that_holds_and_an_actor_who_may(told: Tell, call: Call, gate: Any) -> None:
    ledger = told(warned_run(RUN))
    policy = 'override = ["verdict", "decision", "amended"]'
    assert gate(policy).code == 1
    sign(call, "hold")
    assert gate(policy).code == 1
    sign(call)
    assert gate(policy).code == 0
    assert gate(f'{policy}\nactors = ["ben"]').code == 1
    assert gate(f'{policy}\nactors = ["ana"]').code == 0
    correction(ledger)
    ledger.seal()
    assert gate(policy).code == 1


def test_what_is_not_newest_nobody_overrides(told: Tell, call: Call, gate: Any) -> None:
    """Signed off with the newer data before one's eyes, it is evidence of other data all the same."""
    ledger = told(good_run(RUN))
    newer_data(ledger)
    sign(call)
    assert failing(gate('override = ["verdict", "decision", "amended", "contradictions"]')) == {"newest"}


@pytest.mark.parametrize(
    "text", ['override = ["newest"]', 'override = ["sealed"]', 'override = ["decison"]', 'sign_off = "yes"']
)
def test_a_policy_that_lets_override_what_nobody_can_is_refused(told: Tell, gate: Any, text: str) -> None:
    told(good_run(RUN))
    assert gate(text).code == 2


def test_each_delivery_of_a_release_is_signed_off(told: Tell, call: Call, gate: Any) -> None:
    """A release of which nothing was delivered has none to sign: 0 of 0."""
    told(of_release(good_run(RUN)))
    assert failing(gate(WANTED, "--release", "r-1")) == {"sign_off"}
    sign(call)
    assert gate(WANTED, "--release", "r-1").code == 0
    told(of_release(Story(LATER).plan((), {}).made("shop/orders").end().close()))
    assert failing(gate(WANTED, "--run", LATER)) >= {"sign_off"}


@pytest.mark.parametrize(
    ("story", "about", "code"),
    [
        (open_run, {}, 2),
        (good_run, {"partition": "2026-04-18"}, 2),
        (good_run, {"decision": "release"}, 2),
        (good_run, {"actor": " "}, 2),
        (good_run, {"reason": ""}, 2),
        (good_run, {"reason": "x" * 2_001}, 2),
        (failed_run, {"decision": "hold"}, 0),
    ],
)
def test_what_cannot_be_signed_off_is_refused(
    told: Tell, call: Call, story: Any, about: dict[str, str], code: int
) -> None:
    """An open run, a delivery that is none, nobody, no reason; nothing is recorded of it."""
    ledger = told(story(RUN))
    asked = {"product": FACT, "partition": DAY, "decision": "proceed", "actor": "ana", "reason": "seen", **about}
    said = call("sign-off", *(word for name, text in asked.items() for word in (f"--{name}", text)))
    assert said.code == code, said.err
    assert len(recorded(ledger)) == (code == 0)


def test_it_is_made_by_a_profile_and_holds_by_that_alone(
    told: Tell, call: Call, gate: Any, monkeypatch: Any
) -> None:
    """Another profile lets other things be missing."""
    told(good_run(RUN))
    sign(call)
    monkeypatch.delenv("LEDGER_PROFILE")
    assert "by the profile week06" in got(gate(), "sign_off")


@pytest.mark.soak
def test_the_delivery_summary_shows_it(told: Tell, call: Call, ask: Ask, tmp_path: Path) -> None:
    """As of when it was derived; without a sign-off it says nothing of one."""
    told(good_run(RUN))
    out = tmp_path / "out"
    ask("report", RUN, "--out", str(out))
    assert "Sign-off" not in (out / "week06_delivery_summary.md").read_text("utf-8")
    sign(call, reason="compared | with the bank")
    ask("report", RUN, "--out", str(out))
    summary = (out / "week06_delivery_summary.md").read_text("utf-8")
    assert "- Sign-off: proceed by ana" in summary
    assert "evidence/sql/sign\\_offs.sql" in summary or "evidence/sql/sign_offs.sql" in summary


def test_its_payload_cannot_be_erased(told: Tell, call: Call, ledger: Ledger) -> None:
    """Also of an asset that was declared personal: a hold would be gone with it."""
    told(good_run(RUN))
    (ledger.root / "redaction.json").write_text('{"personal": ["week06/*"]}')
    event_id = sign(call, "hold")
    with pytest.raises(UsageError):
        erase(ledger, event_id, reason="away with it", actor="mallory")
    assert failing(call("gate", *OF_FACT, "--json")) == {"sign_off"}
