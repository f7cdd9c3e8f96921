"""`ledger gate`: one answer, every rule of it shown, and nothing that compared nothing is met."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from calling import Call, Said
from evidence_runs import (
    DAY,
    FACT,
    GATE,
    RAW,
    START,
    Story,
    Tell,
    dry_run,
    failed_run,
    good_run,
    open_run,
    planned,
    planned_check,
    warned_run,
)

from run_evidence.evidence.gate_policy import RULES
from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.admin.amend import amend, void
from run_evidence.ledger.query.snapshot import open_snapshot
from tests.paths import paths

HOUR = 3_600_000_000
RUN, LATER = "11111111-aaaa", "22222222-bbbb"
UNASKED = {"signed", "witnessed", "sign_off"}
"""What only a policy asks for."""
OF_FACT = ("--product", FACT, "--partition", DAY)
PLAIN = (planned("shop/orders"), planned_check("complete", "shop/orders"))


def marks(said: Said) -> dict[str, str]:
    """Return each rule's mark."""
    return {rule["rule"]: rule["mark"] for rule in said.json["rules"]}


def failing(said: Said) -> set[str]:
    return {name for name, mark in marks(said).items() if mark == "not_met"}


def got(said: Said, name: str) -> str:
    (rule,) = [rule for rule in said.json["rules"] if rule["rule"] == name]
    return " ".join([str(rule["got"]), *rule["failing"]])


def shop_run(run_id: str, partition: str | None = DAY, start: int = START, **more: Any) -> Story:
    """Tell a run of another project, which has no profile."""
    items = (planned("shop/orders", partition), planned_check("complete", "shop/orders"))
    return Story(run_id, start=start, **more).plan(items, {}).made("shop/orders", partition, rows=3)


def outside(ledger: Ledger, event_type: str, at: int, asset_key: str = FACT, **more: Any) -> None:
    """Record what somebody did in Dagster outside any run."""
    data = more.pop("data", {})
    digest = hashlib.sha256(f"{event_type}{at}".encode()).hexdigest()
    about: dict[str, Any] = {"store_id": "store-1", "run_id": "", "storage_id": at % 10**9, "source_digest": digest}
    ledger.append([Event(event_type=event_type, occurred_at=at, asset_key=asset_key, data=data, **about, **more)])
    ledger.seal()


def test_a_good_partition_is_met_and_every_rule_is_shown(told: Tell, call: Call) -> None:
    """Fulfilled rules too, each with a word beside its mark, and the answer in the last line."""
    told(good_run(RUN))
    said = call("gate", *OF_FACT)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[-1] == f"MET: {FACT} [{DAY}] (4 of 5 planned passed, 1 not available)"
    assert [line.split()[2 + line.startswith("–")] for line in lines[1 : len(RULES) + 1]] == list(RULES)
    assert {line[:5].strip() for line in lines[1 : len(RULES) + 1]} == {"✓ met", "– not"}
    answer = call("gate", *OF_FACT, "--json")
    assert answer.json["met"] is True
    assert answer.json["checkpoint"]["size"] > 0
    assert marks(answer) == dict.fromkeys(RULES, "met") | dict.fromkeys(UNASKED, "not_asked")


@pytest.mark.parametrize(
    ("story", "rules"),
    [
        (failed_run, {"verdict", "decision", "newest"}),
        (warned_run, {"verdict", "decision"}),
        (dry_run, {"verdict", "decision"}),
        (open_run, {"closed", "capture", "verdict", "decision"}),
    ],
)
def test_what_is_not_good_is_not_met(told: Tell, call: Call, story: Any, rules: set[str]) -> None:
    """Exit code 1, with the rules that say why."""
    told(story(RUN))
    said = call("gate", *OF_FACT, "--json")
    assert said.code == 1
    assert failing(said) >= rules - {"newest"}
    assert call("gate", *OF_FACT).out.splitlines()[-1].startswith("NOT MET: ")


