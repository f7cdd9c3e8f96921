"""A segment: a Parquet file of consecutive entries, their bytes and the columns derived from those bytes.

Grain: one row for each entry, in index order. Columns: `index`, the columns of `ledger.event.COLUMNS`,
and `entry`, the exact bytes that were hashed. The footer carries the tree's frontier after the last row, so
that the next seal can go on from this file alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.errors import IntegrityError
from ledger.event import COLUMNS, Row
from ledger.merkle import Frontier, format_frontier, parse_frontier
from ledger.store import sync_file, sync_folder

ROW_GROUP_ROWS = 20_000
"""Measured: row groups of this size with Bloom filters halve the time of a look-up by run or by trace."""

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, Any] = {
    "occurred_at": _TIMESTAMP,
    "recorded_at": _TIMESTAMP,
    "storage_id": pa.int64(),
    "attempt": pa.int32(),
}
SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64()),
        *(pa.field(name, _TYPES.get(name, pa.string())) for name in COLUMNS),
        pa.field("entry", pa.binary()),
    ]
)
_FRONTIER = b"ledger.frontier"
_UNIQUE = ("entry", "event_id", "source_digest", "data", "index", "storage_id")
_LOOKED_UP = ("event_id", "run_id", "trace_id", "asset_key")


@dataclass(frozen=True, slots=True)
class Segment:
    """One committed file of the log: entries `first_index` … `first_index + count − 1`."""

    path: Path
    size_bytes: int
    first_index: int
    count: int
    min_event_id: str
    max_event_id: str

    @property
    def end(self) -> int:
        """The index after the last entry."""
        return self.first_index + self.count


def rows_table(rows: Sequence[Row], first_index: int | None) -> pa.Table:
    """Put rows into Arrow columns (`SCHEMA`); `first_index=None` for entries that have no index yet."""
    if first_index is None:
        indexes = pa.nulls(len(rows), pa.int64())
    else:
        indexes = pa.array(range(first_index, first_index + len(rows)), pa.int64())
    arrays = [indexes]
    derived = list(zip(*(row.values for row in rows), strict=True)) or [()] * len(COLUMNS)
    for name, values in zip(COLUMNS, derived, strict=True):
        kind = SCHEMA.field(name).type
        stored = pa.int64() if kind == _TIMESTAMP else kind
        arrays.append(pa.array(values, stored).cast(kind))
    arrays.append(pa.array([row.entry for row in rows], pa.binary()))
    return pa.table(arrays, schema=SCHEMA)


def new_path(folder: Path, first_index: int, count: int) -> Path:
    """Name a segment so that rivals sealing the same range never write to each other's file."""
    return folder / f"{first_index:016d}-{count}-{secrets.token_hex(6)}.parquet"


def write(path: Path, table: pa.Table, frontier: Frontier) -> Segment:
    """Write a segment durably; nothing refers to it until it is committed to the log."""
    schema = table.schema.with_metadata({_FRONTIER: format_frontier(frontier).encode()})
    pq.write_table(
        table.cast(schema),
        path,
        compression="zstd",
        compression_level=3,
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=[f.name for f in SCHEMA if f.name not in _UNIQUE],
        write_statistics=[f.name for f in SCHEMA if f.name not in {"entry", "data"}],
        bloom_filter_options={name: {"ndv": ROW_GROUP_ROWS, "fpp": 0.01} for name in _LOOKED_UP},
        write_page_checksum=True,
    )
    sync_file(path)
    sync_folder(path.parent)
    ids = table.column("event_id").to_pylist()
    return Segment(path, path.stat().st_size, table.column("index")[0].as_py(), len(table), min(ids), max(ids))


def open_segment(segment: Segment) -> pq.ParquetFile:
    """Open a segment for reading.

    Raises `IntegrityError` when the file is missing, truncated or not Parquet.
    """
    try:
        return pq.ParquetFile(segment.path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(segment, error) from None


def read_frontier(segment: Segment) -> Frontier:
    """Return the frontier of the tree after the segment's last entry, as its footer states it."""
    with open_segment(segment) as file:
        stated = (file.schema_arrow.metadata or {}).get(_FRONTIER)
    if stated is None:
        raise IntegrityError(f"log/{segment.path.name}: the footer has no frontier.", next_step="ledger verify")
    frontier = parse_frontier(stated.decode("ascii", "replace"))
    if frontier.size != segment.end:
        raise IntegrityError(
            f"log/{segment.path.name}: its footer's frontier is of {frontier.size} entries, expected {segment.end}.",
            next_step="ledger verify",
        )
    return frontier


def read_batches(segment: Segment, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read a segment in batches of at most one row group, so memory does not grow with the log."""
    with open_segment(segment) as file:
        try:
            yield from file.iter_batches(batch_size=ROW_GROUP_ROWS, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(segment, error) from None


def _unreadable(segment: Segment, error: Exception) -> IntegrityError:
    detail = str(error).splitlines()[0][:200]
    return IntegrityError(
        f"log/{segment.path.name} (entries {segment.first_index} to {segment.end - 1}) cannot be read: {detail}",
        next_step="restore this file from a copy of the ledger, then: ledger verify",
    )
