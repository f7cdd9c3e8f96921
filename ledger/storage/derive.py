"""Deriving the columns of many entries at once.

DuckDB takes the members out of their JSON. What it makes of them is not believed: `are_sound` tells whether it
writes the same bytes again.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from run_evidence.ledger.model.event import INTEGERS, data_text
from run_evidence.ledger.model.schema import COLUMNS
from run_evidence.ledger.storage.rows import SCHEMA
from run_evidence.ledger.storage.search import opened
from run_evidence.ledger.storage.sound import are_sound

if TYPE_CHECKING:
    import duckdb

_AT_A_TIME: Final = 4_000
"""Rows whose soundness is checked together: the memory that this takes serves for the next ones."""

_MEMBERS: Final = {
    name: "BIGINT" if name in INTEGERS else "JSON" if name == "data" else "VARCHAR" for name in COLUMNS
}
_SQL: Final = f"SELECT unnest(json_transform(entry, '{orjson.dumps(_MEMBERS).decode()}')) FROM waiting"  # noqa: S608


def take_apart(entries: pa.Array) -> pa.RecordBatch | None:
    """Return entries with the columns that are probably theirs (`SCHEMA`, no indexes); other threads may go on.

    `None` when one of them is no JSON, or does not fit into the columns.
    """
    import duckdb

    try:
        with _parser(os.getpid()).cursor() as connection:
            connection.register("waiting", pa.table({"entry": entries.cast(pa.string())}))
            members = connection.sql(_SQL).to_arrow_table().combine_chunks()
        columns = [members.column(name).cast(SCHEMA.field(name).type).combine_chunks() for name in COLUMNS]
    except (duckdb.Error, pa.ArrowException, ValueError):  # the last: its message may not be UTF-8, either
        return None
    return pa.record_batch([pa.nulls(len(entries), pa.int64()), *columns, entries], schema=SCHEMA)


@functools.cache
def _parser(_process: int) -> duckdb.DuckDBPyConnection:
    """Return this process's database for taking entries apart; a fork's copy would wait for threads it has not."""
    connection = opened()
    # Its threads cannot share what comes as one piece, but look for work and take time from those that do.
    connection.execute("SET threads = 1")
    return connection


def derived(rows: pa.RecordBatch) -> pa.RecordBatch | None:
    """Return entries that were taken apart with their columns; `None` when `columns` may refuse one of them."""
    if _sound(rows):
        return rows
    try:
        rows = _with_payloads_as_they_stand(rows)
    except ValueError:
        return None
    return rows if _sound(rows) else None


def _sound(rows: pa.RecordBatch) -> bool:
    return all(are_sound(rows.slice(start, _AT_A_TIME)) for start in range(0, len(rows), _AT_A_TIME))


def _with_payloads_as_they_stand(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Take payloads with control characters from their entries: DuckDB escapes these in capital letters."""
    place = rows.schema.get_field_index("data")
    escaped = pc.match_substring(rows.column(place), "\\u").fill_null(False)
    texts = [data_text(entry) for entry in rows.column("entry").filter(escaped).to_pylist()]
    data = pc.replace_with_mask(rows.column(place), escaped, pa.array(texts, pa.string()))
    return rows.set_column(place, SCHEMA.field("data"), data)
