"""One transaction at a time on DuckDB or PostgreSQL, behind the same two calls.

Both take the same SQL with `$1` placeholders. A DuckDB file admits one process at a time, even for reading,
so its connection lives for one transaction only and waiting for the file is bounded.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import duckdb

from run_evidence.ledger import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import psycopg

SQL_FOLDER: Final = Path(__file__).parent / "sql"
# Number of the PostgreSQL advisory lock that admits one writer at a time: two CREATE IF NOT EXISTS can collide.
_SCHEMA_LOCK: Final = 0x7765656B3036
# Seconds to connect, for each address that a host's name leads to; a server that is not there is named within 10.
_CONNECT_S: Final = 4
_CHECK_SERVER: Final = "check DATABASE_URL and that the server is running"
_READ_MESSAGE: Final = "see the database's own message"
# A checkpoint writes blocks anew in their place, and a process killed in one can leave a file that nobody can open:
# once in some 2,500 kills. So none is made at the end of each transaction, as DuckDB would on closing, but once the
# log beside the file has come to 16 MB. Until then each opening reads it, which takes up to 0.15 s.
_KEEP_LOG: Final = "PRAGMA disable_checkpoint_on_shutdown"
# DuckDB holds one instance of a file in a process; a second one that reads only would be refused.
_DUCKDB_TURN = threading.Lock()


class Transaction(Protocol):
    """Runs statements inside one transaction."""

    def __call__(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; an empty list when it returns none."""

    def change(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one INSERT without RETURNING; return how many rows it wrote."""

    def load(self, table: str, columns: Mapping[str, Sequence[object]]) -> None:
        """Add rows to a table in the database's fastest way: all its columns, in its order."""


class Database(Protocol):
    """Somewhere tables live."""

    @property
    def name(self) -> str:
        """What to call it in a message; never holds a password."""

    def reading(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that sees one state and cannot write. Raises: EnvironmentFault."""

    def writing(self) -> AbstractContextManager[Transaction]:
        """Open a transaction, committed at the end or undone on any error. Raises: EnvironmentFault."""


class DatabaseMissingError(EnvironmentFault):
    """The database was never written to, so there is nothing to read, not even a count of 0."""


@cache
def load_sql(name: str) -> str:
    """Return the statement in `pipelines/ingestion/sql/<name>.sql`."""
    return (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def open_database(url: str) -> Database:
    """Name a database by URL: `duckdb:///path/to/file` or `postgresql://…`. Nothing is opened yet.

    Raises: UsageError for any other URL; EnvironmentFault when the driver is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "duckdb" and rest.startswith("/") and rest != "/":
        # as SQLAlchemy has it: three slashes for a relative path, four for an absolute one
        return DuckDBFile(Path(rest[1:]))
    if separator and scheme in {"postgresql", "postgres"}:
        if find_spec("psycopg") is None:
            raise EnvironmentFault(
                "DATABASE_URL names PostgreSQL, but its driver is not installed",
                next_step="pip install 'run-evidence-ledger[postgres]'",
            )
        return PostgresDatabase(url)
    raise UsageError(
        f"DATABASE_URL: expected postgresql:// or duckdb:///, got scheme {scheme!r}"
        if separator
        else "DATABASE_URL has no scheme: expected postgresql:// or duckdb:///",
        next_step="set DATABASE_URL to postgresql://… or duckdb:///path/to/file, or unset it",
    )


def _database_fault(database: Database, error: Exception, *, lost: bool = False) -> EnvironmentFault:
    where, next_step = (f"DATABASE_URL: {database.name}", _CHECK_SERVER) if lost else (database.name, _READ_MESSAGE)
    return EnvironmentFault(
        f"{where}: the transaction was undone: {error}",
        next_step=f"{next_step}; run the partition again once it is resolved",
    )


@dataclass(frozen=True, slots=True)
class DuckDBTransaction:
    """What runs in a transaction that a connection of DuckDB has begun."""

    connection: duckdb.DuckDBPyConnection

    def __call__(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement."""
        return self.connection.execute(sql, list(parameters)).fetchall()

    def change(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one INSERT."""
        ((count,),) = self(sql, parameters)
        return int(count)

    def load(self, table: str, columns: Mapping[str, Sequence[object]]) -> None:
        """Add rows by way of Arrow."""
        import pyarrow  # what only reads does not pay for it

        self.connection.register("loading", pyarrow.table(dict(columns)))
        self(load_sql(f"load_{table}_duckdb"))
        self.connection.unregister("loading")


@dataclass(frozen=True, slots=True)
class _PostgresTransaction:
    cursor: psycopg.Cursor[tuple[Any, ...]]

    def __call__(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        # without parameters the simple protocol is used, which takes several statements at once
        self.cursor.execute(sql.encode(), parameters or None)
        return self.cursor.fetchall() if self.cursor.description else []

    def change(self, sql: str, parameters: Sequence[object] = ()) -> int:
        self(sql, parameters)
        return self.cursor.rowcount

    def load(self, table: str, columns: Mapping[str, Sequence[object]]) -> None:
        with self.cursor.copy(load_sql(f"load_{table}_postgres").encode()) as copy:
            for row in zip(*columns.values(), strict=True):
                copy.write_row(row)


@dataclass(frozen=True, slots=True)
class DuckDBFile:
    """An embedded database in one file, made by the first write. Waits `lock_timeout_s` seconds for it."""

    path: Path
    lock_timeout_s: float = 30.0

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open the file for one reading transaction. Raises: DatabaseMissingError; EnvironmentFault."""
        if not self.path.exists():
            raise DatabaseMissingError(
                f"{self.path}: there is no warehouse yet",
                next_step="run the ingest once; it creates the file",
            )
        with _DUCKDB_TURN, self._transaction(read_only=True) as run:
            yield run

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Open the file, made if need be, for one writing transaction. Raises: EnvironmentFault."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _DUCKDB_TURN, self._transaction(read_only=False) as run:
            yield run

    @contextmanager
    def _transaction(self, *, read_only: bool) -> Iterator[Transaction]:
        with self._connect(read_only=read_only) as connection:
            connection.execute(f"SET TimeZone = 'UTC'; {_KEEP_LOG}")
            connection.begin()
            try:
                yield DuckDBTransaction(connection)
                connection.commit()
            except duckdb.Error as error:  # closing the connection undoes what it had begun
                raise _database_fault(self, error) from error

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self.lock_timeout_s
        pause_s = 0.01
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only)
            except duckdb.Error as error:
                if not isinstance(error, duckdb.IOException) or "lock" not in str(error):
                    raise EnvironmentFault(
                        f"{self.path}: not a usable DuckDB file: {error}",
                        next_step=f"point DATABASE_URL at another file, or move {self.path.name}* away",
                    ) from error
                if time.monotonic() + pause_s > deadline:
                    raise EnvironmentFault(
                        f"{self.path}: still locked after {self.lock_timeout_s:g} s: {error}",
                        next_step="end the process that holds the file, or use DATABASE_URL=postgresql://…",
                    ) from error
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.5)


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A PostgreSQL database; tables live in the connection's current schema."""

    url: str

    @property
    def name(self) -> str:
        """Host and database, without user and password."""
        from psycopg.conninfo import conninfo_to_dict  # the driver is an optional extra

        parts = conninfo_to_dict(self.url)
        return f"PostgreSQL database {parts.get('dbname', '(default)')} at {parts.get('host', '(local)')}"

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open one read-only transaction that sees one snapshot. Raises: EnvironmentFault."""
        with self._transaction() as run:
            run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield run

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Open one writing transaction. Raises: EnvironmentFault."""
        with self._transaction() as run:
            run("SELECT pg_advisory_xact_lock($1)", [_SCHEMA_LOCK])
            yield run

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        import psycopg  # the driver is an optional extra

        try:
            with self._connect() as connection, connection.transaction(), connection.cursor() as cursor:
                yield _PostgresTransaction(cursor)
        except psycopg.OperationalError as error:
            raise _database_fault(self, error, lost=True) from error
        except psycopg.Error as error:
            raise _database_fault(self, error) from error

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        import psycopg  # the driver is an optional extra

        try:
            return psycopg.connect(
                self.url, cursor_factory=psycopg.RawCursor, connect_timeout=_CONNECT_S, options="-c timezone=UTC"
            )
        except psycopg.OperationalError as error:
            raise EnvironmentFault(
                f"DATABASE_URL: {self.name} cannot be reached: {error}",
                next_step=_CHECK_SERVER,
            ) from error
