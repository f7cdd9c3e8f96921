"""What `ledger report` writes is proved by what it rests on, and a changed number in it is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.delivery import WEEK06
from run_evidence.evidence import write_run_documents
from run_evidence.ledger import IntegrityError, Ledger, UsageError
from run_evidence.ledger.admin.amend import amend
from run_evidence.ledger.proving.check import check_proof
from run_evidence.ledger.proving.prove import open_prover
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.tlog.proof_file import format_proof, parse_proof
from run_evidence.ledger.tlog.trust import read_trust
from tests.evidence.evidence_runs import FACT, Story, dry_run, failed_run, good_run, open_run, warned_run
from tests.trust.ledgers import LOG_KEY, VKEY, grow, signed_ledger

TRUST = read_trust([VKEY], [])


def reported(tmp_path: Path, story: Story) -> tuple[Ledger, Path, str]:
    """Return a signed ledger with this run and others, and the run's report."""
    ledger = signed_ledger(tmp_path / "ledger", [7])
    ledger.append(story.events)
    written = write_run_documents(ledger, story.run_id, tmp_path / "reports", profile=WEEK06)
    ledger.seal()
    grow(ledger, [ledger.log().size + 50])
    return ledger, Path(written.report), story.run_id


@pytest.mark.soak
@pytest.mark.parametrize("story", [good_run, failed_run, dry_run, warned_run, open_run])
def test_every_kind_of_report_is_proved(tmp_path: Path, story: Callable[[str], Story]) -> None:
    """Final or interim: the file checks with the key alone, though the ledger has grown since."""
    ledger, report, _ = reported(tmp_path, story("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"))
    text = report.read_bytes()
    with open_prover(ledger) as prover:
        proof = prover.prove_document(text)
    proven = check_proof(parse_proof(format_proof(proof)), TRUST, text)
    assert proven.origin == LOG_KEY.name
    assert proven.compared > 10


def test_a_report_from_before_its_run_was_reopened_is_still_proved(tmp_path: Path) -> None:
    """Later outcomes of the run are none the document could know; its own checkpoint says what was."""
    ledger, report, run_id = reported(tmp_path, good_run("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"))
    late = good_run(run_id).checked("row_count_output_count", FACT, "failed").reopen().close(2)
    ledger.append(late.events)
    again = write_run_documents(ledger, run_id, tmp_path / "reports", profile=WEEK06).report
    ledger.seal()
    assert again != report
    for path in (report, again):
        text = path.read_bytes()
        with open_prover(ledger) as prover:
            proof = prover.prove_document(text)
        proven = check_proof(parse_proof(format_proof(proof)), TRUST, text)
        assert proven.compared > 10
        assert proven.recorded is not None
        name, recorded_run, size = proven.recorded
        assert (Path(name).name, recorded_run) == (path.name, run_id), "an older one under another name is seen"
        assert f"_{size}_" in path.name
        assert any(f"the first {size} of" in note for note in proven.notes)


def test_what_a_report_says_of_a_correction_cannot_be_changed(tmp_path: Path) -> None:
    """Who made it, why, what it does, to which event and with which values."""
    ledger, _, run_id = reported(tmp_path, good_run("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"))
    with open_snapshot(ledger, views=("events",)) as snapshot:
        events = snapshot.rows("SELECT event_id FROM events WHERE event_type = 'check.evaluated.v1'")
    amend(ledger, events[0][0], reason="recounted", actor="ana", changes={"step_key": "x"})
    written = write_run_documents(ledger, run_id, tmp_path / "again", profile=WEEK06)
    ledger.seal()
    for path in (written.report, *written.evidence):
        with open_prover(ledger) as prover:
            proof = prover.prove_document(path.read_bytes())
        assert check_proof(parse_proof(format_proof(proof)), TRUST, path.read_bytes()).compared
        text = path.read_text()
        forgeries = {text.replace('"ana"', '"eve"'), text.replace('"recounted"', '"a slip"')}
        forgeries |= {text.replace('"amended"', '"voided"')}
        if path == written.report:
            body = json.loads(text)
            (target,) = [correction["target"] for correction in body["corrections"]]
            other = next(item["basis"][0] for item in body["items"] if item["basis"] and item["basis"][0] != target)
            forgeries |= {text.replace('"step_key": "x"', '"step_key": "y"')}
            body["corrections"][0]["target"] = other
            forgeries |= {json.dumps(body)}
        for forged in forgeries - {text}:
            claimed = replace(proof, subject=("document", hashlib.sha256(forged.encode()).hexdigest()))
            with pytest.raises(IntegrityError, match=r"\$\."):
                check_proof(claimed, TRUST, forged.encode())
        assert len(forgeries - {text}) == (5 if path == written.report else 3)


def changed_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything in a report that an entry says too."""
    if isinstance(value, dict):
        found = [p for name, item in value.items() for p in changed_places(item, (*path, name))]
        if "event_id" in value:
            named = ("index", "occurred_at", "step_key", "asset_key", "partition", "check_name", "reason_code")
            found += [(*path, name) for name in (*named, "outcome", "event_id") if value.get(name) is not None]
        if "basis" in value:
            found += [(*path, name) for name in ("outcome", "verdict", "reason_code", "asset_key", "attempts")]
        return found
    if isinstance(value, list):
        return [p for position, item in enumerate(value) for p in changed_places(item, (*path, position))]
    return []


def test_whatever_a_report_takes_from_an_entry_cannot_be_changed(tmp_path: Path) -> None:
    """Change one value at a time, and write the new digest into the proof: the place is named."""
    ledger, report, _ = reported(tmp_path, failed_run("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"))
    with open_prover(ledger) as prover:
        proof = prover.prove_document(report.read_bytes())
    places = changed_places(json.loads(report.read_bytes()))
    assert len(places) > 40
    for path in places:
        body = json.loads(report.read_bytes())
        holder = body
        for step in path[:-1]:
            holder = holder[step]
        old = holder[path[-1]]
        holder[path[-1]] = old + 1 if isinstance(old, int) else f"{old}x"
        forged = json.dumps(body).encode()
        claimed = replace(proof, subject=("document", hashlib.sha256(forged).hexdigest()))
        with pytest.raises(IntegrityError, match=r"\$\."):
            check_proof(claimed, TRUST, forged)


def every_value(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to all values of a document that are no object and no list."""
    if isinstance(value, dict):
        return [p for name, item in value.items() for p in every_value(item, (*path, name))]
    if isinstance(value, list):
        return [p for position, item in enumerate(value) for p in every_value(item, (*path, position))]
    return [path]


