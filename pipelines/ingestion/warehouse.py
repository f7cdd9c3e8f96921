"""The warehouse: Bronze events and Silver facts of tickets, written in one transaction a batch.

Bronze keeps every distinct payload once, so writing the same batch again changes nothing. Silver follows from
Bronze: the newest version of a ticket wins, whatever order versions arrive in.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from pipelines.ingestion.databases import DatabaseMissingError, load_sql
from pipelines.ingestion.increments import IngestCursor, LatePartition
from pipelines.ingestion.migrations import migrate, require_known
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.ingestion.ticket_reader import RejectedLine
from pipelines.partitions import format_instant
from pipelines.tickets import Ticket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.ingestion.databases import Database, Transaction
    from pipelines.ingestion.documents import DocAsset
    from pipelines.ingestion.increments import Increment
    from pipelines.partitions import DailyWindow

# Tickets sent to the database at once: enough to make the round trip cheap, small beside a payload's limit.
_CHUNK_ROWS: Final = 20_000
_TABLE_COUNT: Final = 3
_NULL_COLUMNS: Final = (
    *("status", "priority", "product_line", "pii_level"),
    *("quality_gate", "owner", "source_id", "ingest_batch_id"),
)
# The columns of `incoming_ticket` in its order, and where they come from.
_INCOMING: Final = {
    "source_fingerprint" if name == "fingerprint" else name: attrgetter(name)
    for name in (
        *("source_id", "fingerprint", "payload", "ticket_id", "ingest_batch_id", "customer_id", "org_id", "status"),
        *("priority", "category", "product_line", "product_version", "assignee_id", "sla_tier", "pii_level"),
        *("quality_gate", "owner", "created_at", "updated_at", "resolved_at", "sla_due_at"),
    )
}


@dataclass(frozen=True, slots=True)
class BatchStamp:
    """Who writes a batch and when: the run, the data release it belongs to, the time of the write (UTC)."""

    run_id: str
    release_id: str | None
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a write changed: new Bronze events, Silver tickets that took a newer version, newly refused lines.

    `late` counts the new events of partitions that had been delivered whole, by partition.
    """

    inserted: int
    updated: int
    quarantined: int = 0
    late: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What the warehouse holds of one partition.

    `event_count` Bronze events · `event_ticket_count` tickets they are about · `without_silver_count` of
    those that Silver lacks · `ticket_count` Silver tickets · `snapshot_id` a SHA-256 over the Silver rows'
    contents, equal on both databases.
    """

    event_count: int
    event_ticket_count: int
    without_silver_count: int
    ticket_count: int
    snapshot_id: str


@dataclass(frozen=True, slots=True)
class NullRates:
    """For each required column of Silver, how many of a partition's tickets lack it."""

    ticket_count: int
    null_counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Bronze and Silver in one database."""

    database: Database

    def write_batch(
        self, lines: Iterable[Ticket | RejectedLine], stamp: BatchStamp, increment: Increment | None = None
    ) -> BatchOutcome:
        """Write a batch in one transaction; an error, also one raised while reading `lines`, undoes it all.

        Tickets go to Bronze and Silver, refused lines to the quarantine; an increment moves its sources' cursors.

        Cost: memory and a staging table for 20,000 tickets; DuckDB keeps more of what is not committed yet.

        Raises: EnvironmentFault when the database cannot be had; RefusedInputError when rows are missing between a
        cursor and the increment; and whatever iterating `lines` raises.
        """
        with self.database.writing() as run:
            migrate(run, self.database.name)
            run(load_sql("create_touched_ticket"))
            watermark = _watermark(run, increment) if increment else None
            rows = iter(lines)
            inserted, quarantined = 0, 0
            late: dict[str, int] = {}
            while chunk := list(islice(rows, _CHUNK_ROWS)):
                if tickets := _not_held(run, [row for row in chunk if isinstance(row, Ticket)]):
                    run(load_sql("create_incoming_ticket"))
                    run.load("incoming_ticket", _columns(tickets))
                    if increment and watermark:
                        about = [increment.batch_id, watermark, stamp.run_id, stamp.ingested_at]
                        late.update(run(load_sql("insert_late_partition"), about))
                    inserted += _merge(run, stamp)
                quarantined += _quarantine(run, chunk, stamp)
            if increment and increment.whole:
                _move_cursors(run, increment, stamp)
            ((updated,),) = run(load_sql("count_updated_ticket"))
        return BatchOutcome(inserted, updated, quarantined, dict(sorted(late.items())))

    def quarantine(self, lines: Iterable[Ticket | RejectedLine], stamp: BatchStamp) -> int:
        """Keep the refused lines of a batch of which nothing else is written; return how many are new.

        Raises: EnvironmentFault when the database cannot be had, and whatever iterating `lines` raises.
        """
        with self.database.writing() as run:
            migrate(run, self.database.name)
            rows = iter(lines)
            quarantined = 0
            while chunk := list(islice(rows, _CHUNK_ROWS)):
                quarantined += _quarantine(run, chunk, stamp)
        return quarantined

    def cursors(self, source_ids: Sequence[str]) -> list[IngestCursor]:
        """Return how far these sources were taken; nothing of one that never was.

        Raises: as `partition_state`.
        """
        with self._reading() as run:
            return _cursors(run, source_ids)

    def untold_late_partitions(self) -> list[LatePartition]:
        """Return the partitions that late tickets changed and nobody told of, in order.

        Raises: as `partition_state`.
        """
        with self._reading() as run:
            return [LatePartition(*row) for row in run(load_sql("untold_late_partitions"))]

    def tell_late_partitions(self, late: Sequence[LatePartition], run_id: str) -> None:
        """Remember that a run told of these; of a partition to which more came since it was read nobody told yet.

        Raises: EnvironmentFault when the database cannot be had.
        """
        told = [[each.partition_key for each in late], [each.ticket_count for each in late]]
        with self.database.writing() as run:
            run(load_sql("tell_late_partitions"), [*told, run_id])

    def write_documents(self, rows: Sequence[DocAsset], stamp: BatchStamp) -> dict[str, tuple[str, str]]:
        """Write rows of documents, no source twice, in one transaction; return sources left out: code, sentence.

        Raises: EnvironmentFault when the database cannot be had.
        """
        ordered = sorted(rows, key=lambda row: row.source_id)  # two writers lock rows in one order
        with self.database.writing() as run:
            migrate(run, self.database.name)
            if not ordered:
                return {}
            known = {
                source_id: (manifest_id, declared_at)
                for source_id, manifest_id, declared_at in run(
                    load_sql("known_doc_asset"), [[row.source_id for row in ordered]]
                )
            }
            changed = {
                source_id
                for (source_id,) in run(
                    load_sql("upsert_raw_doc_asset"),
                    [*_doc_columns(ordered), stamp.release_id, stamp.run_id, stamp.ingested_at],
                )
            }
        left_out = {}
        for row in ordered:
            if row.source_id not in changed:
                manifest_id, declared_at = known[row.source_id]
                newer = (declared_at, manifest_id) > row.rank
                why = (
                    ("newer_already_landed", f"{manifest_id} is newer")
                    if newer
                    else ("already_landed", "unchanged")
                )
                left_out[row.source_id] = why
        return left_out

    def partition_state(self, window: DailyWindow) -> PartitionState:
        """Count and digest one partition, from one consistent state.

        Raises: DatabaseMissingError when nothing was ever written; EnvironmentFault when it cannot be read.
        """
        with self._reading() as run:
            bronze = run(load_sql("partition_bronze"), [window.start, window.end])[0]
            silver = run(load_sql("partition_silver"), [window.start, window.end])
        return PartitionState(
            event_count=bronze[0],
            event_ticket_count=bronze[1],
            without_silver_count=bronze[2],
            ticket_count=len(silver),
            snapshot_id=_digest(silver),
        )

    def null_rates(self, window: DailyWindow) -> NullRates:
        """Count the blanks in one partition's required columns.

        Raises: as `partition_state`.
        """
        with self._reading() as run:
            row = run(load_sql("partition_nulls"), [window.start, window.end])[0]
        return NullRates(row[0], dict(zip(_NULL_COLUMNS, row[1:], strict=True)))

    def read_whole(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Return all rows of Bronze and of Silver, from one consistent state, as `whole_*.sql` have them.

        Cost: memory for all of it.

        Raises: as `partition_state`.
        """
        with self._reading() as run:
            return run(load_sql("whole_bronze")), run(load_sql("whole_silver"))

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with self.database.reading() as run:
            if run(load_sql("existing_tables"))[0][0] != _TABLE_COUNT:
                raise DatabaseMissingError(
                    f"{self.database.name}: the warehouse's tables are not there",
                    next_step="run the ingest once; it creates them",
                )
            require_known(run, self.database.name)
            yield run


