"""A segment: a Parquet file of consecutive entries, their bytes and the columns derived from those bytes.

Grain: one row for each entry, in index order. Columns: `index`, the columns of `ledger.model.event.COLUMNS`,
and `entry`, the exact bytes that were hashed. The footer carries the tree's frontier after the last row, so
that the next seal can go on from this file alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError
from run_evidence.ledger.model.schema import VERSION
from run_evidence.ledger.storage.faults import read_fault
from run_evidence.ledger.storage.files import TMP_PREFIX, sync_file, sync_folder
from run_evidence.ledger.storage.layout import LOG, SEGMENT_NAME
from run_evidence.ledger.storage.log import Log, Segment
from run_evidence.ledger.storage.rows import SCHEMA, schema_of, upcast
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.merkle import Frontier, format_frontier, parse_frontier

ROW_GROUP_ROWS: Final = 20_000
"""Small enough that memory is bounded by it, large enough that columns compress and are read fast."""

_READ_ROWS: Final = 5_000
"""So few that the memory of one batch serves for the next: touching new memory costs as much as reading."""

_FRONTIER = b"ledger.frontier"
_SCHEMA_VERSION = b"ledger.schema"
_A_VERSION = re.compile("[1-9][0-9]{0,8}")
_UNIQUE = ("entry", "event_id", "source_digest", "data", "index", "storage_id")
UNSTATED: Final = ["data", "entry"]
"""The columns without statistics in the footer: nothing is looked up by them."""


STATED: Final = [name for name in SCHEMA.names if name not in UNSTATED]
"""The columns with statistics."""


def write(store: Store, rows: Iterable[pa.Table], frontier: Callable[[], Frontier]) -> Segment:
    """Write a segment durably; nothing refers to it until it is committed.

    The rows have dense indexes and come in tables of any size. The file's name carries its SHA-256 (128 bits), so
    that not a bit of what lies around the entries can change unseen, and a random part: rivals that seal the same
    range never share a file. `frontier` is asked for the tree after the last row when all rows are written. A row
    group is compressed on another thread while the next one is made.
    """
    import pyarrow.compute as pc  # takes as long to import as the rest of Arrow, and reading does without

    folder = store.path(LOG)
    temporary = folder / f"{TMP_PREFIX}{secrets.token_hex(8)}"
    count, first_index, low, high = 0, 0, "", ""
    under_way: Future[None] | None = None
    try:
        with _writer(temporary) as writer, ThreadPoolExecutor(1) as beside:
            for group in _grouped(rows):
                if under_way is not None:
                    under_way.result()
                under_way = beside.submit(writer.write_table, group, ROW_GROUP_ROWS)
                least, most = pc.min_max(group.column("event_id")).as_py().values()
                if not count:
                    first_index, low, high = group.column("index")[0].as_py(), least, most
                count, low, high = count + len(group), min(low, least), max(high, most)
            if under_way is not None:
                under_way.result()
            stated = {_FRONTIER: format_frontier(frontier()), _SCHEMA_VERSION: str(VERSION)}
            writer.add_key_value_metadata(stated)
        sync_file(temporary)
        name = f"{first_index:016d}-{count}-{_digest(temporary)}-{secrets.token_hex(4)}.parquet"
        path = temporary.rename(folder / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return Segment(path, path.stat().st_size, first_index, count, low, high)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join tables into whole row groups; the last one may be smaller."""
    held: list[pa.Table] = []
    waiting = 0
    for table in tables:
        held.append(table)
        waiting += len(table)
        if waiting >= ROW_GROUP_ROWS:
            joined = pa.concat_tables(held)
            waiting = len(joined) % ROW_GROUP_ROWS
            yield joined.slice(0, len(joined) - waiting)
            held = [joined.slice(len(joined) - waiting)]
    if waiting:
        yield pa.concat_tables(held)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _writer(target: Path | io.BytesIO, schema: pa.Schema = SCHEMA) -> pq.ParquetWriter:
    # No Bloom filters: they make a look-up 1.5 times as fast and are read by SQL alone, and one that lies hides
    # rows. Of the statistics, which make it faster too, `footer_problems` says whether they are true.
    return pq.ParquetWriter(
        target,
        schema,
        compression="zstd",
        compression_level=1,  # of these files it makes smaller ones than 3, in two thirds of the time
        use_dictionary=[f.name for f in schema if f.name not in _UNIQUE],
        write_statistics=[name for name in schema.names if name not in UNSTATED],
        write_page_checksum=True,
    )