@pytest.mark.soak
@pytest.mark.parametrize("story", [good_run, failed_run, dry_run])
def test_no_value_of_any_document_can_be_changed(tmp_path: Path, story: Callable[[str], Story]) -> None:
    """Decisions, counts and status too, which no entry says: the log has recorded another document.

    Neither a new proof is made for it, nor is the old one, with the new digest written into it, accepted.
    """
    ledger = signed_ledger(tmp_path / "ledger", [7])
    run = story("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11")
    ledger.append(run.events)
    written = write_run_documents(ledger, run.run_id, tmp_path / "reports", profile=WEEK06)
    ledger.seal()
    for path in (written.report, *written.evidence):
        with open_prover(ledger) as prover:
            proof = prover.prove_document(path.read_bytes())
            assert check_proof(proof, TRUST, path.read_bytes()).origin == LOG_KEY.name
            for place in every_value(json.loads(path.read_bytes())):
                body = json.loads(path.read_bytes())
                holder = body
                for step in place[:-1]:
                    holder = holder[step]
                holder[place[-1]] = "success" if holder[place[-1]] != "success" else "proceed_to_week07"
                forged = json.dumps(body, indent=2).encode()
                with pytest.raises((UsageError, IntegrityError)):
                    prover.prove_document(forged)
                claimed = replace(proof, subject=("document", hashlib.sha256(forged).hexdigest()))
                with pytest.raises(IntegrityError):
                    check_proof(claimed, TRUST, forged)


def test_a_proof_without_the_log_s_record_of_the_document_is_refused(tmp_path: Path) -> None:
    """A check that compared nothing has failed."""
    ledger, report, run_id = reported(tmp_path, good_run("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"))
    with open_prover(ledger) as prover:
        proof = prover.prove_document(report.read_bytes())
        of_run = prover.prove_run(run_id)
        for inclusions in (proof.inclusions[:-1], of_run.inclusions):
            entries = [(each.index, each.entry or b"") for each in inclusions]
            without = prover._together(entries, proof.subject or ("", ""), proof.growth)
            with pytest.raises(IntegrityError, match="recorded this document"):
                check_proof(without, TRUST, report.read_bytes())


def test_documents_are_recorded_once(tmp_path: Path) -> None:
    """Deriving them again changes nothing in the ledger, however much it has grown."""
    ledger, report, run_id = reported(tmp_path, good_run("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"))
    size = ledger.log().size
    for _ in range(2):
        assert (
            write_run_documents(ledger, run_id, tmp_path / "again", profile=WEEK06).report.read_bytes()
            == report.read_bytes()
        )
        assert ledger.seal().size == size
    with open_snapshot(ledger, views=("events",)) as snapshot:
        recorded = snapshot.rows("SELECT run_id, data FROM events WHERE event_type = 'document.derived.v1'")
    (about,) = [json.loads(data) for _, data in recorded]
    assert recorded[0][0] is None
    assert about["run_id"] == run_id
    assert {d["sha256"] for d in about["documents"]} >= {hashlib.sha256(report.read_bytes()).hexdigest()}


def test_where_nothing_can_be_recorded_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documents are written all the same: an auditor may have a copy that he cannot write."""
    ledger = signed_ledger(tmp_path / "ledger", [7])
    run = good_run("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11")
    ledger.append(run.events)
    ledger.seal()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "inbox")

    monkeypatch.setattr("run_evidence.ledger.storage.inbox.append", full)
    written = write_run_documents(ledger, run.run_id, tmp_path / "reports", profile=WEEK06)
    assert written.report.exists()
    assert "No space left" in str(written.unrecorded)


CRAFTED = (
    b'{"provenance":"x"}',
    b'{"provenance":{"checkpoint":"x"}}',
    b'{"provenance":{"checkpoint":{"origin":1,"size":"5","root_sha256":"00"}}}',
    b'{"provenance":{"checkpoint":{"origin":"a","size":true,"root_sha256":"00"}}}',
    b'{"provenance":[]}',
    b'{"run":[],"run_id":7,"event_id":{},"basis":"x"}',
    b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"size":' + b"9" * 400 + b"}",
    b'{"a":NaN}',
    b"[]",
    b"",
    b"\xff\xfe",
    b'"text"',
)


@pytest.mark.soak
@pytest.mark.parametrize("document", CRAFTED)
def test_a_crafted_document_is_refused_in_words(tmp_path: Path, document: bytes) -> None:
    """By who makes a proof of it and by who checks one: never a traceback."""
    ledger, report, _ = reported(tmp_path, good_run("5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"))
    with open_prover(ledger) as prover:
        with pytest.raises((UsageError, IntegrityError)):
            prover.prove_document(document)
        proof = prover.prove_document(report.read_bytes())
    claimed = replace(proof, subject=("document", hashlib.sha256(document).hexdigest()))
    with pytest.raises(IntegrityError):
        check_proof(claimed, TRUST, document)
