"""A delivery profile lies in the ledger: whoever has the ledger has the delivery, and what was derived stays so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from calling import Call
from evidence_runs import DAY, START, Story, Tell, failed_run, good_run, planned

from pipelines.delivery import WEEK06
from run_evidence.evidence import (
    DeliveryProfile,
    declared_profiles,
    find_profiles,
    hand_over,
    write_delivery_summary,
    write_run_documents,
)
from run_evidence.evidence.profile_choice import documents_folder
from run_evidence.evidence.profile_data import DECLARED, declaration, profile_data, profile_digest, read_declared
from run_evidence.ledger import RECORDED, Event, InputError, Json, Ledger, OwnEvent, UsageError, open_snapshot
from tests.trust.ledgers import signed_ledger

HOUR = 3_600_000_000
OTHER = replace(WEEK06, title="Another title", contract="week06_run_evidence_v2", fields=WEEK06.fields[:2])
SHOP = DeliveryProfile(
    name="shop",
    title="The shop",
    contract="shop_v1",
    product="shop/orders",
    key_prefix="shop/",
    proceed="ready_for_finance",
)


def declare(ledger: Ledger, *profiles: DeliveryProfile) -> Ledger:
    """Declare profiles as capture does, and seal."""
    ledger.append(declaration(profiles, (), ledger.clock()))
    ledger.seal()
    return ledger


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def bare(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Run the command line as somebody does who has the ledger and nothing else."""
    monkeypatch.delenv("LEDGER_PROFILE")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return call


@pytest.mark.parametrize("profile", [WEEK06, SHOP, OTHER], ids=lambda profile: profile.contract)
def test_what_is_declared_is_read_back(profile: DeliveryProfile) -> None:
    (event,) = declaration([profile], (), START)
    assert read_declared(orjson.loads(orjson.dumps(event.data))) == profile
    assert event.data["sha256"] == profile_digest(profile)


def test_a_profile_is_declared_once_and_again_when_it_changed() -> None:
    """By its name: another profile between the two declarations is none of its own."""
    own: list[OwnEvent] = []
    counts = []
    for profile in (WEEK06, WEEK06, SHOP, WEEK06, OTHER, OTHER, WEEK06):
        events = declaration([profile], own, START)
        own += [OwnEvent(str(len(own)), each.event_type, START, each.data) for each in events]
        counts.append(len(events))
    assert counts == [1, 0, 1, 0, 1, 0, 1]


@pytest.mark.soak
def test_whoever_has_the_ledger_has_the_documents(told: Tell, bare: Call, tmp_path: Path) -> None:
    """They are those that are written by the profile itself, byte for byte, under the same names."""
    ledger = declare(told(good_run("run-1")), WEEK06)
    write_run_documents(ledger, "run-1", tmp_path / "by object", profile=WEEK06)
    write_delivery_summary(ledger, tmp_path / "by object", profile=WEEK06)
    write_run_documents(ledger, "run-1", tmp_path / "by python")
    write_delivery_summary(ledger, tmp_path / "by python")
    assert bare("report", "run-1").code == 0
    expected = contents(tmp_path / "by object")
    assert {name.partition("/")[0] for name in expected} >= {"run_evidence", "week06_delivery_summary.md"}
    assert contents(tmp_path / "by python") == expected
    assert contents(tmp_path / "elsewhere" / "reports" / "week06") == expected


@pytest.mark.soak
def test_every_command_uses_it(told: Tell, bare: Call) -> None:
    declare(told(failed_run("run-1"), good_run("run-2", start=START + HOUR)), WEEK06)
    asked = ("--product", WEEK06.product, "--partition", DAY)
    assert [run["deliveries"] for run in bare("runs", "--json").json] == [
        [{"partition": DAY, "decision": "proceed_to_week07", "in_force": "proceed_to_week07"}],
        [{"partition": DAY, "decision": "hold_downstream", "in_force": "hold_downstream"}],
    ]
    assert f"proceed_to_week07 for {DAY}" in bare("show", "run-2").out
    assert bare("gate", *asked, "--require", "proceed_to_week07").code == 0
    assert bare("gate", "--run", "run-1").code == 1
    signed = bare("sign-off", *asked, "--actor", "Ada", "--decision", "proceed", "--reason", "seen")
    assert "the evidence says proceed_to_week07" in signed.err


