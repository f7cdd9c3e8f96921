"""Rows of a segment in Arrow's memory: entries and the columns derived from them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import pyarrow as pa

from run_evidence.ledger.model.event import Row
from run_evidence.ledger.model.schema import COLUMNS, STATED, VERSION, columns_of

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, Any] = {
    "occurred_at": _TIMESTAMP,
    "recorded_at": _TIMESTAMP,
    "storage_id": pa.int64(),
    "attempt": pa.int32(),
    STATED: pa.int32(),
}


def schema_of(version: int) -> pa.Schema:
    """Return the columns of a segment of a schema version."""
    columns = (pa.field(name, _TYPES.get(name, pa.string())) for name in columns_of(version))
    return pa.schema([pa.field("index", pa.int64()), *columns, pa.field("entry", pa.binary())])


SCHEMA: Final = schema_of(VERSION)
"""The columns of a segment: an entry's index in the log, what follows from its bytes, and these bytes."""


def table(rows: Sequence[Row], first_index: int | None = None) -> pa.Table:
    """Put derived entries into columns; without `first_index` they have no index yet."""
    values = zip(*(row.values for row in rows), strict=True) if rows else ([] for _ in COLUMNS)
    arrays = []
    for name, column in zip(COLUMNS, values, strict=True):
        kind = SCHEMA.field(name).type
        stored = pa.int64() if kind == _TIMESTAMP else kind
        arrays.append(pa.array(column, stored).cast(kind))
    entries = binary([row.entry for row in rows])
    found = pa.table([pa.nulls(len(rows), pa.int64()), *arrays, entries], schema=SCHEMA)
    return found if first_index is None else indexed(found, first_index)


def binary(values: Sequence[bytes]) -> pa.Array:
    """Return these bytes as `pa.array` does, but in memory that is taken at once: growing it costs more."""
    ends = array("i", accumulate(map(len, values), initial=0))
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def texts_of(column: pa.Array) -> pa.Buffer:
    """Return all texts of a column, one behind the other, and whatever lies between them; they are not copied."""
    _, ends, text = column.buffers()
    if ends is None or text is None:
        return pa.py_buffer(b"")
    ends = memoryview(ends).cast("i")
    start = ends[column.offset]
    return text.slice(start, ends[column.offset + len(column)] - start)


def views(column: pa.Array) -> Iterator[memoryview]:
    """Yield the bytes of each value of a binary column, none for a null, without a copy."""
    if not len(column):
        return
    _, ends, text = column.buffers()
    bounds = memoryview(ends).cast("i")[column.offset : column.offset + len(column) + 1].tolist()
    bytes_of_all = memoryview(text)
    for start, end in pairwise(bounds):
        yield bytes_of_all[start:end]


def indexed(rows: pa.Table, first_index: int) -> pa.Table:
    """Give rows their indexes, from `first_index` on."""
    numbers = array("q", range(first_index, first_index + len(rows)))
    indexes = pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(numbers)])
    return rows.set_column(0, SCHEMA.field("index"), indexes)


def upcast(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of an older schema version as rows of this one: a column that they do not have is NULL."""
    there = set(rows.schema.names)
    arrays = [rows.column(f.name) if f.name in there else pa.nulls(len(rows), f.type) for f in SCHEMA]
    return pa.record_batch(arrays, schema=SCHEMA)
