"""Finding entries by what identifies them, without reading the whole log."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError, LedgerError
from run_evidence.ledger.model.event import Key
from run_evidence.ledger.storage.faults import machine_fault, read_fault
from run_evidence.ledger.storage.spill import spill_folder

if TYPE_CHECKING:
    import duckdb

    from run_evidence.ledger.storage.log import Log, Segment

_SQL = Path(__file__).parents[1] / "sql"
_PAYLOAD_NEEDED: Final = re.compile(r"blobs/[0-9a-f]{64}, the payload of \S+ \S+, is [a-z]+")
_PAYLOAD_FILE: Final = re.compile(r"[\"']([^\"'\n]*/blobs/[0-9a-f]{64})[\"']")


def sql_text(name: str) -> str:
    """Return the text of `ledger/sql/<name>.sql`."""
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


@contextlib.contextmanager
def memory_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB in UTC that is closed afterwards; any DuckDB here is only a calculator.

    It loads no extension of its own accord.
    """
    connection = opened()
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def spilling_database(memory_limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a `memory_database` that takes this much memory (as DuckDB writes it); the rest goes to a file."""
    with spill_folder() as folder, memory_database() as connection:
        connection.execute("SET memory_limit = $limit", {"limit": memory_limit})
        connection.execute("SET temp_directory = $folder", {"folder": str(folder or "")})
        yield connection


def opened() -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB as `memory_database` does, for the caller to close."""
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute(
        "SET TimeZone = 'UTC'; SET autoinstall_known_extensions = false; SET autoload_known_extensions = false; "
        "SET enable_progress_bar = false"
    )
    return connection


def unreadable_segment(error: Exception) -> LedgerError:
    """Say what DuckDB says of a segment it cannot read: one that is cut short, exchanged, gone, or not allowed."""
    return payload_fault(error) or read_fault("A segment of the log cannot be read", error, "ledger verify")


def payload_fault(error: Exception) -> LedgerError | None:
    """Return the error for a payload that a query rests on and cannot read; `None` of any other error."""
    text = str(error)
    if told := _PAYLOAD_NEEDED.search(text):
        return IntegrityError(f"{told[0]}, so this cannot be answered.", next_step="ledger verify")
    if (file := _PAYLOAD_FILE.search(text)) and machine_fault(error) is None and not Path(file[1]).exists():
        return EnvironmentFault(f"{file[1]} was removed while the query ran.", next_step="ask again")
    return None


def answer(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run SQL of our own and return all rows. Raises `IntegrityError` when a segment it reads cannot be read."""
    import duckdb

    try:
        return connection.execute(sql, dict(parameters)).fetchall()
    except duckdb.Error as error:  # the SQL is ours, so it is a segment that is wrong
        raise unreadable_segment(error) from None


def look_up(segments: Iterable[Segment], sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run SQL of our own over the files of segments (its parameter `paths`); raises what `answer` raises."""
    paths = [str(segment.path) for segment in segments]
    with _calculator(os.getpid()).cursor() as connection:
        return answer(connection, sql, {"paths": paths, **parameters})


@functools.cache
def _calculator(_process: int) -> duckdb.DuckDBPyConnection:
    """Return this process's database for look-ups: opening one takes 15 ms, which each seal would feel.

    One for each process, because a copy made by a fork has none of the threads it waits for. It keeps nothing of
    the files it reads.
    """
    connection = opened()
    connection.execute("SET enable_external_file_cache = false")
    return connection


def sealed_digests(log: Log, keys: Collection[Key]) -> dict[Key, str]:
    """Return {key: source_digest} for those of `keys` that are sealed already."""
    records = [key for key in keys if isinstance(key, tuple)]
    own = [key for key in keys if isinstance(key, str)]
    return {**_sealed_records(log, records), **_sealed_own(log, own)}


def _sealed_records(log: Log, keys: Sequence[tuple[str, str, int]]) -> dict[Key, str]:
    """Look records up by where they were stored: their event_id holds a time, and a time can be rewritten."""
    if not keys or not log.segments:
        return {}
    storage_ids = [storage_id for _, _, storage_id in keys]
    asked = {
        "run_ids": sorted({run_id for _, run_id, _ in keys}),
        "low": min(storage_ids),
        "high": max(storage_ids),
    }
    wanted = set(keys)
    rows = look_up(log.segments, sql_text("sealed_records"), asked)
    found = (((store_id, run_id, storage_id), digest) for store_id, run_id, storage_id, digest in rows)
    return {key: digest for key, digest in found if key in wanted}


def _sealed_own(log: Log, event_ids: Sequence[str]) -> dict[Key, str]:
    """Look own events up by id. Ids sort by time, so segments of another time are not opened."""
    if not event_ids:
        return {}
    low, high = min(event_ids), max(event_ids)
    near = [s for s in log.segments if s.min_event_id <= high and s.max_event_id >= low]
    return dict(look_up(near, sql_text("sealed_own"), {"ids": list(event_ids)})) if near else {}


def sealed_run_state(log: Log, run_ids: Collection[str]) -> list[tuple[Any, ...]]:
    """Return what is sealed about these runs; the columns stand in `sql/sealed_run_state.sql`."""
    if not log.segments or not run_ids:
        return []
    return look_up(log.segments, sql_text("sealed_run_state"), {"run_ids": list(run_ids)})
