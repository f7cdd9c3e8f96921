"""What one query may take: memory, time, and a folder of its own for what does not fit into memory."""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import EnvironmentFault, UsageError
from run_evidence.ledger.storage.spill import spill_folder, spill_place

if TYPE_CHECKING:
    import duckdb

DEFAULT_MEMORY: Final = "50%"
DEFAULT_SECONDS: Final = 600.0
_LONGEST_SECONDS: Final = 10_000_000.0
_MEMORY: Final = re.compile(r"([0-9]{1,10}(?:\.[0-9]{1,3})?)\s*(%|[KMGT]i?B)", re.IGNORECASE)
_SECONDS: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h)?", re.IGNORECASE)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_AGAIN_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query may take. `memory` as DuckDB writes it: `4GB`, `512MiB`, or `50%` of the machine's.

    `seconds` is the time for one query, `None` for no limit. `overrun` is called in another thread when the
    database has not stopped 2 seconds after its time was over.
    """

    memory: str = DEFAULT_MEMORY
    seconds: float | None = DEFAULT_SECONDS
    overrun: Callable[[], None] | None = None


def read_limits(memory: str | None, timeout: str | None, environment: Mapping[str, str]) -> Limits:
    """Return the limits that a user asked for: these, else LEDGER_QUERY_MEMORY and LEDGER_QUERY_TIMEOUT.

    Raises: UsageError when one of them is no amount of memory, or no time.
    """
    asked = memory or environment.get("LEDGER_QUERY_MEMORY") or DEFAULT_MEMORY
    amount = _MEMORY.fullmatch(asked.strip())
    if not amount or not 0 < float(amount[1]) <= (100 if amount[2] == "%" else math.inf):
        raise UsageError(f"{asked!r} is no amount of memory.", next_step="for example --memory 4GB, or 50%")
    asked_time = timeout or environment.get("LEDGER_QUERY_TIMEOUT") or str(DEFAULT_SECONDS)
    time = _SECONDS.fullmatch(asked_time.strip())
    seconds = float(time[1]) * _UNITS[(time[2] or "s").lower()] if time else _LONGEST_SECONDS + 1
    if seconds > _LONGEST_SECONDS:
        raise UsageError(
            f"{asked_time!r} is no time limit.",
            next_step="seconds, 10m or 2h; for example --timeout 30, or 0 for none",
        )
    return Limits(f"{amount[1]}{amount[2]}", seconds or None)


@contextlib.contextmanager
def limited(connection: duckdb.DuckDBPyConnection, limits: Limits) -> Iterator[int]:
    """Hold what a database takes to `limits`, and yield its memory in bytes.

    What does not fit into memory goes to a folder that is removed afterwards, when the database is closed. Where no
    folder can be made nothing is spilled. A folder whose process was killed is removed by the next one.

    Raises: EnvironmentFault when the memory is too little for any query.
    """
    import duckdb

    with spill_folder() as folder:
        try:
            connection.execute("SET temp_directory = $folder", {"folder": str(folder) if folder else ""})
            connection.execute("SET memory_limit = $limit", {"limit": limits.memory})
            yield _memory_bytes(connection)
        except duckdb.OutOfMemoryException:
            raise memory_is_used(limits, "The query needs") from None
        finally:
            connection.close()  # before the folder goes


def _memory_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    rows = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, _, unit = str(rows[0][0]).partition(" ")
    return int(float(number) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit))


@contextlib.contextmanager
def timed(connection: duckdb.DuckDBPyConnection, limits: Limits) -> Iterator[Callable[[], None]]:
    """Stop what the database does when the time is over; what is yielded raises then, for work between its calls.

    Raises: EnvironmentFault when the time was over.
    """
    if limits.seconds is None:
        yield lambda: None
        return
    done, over = threading.Event(), threading.Event()
    arguments = (connection, limits, limits.seconds, done, over)
    watchdog = threading.Thread(target=_watch, args=arguments, daemon=True)
    watchdog.start()

    def check() -> None:
        if over.is_set():
            raise time_is_over(limits)

    try:
        yield check
    except Exception:
        check()  # the interruption, in the database's words
        raise
    finally:
        done.set()
        watchdog.join()


def _watch(
    connection: duckdb.DuckDBPyConnection,
    limits: Limits,
    seconds: float,
    done: threading.Event,
    over: threading.Event,
) -> None:
    """Interrupt again and again: an interruption between two statements is lost."""
    if done.wait(seconds):
        return
    over.set()
    waited = 0.0
    while not done.is_set():
        connection.interrupt()
        if waited >= _GRACE_SECONDS and limits.overrun:
            limits.overrun()
        done.wait(_AGAIN_SECONDS)
        waited += _AGAIN_SECONDS


def time_is_over(limits: Limits) -> EnvironmentFault:
    """Return the error for a query that took longer than it may."""
    return EnvironmentFault(
        f"The query took longer than its time limit of {limits.seconds:g} s.",
        next_step="ask for less, or allow more: --timeout SECONDS (0 for no limit), or LEDGER_QUERY_TIMEOUT",
    )


def memory_is_used(limits: Limits, what: str) -> EnvironmentFault:
    """Return the error for a query that needs more memory than it may take; `what` needs it."""
    return EnvironmentFault(
        f"{what} more memory than its limit of {limits.memory}.",
        next_step="ask for less (a LIMIT, fewer columns), or allow more: --memory 8GB, or LEDGER_QUERY_MEMORY",
    )


def disk_is_full(detail: str) -> EnvironmentFault:
    """Return the error for a query that needs more room for what does not fit into memory than there is."""
    return EnvironmentFault(
        f"The query needs more room in {spill_place()} than there is: {detail}",
        next_step="free space there, name another folder in TMPDIR, or allow more memory: --memory 8GB",
    )