@contextlib.contextmanager
def open_segment(segment: Segment) -> Iterator[pq.ParquetFile]:
    """Open a segment for reading, and close it afterwards.

    Raises `IntegrityError` when the file is missing, truncated or not Parquet, then or while it is read;
    `EnvironmentFault` when the machine cannot read it.
    """
    try:
        with pq.ParquetFile(segment.path, page_checksum_verification=True) as file:
            yield file
    except (OSError, ValueError, pa.ArrowException) as error:
        where = f"log/{segment.name} (entries {segment.first_index} to {segment.end - 1}) cannot be read"
        raise read_fault(where, error, "restore this file from a copy of the ledger, then: ledger verify") from None


def size_on_disk(segment: Segment) -> int:
    """Return the size of a segment's file in bytes. Raises: OSError, when it is gone or cannot be seen."""
    return segment.path.stat().st_size


def age_s(segment: Segment) -> float:
    """Return how long ago a segment's file was written. Raises: OSError."""
    return time.time() - segment.path.stat().st_mtime


def note_retired(segment: Segment) -> None:
    """Count a file's age from now on: nobody refers to it any more, but a reader may have it open."""
    segment.path.touch()


def discard(segments: Iterable[Segment]) -> None:
    """Remove segments that were written and not committed."""
    for segment in segments:
        segment.path.unlink(missing_ok=True)


def stated_frontier(segment: Segment) -> Frontier:
    """Return the frontier of the tree after the segment's last entry, as its footer states it."""
    with open_segment(segment) as file:
        stated = (file.metadata.metadata or {}).get(_FRONTIER, b"")
    try:
        frontier = parse_frontier(stated.decode("ascii", "replace"))
    except IntegrityError as error:
        raise IntegrityError(f"log/{segment.name}: {error}", next_step="ledger verify") from None
    if frontier.size != segment.end:
        raise IntegrityError(
            f"log/{segment.name}: its footer states a tree of {frontier.size} entries, not {segment.end}.",
            next_step="ledger verify",
        )
    return frontier


def _version(segment: Segment, file: pq.ParquetFile) -> int:
    """Return the schema version that a segment's footer states; 1 where it states none.

    Raises `NewerSchemaError` for one that this program does not know, `IntegrityError` for what is no version.
    """
    stated = (file.metadata.metadata or {}).get(_SCHEMA_VERSION, b"1").decode("ascii", "replace")
    if not _A_VERSION.fullmatch(stated):
        raise IntegrityError(
            f"log/{segment.name}: its footer states a schema version {stated!r:.50}.",
            next_step="restore this file from a copy of the ledger, then: ledger verify",
        )
    if int(stated) <= VERSION:
        return int(stated)
    if problem := file_problem(segment):
        raise IntegrityError(f"log/{segment.name}: {problem}.", next_step="ledger verify")
    raise NewerSchemaError(f"log/{segment.name}", stated, VERSION)


