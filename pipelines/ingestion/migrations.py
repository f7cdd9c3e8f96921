"""The warehouse's tables, made and changed by numbered SQL: the same files on DuckDB and PostgreSQL.

A migration is a file of `sql/migrations`, `NNNN_name.sql`, numbered from 1 without a gap. Those a database lacks
are applied in the transaction of whoever writes first, which admits one writer at a time, so two processes that
start at once apply each once. What was applied is remembered with the SHA-256 of its text and is never changed
again: the next change is the next number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import duckdb

from pipelines.ingestion.databases import SQL_FOLDER, load_sql
from run_evidence.ledger import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipelines.ingestion.databases import Transaction

FOLDER: Final = SQL_FOLDER / "migrations"
_TABLE: Final = "warehouse_migration"


class MigrationRefusedError(EnvironmentFault):
    """The database is none that this program may write to: newer, changed, or with other tables of these names."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the warehouse's tables. `sha256` is of its text, whatever ends its lines."""

    version: int
    name: str
    sql: str
    sha256: str


@cache
def read_migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Read the migrations of a folder, in order. Raises: ValueError where a number is missing or there twice."""
    found = []
    for version, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        if not path.stem.startswith(f"{version:04d}_"):
            raise ValueError(f"{path.name}: expected a name that begins with {version:04d}_")
        sql = path.read_text(encoding="utf-8")
        found.append(Migration(version, path.stem, sql, hashlib.sha256(sql.encode()).hexdigest()))
    return tuple(found)


def migrate(run: Transaction, where: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what a database lacks, inside a writing transaction; return the names of what was applied.

    `where` names the database in a message. Cost when nothing lacks: two statements.

    Raises: MigrationRefusedError, and nothing is changed then.
    """
    known = read_migrations() if migrations is None else migrations
    run(load_sql("create_warehouse_migration"))
    lacking = _lacking(run, where, known)
    for migration in lacking:
        run(migration.sql)
        run(load_sql("insert_warehouse_migration"), [migration.version, migration.name, migration.sha256])
    if lacking:
        _refuse_other_tables(run, where, known)
    return [migration.name for migration in lacking]


def require_known(run: Transaction, where: str) -> None:
    """Refuse to read a database that a newer program migrated, or another one; one that lags behind may be read.

    Raises: MigrationRefusedError.
    """
    if run(load_sql("table_columns"), [[_TABLE]]):
        _lacking(run, where, read_migrations())


def _lacking(run: Transaction, where: str, known: Sequence[Migration]) -> Sequence[Migration]:
    applied = run(load_sql("applied_migrations"))
    for number, (version, name, sha256) in enumerate(applied, start=1):
        if version != number:
            raise MigrationRefusedError(
                f"{where}: {_TABLE} lacks version {number} and has {version}, {name}",
                next_step="restore the database from a backup, or point DATABASE_URL at another one",
            )
        if version > len(known):
            raise MigrationRefusedError(
                f"{where} was migrated to version {applied[-1][0]}, {applied[-1][1]}; "
                f"this program knows versions up to {len(known)}",
                next_step="upgrade this checkout, or point DATABASE_URL at another database",
            )
        if (name, sha256) != (known[number - 1].name, known[number - 1].sha256):
            raise MigrationRefusedError(
                f"{where}: migration {version} was applied as {name} with SHA-256 {sha256}; "
                f"here it is {known[number - 1].name} with {known[number - 1].sha256}",
                next_step="put the file back as it was, and write the change as the next migration",
            )
    return known[len(applied) :]


def _refuse_other_tables(run: Transaction, where: str, known: Sequence[Migration]) -> None:
    """Hold the columns against those of an empty database that was migrated: adopted tables may be other ones."""
    with duckdb.connect() as connection:
        for migration in known:
            connection.execute(migration.sql)
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        expected = set(connection.execute(load_sql("table_columns"), [tables]).fetchall())
    missing = sorted(expected - set(run(load_sql("table_columns"), [tables])))
    if missing:
        table, column = missing[0]
        raise MigrationRefusedError(
            f"{where}: its table {table} has no column {column}, so it is not the warehouse's",
            next_step="rename that table, or point DATABASE_URL at another database or schema",
        )