@pytest.mark.parametrize(
    "asked",
    [
        ("--product", FACT, "--partition", "2026-04-18"),
        ("--product", "week06/silver/ticket_fact", "--partition", DAY),
        ("--product", FACT, "--partition", DAY[:-1]),
        ("--release", "r-1"),
        ("--release", "%"),
    ],
)
def test_nothing_is_never_met(told: Tell, call: Call, asked: tuple[str, ...]) -> None:
    """Another partition, the beginning of a name, a release without runs: 0 of 0."""
    told(good_run(RUN))
    said = call("gate", *asked, "--json")
    assert said.code == 1
    assert failing(said) == set(RULES) - UNASKED
    assert call("gate", *asked).code == 1


def test_an_empty_ledger_meets_nothing_and_no_ledger_is_a_fault(told: Tell, ledger: Ledger, call: Call) -> None:
    """A verdict and a fault of the environment have their own codes."""
    told(seal=False)
    assert call("gate", *OF_FACT).code == 1
    assert call("gate", "--run", "nope").code == 2
    paths(ledger).marker.unlink()
    assert call("gate", *OF_FACT).code == 4


def test_a_run_that_planned_nothing_or_passed_nothing_is_not_met(told: Tell, call: Call) -> None:
    """Nothing to judge is no pass; nor is a run of which all that was optional was left out."""
    nothing = Story(RUN).plan((), {}).end().close()
    optional = (planned("shop/rates", required=False, reason_code="no_rates", reason="none"),)
    left_out = Story(LATER).plan(optional, {}).left_out("shop/rates", "no_rates", "none").end().close()
    told(nothing, left_out)
    for run_id in (RUN, LATER):
        said = call("gate", "--run", run_id, "--json")
        assert said.code == 1
        assert "verdict" in failing(said), run_id


def test_the_latest_run_of_the_partition_counts(told: Tell, call: Call) -> None:
    """A good run before a failed one is history; a failed one before a good one too."""
    told(good_run(RUN), failed_run(LATER, start=START + HOUR))
    assert call("gate", *OF_FACT).code == 1
    said = call("gate", "--run", RUN, "--json")
    assert said.code == 0, said.out  # the failed run made no data


def test_an_earlier_run_is_older_than_the_newest_data(told: Tell, call: Call) -> None:
    """Its evidence is of data that is not there any more."""
    told(good_run(RUN), good_run(LATER, start=START + HOUR))
    assert failing(call("gate", "--run", RUN, "--json")) == {"newest"}
    said = call("gate", *OF_FACT, "--json")
    assert said.code == 0
    assert said.json["replaced_runs"] == {RUN: LATER}


def test_a_run_that_is_still_going_on_holds_the_partition(told: Tell, call: Call) -> None:
    """Whichever began first: it may still write."""
    told(open_run(LATER, start=START - HOUR), good_run(RUN))
    said = call("gate", *OF_FACT, "--json")
    assert said.code == 1
    assert failing(said) == {"closed"}
    assert LATER[:8] in got(said, "closed")


@pytest.mark.parametrize(
    ("after", "data", "partition", "met"),
    [
        (1, {}, None, False),
        (1, {"partition_keys": [DAY]}, None, False),
        (1, {"partition_keys": ["2026-04-18"]}, None, True),
        (-HOUR, {"partition_keys": [DAY]}, None, True),
        (0, {"partition_keys": [DAY]}, None, False),
    ],
)
def test_a_wipe_after_the_evidence_holds(
    told: Tell, call: Call, after: int, data: dict[str, Any], partition: str | None, met: bool
) -> None:
    """Of the partition or of all; one before it, or of another partition, does not. The same moment counts."""
    story = good_run(RUN)
    made = next(e for e in story.events if e.event_type == "asset.materialized.v1" and e.asset_key == FACT)
    ledger = told(story)
    outside(ledger, "asset.wiped.v1", made.occurred_at + after, data=data)
    assert (call("gate", *OF_FACT).code == 0) is met


@pytest.mark.parametrize(("after", "partition", "met"), [(1, DAY, False), (0, DAY, False), (1, "2026-04-18", True)])
def test_data_reported_from_outside_is_newer(told: Tell, call: Call, after: int, partition: str, met: bool) -> None:
    story = good_run(RUN)
    made = next(e for e in story.events if e.event_type == "asset.materialized.v1" and e.asset_key == FACT)
    ledger = told(story)
    outside(ledger, "asset.materialized.v1", made.occurred_at + after, partition=partition, outcome="passed")
    said = call("gate", *OF_FACT, "--json")
    assert (said.code == 0) is met
    assert ("from outside" in got(said, "newest")) is not met


