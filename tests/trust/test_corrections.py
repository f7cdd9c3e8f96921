"""Corrections never overwrite: the original keeps its bytes and its proof, the views show what holds now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from run_evidence.ledger import Ledger, UsageError
from run_evidence.ledger.admin.amend import AMENDABLE, amend, erase, void
from run_evidence.ledger.model.event import encode
from run_evidence.ledger.proving.prove import open_prover
from run_evidence.ledger.query.snapshot import open_snapshot, views_in
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import RUN, Clock, own, record
from tests.paths import paths
from tests.trust.ledgers import signed_ledger, told
from tests.trust.test_proof_files import event_id
from tests.trust.test_signing import cli


def select(ledger: Ledger, sql: str) -> list[tuple[Any, ...]]:
    with open_snapshot(ledger, views=sorted(views_in(sql))) as snapshot:
        return snapshot.rows(sql)


def effective(ledger: Ledger, storage_id: int, columns: str) -> list[tuple[Any, ...]]:
    return select(ledger, f"SELECT {columns} FROM effective_events WHERE storage_id = {storage_id}")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return signed_ledger(tmp_path / "ledger", [20])


def test_an_amendment_holds_sealed_or_not_and_the_original_stays(ledger: Ledger) -> None:
    before = select(ledger, f"SELECT entry FROM entries WHERE event_id = '{event_id(3)}'")
    changes = {"outcome": "failed", "reason_code": "source_was_late"}
    made = amend(ledger, event_id(3), reason="the source was late", actor="ana", changes=changes)
    for _ in range(2):
        expected = [("failed", "source_was_late", "step_0", made)]
        assert effective(ledger, 3, "outcome, reason_code, step_key, amended_by") == expected
        history = "SELECT action, target_event_id, actor, reason, changes::VARCHAR, withdrawn FROM amendments"
        (row,) = select(ledger, history)
        assert row[:4] == ("amended", event_id(3), "ana", "the source was late")
        assert row[4:] == ('{"outcome":"failed","reason_code":"source_was_late"}', False)
        assert select(ledger, "SELECT outcome FROM events WHERE storage_id = 3") == [(None,)]
        ledger.seal()
    assert select(ledger, f"SELECT entry FROM entries WHERE event_id = '{event_id(3)}'") == before
    with open_prover(ledger) as prover:
        assert prover.prove_event(event_id(3)).inclusions[0].entry == before[0][0]
        assert len(prover.prove_event(made).inclusions) == 1
    assert verify(ledger).ok


def test_of_several_amendments_the_last_that_says_something_holds(ledger: Ledger) -> None:
    amend(ledger, event_id(3), reason="r", actor="a", changes={"partition": "2026-04-01", "step_key": "x"})
    last = amend(ledger, event_id(3), reason="r", actor="a", changes={"partition": "2026-04-02"})
    assert effective(ledger, 3, "partition, step_key, amended_by") == [("2026-04-02", "x", last)]


def test_a_voided_event_does_not_count_and_is_still_there(ledger: Ledger) -> None:
    void(ledger, event_id(3), reason="sent twice", actor="ana")
    assert effective(ledger, 3, "1") == []
    assert select(ledger, "SELECT count(*) FROM events WHERE storage_id = 3") == [(1,)]
    assert select(ledger, "SELECT action, reason FROM amendments") == [("voided", "sent twice")]


def test_a_voided_amendment_is_withdrawn(ledger: Ledger) -> None:
    wrong = amend(ledger, event_id(3), reason="r", actor="a", changes={"step_key": "x"})
    void(ledger, wrong, reason="my mistake", actor="a")
    assert effective(ledger, 3, "step_key, amended_by") == [("step_0", None)]
    assert select(ledger, "SELECT withdrawn FROM amendments ORDER BY recorded_at") == [(True,), (False,)]


def test_the_effective_events_have_one_form_whether_anything_was_corrected_or_not(ledger: Ledger) -> None:
    """Where nothing was, a shorter view stands in: the same columns in the same order, and the same rows."""
    columns = "DESCRIBE effective_events"
    shown = "SELECT * FROM effective_events ORDER BY index"
    before, form = select(ledger, shown), select(ledger, columns)
    assert [row[:-1] for row in before] == select(ledger, "SELECT * FROM events ORDER BY index")
    assert {row[-1] for row in before} == {None}
    made = amend(ledger, event_id(3), reason="r", actor="a", changes={"step_key": "x"})
    assert select(ledger, columns) == form
    after = select(ledger, shown)
    assert [row for row in after if row[-1]] == [row for row in after if row[1] == event_id(3)]
    assert [row for row in after if row[-1] is None and row[1] != made] == [
        row for row in before if row[1] != event_id(3)
    ]


def test_typed_views_show_what_holds(tmp_path: Path) -> None:
    """A materialization that was voided is none; a check amended to failed is a failure, and both say so."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    made = record(1, event_type="asset.materialized.v1", asset_key="a")
    checked = record(2, event_type="check.evaluated.v1", asset_key="a", check_name="c", outcome="passed")
    ledger.append([made, checked])
    ledger.seal()
    assert select(ledger, "SELECT amended_by FROM materializations") == [(None,)]
    void(ledger, event_id(1), reason="r", actor="a")
    changes = {"outcome": "failed", "reason_code": "recount"}
    amendment = amend(ledger, event_id(2), reason="r", actor="a", changes=changes)
    assert select(ledger, "SELECT * FROM materializations") == []
    assert select(ledger, "SELECT outcome, amended_by FROM checks") == [("failed", amendment)]
    assert select(ledger, "SELECT check_name, reason_code, amended_by FROM failures") == [
        ("c", "recount", amendment)
    ]


