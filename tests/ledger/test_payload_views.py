"""Views answer alike wherever a payload is kept, and say so where it cannot be read."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_evidence.ledger import EnvironmentFault, Event, IntegrityError, Ledger, UsageError
from run_evidence.ledger.admin.amend import amend, erase, void
from run_evidence.ledger.model.event import MAX_DATA_BYTES, blob_name, encode
from run_evidence.ledger.model.outcomes import RunEvent, derive_outcomes, outcome_parts
from run_evidence.ledger.model.plan import Plan, PlanItem, plan_parts
from run_evidence.ledger.query.snapshot import VIEWS, Snapshot, open_snapshot, views_in
from run_evidence.ledger.query.sql_query import run_query
from run_evidence.ledger.storage.search import payload_fault
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import NOON, Clock, own, record

PADDING = "x" * (MAX_DATA_BYTES + 1)
METADATA = [{"label": "row_count", "type": "int", "value": "17"}]
FROM_CONTENT = {"event_id", "source_digest", "basis", "derived_in", "amended_by", "target_event_id"}
"""Columns that hold the digest of an event's content, which padding changes."""

ERROR = {"class": "OSError", "message": "no such table"}


def _history() -> list[Event]:
    """Return events of every type that a view takes something out of."""
    about: dict[str, Any] = {"step_key": "make", "asset_key": "orders", "partition": "2026-04-17"}
    outside: dict[str, Any] = {"run_id": "", "step_key": None, "asset_key": "lake"}
    taken = [
        record(1, event_type="run.started.v1"),
        record(2, event_type="asset.materialization_planned.v1", **about),
        record(3, event_type="asset.materialized.v1", data={"metadata": METADATA, "data_version": "v1"}, **about),
        record(4, event_type="asset.observed.v1", data={"metadata": METADATA, "data_version": "v1"}, **about),
        record(
            5,
            event_type="check.evaluated.v1",
            check_name="no_nulls",
            outcome="warned",
            reason_code="check_warned",
            data={"severity": "WARN", "blocking": False, "description": "800 rows", "metadata": METADATA},
            **about,
        ),
        record(
            6,
            event_type="step.failed.v1",
            step_key="make",
            outcome="failed",
            reason_code="step_failed",
            data={"error": ERROR, "message": "it broke"},
        ),
        record(7, event_type="run.failed.v1", outcome="failed", reason_code="run_failed"),
    ]
    plan = list(plan_parts(Plan((PlanItem("orders", "2026-04-17", step_key="make"),), {})))
    told = [RunEvent(event_id="p", event_type="plan.committed.v1", occurred_at=NOON, data=part) for part in plan]
    outcomes = derive_outcomes([*told, *map(RunEvent.of_record, taken)])
    stated = [{"label": "status", "type": "text", "value": "skipped"}]
    skip = {"outcome": "skipped", "reason_code": "not_today", "data": {"text": "a holiday"}}
    return [
        *taken,
        own("run.seen.v1", data={"tags": {"dagster/partition": "2026-04-17"}}),
        *(own("plan.committed.v1", data=part) for part in plan),
        own("asset.skipped.v1", asset_key="other", **skip),
        *(own("outcomes.derived.v1", data=part) for part in outcome_parts(outcomes, 1)),
        own("run.closed.v1", data={"revision": 1}),
        record(11, event_type="asset.materialized.v1", data={"metadata": stated}, **outside),
        record(12, event_type="asset.materialized.v1", data={"metadata": []}, **{**outside, "partition": "b"}),
        record(13, event_type="asset.wiped.v1", data={"partition_keys": ["b"]}, **outside),
    ]


COUNT = len(_history())


def _padded(event: Event) -> Event:
    metadata = event.data.get("metadata")
    more: dict[str, Any] = {"padding": PADDING}
    if isinstance(metadata, list):
        more = {"metadata": [*metadata, {"label": "padding", "type": "text", "value": PADDING}]}
    return replace(event, data={**event.data, **more})


def _ledger(folder: Path, large: Collection[int] = (), sealed: int = COUNT) -> Ledger:
    """Record the history with some payloads made larger than an entry may have, and seal the first of it."""
    events = [_padded(e) if number in large else e for number, e in enumerate(_history())]
    ledger = Ledger(folder, clock=Clock())
    ledger.append(events[:sealed])
    if sealed:
        ledger.seal()
    if events[sealed:]:
        ledger.append(events[sealed:])
    return ledger