def row_groups(segment: Segment) -> list[int]:
    """Return the number of rows in each row group, as the footer states it.

    Raises `IntegrityError` when the segment cannot be opened.
    """
    with open_segment(segment) as file:
        _version(segment, file)
        return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def read_batches(
    segment: Segment, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a segment, some of its columns or row groups, in batches: memory does not grow with the log.

    All columns come as this program's schema has them, whatever version wrote them. Raises `IntegrityError` when it
    cannot be read or does not have the columns of its version, `NewerSchemaError` for a version not known.
    """
    with open_segment(segment) as file:
        version = _version(segment, file)
        if not file.schema_arrow.equals(schema := schema_of(version)):
            raise IntegrityError(
                f"log/{segment.name} has columns {_spell(file.schema_arrow)}, expected {_spell(schema)}.",
                next_step="restore this file from a copy of the ledger, then: ledger verify",
            )
        found = file.iter_batches(batch_size=_READ_ROWS, columns=columns, row_groups=groups)
        yield from found if columns is not None or version == VERSION else map(upcast, found)


def entries(log: Log, first: int, end: int) -> Iterator[bytes]:
    """Yield the entries of the log from `first` up to `end`, one row group in memory at a time."""
    for segment in log.segments:
        if segment.end <= first or segment.first_index >= end:
            continue
        at = segment.first_index
        for batch in read_batches(segment, ["entry"]):
            column = batch.column("entry").to_pylist()
            yield from (entry or b"" for entry in column[max(first - at, 0) : max(end - at, 0)])
            at += len(column)


def file_problem(segment: Segment) -> str | None:
    """Say whether the file is not the one that was written, to the bit: its name carries its digest."""
    stated = SEGMENT_NAME.fullmatch(segment.name)
    if stated is None:
        return "its name is not a segment's, which ends in the file's digest"
    try:
        digest = _digest(segment.path)
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    return None if digest == stated[1] else f"the file has SHA-256 {digest}…, its name says {stated[1]}…"


def footer_problems(segment: Segment, number: int, derived: pa.Table) -> Iterator[tuple[str, str, str]]:
    """Yield (problem, expected, got) for what a row group's footer says beside its rows and SQL would rely on.

    `derived` are the group's rows as they follow from the entries, without the columns `UNSTATED`. Statistics that
    do not fit them, an index or a Bloom filter would make rows invisible to a query that looks for them.
    """
    with open_segment(segment) as file:
        version = _version(segment, file)
        if _parquet_types(file) != (expected := _expected_types(version)):
            yield "its Parquet types are not a segment's", str(expected), str(_parquet_types(file))
            return
        group = file.metadata.row_group(number)
        filtered = _with_bloom_filter(segment, group, number)
        for position, name in enumerate(schema_of(version).names):
            column = group.column(position)
            kind = file.schema.column(position).physical_type
            if (column.path_in_schema, column.physical_type) != (name, kind):
                # Arrow ends the process when asked for the statistics of such a column.
                yield (
                    "a column is not the schema's",
                    f"{name} {kind}",
                    f"{column.path_in_schema} {column.physical_type}",
                )
                continue
            if name in filtered or column.has_column_index or column.has_offset_index:
                yield f"column {name} has an index or a filter that nobody can check", "none", "one"
            if column.statistics is None:
                continue
            if name in UNSTATED:
                yield f"column {name} has statistics, which nobody checks", "none", "some"
            else:
                yield from _statistics_problems(name, column.statistics, derived.column(name))


def _with_bloom_filter(segment: Segment, group: Any, number: int) -> set[str]:
    """Return the columns of a row group that have a Bloom filter; Arrow before its version 25 cannot tell."""
    columns = [group.column(position) for position in range(group.num_columns)]
    if all(hasattr(column, "bloom_filter_offset") for column in columns):
        return {column.path_in_schema for column in columns if column.bloom_filter_offset is not None}
    return bloom_filtered(segment.path, number)


def bloom_filtered(path: Path, number: int) -> set[str]:
    """Return the same, as DuckDB reads the footer."""
    import duckdb

    asked = "SELECT path_in_schema FROM parquet_metadata(?) WHERE row_group_id = ? AND bloom_filter_offset > 0"
    with duckdb.connect() as database:
        return {name for (name,) in database.execute(asked, [str(path), number]).fetchall()}


def _parquet_types(file: pq.ParquetFile) -> list[str]:
    """Spell the types that a reader without Arrow's own schema sees, the old way of saying them included."""
    columns = (file.schema.column(position) for position in range(len(file.schema.names)))
    return [f"{c.path} {c.physical_type} {c.converted_type} {c.logical_type}" for c in columns]


@functools.cache
def _expected_types(version: int) -> list[str]:
    target = io.BytesIO()
    _writer(target, schema_of(version)).close()
    return _parquet_types(pq.ParquetFile(target))


def _statistics_problems(name: str, stated: Any, values: pa.ChunkedArray) -> Iterator[tuple[str, str, str]]:
    import pyarrow.compute as pc

    if stated.has_null_count and stated.null_count != values.null_count:
        yield f"the statistics of {name} count other NULLs", str(values.null_count), str(stated.null_count)
    if stated.has_min_max:
        kind = values.type
        textual = pa.types.is_string(kind) or pa.types.is_binary(kind)
        raw = values.cast(pa.binary() if textual else pa.int64())
        low, high = pc.min_max(raw).as_py().values()
        if (stated.min_raw, stated.max_raw) != (low, high):
            yield (
                f"the statistics of {name} do not bound its values",
                f"{low!r} to {high!r}"[:500],
                f"{stated.min_raw!r} to {stated.max_raw!r}"[:500],
            )


def _spell(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