def test_verdicts_say_when_they_rest_on_an_amendment(tmp_path: Path) -> None:
    """By an event of their basis, or by the derivation itself."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    basis = [{"asset_key": key, "basis": [event_id(n)]} for n, key in ((1, "a"), (2, "b"))]
    derivation = own("outcomes.derived.v1", data={"revision": 1, "outcomes": basis})
    ledger.append([record(1), record(2), derivation, own("run.closed.v1", data={"revision": 1})])
    ledger.seal()
    asked = "SELECT asset_key, amended FROM outcomes ORDER BY asset_key"
    assert select(ledger, asked) == [("a", False), ("b", False)]
    amendment = amend(ledger, event_id(2), reason="r", actor="a")
    assert select(ledger, asked) == [("a", False), ("b", True)]
    void(ledger, amendment, reason="r", actor="a")
    assert select(ledger, asked) == [("a", False), ("b", False)]
    void(ledger, encode(derivation, 0).event_id, reason="r", actor="a")
    assert select(ledger, asked) == [("a", True), ("b", True)]


def test_what_cannot_be_corrected_is_refused(ledger: Ledger) -> None:
    refused: list[tuple[str, dict[str, Any]]] = [
        ("There is no event", {"event_id": "nobody"}),
        ("cannot be amended", {"changes": {"event_id": "x"}}),
        ("cannot be amended", {"changes": {"occurred_at": "5"}}),
        ("is no outcome", {"changes": {"outcome": "great"}}),
        ("needs a reason_code", {"changes": {"outcome": "failed"}}),
        ("who makes it and why", {"reason": " "}),
        ("who makes it and why", {"actor": ""}),
    ]
    for complaint, changed in refused:
        arguments: dict[str, Any] = {"event_id": event_id(3), "reason": "r", "actor": "a", **changed}
        with pytest.raises(UsageError, match=complaint):
            amend(ledger, arguments.pop("event_id"), **arguments)
    amendment = amend(ledger, event_id(3), reason="r", actor="a")
    with pytest.raises(UsageError, match="is a correction itself"):
        amend(ledger, amendment, reason="r", actor="a")
    last = void(ledger, amendment, reason="r", actor="a")
    for correct in (amend, void):
        with pytest.raises(UsageError, match="is a correction itself"):
            correct(ledger, last, reason="r", actor="a")
    assert len(AMENDABLE) == len(set(AMENDABLE))


# --- payloads ---------------------------------------------------------------------------------------------


def with_payload(tmp_path: Path) -> tuple[Ledger, Path]:
    """Return a ledger with one event whose payload is personal, and the file it lies in."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    ledger.append([record(70, data={"name": "Ada"})], personal=True)
    ledger.seal()
    (path,) = paths(ledger).blobs.iterdir()
    return ledger, path


