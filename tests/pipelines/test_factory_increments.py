"""What is delivered increment by increment: the cursor goes with the rows, and what comes late is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipelines.definitions import base_definitions
from pipelines.delivery import WEEK06
from pipelines.ingestion.increments import Increment, IngestCursor, LatePartition
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.ingestion.ticket_ingest import ingest_manifests
from pipelines.ingestion.warehouse import BatchOutcome, BatchStamp, Warehouse
from pipelines.manifests import SourceSettings
from run_evidence.ledger import Ledger, open_snapshot
from run_evidence.sensors.capture.capture import CaptureContext, declare_profile
from run_evidence.sensors.sync import sync_runs
from tests.here import ledger_here

if TYPE_CHECKING:
    from conftest import Factory, FinishedRun

    from pipelines.ingestion.databases import Database
    from pipelines.tickets import Ticket

SOURCE = "structured:tickets:test"
DAY = "2026-04-17"
PRODUCT = WEEK06.product
RAW = "week06/ingestion/raw_ticket_events_partitioned"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def increment(day: int, starts_at: str | None = None, **changes: Any) -> Increment:
    """Make the delivery of a day of April, made an hour before it ended."""
    made = at(f"2026-04-{day}T23:00:00")
    starts = at(starts_at) if starts_at else None
    about = {"starts_at": starts, "cursor_at": made, "watermark_at": at(f"2026-04-{day + 1}T00:00:00"), **changes}
    return Increment(f"manifest-{day}", f"batch-{day}", (SOURCE,), **about)


def stamp(run_id: str) -> BatchStamp:
    return BatchStamp(run_id, None, at("2026-04-20T00:00:00"))


@pytest.fixture
def write(database: Database, parsed: Callable[..., Ticket]) -> Callable[..., BatchOutcome]:
    """Write a ticket for each number and day of April as one increment."""

    def write(of: Increment, *tickets: tuple[int, int], run_id: str = "run-1") -> BatchOutcome:
        rows = [
            parsed(ticket_id=f"TKT-20260417-{number:06d}", created_at=f"2026-04-{day}T23:30:00Z")
            for number, day in tickets
        ]
        return Warehouse(database).write_batch(rows, stamp(run_id), of)

    return write


def cursor(database: Database) -> tuple[datetime, datetime]:
    ((found),) = Warehouse(database).cursors([SOURCE, "another"])
    return found.cursor_at.astimezone(UTC), found.watermark_at.astimezone(UTC)


def test_the_cursor_moves_with_the_rows_and_never_back(
    database: Database, write: Callable[..., BatchOutcome]
) -> None:
    write(increment(17), (1, 17))
    assert cursor(database) == (at("2026-04-17T23:00:00"), at("2026-04-18T00:00:00"))
    write(increment(18), (2, 18))
    write(increment(17), (1, 17))  # the older delivery again
    assert cursor(database) == (at("2026-04-18T23:00:00"), at("2026-04-19T00:00:00"))
    write(increment(19, whole=False), (3, 19))  # read in part only
    assert cursor(database)[0] == at("2026-04-18T23:00:00")


def test_a_batch_that_is_undone_leaves_the_cursor(database: Database, write: Callable[..., BatchOutcome]) -> None:
    write(increment(17), (1, 17))

    def breaking() -> Iterator[Ticket]:
        raise RuntimeError("the disk went away")
        yield

    with pytest.raises(RuntimeError, match="went away"):
        Warehouse(database).write_batch(breaking(), stamp("run-2"), increment(18))
    assert cursor(database)[0] == at("2026-04-17T23:00:00")


def test_a_gap_behind_the_cursor_is_refused(database: Database, write: Callable[..., BatchOutcome]) -> None:
    """Moving over it would lose what nobody delivered; nothing is written."""
    write(increment(17, "2026-04-17T00:00:00"), (1, 17))
    with pytest.raises(
        RefusedInputError, match=r"taken up to 2026-04-17T23:00:00Z.* begins at 2026-04-18T00:00:00Z"
    ) as no:
        write(increment(18, "2026-04-18T00:00:00"), (2, 18))
    assert no.value.reason_codes == ("cursor_gap",)
    assert "backfill" in str(no.value.next_step)
    assert cursor(database)[0] == at("2026-04-17T23:00:00")
    assert write(increment(18, "2026-04-17T23:00:00"), (2, 18)).inserted == 1


def test_late_tickets_are_counted_by_their_own_partition(
    database: Database, write: Callable[..., BatchOutcome]
) -> None:
    """New ones alone, created before the watermark: the same batch again has none."""
    assert write(increment(17), (1, 17), (2, 16)).late == {}, "nothing was delivered before"
    later = (increment(18), (1, 17), (3, 17), (4, 17), (5, 16), (6, 18))
    assert write(*later).late == {"2026-04-16": 1, "2026-04-17": 2}
    assert write(*later).late == {}
    told = Warehouse(database).untold_late_partitions()
    assert told == [LatePartition("2026-04-16", 1, "batch-18"), LatePartition(DAY, 2, "batch-18")]
    Warehouse(database).tell_late_partitions(told[:1], "run-9")
    assert Warehouse(database).untold_late_partitions() == told[1:]
    assert write(increment(19), (7, 17), run_id="run-2").late == {DAY: 1}
    both = [LatePartition(DAY, 3, "batch-18,batch-19")]
    assert Warehouse(database).untold_late_partitions() == both
    Warehouse(database).tell_late_partitions(told[1:], "run-1")  # it read before the other run wrote
    assert Warehouse(database).untold_late_partitions() == both
    Warehouse(database).tell_late_partitions(both, "run-2")
    assert Warehouse(database).untold_late_partitions() == []


def test_a_manifest_says_how_far_it_goes(
    database: Database, tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., dict[str, Any]]
) -> None:
    """Its window, else when it was made; deliveries are taken in their order, whatever their folders are called."""
    window = {"cursor_start": "2026-04-17T23:00:00Z", "cursor_end": "2026-04-18T18:00:00Z"}
    second = {"ticket_id": "TKT-20260417-000002", "created_at": "2026-04-18T01:00:00Z"}
    deliver(tmp_path / "a", "2026-04-18", [ticket(**second)], selection_window=window)
    deliver(tmp_path / "b", DAY, [ticket()])
    deliver(tmp_path / "c", "2026-04-19", [ticket()], load_mode="full_snapshot")
    settings = SourceSettings(tmp_path)
    ingest_manifests(settings, Warehouse(database), stamp("run-1"), limit=1)
    assert Warehouse(database).cursors([SOURCE]) == []
    ingest_manifests(settings, Warehouse(database), stamp("run-1"))
    assert cursor(database) == (at("2026-04-18T18:00:00"), at("2026-04-18T00:00:00"))
    assert IngestCursor(SOURCE, *cursor(database)).to_document()["watermark_at"] == "2026-04-18T00:00:00Z"


def _signed_off(root: Path) -> str:
    words = (
        "--product",
        PRODUCT,
        "--partition",
        DAY,
        "--actor",
        "ana",
        "--decision",
        "proceed",
        "--reason",
        "seen",
    )
    done = ledger_here("--ledger", str(root), "sign-off", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _rows(ledger: Ledger, sql: str) -> Sequence[tuple[Any, ...]]:
    with open_snapshot(ledger) as snapshot:
        return snapshot.rows(sql)


@pytest.mark.soak
def test_a_late_ticket_lapses_the_sign_off_of_its_day(
    factory: Factory, deliver: Callable[..., Path], ticket: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger names the partition that a later batch changed, and what was signed off is that no more.

    Made anew and signed off again it is good.
    """
    monkeypatch.setenv("SEED_MANIFEST_PATH", str(factory.root / "in"))
    monkeypatch.setenv("WEEK06_OBJECT_DIR", str(factory.root / "objects"))
    ledger = Ledger(factory.root / "ledger")

    def captured(run: FinishedRun) -> FinishedRun:
        assert run.success
        sync_runs(factory.instance, CaptureContext(ledger, grace_seconds=0))
        ledger.seal()
        return run

    def ingest_all() -> FinishedRun:
        job = base_definitions().resolve_job_def("ingest_all")
        return captured(factory.finished(job.execute_in_process(instance=factory.instance, raise_on_error=False)))

    def state(asset_key: str) -> tuple[Any, ...]:
        asked = f"SELECT state, stale_by FROM partitions WHERE asset_key = '{asset_key}' AND partition = '{DAY}'"
        return _rows(ledger, asked)[0]

    def delivery() -> tuple[Any, ...]:
        asked = f"SELECT run_id, sign_off, sign_off_lapsed FROM deliveries WHERE partition = '{DAY}'"
        return _rows(ledger, asked)[0]

    def gate() -> tuple[int, str]:
        done = ledger_here("--ledger", str(ledger.root), "gate", "--product", PRODUCT, "--partition", DAY)
        return done.returncode, done.stdout

    deliver(factory.root / "in", DAY, [ticket(), ticket(ticket_id="TKT-20260417-000002")])
    ingest_all()
    declare_profile(ledger, WEEK06)
    first = captured(factory.run(DAY))
    _signed_off(ledger.root)
    assert delivery() == (first.run_id, "proceed", None)
    assert gate()[0] == 0
    late = ticket(ticket_id="TKT-20260417-000003", created_at="2026-04-17T23:59:00Z")
    own = ticket(ticket_id="TKT-20260418-000001", created_at="2026-04-18T09:00:00Z")
    deliver(factory.root / "in", "2026-04-18", [late, own])
    second = ingest_all()
    made = [
        event.partition for event in second.events(dg.DagsterEventType.ASSET_MATERIALIZATION) if event.partition
    ]
    assert made == [DAY], "the partition of the late ticket, and not that of the day itself"
    assert state(PRODUCT) == ("stale", [RAW])
    assert delivery() == (first.run_id, None, "its data changed since")
    code, told = gate()
    assert code == 1
    assert f"{RAW} [{DAY}] was materialized by run {second.run_id[:8]}" in told
    ingest_all()  # tells nothing a second time
    third = captured(factory.run(DAY))
    assert third.metadata("ticket_fact_partitioned")["output_row_count"] == 3
    assert state(PRODUCT) == ("materialized", None)
    assert delivery()[:2] == (third.run_id, None)
    _signed_off(ledger.root)
    assert delivery() == (third.run_id, "proceed", None)
    assert gate()[0] == 0
    ingest_all()
    assert delivery() == (third.run_id, "proceed", None)