def _small(value: Any) -> Any:
    """Return a value without the padding."""
    if isinstance(value, dict):
        return {name: _small(each) for name, each in value.items() if name not in {"padding", *FROM_CONTENT}}
    if isinstance(value, list):
        return [_small(each) for each in value if not (isinstance(each, dict) and each.get("label") == "padding")]
    return value


def _answers(ledger: Ledger) -> dict[str, list[str]]:
    """Return all that each view shows, but for those that show where a payload is."""
    with open_snapshot(ledger) as snapshot:
        return {view: _rows(snapshot, view) for view in VIEWS if view not in {"entries", "payloads"}}


@functools.cache
def _small_answers(sealed: int) -> dict[str, list[str]]:
    """Return the answers over the history with every payload in its entry."""
    with TemporaryDirectory() as folder:
        return _answers(_ledger(Path(folder) / "small", (), sealed))


def _rows(snapshot: Snapshot, view: str) -> list[str]:
    answer = run_query(snapshot, f"SELECT * FROM {view}", {})
    rows = []
    for row in answer.rows:
        about = dict(zip(answer.names, row, strict=True))
        if "data" in about:
            about["data"] = json.loads(about["data"])
        rows.append(json.dumps(_small(about), default=str, sort_keys=True))
    return sorted(rows)


_LARGE = st.sets(st.integers(0, COUNT - 1), min_size=1)