def test_the_users_word_goes_before_the_ledgers(told: Tell, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = declare(told(good_run("run-1")), replace(WEEK06, proceed="free"))
    assert call("runs", "--json").json[0]["deliveries"][0]["decision"] == "proceed_to_week07"
    monkeypatch.delenv("LEDGER_PROFILE")
    assert call("runs", "--json").json[0]["deliveries"][0]["decision"] == "free"
    assert find_profiles(ledger, "pipelines.delivery:WEEK06").named == WEEK06


@pytest.mark.soak
def test_a_later_declaration_is_of_later_runs(told: Tell, tmp_path: Path) -> None:
    """And what was derived before is derived again to the same bytes, however the ledger has grown."""
    ledger = declare(told(good_run("run-0")), WEEK06)  # it was there before anything was declared
    told(good_run("run-1", start=START + HOUR))
    for run_id in ("run-0", "run-1"):
        write_run_documents(ledger, run_id, tmp_path / "then")
    write_delivery_summary(ledger, tmp_path / "then")
    then = contents(tmp_path / "then")
    declare(ledger, OTHER)
    told(good_run("run-2", start=START + 2 * HOUR))
    for run_id in ("run-0", "run-1"):
        written = write_run_documents(ledger, run_id, tmp_path / "then")
        assert orjson.loads(written.evidence[0].read_bytes())["evidence_schema_version"] == WEEK06.contract
    assert contents(tmp_path / "then") == then
    later = write_run_documents(ledger, "run-2", tmp_path / "then")
    assert orjson.loads(later.evidence[0].read_bytes())["evidence_schema_version"] == OTHER.contract
    assert write_delivery_summary(ledger, tmp_path / "then").kept.read_text().startswith("# Another title")
    assert {name: bytes_ for name, bytes_ in contents(tmp_path / "then").items() if name in then} == then | {
        "week06_delivery_summary.md": (tmp_path / "then" / "week06_delivery_summary.md").read_bytes()
    }


def test_documents_name_the_profile_they_are_by(told: Tell, tmp_path: Path) -> None:
    """The summaries do, and what the log records of the documents, whose contracts have no place for it."""
    ledger = declare(told(good_run("run-1")), WEEK06)
    written = write_run_documents(ledger, "run-1", tmp_path)
    line = f"- Delivery profile `week06`, SHA-256 `{profile_digest(WEEK06)}`"
    assert line in written.summary.read_text()
    assert line in write_delivery_summary(ledger, tmp_path).kept.read_text()
    with open_snapshot(ledger, views=("events",)) as snapshot:
        recorded = snapshot.rows(f"SELECT data->>'$.profiles' FROM events WHERE event_type = '{RECORDED}'")
    assert [orjson.loads(said) for (said,) in recorded] == [[{"name": "week06", "sha256": profile_digest(WEEK06)}]]


@pytest.mark.soak
def test_each_run_has_the_profiles_of_its_own_assets(told: Tell, bare: Call, tmp_path: Path) -> None:
    """Several profiles in one ledger; a run that has part in two deliveries has a folder for each."""
    both = Story("run-3").plan([planned(WEEK06.product), planned(SHOP.product)], {})
    both.made(WEEK06.product).made(SHOP.product).end().close()
    shop = Story("run-2").plan([planned(SHOP.product)], {}).made(SHOP.product).end().close()
    ledger = declare(told(good_run("run-1"), shop, both), WEEK06, SHOP)
    decided = {run["run_id"]: [d["decision"] for d in run["deliveries"]] for run in bare("runs", "--json").json}
    assert decided == {
        "run-1": ["proceed_to_week07"],
        "run-2": ["ready_for_finance"],
        "run-3": ["ready_for_finance", "proceed_to_week07"],
    }
    assert bare("report", "run-2").code == bare("report", "run-3", "--out", "both").code == 0
    here = tmp_path / "elsewhere"
    assert (here / "reports" / "shop_delivery_summary.md").is_file()
    assert {path.name for path in (here / "both").iterdir()} == {"shop", "week06"}
    with pytest.raises(UsageError, match="several deliveries: shop, week06"):
        write_run_documents(ledger, "run-3", tmp_path / "one")
    said = bare("handover", "--partition", DAY, "--out", "handed over")
    assert (said.code, "several delivery profiles: shop (shop/orders), week06" in said.err) == (2, True)


@pytest.mark.soak
def test_a_hand_over_is_by_the_profile_that_held(tmp_path: Path) -> None:
    ledger = declare(signed_ledger(tmp_path / "ledger", [7]), WEEK06)
    ledger.append(good_run("run-1").events)
    (history,) = declared_profiles(ledger).histories
    assert hand_over(ledger, history, DAY, tmp_path / "out").changed
    declare(ledger, OTHER)
    (history,) = declared_profiles(ledger).histories
    assert not hand_over(ledger, history, DAY, tmp_path / "out").changed


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("out/orders", "out/orders"),
        ("/etc/cron.d", "reports/shop"),
        ("../../elsewhere", "reports/shop"),
        ("reports/../../x", "reports/shop"),
        ("~root/x", "~root/x"),  # a folder of that name: nothing here expands it
        (".ssh", "reports/shop"),
        ("a/.git/hooks", "reports/shop"),
        ("C:\\Windows", "reports/shop"),
        ("C:/Windows", "reports/shop"),
        ("..\\x", "reports/shop"),
        (".", "reports/shop"),
    ],
)
def test_a_folder_in_a_ledger_leads_nowhere_else(
    told: Tell, monkeypatch: pytest.MonkeyPatch, folder: str, place: str
) -> None:
    """Nor does its variable, which may be any, such as HOME; whoever names the profile has both."""
    monkeypatch.setenv("HOME", "/home/of-somebody")
    profile = replace(SHOP, folder=folder, folder_variable="HOME")
    (history,) = declared_profiles(declare(told(), profile)).histories
    assert documents_folder(history) == Path(place)


