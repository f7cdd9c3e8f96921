"""A verdict that rests on an amended or voided event says so everywhere, with index, actor and reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from calling import Ask
from evidence_runs import FACT, Story, Tell, good_run, open_run
from test_evidence_week06 import validator

from pipelines.delivery import WEEK06
from run_evidence.evidence import write_run_documents
from run_evidence.evidence.facts import read_runs
from run_evidence.evidence.prefix import open_prefix
from run_evidence.ledger import Ledger
from run_evidence.ledger.admin.amend import amend, void
from run_evidence.ledger.proving.check import check_proof
from run_evidence.ledger.proving.prove import open_prover
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.tlog.proof_file import format_proof, parse_proof
from run_evidence.ledger.tlog.trust import read_trust
from tests.trust.ledgers import VKEY, signed_ledger

RUN = "11111111-aaaa"
SAID = ("--reason", "the source was late", "--actor", "ana")


def events_of(ledger: Ledger, event_type: str = "%", asset_key: str = "%") -> list[tuple[str, int | None]]:
    """Return (event id, index) of the run's events of a type and an asset, in order."""
    asked = {"type": event_type, "asset": asset_key}
    with open_snapshot(ledger, views=("events",)) as snapshot:
        return snapshot.rows(
            "SELECT event_id, index FROM events "
            "WHERE event_type LIKE $type AND coalesce(asset_key, '') LIKE $asset ORDER BY index, recorded_at",
            asked,
        )


def everything(ask: Ask, out: Path) -> dict[str, str]:
    """Return what every command says of the run, and every document by its kind."""
    paths = [Path(line) for line in ask("report", RUN, "--out", str(out)).splitlines()]
    said = {path.parent.name: path.read_text(encoding="utf-8") for path in paths}
    said["delivery"] = said.pop(out.name)
    said["runs"], said["show"] = ask("runs"), ask("show", RUN)
    said["runs --json"], said["show --json"] = ask("runs", "--json"), ask("show", RUN, "--json")
    return said


def test_nothing_is_said_of_a_run_that_nobody_corrected(told: Tell, ask: Ask, tmp_path: Path) -> None:
    told(good_run(RUN))
    said = everything(ask, tmp_path / "out")
    assert "amended" not in said["summaries"] + said["show"] + said["runs"]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("command", "event_type", "changes"),
    [
        ("amend", "check.evaluated.v1", ("--set", "outcome=failed", "--set", "reason_code=recount")),
        ("amend", "asset.materialized.v1", ()),
        ("void", "asset.materialized.v1", ()),
        ("void", "outcomes.derived.v1", ()),
    ],
)
def test_what_a_verdict_rests_on_was_corrected(
    told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path, command: str, event_type: str, changes: tuple[str, ...]
) -> None:
    """Every document and listing names index, actor and reason; nothing says proceed, the verdict stays."""
    told(good_run(RUN))
    asset_key = "%" if event_type == "outcomes.derived.v1" else FACT
    ((target, _),) = events_of(ledger, event_type, asset_key)
    made = ask(command, target, *SAID, *changes).strip()
    after = everything(ask, tmp_path / "out")
    ((_, index),) = events_of(ledger, "event.%")
    action = "voided" if command == "void" else "amended"
    for kind in ("runs", "show", "summaries", "delivery"):
        assert f"{action} at index {index} by ana: the source was late" in after[kind], kind
    report = orjson.loads(after["run_report"])
    validator("run_evidence_report_v1").validate(report)
    shown = orjson.loads(after["show --json"])  # of the whole ledger, the documents' own record included
    places = {"provenance", "statement"}
    assert {k: v for k, v in report.items() if k not in places} == {
        k: v for k, v in shown.items() if k not in places
    }
    (correction,) = report["corrections"]
    stated = {"index": index, "event_id": made, "action": action, "actor": "ana", "reason": "the source was late"}
    assert stated.items() <= correction.items()
    assert (correction["verdict_rests_on_it"], correction["target"]["event_id"]) == (True, target)
    assert report["verdict"]["verdict"] == "passed"
    assert report["verdict"]["amended_by"] == [{"event_id": made, "index": index}]
    handed_over = orjson.loads(after["run_evidence"])
    validator("week06_run_evidence_v1").validate(handed_over)
    assert (handed_over["status"], handed_over["downstream_decision"]) == ("warning", "manual_review_required")
    assert "evidence_amended" in handed_over["reason_codes"]
    (check,) = [check for check in handed_over["checks"] if check["name"] == "ledger_amendments"]
    assert (check["status"], check["metadata"]["amendments"]) == ("warning", [stated])
    assert orjson.loads(after["runs --json"])[0]["amendments"] == [stated]