def _merge(run: Transaction, stamp: BatchStamp) -> int:
    """Bring what lies in staging to Bronze and Silver, and empty staging; return the new Bronze events."""
    inserted = run.change(load_sql("insert_raw_ticket_event"), [stamp.run_id, stamp.ingested_at])
    run(load_sql("upsert_customer_dim"))
    run(load_sql("create_newest_ticket"))
    run(load_sql("insert_touched_ticket"))
    run(load_sql("upsert_ticket_fact"), [stamp.release_id])
    run(load_sql("drop_incoming_ticket"))
    return inserted


def _watermark(run: Transaction, increment: Increment) -> datetime | None:
    """Return before which instant a new ticket of an increment is late; None when its sources have no cursor.

    Raises: RefusedInputError.
    """
    cursors = _cursors(run, increment.source_ids)
    if gap := increment.gap_behind(cursors):
        raise RefusedInputError(
            gap,
            next_step="have what lies between delivered first, or this as load_mode backfill: that has no cursor",
            reason_codes=["cursor_gap"],
        )
    return max((cursor.watermark_at for cursor in cursors), default=None)


def _move_cursors(run: Transaction, increment: Increment, stamp: BatchStamp) -> None:
    names = [increment.manifest_id, increment.batch_id, stamp.run_id, stamp.ingested_at]
    moved = [list(increment.source_ids), increment.cursor_at, increment.watermark_at, *names]
    run(load_sql("upsert_ingest_cursor"), moved)


