"""SQL over a snapshot, for someone who should not be able to change or reach anything else.

Read-only, one statement, no other file and no network: a snapshot's DuckDB is locked to the segments of its
ledger and its configuration frozen; the statement must be a query, and runs where nothing can be written.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from run_evidence.ledger.errors import IntegrityError, LedgerError, UsageError
from run_evidence.ledger.query.limits import disk_is_full, memory_is_used, timed
from run_evidence.ledger.query.snapshot import VIEWS
from run_evidence.ledger.storage.search import payload_fault, sql_text, unreadable_segment

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from run_evidence.ledger.query.limits import Limits
    from run_evidence.ledger.query.snapshot import Snapshot

_COLUMN: Final = re.compile(r"-- ([a-z][a-z0-9_]*): (.+)")
_EXPLAIN: Final = re.compile(r"\s*explain(\s+analyze)?(\s*\([^)]*\))?", re.IGNORECASE)
_WRONG_TABLE: Final = re.compile(r'Table with name "?([^"!]+?)"? does not exist')
_WRONG_COLUMN: Final = re.compile(r"(?:column named|eferenced column|extract field) [\"']([^\"']+)[\"']")
_ROWS_AT_ONCE: Final = 10_000
_SAMPLE: Final = 50
_SPILLED: Final = "duckdb_temp"
"""How DuckDB begins the names of files for what does not fit into memory."""
_PROSE: Final = frozenset({"Grain"})

_DATE: Final = re.compile(r"\bDATE(?=[\[\],)]|$)")
"""The type, not a member of a struct that is called so: behind a name comes a space."""


@dataclass(frozen=True, slots=True)
class ViewDoc:
    """A view as its SQL file documents it: what it is, its grain, and (column, meaning) in order."""

    name: str
    meaning: str
    grain: str
    columns: tuple[tuple[str, str], ...]


def view_docs() -> list[ViewDoc]:
    """Return what every view is and what its columns mean, from the heads of their SQL files."""
    docs = []
    for name in VIEWS:
        head = [line for line in sql_text(name).splitlines() if line.startswith("-- ")]
        columns = tuple((m[1], m[2]) for m in map(_COLUMN.fullmatch, head) if m and m[1] not in _PROSE)
        prose = [line[3:] for line in head if not _COLUMN.fullmatch(line)]
        grain = next(line for line in prose if line.startswith("Grain: "))
        meaning = " ".join(line for line in prose[: prose.index(grain)])
        docs.append(ViewDoc(name, meaning, grain.removeprefix("Grain: "), columns))
    return docs


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The rows of a query as Python values, and for each column its name and DuckDB type."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def run_query(snapshot: Snapshot, sql: str, parameters: Mapping[str, str]) -> QueryResult:
    """Run one query over the views and return its rows.

    Raises `UsageError` when it is not one query, is wrong (a wrong name comes with the nearest right one) or
    reaches outside the ledger; `IntegrityError` when a segment it touches cannot be read; `EnvironmentFault` when
    it needs more time, memory or disk than the snapshot's limits or the machine have.
    """
    return _run(snapshot, sql, parameters, _answer)


@dataclass(frozen=True, slots=True)
class _Query:
    """A query on its way; `check` raises when its time is over."""

    snapshot: Snapshot
    sql: str
    parameters: dict[str, Any] | None
    check: Callable[[], None]

    def relation(self) -> duckdb.DuckDBPyRelation:
        """Bind the query, which tells its columns and runs nothing."""
        return self.snapshot.connection.sql(self.sql, params=self.parameters)

    def require_room(self, taken: float) -> None:
        """Refuse an answer that takes more than the memory a query may have, or whose time is over."""
        self.check()
        if taken > self.snapshot.memory_bytes:
            raise memory_is_used(self.snapshot.limits, "The answer alone takes")


def _answer(query: _Query) -> QueryResult:
    """Fetch the rows; an infinite date or time, which Python has none of, is the text `infinity` or `-infinity`."""
    relation = query.relation()
    types = tuple(map(str, relation.types))
    instead = {position: text for position, kind in enumerate(types) if (text := _endless(position + 1, kind))}
    if not instead:
        return QueryResult(tuple(relation.columns), types, _rows(query, query.sql))
    rows = _rows(query, relation.project(", ".join(["*", *instead.values()])).sql_query())
    for number, row in enumerate(rows):
        values = list(row[: len(types)])
        for position, text in zip(instead, row[len(types) :], strict=True):
            values[position] = values[position] if text is None else text
        rows[number] = tuple(values)
    return QueryResult(tuple(relation.columns), types, rows)


def _endless(number: int, kind: str) -> str | None:
    """Return SQL for what column `number` of this type shows in the place of an infinite value; else it is NULL.

    Python has no infinite date. One in a list or a struct becomes text with all the others beside it, as which JSON
    has them anyway; of an infinite timestamp there Python's last moment is left, which no other value is.
    """
    if kind.startswith(("DATE", "TIMESTAMP")) and "[" not in kind:
        return f"CASE WHEN isinf(#{number}) THEN #{number}::VARCHAR END"
    texts = _DATE.sub("VARCHAR", kind)
    return f"#{number}::{texts}" if texts != kind else None


def _rows(query: _Query, sql: str) -> list[tuple[Any, ...]]:
    """Run SQL and take its rows a few at a time, so that an answer that never ends is cut."""
    cursor = query.snapshot.connection.execute(sql, query.parameters)
    rows: list[tuple[Any, ...]] = []
    taken = 0.0
    while some := cursor.fetchmany(_ROWS_AT_ONCE):
        sample = some[:: max(1, len(some) // _SAMPLE)]
        taken += sum(map(_size_bytes, sample)) * len(some) / len(sample)
        query.require_room(taken)
        rows += some
    return rows


def _size_bytes(row: tuple[Any, ...]) -> int:
    return sys.getsizeof(row) + sum(map(sys.getsizeof, row))


def run_query_arrow(snapshot: Snapshot, sql: str, parameters: Mapping[str, Any]) -> pa.Table:
    """Run one query like `run_query`, and return its rows as an Arrow table."""
    return _run(snapshot, sql, parameters, _arrow_table)


def _arrow_table(query: _Query) -> pa.Table:
    import pyarrow as pa

    taken = 0
    batches = []
    with query.relation().to_arrow_reader(_ROWS_AT_ONCE) as reader:
        for batch in reader:
            taken += batch.nbytes
            query.require_room(taken)
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)


_T = TypeVar("_T")


def _run(snapshot: Snapshot, sql: str, parameters: Mapping[str, Any], fetch: Callable[[_Query], _T]) -> _T:
    import duckdb

    connection = snapshot.connection
    _require_query(connection, sql)
    connection.execute("BEGIN TRANSACTION READ ONLY")  # a SELECT can hold an INSERT in its WITH
    try:
        with timed(connection, snapshot.limits) as check:
            return fetch(_Query(snapshot, sql, dict(parameters) or None, check))
    except duckdb.Error as error:
        raise _explained(error, snapshot) from None
    except MemoryError:
        raise memory_is_used(snapshot.limits, "The answer takes") from None
    finally:
        connection.execute("ROLLBACK")


def _exhausted(error: duckdb.Error, limits: Limits) -> LedgerError | None:
    """Tell a query that needs more than it may have, or than the machine has, from one that is wrong."""
    import duckdb

    first = _first_line(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        full = "max_temp_directory_size" in str(error)
        return disk_is_full(first) if full else memory_is_used(limits, "The query needs")
    if isinstance(error, duckdb.IOException) and _SPILLED in first:
        return disk_is_full(first)
    return None


def _explained(error: duckdb.Error, snapshot: Snapshot) -> LedgerError:
    """Tell a query that is wrong, or reaches too far, from a segment that cannot be read."""
    import duckdb

    if found := payload_fault(error) or _exhausted(error, snapshot.limits):
        return found
    if isinstance(error, duckdb.PermissionException):
        for segment in snapshot.log.segments:  # a file that is not there is none of those that may be read
            if segment.is_gone:
                where = f"log/{segment.name} (entries {segment.first_index} to {segment.end - 1})"
                return IntegrityError(
                    f"{where} is gone.",
                    next_step="restore this file from a copy of the ledger, then: ledger verify",
                )
        return UsageError(
            f"The query reaches outside the ledger: {_first_line(error)}",
            next_step="ledger query --schema lists what can be read",
        )
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        return UsageError(_with_nearest(error), next_step="ledger query --schema")
    if isinstance(error, duckdb.TransactionException):
        return _read_only("that writes")
    if isinstance(error, duckdb.IOException | duckdb.SerializationException) or ".parquet" in str(error):
        return unreadable_segment(error)
    return UsageError(f"The query failed: {error}", next_step="ledger query --schema")


def _require_query(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"The query cannot be parsed: {error}", next_step="ledger query --schema") from None
    if len(statements) != 1:
        raise UsageError(
            f"Expected one query, got {len(statements)} statements.", next_step="ask them one at a time"
        )
    kind = statements[0].type
    explained = _EXPLAIN.match(statements[0].query)
    if kind == duckdb.StatementType.EXPLAIN and explained:
        # EXPLAIN ANALYZE runs what it explains, so that has to be a query too.
        _require_query(connection, statements[0].query[explained.end() :])
    elif kind != duckdb.StatementType.SELECT:
        raise _read_only(f"of kind {kind.name}")


def _read_only(what: str) -> UsageError:
    return UsageError(
        f"This is a statement {what}; the ledger is read-only and answers SELECT.",
        next_step="to record a correction, append an event; nothing recorded is ever edited",
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]


def _with_nearest(error: Exception) -> str:
    """Add the nearest name of a view or column to DuckDB's own words; its own candidates are left out."""
    text = _first_line(error)
    if table := _WRONG_TABLE.search(text):
        asked = table[1]
        where: dict[str, list[str]] = {name: [] for name in VIEWS}
    elif column := _WRONG_COLUMN.search(text):
        asked, where = column[1].rpartition(".")[2], _views_by_column()
    else:
        return f"The query is wrong: {text}"
    if views := where.get(asked.lower()):  # right, but not here
        return f"The query names {asked}, which is not there: it is a column of {', '.join(views)}. ({text})"
    nearest = difflib.get_close_matches(asked.lower(), sorted(where.keys() - {asked.lower()}), n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"The query names {asked}, which is not there.{hint} ({text})"


def _views_by_column() -> dict[str, list[str]]:
    """Return for every column the views that have it."""
    views: dict[str, list[str]] = {}
    for doc in view_docs():
        for name, _ in doc.columns:
            views.setdefault(name, []).append(doc.name)
    return views