def recorded(data: Mapping[str, Any]) -> Event:
    return Event(event_type=DECLARED, occurred_at=START, run_id="", data=dict(data))


def with_members(**members: Json) -> dict[str, Json]:
    """Return what somebody writes who knows how to give the right digest."""
    import hashlib

    from run_evidence.ledger import canonical

    said = {**profile_data(SHOP), **members}
    return {"name": said["name"], "sha256": hashlib.sha256(canonical(said)).hexdigest(), "profile": said}


WRONG: dict[str, dict[str, Json]] = {
    "nothing": {},
    "no object": {"name": "shop", "profile": "pipelines.delivery:WEEK06"},
    "another digest": {**with_members(), "sha256": "0" * 64},
    "another name": {**with_members(), "name": "shop2"},
    "a member of tomorrow": with_members(approved_by="x"),
    "a number": with_members(title=5),
    "null": with_members(product=None),
    "no list": with_members(optional="shop/orders"),
    "a list of numbers": with_members(optional=[1]),
    "fields that are none": with_members(fields=[{"kind": "text"}]),
    "a field of tomorrow": with_members(fields=[{"name": "a", "eval": "x"}]),
    "sources that are none": with_members(fields=[{"name": "a", "sources": "assets"}]),
    "two lines": with_members(title="a\nb"),
    "an escape": with_members(title="\x1b[31mred"),
    "no expression": with_members(partitions="["),
    "look-around": with_members(partitions="(?=a)"),
    "an expression that explodes": with_members(partitions="((a{100}){100}){100}"),
    "a long expression": with_members(partitions="a" * 1_001),
    "a name that is a path": with_members(name="../shop"),
}


@pytest.mark.soak
@pytest.mark.parametrize("kind", WRONG)
def test_a_declaration_that_is_none_is_told_and_holds_nothing_up(told: Tell, bare: Call, kind: str) -> None:
    """It is no profile, and what is declared besides still is one."""
    with pytest.raises(InputError):
        read_declared(WRONG[kind])
    ledger = declare(told(good_run("run-1")), WEEK06)
    ledger.append([recorded(WRONG[kind])])
    said = bare("runs", "--json")
    assert said.json[0]["deliveries"] == [
        {"partition": DAY, "decision": "proceed_to_week07", "in_force": "proceed_to_week07"}
    ]
    assert "the delivery profile declared in an entry that is not sealed cannot be read" in said.err
    assert "\x1b" not in said.err


def test_what_cannot_be_read_is_not_replaced_by_what_was_before(told: Tell, bare: Call) -> None:
    """A newer program declared it: for the runs since, nobody here knows what is delivered."""
    ledger = declare(told(good_run("run-1")), WEEK06)
    newer = {**profile_data(WEEK06), "approved_by": "x"}
    ledger.append([recorded(with_members(**newer))])
    ledger.seal()
    told(good_run("run-2", start=START + HOUR))
    decided = {run["run_id"]: len(run["deliveries"]) for run in bare("runs", "--json").json}
    assert decided == {"run-1": 1, "run-2": 0}


def test_an_expression_takes_time_by_the_length_of_the_key(told: Tell) -> None:
    """A minute is only there against hanging: what goes back over its steps would take longer than the universe."""
    profile = replace(SHOP, partitions="(a+)+b|(a|aa)+c|(.*a){20}d")
    (found,) = declared_profiles(declare(told(), profile)).latest
    before = time.monotonic()
    assert not found.delivers("a" * 5_000)
    assert time.monotonic() - before < 60