def _cursors(run: Transaction, source_ids: Sequence[str]) -> list[IngestCursor]:
    return [IngestCursor(*row) for row in run(load_sql("ingest_cursors"), [list(source_ids)])]


def _quarantine(run: Transaction, rows: Sequence[Ticket | RejectedLine], stamp: BatchStamp) -> int:
    """Keep the refused ones of these lines; return how many are new."""
    lines = [row for row in rows if isinstance(row, RejectedLine)]
    if not lines:
        return 0
    columns: list[Sequence[object]] = [
        [line.source_sha256 for line in lines],
        [line.batch_id for line in lines],
        [line.file_name for line in lines],
        [line.ticket_id for line in lines],
        [",".join(line.reason_codes) for line in lines],
        [line.reason for line in lines],
        [line.number for line in lines],
    ]
    return len(run(load_sql("insert_ticket_quarantine"), [*columns, stamp.run_id, stamp.ingested_at]))


def _doc_columns(rows: Sequence[DocAsset]) -> list[Sequence[object]]:
    """Turn documents into one array a column, in the order of `upsert_raw_doc_asset`."""
    texts = ("source_id", "manifest_id", "batch_id", "asset_type", "license_tag", "owner")
    found = ("checksum_sha256", "object_key", "judgement")
    statuses = ("metadata_status", "pii_scan_status", "size_bytes", "declared_at")
    return [
        *([getattr(row, name) for row in rows] for name in (*texts, *found)),
        [",".join(row.reason_codes) for row in rows],
        *([getattr(row, name) for row in rows] for name in statuses),
    ]


def _not_held(run: Transaction, tickets: list[Ticket]) -> list[Ticket]:
    """Return the tickets that change the warehouse; most of a batch that is written again do not."""
    if not tickets:
        return []
    asked = [
        ",".join([ticket.fingerprint for ticket in tickets]),
        ",".join([ticket.ticket_id for ticket in tickets]),
        ",".join([ticket.version_at.isoformat() for ticket in tickets]),
        "\x1f".join([ticket.source_id for ticket in tickets]),
    ]
    held = set(run(load_sql("held_tickets"), asked))
    return [ticket for ticket in tickets if (ticket.source_id, ticket.fingerprint) not in held] if held else tickets


def _columns(tickets: list[Ticket]) -> dict[str, Sequence[object]]:
    """Turn tickets into one list a column, in the order of `incoming_ticket`."""
    return {column: [of(ticket) for ticket in tickets] for column, of in _INCOMING.items()}


def _digest(rows: list[tuple[Any, ...]]) -> str:
    """Digest rows whatever their order: databases sort text differently."""
    lines = (
        json.dumps([format_instant(v) if isinstance(v, datetime) else v for v in row]).encode() for row in rows
    )
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(line).digest() for line in lines))).hexdigest()