def test_amending_the_newer_data_away_does_not_help(told: Tell, call: Call) -> None:
    """What a correction says of somebody else's event makes no evidence newer."""
    ledger = told(good_run(RUN))
    outside(ledger, "asset.materialized.v1", START + HOUR, partition=DAY, outcome="passed")
    with open_snapshot(ledger, views=("events",)) as snapshot:
        ((event_id,),) = snapshot.rows("SELECT event_id FROM events WHERE run_id = '' AND asset_key IS NOT NULL")
    void(ledger, event_id, reason="not mine", actor="mallory")
    amend(ledger, event_id, reason="elsewhere", actor="mallory", changes={"partition": "2026-01-01"})
    ledger.seal()
    assert failing(call("gate", *OF_FACT, "--json")) == {"newest"}


def test_a_corrected_event_in_the_basis_holds(told: Tell, call: Call) -> None:
    """A remark too; one on an event that the verdict does not rest on holds nothing back."""
    ledger = told(good_run(RUN))
    with open_snapshot(ledger, views=("events",)) as snapshot:
        ids = dict(snapshot.rows("SELECT event_type, max(event_id) FROM events GROUP BY event_type"))
    amend(ledger, ids["step.started.v1"], reason="a remark", actor="ana")
    ledger.seal()
    assert call("gate", *OF_FACT).code == 0
    amend(ledger, ids["check.evaluated.v1"], reason="a remark", actor="ana")
    ledger.seal()
    said = call("gate", *OF_FACT, "--json")
    assert {"amended", "decision"} <= failing(said)
    assert "by ana: a remark" in got(said, "amended")


def test_a_correction_of_what_a_re_execution_inherits_holds(told: Tell, call: Call) -> None:
    """The event is the parent run's, and the verdict of the later run rests on it."""
    first = Story(RUN).plan().made(GATE).made(RAW).failed(FACT, "no room").end("failed").close()
    again = Story(LATER, start=START + HOUR, **{"dagster/parent_run_id": RUN})
    again.plan((planned(FACT), planned_check("row_count_output_count", FACT)), {}).made(FACT)
    ledger = told(first, again.checked("row_count_output_count", FACT).end().close())
    assert call("gate", *OF_FACT).code == 0
    with open_snapshot(ledger, views=("events",)) as snapshot:
        asked = "SELECT event_id FROM events WHERE event_type = 'asset.materialized.v1' AND asset_key = $raw"
        ((event_id,),) = snapshot.rows(asked, {"raw": RAW})
    void(ledger, event_id, reason="it was another day's", actor="ana")
    ledger.seal()
    assert failing(call("gate", *OF_FACT, "--json")) == {"amended"}


def test_what_is_not_sealed_is_under_no_checkpoint(told: Tell, ledger: Ledger, call: Call) -> None:
    """The next step is named, and the gate writes nothing itself."""
    told(good_run(RUN), seal=False)
    said = call("gate", *OF_FACT, "--json")
    assert failing(said) == {"sealed"}
    assert "ledger seal" in got(said, "sealed")
    ledger.seal()
    assert call("gate", *OF_FACT).code == 0
    (checkpoint,) = paths(ledger).checkpoints.iterdir()
    checkpoint.unlink()
    assert failing(call("gate", *OF_FACT, "--json")) == {"sealed"}


def test_capture_that_is_not_whole_holds(told: Tell, ledger: Ledger, call: Call) -> None:
    """Counts that differ, records that could not be read, a record that changed at its source, a damaged inbox."""
    story = good_run(RUN)
    closing = story.events.pop()
    for wrong in ({"ledger_records": 1}, {"unreadable_records": 1}, {"dagster_records": None}):
        name = f"{RUN}{next(iter(wrong))[0]}"
        other = good_run(name)
        other.events.pop()
        other._own("run.closed.v1", {**closing.data, **wrong})
        told(other)
        assert failing(call("gate", "--run", name, "--json")) >= {"capture"}, wrong
    told(good_run(LATER, start=START + HOUR))
    assert call("gate", *OF_FACT).code == 0
    about: dict[str, Any] = {"run_id": LATER, "outcome": "unknown", "reason_code": "record_changed_at_source"}
    ledger.append([Event(event_type="record.conflicted.v1", occurred_at=START, **about)])
    ledger.seal()
    assert "capture" in failing(call("gate", *OF_FACT, "--json"))