def test_a_personal_payload_is_erased_and_the_log_still_verifies(tmp_path: Path) -> None:
    ledger, path = with_payload(tmp_path)
    assert path.read_bytes() == b'{"name":"Ada"}'
    assert not any(b"Ada" in p.read_bytes() for p in paths(ledger).log.rglob("*.parquet"))
    root = verify(ledger).root
    assert erase(ledger, event_id(70), reason="asked to be forgotten", actor="dpo") == path.name
    assert not path.exists()
    for _ in range(2):
        result = verify(ledger)
        assert (result.ok, result.erased) == (True, 1), told(result.findings)
        asked = "SELECT sha256, erased, erased_by, reason FROM payloads"
        assert select(ledger, asked) == [(path.name, True, "dpo", "asked to be forgotten")]
        if result.size == 6:
            assert result.root == root
        ledger.seal()
    assert "1 payloads erased" in cli(tmp_path, "verify").stdout


def test_missing_and_altered_payloads_are_told_apart_from_erased_ones(tmp_path: Path) -> None:
    ledger, path = with_payload(tmp_path)
    path.write_bytes(b'{"name":"Eve"}')
    assert "the payload is not what was recorded" in told(verify(ledger).findings)
    path.unlink()
    assert "no event says that it was erased" in told(verify(ledger).findings)
    assert select(ledger, "SELECT erased FROM payloads") == [(False,)]


def test_a_payload_in_the_entry_cannot_be_erased(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="is in its entry"):
        erase(ledger, event_id(3), reason="r", actor="a")
    assert ledger.seal().sealed == 0


def test_what_a_run_is_judged_by_cannot_be_erased(tmp_path: Path) -> None:
    """And capture goes on where another payload of the ledger's own is gone."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    closing, skip = own("run.closed.v1", data={"revision": 1}), own("asset.skipped.v1", data={"text": "t"})
    ledger.append([closing, skip], personal=True)
    with pytest.raises(UsageError, match="could not be judged"):
        erase(ledger, encode(closing, 0, beside=True).event_id, reason="r", actor="a")
    erase(ledger, encode(skip, 0, beside=True).event_id, reason="r", actor="a")
    known = {event.event_type: event.data for event in ledger.known([RUN])[RUN].own}
    assert known["run.closed.v1"] == {"revision": 1}
    assert set(known["asset.skipped.v1"]) == {"blob_sha256", "blob_size_bytes"}
    assert known["payload.erased.v1"]["erased_sha256"] == known["asset.skipped.v1"]["blob_sha256"]


def test_corrections_on_the_command_line(tmp_path: Path) -> None:
    """The new event's id goes to stdout, what it means to stderr."""
    ledger, path = with_payload(tmp_path)
    said = ("--reason", "late", "--actor", "ana")
    amended = cli(tmp_path, "amend", event_id(1), *said, "--set", "partition=2026-04-01")
    assert amended.returncode == 0, amended.stderr
    assert select(ledger, "SELECT event_id FROM amendments") == [(amended.stdout.strip(),)]
    assert cli(tmp_path, "void", event_id(2), *said).returncode == 0
    assert cli(tmp_path, "erase", event_id(70), *said).stdout.strip() == path.name
    assert cli(tmp_path, "amend", event_id(1), *said, "--set", "partition").returncode == 2
    assert cli(tmp_path, "amend", "nobody", *said).returncode == 2
    assert cli(tmp_path, "amend", event_id(1), "--reason", "x").returncode == 2
    assert select(ledger, f"SELECT count(*) FROM events WHERE run_id = '{RUN}'") == [(9,)]