@pytest.mark.soak
def test_the_documents_from_before_stay(told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path) -> None:
    """A correction is an event of the run: what was derived before it keeps its name and its bytes."""
    told(good_run(RUN))
    ask("report", RUN, "--out", str(tmp_path))
    folders = ("run_report", "run_evidence", "summaries")
    before = {p: p.read_bytes() for folder in folders for p in (tmp_path / folder).iterdir()}
    ask("void", events_of(ledger, "asset.materialized.v1", FACT)[0][0], *SAID)
    ask("report", RUN, "--out", str(tmp_path))
    after = {p: p.read_bytes() for folder in folders for p in (tmp_path / folder).iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 2 * len(before)


@pytest.mark.soak
def test_a_withdrawn_amendment_is_not_told_any_more(told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path) -> None:
    """Voiding the amendment brings back the state before it, at a later index."""
    told(good_run(RUN))
    made = ask("amend", events_of(ledger, "asset.materialized.v1", FACT)[0][0], *SAID).strip()
    ask("void", made, "--reason", "my mistake", "--actor", "ana")
    said = everything(ask, tmp_path / "out")
    assert orjson.loads(said["run_evidence"])["downstream_decision"] == "proceed_to_week07"
    assert orjson.loads(said["run_report"])["corrections"] == []
    assert "amended" not in said["runs"] + said["show"] + said["summaries"]


@pytest.mark.soak
def test_a_correction_the_verdict_does_not_rest_on_is_told_apart(
    told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path
) -> None:
    """It is listed, and holds nobody back."""
    told(good_run(RUN))
    ask("amend", events_of(ledger, "run.seen.v1")[0][0], *SAID)
    said = everything(ask, tmp_path / "out")
    assert "Other corrections, 1:" in said["summaries"]
    assert "amended at index" in said["show"]
    assert "amended" not in said["runs"]
    report = orjson.loads(said["run_report"])
    assert [c["verdict_rests_on_it"] for c in report["corrections"]] == [False]
    assert report["verdict"]["amended_by"] == []
    assert orjson.loads(said["run_evidence"])["downstream_decision"] == "proceed_to_week07"


def amended_items(ledger: Ledger) -> tuple[dict[Any, bool], dict[Any, bool]]:
    """Return which items are amended: as the view `outcomes` has it, and as a run's facts do."""
    with open_prefix(ledger) as prefix:
        rows = prefix.snapshot.rows("SELECT asset_key, partition, check_name, amended FROM outcomes")
        (facts,) = read_runs(prefix, [RUN])
    derivations = {c.target_event_id for c in facts.corrections} & facts.derived_in
    ours = {
        (o.item.asset_key, o.item.partition, o.item.check_name): bool(derivations)
        or any(c.target_event_id in o.basis for c in facts.corrections)
        for o in facts.outcomes
    }
    return {(a, p, c): amended for a, p, c, amended in rows}, ours


@pytest.mark.soak
@pytest.mark.parametrize("correct", [amend, void])
def test_documents_and_the_view_agree_on_what_is_amended(
    told: Tell, ledger: Ledger, correct: Callable[..., str]
) -> None:
    """Whichever event of a run is corrected, and when that is withdrawn."""
    told(good_run(RUN))
    amended = 0
    ((closing, _),) = events_of(ledger, "run.closed.v1")
    for event_id, _ in events_of(ledger):
        if event_id == closing:
            continue  # the view knows derivations alone; a verdict rests on the closing too
        made = correct(ledger, event_id, reason="r", actor="a")
        view, ours = amended_items(ledger)
        assert view == ours, event_id
        amended += any(ours.values())
        if correct is amend:  # a void stays, so each event is voided on top of those before it
            void(ledger, made, reason="r", actor="a")
    assert amended >= 4
    if correct is amend:
        view, ours = amended_items(ledger)
        assert not any((*view.values(), *ours.values()))


def test_an_open_run_says_it_too(told: Tell, ask: Ask, ledger: Ledger) -> None:
    """Its outcomes are derived on the spot, from what was recorded, and rest on the same events."""
    told(open_run(RUN))
    ask("void", events_of(ledger, "asset.materialized.v1", FACT)[0][0], *SAID)
    assert "voided not sealed by ana: the source was late" in ask("show", RUN)
    assert "voided not sealed by ana: the source was late" in ask("runs")


@pytest.mark.soak
def test_a_payload_that_was_erased_is_shown_as_erased(told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path) -> None:
    """Not as an error, and not as nothing: the verdict stands, and every document says what is not there."""
    story = good_run(RUN)
    personal = Story(RUN).observed("crm/people", names=["Ada"]).events[-1]
    ledger.append([replace(personal, storage_id=900)], personal=True)
    told(story)
    before = everything(ask, tmp_path / "out")
    assert "payload erased" not in before["show"] + before["summaries"] + before["delivery"]
    ask("erase", events_of(ledger, asset_key="crm/people")[0][0], *SAID)
    after = everything(ask, tmp_path / "out")
    for kind in ("show", "summaries", "delivery"):
        assert "asset.observed.v1 of crm/people: payload erased" in after[kind], kind
    (product,) = [p for p in orjson.loads(after["run_report"])["products"] if p["asset_key"] == "crm/people"]
    assert (product["metadata"], product["payload_state"]) == ([], "erased")
    validator("run_evidence_report_v1").validate(orjson.loads(after["run_report"]))
    assert orjson.loads(after["run_evidence"])["downstream_decision"] == "proceed_to_week07"


def test_a_report_with_corrections_is_proved(tmp_path: Path) -> None:
    """The proof behind it has the corrections' entries too, and checks with the key alone."""
    ledger = signed_ledger(tmp_path / "ledger", [7])
    story: Story = good_run(RUN)
    ledger.append(story.events)
    ledger.seal()
    amend(ledger, events_of(ledger, "check.evaluated.v1", FACT)[0][0], reason="r", actor="a")
    text = write_run_documents(ledger, RUN, tmp_path / "out", profile=WEEK06).report.read_bytes()
    ledger.seal()
    with open_prover(ledger) as prover:
        proof = prover.prove_document(text)
    check_proof(parse_proof(format_proof(proof)), read_trust([VKEY], []), text)
    (correction,) = orjson.loads(text)["corrections"]
    assert correction["index"] in {inclusion.index for inclusion in proof.inclusions}