def test_a_damaged_inbox_may_hold_what_would_change_the_answer(told: Tell, ledger: Ledger, call: Call) -> None:
    told(good_run(RUN))
    (paths(ledger).inbox / f"{START:016d}-{'0' * 32}.jsonl").write_bytes(b"{}\n")
    assert failing(call("gate", *OF_FACT, "--json")) == {"capture"}


@pytest.mark.parametrize(
    ("require", "story", "code"),
    [
        ("proceed", good_run, 0),
        ("proceed_to_week07", good_run, 0),
        ("manual_review_required", warned_run, 0),
        ("manual_review_required", dry_run, 1),
        ("dry_run_only", dry_run, 0),
        ("dry_run_only", good_run, 0),
        ("dry_run_only", failed_run, 1),
        ("hold_downstream", good_run, 2),
        ("procede", good_run, 2),
        ("", good_run, 2),
    ],
)
def test_require_takes_this_decision_or_a_freer_one(
    told: Tell, call: Call, require: str, story: Any, code: int
) -> None:
    """A word that is none is wrong usage, never a gate that asks for nothing."""
    told(story(RUN))
    said = call("gate", *OF_FACT, "--require", require, "--json")
    assert said.code == code, said.out


@pytest.mark.parametrize(
    "asked",
    [
        (),
        ("--partition", DAY),
        ("--product", FACT, "--run", RUN),
        ("--run", RUN, "--release", "r"),
        ("--run", RUN, "--partition", DAY),
        ("--product", "", "--partition", DAY),
        ("--run", ""),
        ("--release", ""),
        ("--product", FACT),
        ("--product", "a\nb"),
        ("--product", GATE, "--partition", DAY, "--profile", "pipelines.delivery:WEEK06"),
        ("--policy", "nowhere.toml", "--run", RUN),
    ],
)
def test_a_question_that_is_none_is_wrong_usage(told: Tell, call: Call, asked: tuple[str, ...]) -> None:
    """Never an answer to another question."""
    told(good_run(RUN))
    assert call("gate", *asked).code == (4 if "--policy" in asked else 2)


def test_without_a_profile_an_asset_is_judged_as_it_is(told: Tell, call: Call) -> None:
    """Its own partition, no asset whose name begins alike, and what LEDGER_PROFILE delivers has no part in it."""
    good = shop_run(RUN).checked("complete", "shop/orders").end().close()
    longer = planned("shop/orders_raw", "2026-04-18")
    beside = Story(LATER).plan((longer,), {}).made("shop/orders_raw", "2026-04-18").end().close()
    told(good, beside)
    said = call("gate", "--product", "shop/orders", "--partition", DAY)
    assert said.code == 0
    assert "without the profile week06" in said.err
    assert call("gate", "--product", "shop/orders", "--partition", "2026-04-18").code == 1
    assert call("gate", "--product", "shop/orders_raw", "--partition", "2026-04-18").code == 0


def test_an_asset_without_partitions_is_asked_for_without_one(told: Tell, call: Call) -> None:
    told(shop_run(RUN, None).checked("complete", "shop/orders").end().close())
    assert call("gate", "--product", "shop/orders").code == 0
    assert call("gate", "--product", "shop/orders", "--partition", "2026-04-18").code == 1


def test_what_an_asset_says_of_the_decision_holds_a_run_back(told: Tell, call: Call) -> None:
    """Also where no profile says what is delivered; alone it lets nothing proceed."""
    story = Story(RUN).plan(PLAIN, {}).made("shop/orders", downstream_decision="hold_downstream")
    told(story.checked("complete", "shop/orders").end().close())
    assert failing(call("gate", "--run", RUN, "--json")) == {"decision"}
    assert failing(call("gate", "--product", "shop/orders", "--partition", DAY, "--json")) == {"decision"}


def of_release(story: Story) -> Story:
    """Put a run's events into release r-1."""
    from dataclasses import replace

    story.events = [replace(event, release_id="r-1") for event in story.events]
    return story


