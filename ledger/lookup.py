"""Finding entries by what identifies them, without reading the whole log."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ledger.errors import IntegrityError

if TYPE_CHECKING:
    import duckdb

    from ledger.log import Log


def sql_text(name: str) -> str:
    """Return the text of `ledger/sql/<name>.sql`."""
    return files("ledger").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


@contextlib.contextmanager
def memory_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB in UTC that is closed afterwards; any DuckDB here is only a calculator."""
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _fetch(paths: Sequence[str], name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    import duckdb

    with memory_database() as connection:
        try:
            return connection.execute(sql_text(name), {"paths": list(paths), **parameters}).fetchall()
        except (duckdb.InvalidInputException, duckdb.IOException) as error:
            raise IntegrityError(
                f"A segment of the log cannot be read: {str(error).splitlines()[0][:300]}",
                next_step="ledger verify",
            ) from None


def sealed_digests(log: Log, event_ids: Collection[str]) -> dict[str, str]:
    """Return {event_id: source_digest} for those of `event_ids` that are sealed already.

    Ids sort by time, so segments of another time are not opened.
    """
    if not event_ids:
        return {}
    low, high = min(event_ids), max(event_ids)
    paths = [str(s.path) for s in log.segments if s.min_event_id <= high and s.max_event_id >= low]
    if not paths:
        return {}
    return dict(_fetch(paths, "sealed_digests", {"ids": list(event_ids)}))


def sealed_run_state(log: Log, run_ids: Collection[str]) -> list[tuple[Any, ...]]:
    """Return what is sealed about these runs; the columns stand in `sql/sealed_run_state.sql`."""
    if not log.segments or not run_ids:
        return []
    return _fetch([str(s.path) for s in log.segments], "sealed_run_state", {"run_ids": list(run_ids)})
