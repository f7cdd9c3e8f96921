"""Rows of a segment in Arrow's memory: entries and the columns derived from them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import pyarrow as pa

from ledger.event import COLUMNS, Row

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, Any] = {
    "occurred_at": _TIMESTAMP,
    "recorded_at": _TIMESTAMP,
    "storage_id": pa.int64(),
    "attempt": pa.int32(),
}
SCHEMA: Final = pa.schema(
    [
        pa.field("index", pa.int64()),
        *(pa.field(name, _TYPES.get(name, pa.string())) for name in COLUMNS),
        pa.field("entry", pa.binary()),
    ]
)
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


def indexed(rows: pa.Table, first_index: int) -> pa.Table:
    """Give rows their indexes, from `first_index` on."""
    indexes = pa.array(range(first_index, first_index + len(rows)), pa.int64())
    return rows.set_column(0, SCHEMA.field("index"), indexes)