def test_a_release_is_one_answer_over_all_its_runs(told: Tell, call: Call) -> None:
    """One bad run holds all; a failed one that was run again whole does not count, and is named."""
    told(of_release(failed_run(RUN)), of_release(good_run(LATER, start=START + HOUR)))
    said = call("gate", "--release", "r-1", "--json")
    assert said.code == 0, said.out
    assert said.json["replaced_runs"] == {RUN: LATER}
    bad = shop_run("33333333-cccc").checked("complete", "shop/orders", "failed").end().close()
    told(of_release(bad))
    said = call("gate", "--release", "r-1", "--json")
    assert failing(said) == {"verdict", "decision"}


def test_a_run_again_without_the_check_that_failed_replaces_nothing(told: Tell, call: Call) -> None:
    bad = shop_run(RUN).checked("complete", "shop/orders", "failed").end().close()
    again = Story(LATER, start=START + HOUR).plan((planned("shop/orders"),), {}).made("shop/orders").end().close()
    told(of_release(bad), of_release(again))
    said = call("gate", "--release", "r-1", "--json")
    assert said.code == 1
    assert said.json["replaced_runs"] == {}


def test_an_open_run_of_a_release_holds_it(told: Tell, call: Call) -> None:
    """Also where a later one counts in its place."""
    told(of_release(open_run(RUN)), of_release(good_run(LATER, start=START + HOUR)))
    assert "closed" in failing(call("gate", "--release", "r-1", "--json"))


def test_a_release_that_delivers_nothing_of_the_profile_is_not_met(told: Tell, call: Call) -> None:
    """0 of 0 partitions, however well its runs went."""
    told(of_release(shop_run(RUN).checked("complete", "shop/orders").end().close()))
    said = call("gate", "--release", "r-1", "--json")
    assert failing(said) == {"decision"}
    assert "0 of 0 partitions" in got(said, "decision")


def test_amending_a_run_out_of_a_release_does_not_help(told: Tell, call: Call) -> None:
    bad = shop_run(LATER).checked("complete", "shop/orders", "failed").end().close()
    ledger = told(of_release(good_run(RUN)), of_release(bad))
    with open_snapshot(ledger, views=("events",)) as snapshot:
        ids = [row[0] for row in snapshot.rows(f"SELECT event_id FROM events WHERE run_id = '{LATER}'")]
    for event_id in ids:
        amend(ledger, event_id, reason="not of it", actor="mallory", changes={"release_id": "r-2"})
    ledger.seal()
    assert call("gate", "--release", "r-1").code == 1


def test_a_forged_column_is_an_integrity_failure_and_no_verdict(told: Tell, ledger: Ledger, call: Call) -> None:
    """A failed check that the segment's columns call passed: the entry itself says otherwise."""
    told(good_run(RUN))
    (segment,) = [str(s.path) for s in ledger.log().segments]
    forged = f"{segment}.forged"
    duckdb.sql(
        f"COPY (SELECT * REPLACE (CASE WHEN event_type = 'check.evaluated.v1' THEN 'x' ELSE check_name END AS "
        f"check_name) FROM read_parquet('{segment}') ORDER BY index) TO '{forged}' (FORMAT parquet)"
    )
    Path(segment).unlink()
    Path(forged).rename(segment)
    assert call("gate", *OF_FACT).code == 3


def test_what_was_recorded_reaches_no_terminal_unescaped(told: Tell, call: Call) -> None:
    """Not in the table either."""
    told(good_run(RUN))
    said = call("gate", "--product", "orders", "--partition", "\x07\x1b[31m")
    assert said.code == 1
    assert "\x1b" not in said.out
    assert "\x07" not in said.out


LOADED = """
import sys
from run_evidence.ledger.cli import main
try:
    main()
finally:
    print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def test_it_loads_neither_dagster_nor_arrow(told: Tell) -> None:
    """A line in a script is asked often, and waited for."""
    ledger = told(good_run(RUN))
    asked = ["--ledger", str(ledger.root), "gate", *OF_FACT]
    done = subprocess.run([sys.executable, "-c", LOADED, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {"dagster", "pyarrow", "cryptography"} & set(done.stderr.split())