@pytest.mark.soak
@settings(max_examples=4, deadline=None)
@given(_LARGE, st.sampled_from([COUNT // 2, COUNT]))
def test_no_answer_of_a_view_depends_on_the_size_of_a_payload(large: set[int], sealed: int) -> None:
    """Whichever events have a large one, sealed or waiting; all columns but the padding itself."""
    with TemporaryDirectory() as folder:
        assert _answers(_ledger(Path(folder) / "large", large, sealed)) == _small_answers(sealed)


@pytest.mark.soak
@settings(max_examples=6, deadline=None)
@given(_LARGE, st.integers(0, COUNT))
def test_no_answer_depends_on_it_however_much_is_sealed(large: set[int], sealed: int) -> None:
    with TemporaryDirectory() as folder:
        assert _answers(_ledger(Path(folder) / "large", large, sealed)) == _small_answers(sealed)


@pytest.mark.soak
@pytest.mark.parametrize("sealed", [0, COUNT])
def test_every_payload_may_be_large(tmp_path: Path, sealed: int) -> None:
    """All at once, and nothing but what is asked for can be read through the snapshot."""
    assert _answers(_ledger(tmp_path / "large", range(COUNT), sealed)) == _small_answers(sealed)


LOSSES: dict[str, Callable[[Path], object]] = {
    "missing": lambda blob: blob.unlink(),
    "altered": lambda blob: blob.write_bytes(blob.read_bytes().replace(b"x", b"y", 1)),
    "altered, no text": lambda blob: blob.write_bytes(b"\xff\xfe"),
    "missing, a folder": lambda blob: (blob.unlink(), blob.mkdir()),
    "missing, a link": lambda blob: (blob.rename(blob.parent.parent / "x"), blob.symlink_to("../x")),
}
VIEW_OF = {2: "materializations", 3: "observations", 4: "checks", 5: "failures"}


@pytest.mark.soak
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("number", VIEW_OF)
def test_a_payload_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, loss: str, number: int) -> None:
    """Its row stays, with what its entry has, and says what became of the payload."""
    ledger = _ledger(tmp_path / "ledger", {number})
    (blob,) = (tmp_path / "ledger" / "blobs").iterdir()
    LOSSES[loss](blob)
    view = VIEW_OF[number]
    with open_snapshot(ledger, views=("events", view)) as snapshot:
        rows = snapshot.rows(f"SELECT payload FROM {view} WHERE payload IS NOT NULL")
        (data,) = snapshot.rows("SELECT data FROM events WHERE payload IS NOT NULL")
    assert rows == [(loss.partition(",")[0],)]
    assert blob_name(data[0]) == blob.name


def test_an_erased_payload_is_shown_as_erased_whatever_is_on_the_disk(tmp_path: Path) -> None:
    """Also one that somebody put back, in a prefix from before it was erased, and in a copy without the folder."""
    ledger = _ledger(tmp_path / "ledger", {2})
    (blob,) = (tmp_path / "ledger" / "blobs").iterdir()
    content = blob.read_bytes()
    asked = "SELECT payload, data_version, metadata FROM materializations WHERE asset_key = 'orders'"

    def shown() -> list[tuple[Any, ...]]:
        with open_snapshot(ledger, views=sorted(views_in(asked))) as snapshot:
            return run_query(snapshot, asked, {}).rows

    erase(ledger, encode(_padded(_history()[2]), 0).event_id, reason="personal", actor="ada")
    assert shown() == [("erased", None, None)]
    ledger.seal()
    assert shown() == [("erased", None, None)]
    blob.write_bytes(content)
    assert shown() == [("erased", None, None)]
    for path in blob.parent.iterdir():
        path.unlink()
    assert shown() == [("erased", None, None)]


@pytest.mark.parametrize("large", [False, True])
def test_what_a_verdict_needs_of_a_check_stays_in_its_entry(tmp_path: Path, large: bool) -> None:
    """Its severity and whether it blocks outlive the payload, and the ledger verifies."""
    ledger = _ledger(tmp_path / "ledger", {4} if large else ())
    assert verify(ledger).findings == []
    if large:
        erase(ledger, encode(_padded(_history()[4]), 0).event_id, reason="personal", actor="ada")
        ledger.seal()
    with open_snapshot(ledger, views=("checks",)) as snapshot:
        rows = snapshot.rows("SELECT outcome, severity, blocking, payload FROM checks")
    assert rows == [("warned", "WARN", False, "erased" if large else None)]
    assert verify(ledger).findings == []


@pytest.mark.parametrize("severity", ["WARN", "ERROR", "", "fatal", 3, None, {"a": 1}])
@pytest.mark.parametrize("blocking", [True, False, None, "yes", 1])
def test_a_reference_is_a_reference_whatever_stays_beside_it(severity: Any, blocking: Any) -> None:
    """Only the values that these members can have stay; anything else is in the payload alone."""
    data = {"severity": severity, "blocking": blocking, "padding": PADDING}
    encoded = encode(record(1, event_type="check.evaluated.v1", data=data), NOON)
    body = json.loads(encoded.entry)
    assert blob_name(json.dumps(body["data"], separators=(",", ":"), sort_keys=True)) == encoded.blob_sha256
    assert body["data"].get("severity") == (severity if severity in ("WARN", "ERROR") else None)
    assert body["data"].get("blocking") is (blocking if isinstance(blocking, bool) else None)


def test_a_reference_without_anything_beside_it_reads_as_before() -> None:
    """Ledgers hold such entries of checks, and always will."""
    digest = "a" * 64
    assert blob_name(f'{{"blob_sha256":"{digest}","blob_size_bytes":40000}}') == digest
    assert blob_name(f'{{"blob_sha256":"{digest}","blob_size_bytes":40000,"more":1}}') is None


@pytest.mark.parametrize("view", ["outcomes", "runs", "assets"])
@pytest.mark.parametrize("all_gone", [False, True])
def test_a_view_that_a_verdict_rests_on_does_not_answer_without_its_payloads(
    tmp_path: Path, view: str, all_gone: bool
) -> None:
    """Fewer rows would look like fewer items; the error names the payload."""
    derived = next(n for n, e in enumerate(_history()) if e.event_type == "outcomes.derived.v1")
    ledger = _ledger(tmp_path / "ledger", {derived} if all_gone else {2, derived})
    (event,) = (e for n, e in enumerate(_history()) if n == derived)
    name = encode(_padded(event), 0).blob_sha256
    assert name
    (tmp_path / "ledger" / "blobs" / name).unlink()
    with open_snapshot(ledger, views=(view,)) as snapshot:
        with pytest.raises(IntegrityError, match=f"blobs/{name}.*is missing") as caught:
            run_query(snapshot, f"SELECT * FROM {view}", {})
        assert caught.value.next_step == "ledger verify"
        with pytest.raises(IntegrityError, match=f"blobs/{name}.*is missing"):
            snapshot.rows(f"SELECT * FROM {view}")


def test_a_report_that_cannot_be_read_is_not_passed(tmp_path: Path) -> None:
    """What it says of itself is unknown."""
    number = next(n for n, e in enumerate(_history()) if e.storage_id == 11)
    ledger = _ledger(tmp_path / "ledger", {number})
    asked = "SELECT verdict, reason_code FROM assets WHERE asset_key = 'lake' AND partition IS NULL"
    with open_snapshot(ledger, views=("assets",)) as snapshot:
        assert snapshot.rows(asked) == [("skipped", "status_skipped")]
    for blob in (tmp_path / "ledger" / "blobs").iterdir():
        blob.unlink()
    with open_snapshot(ledger, views=("assets",)) as snapshot:
        assert snapshot.rows(asked) == [("unknown", "payload_missing")]


@pytest.mark.parametrize("correct", [amend, void])
def test_a_correction_may_have_a_long_reason(tmp_path: Path, correct: Any) -> None:
    """It holds wherever its payload is kept, and nobody can erase it."""
    ledger = _ledger(tmp_path / "ledger")
    target = encode(_history()[4], 0).event_id
    changes = {"changes": {"outcome": "passed"}} if correct is amend else {}
    correct(ledger, target, reason=PADDING, actor="ada", **changes)
    with open_snapshot(ledger, views=("checks",)) as snapshot:
        held = snapshot.rows("SELECT outcome FROM checks")
        assert held == ([("passed",)] if correct is amend else [])


def test_only_payloads_that_the_prefix_names_can_be_read(tmp_path: Path) -> None:
    """Not others in the same folder, and not through a link that has such a name."""
    ledger = _ledger(tmp_path / "ledger", {2})
    (blob,) = (tmp_path / "ledger" / "blobs").iterdir()
    stranger = blob.with_name("b" * 64)
    stranger.write_bytes(b"{}")
    with open_snapshot(ledger) as snapshot:
        for path in (stranger, tmp_path / "ledger" / "ledger.json", blob.parent / "*"):
            with pytest.raises(Exception, match="outside the ledger"):
                run_query(snapshot, f"SELECT content FROM read_text('{path}')", {})


def test_a_query_of_one_type_opens_no_payload_of_another(tmp_path: Path) -> None:
    """Else a single damaged file would stop every query, and each would read all of them."""
    ledger = _ledger(tmp_path / "ledger", {2, 4})
    with open_snapshot(ledger, views=("events", "materializations", "runs")) as snapshot:
        for path in (tmp_path / "ledger" / "blobs").iterdir():
            if b"800 rows" in path.read_bytes():
                path.unlink()  # after it was found there
        assert snapshot.rows("SELECT data_version FROM materializations WHERE asset_key = 'orders'") == [("v1",)]
        assert snapshot.rows("SELECT count(*) FROM events") == [(COUNT,)]
        assert snapshot.rows("SELECT closed FROM runs") == [(True,)]


def test_a_payload_that_goes_away_while_a_snapshot_is_open_is_missing(tmp_path: Path) -> None:
    """It was there when the snapshot was opened; its row does not read as one that says nothing more."""
    ledger = _ledger(tmp_path / "ledger", {2, 11})
    (blob, other) = (tmp_path / "ledger" / "blobs").iterdir()
    with open_snapshot(ledger, views=("events",)) as snapshot:
        blob.unlink()
        assert snapshot.rows("SELECT count(payload) FROM events") == [(1,)]
        other.unlink()
        assert snapshot.rows("SELECT count(payload) FROM events") == [(2,)]


def test_a_payload_that_goes_away_while_it_is_read_is_no_alteration(tmp_path: Path) -> None:
    """The database says that it cannot open the file: the machine's fault, and asking again answers."""
    error = duckdb.IOException(
        f'IO Error: Cannot open file "{tmp_path}/blobs/{"a" * 64}": No such file or directory'
    )
    assert isinstance(payload_fault(error), EnvironmentFault)


@pytest.mark.parametrize("correct", [amend, void])
def test_the_payload_of_a_correction_is_not_erased(tmp_path: Path, correct: Any) -> None:
    """Without it nobody could tell what it corrects, and what was voided would count again."""
    ledger = _ledger(tmp_path / "ledger")
    correction = correct(ledger, encode(_history()[4], 0).event_id, reason=PADDING, actor="ada")
    with pytest.raises(UsageError):
        erase(ledger, correction, reason="because", actor="ada")
