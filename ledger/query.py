"""SQL over a snapshot, for someone who should not be able to change or reach anything else.

Read-only, one statement, no other file and no network: DuckDB is locked to the segments of this ledger and
its configuration frozen before the statement runs; the statement itself must be a query.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ledger.errors import IntegrityError, UsageError
from ledger.lookup import sql_text
from ledger.snapshot import VIEWS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from ledger.snapshot import Snapshot

_COLUMN: Final = re.compile(r"-- ([a-z_]+): (.+)")
_EXPLAIN: Final = re.compile(r"\s*explain(\s+analyze)?(\s*\([^)]*\))?", re.IGNORECASE)
_PROSE: Final = frozenset({"Grain"})


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


def run_query(snapshot: Snapshot, sql: str, parameters: Mapping[str, str]) -> pa.Table:
    """Run one query over the views and return its rows.

    Raises `UsageError` when it is not one query, is wrong (a wrong name comes with the nearest right one) or
    reaches outside the ledger; `IntegrityError` when a segment it touches cannot be read.
    """
    import duckdb

    _require_query(snapshot.connection, sql)
    _lock(snapshot)
    try:
        return snapshot.connection.sql(sql, params=dict(parameters) or None).to_arrow_table()
    except duckdb.PermissionException as error:
        raise UsageError(
            f"The query reaches outside the ledger: {_first_line(error)}",
            next_step="ledger query --schema lists what can be read",
        ) from None
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise UsageError(_with_nearest(error), next_step="ledger query --schema") from None
    except (duckdb.IOException, duckdb.SerializationException) as error:
        raise IntegrityError(
            f"A segment of the log cannot be read: {_first_line(error)}", next_step="ledger verify"
        ) from None
    except duckdb.Error as error:
        if ".parquet" in str(error):
            raise IntegrityError(
                f"A segment of the log cannot be read: {_first_line(error)}", next_step="ledger verify"
            ) from None
        raise UsageError(f"The query failed: {error}", next_step="ledger query --schema") from None


def _require_query(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"The query cannot be parsed: {error}", next_step="ledger query --schema") from None
    if len(statements) != 1:
        raise UsageError(f"Expected one query, got {len(statements)} statements.")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains, so that has to be a query too.
        _require_query(connection, _EXPLAIN.sub("", statements[0].query, count=1))
    elif kind != duckdb.StatementType.SELECT:
        raise UsageError(
            f"This is a statement of kind {kind.name}; the ledger is read-only and answers SELECT.",
            next_step="to record a correction, append an event; nothing recorded is ever edited",
        )


def _lock(snapshot: Snapshot) -> None:
    paths = [str(segment.path) for segment in snapshot.log.segments]
    connection = snapshot.connection
    connection.execute("SET allowed_paths = $paths", {"paths": paths})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]


def _with_nearest(error: Exception) -> str:
    """Add the nearest name of a view or column to DuckDB's own words; its own candidates are left out."""
    text = _first_line(error)
    wrong = re.search(r'(?:column|Table with name|Table|name) "?([A-Za-z_][A-Za-z0-9_.]*)"?', text)
    names = set(VIEWS) | {column for doc in view_docs() for column, _ in doc.columns}
    if not wrong:
        return f"The query is wrong: {text}"
    asked = wrong[1].rpartition(".")[2]
    nearest = difflib.get_close_matches(asked.lower(), sorted(names), n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"The query names {asked}, which is not there.{hint} ({text})"
