"""A segment: a Parquet file of consecutive entries, their bytes and the columns derived from those bytes.

Grain: one row for each entry, in index order. Columns: `index`, the columns of `ledger.event.COLUMNS`,
and `entry`, the exact bytes that were hashed. The footer carries the tree's frontier after the last row, so
that the next seal can go on from this file alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.errors import IntegrityError
from ledger.event import COLUMNS, Row
from ledger.log import Segment
from ledger.merkle import Frontier, format_frontier, parse_frontier
from ledger.store import sync_file, sync_folder

ROW_GROUP_ROWS: Final = 20_000
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


def rows_tables(rows: Sequence[Row], first_index: int) -> Iterator[pa.Table]:
    """Put rows into one Arrow table for each row group, so that only one of them is held at a time."""
    for start in range(0, len(rows), ROW_GROUP_ROWS):
        yield rows_table(rows[start : start + ROW_GROUP_ROWS], first_index + start)


def new_path(folder: Path, first_index: int, count: int) -> Path:
    """Name a segment so that rivals sealing the same range never write to each other's file."""
    return folder / f"{first_index:016d}-{count}-{secrets.token_hex(6)}.parquet"


def write(path: Path, tables: Iterable[pa.Table], frontier: Frontier) -> Segment:
    """Write a segment durably, a row group for each table; nothing refers to it until it is committed.

    The rows have dense indexes. A file that could not be written whole is removed again.
    """
    count, first_index, low, high = 0, 0, "", ""
    try:
        with _writer(path, frontier) as writer:
            for table in filter(len, tables):
                writer.write_table(table.cast(writer.schema), row_group_size=ROW_GROUP_ROWS)
                ids = table.column("event_id").to_pylist()
                if not count:
                    first_index, low, high = table.column("index")[0].as_py(), ids[0], ids[0]
                count, low, high = count + len(ids), min(low, *ids), max(high, *ids)
        sync_file(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return Segment(path, path.stat().st_size, first_index, count, low, high)


def _writer(path: Path, frontier: Frontier) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        SCHEMA.with_metadata({_FRONTIER: format_frontier(frontier).encode()}),
        compression="zstd",
        compression_level=3,
        use_dictionary=[f.name for f in SCHEMA if f.name not in _UNIQUE],
        write_statistics=[f.name for f in SCHEMA if f.name not in {"entry", "data"}],
        bloom_filter_options={name: {"ndv": ROW_GROUP_ROWS, "fpp": 0.01} for name in _LOOKED_UP},
        write_page_checksum=True,
    )


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
            f"log/{segment.path.name}: its footer states a tree of {frontier.size} entries, not {segment.end}.",
            next_step="ledger verify",
        )
    return frontier


def row_groups(segment: Segment) -> list[int]:
    """Return the number of rows in each row group, as the footer states it.

    Raises `IntegrityError` when the segment cannot be opened.
    """
    with open_segment(segment) as file:
        return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def read_batches(
    segment: Segment, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a segment, some of its columns or row groups, in batches: memory does not grow with the log.

    Raises `IntegrityError` when it cannot be read or does not have the columns of a segment.
    """
    with open_segment(segment) as file:
        try:
            stored = file.schema_arrow
            if not stored.equals(SCHEMA):
                raise IntegrityError(
                    f"log/{segment.path.name} has columns {_spell(stored)}, expected {_spell(SCHEMA)}.",
                    next_step="restore this file from a copy of the ledger, then: ledger verify",
                )
            yield from file.iter_batches(batch_size=ROW_GROUP_ROWS, columns=columns, row_groups=groups)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(segment, error) from None


def _spell(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _unreadable(segment: Segment, error: Exception) -> IntegrityError:
    detail = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return IntegrityError(
        f"log/{segment.path.name} (entries {segment.first_index} to {segment.end - 1}) cannot be read: {detail}",
        next_step="restore this file from a copy of the ledger, then: ledger verify",
    )
