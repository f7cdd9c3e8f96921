"""Numbered SQL makes and changes the warehouse's tables, on both databases: each once, whole, and never changed."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.ingestion.databases import DuckDBFile
from pipelines.ingestion.migrations import FOLDER, Migration, MigrationRefusedError, migrate, read_migrations
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.partitions import daily_window
from run_evidence.ledger import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.ingestion.databases import Database
    from pipelines.tickets import Ticket

STAMP = BatchStamp("run-1", None, datetime(2026, 4, 18, tzinfo=UTC))
DAY = daily_window("2026-04-17")
ROOT = Path(__file__).parents[2]
# What was shipped is not changed: databases out there were made by it. A change is the next number.
SHIPPED = {
    "0001_warehouse": "8b823cf674ffeea9fa46516757ef4c9aa362c1c280e38084ec4a438b9ec26a07",
    "0002_increments": "03b3b9661a2f7c45f8b4298ba77836f8cdae3fc360651353752e4fb14fa0e268",
}
NEXT = Migration(
    len(read_migrations()) + 1, "9999_next", "CREATE TABLE newer (a TEXT); INSERT INTO newer VALUES ('x')", "c" * 64
)


def applied(database: Database) -> list[tuple[Any, ...]]:
    with database.reading() as run:
        return run("SELECT version, name, sha256 FROM warehouse_migration ORDER BY version")


def test_what_was_shipped_is_as_it_was() -> None:
    assert {each.name: each.sha256 for each in read_migrations()} == SHIPPED


def test_an_empty_database_is_migrated_by_the_first_write(database: Database) -> None:
    """Once: the second write applies nothing."""
    with database.writing() as run:
        assert migrate(run, database.name) == [each.name for each in read_migrations()]
    with database.writing() as run:
        assert migrate(run, database.name) == []
    assert applied(database) == [(each.version, each.name, each.sha256) for each in read_migrations()]


def test_tables_made_before_are_adopted(database: Database, parsed: Callable[..., Ticket]) -> None:
    """With their rows; the same batch again changes nothing."""
    warehouse = Warehouse(database)
    with database.writing() as run:  # as it was before there were migrations
        run((FOLDER / "0001_warehouse.sql").read_text())
    with database.writing() as run:
        run("INSERT INTO customer_dim VALUES ('cus_1', 'org_before')")
    warehouse.write_batch([parsed(org_id="org_later")], STAMP)
    assert len(applied(database)) == len(read_migrations())
    with database.reading() as run:
        assert run("SELECT org_id FROM customer_dim") == [("org_before",)]
    assert warehouse.partition_state(DAY).event_count == 1


def test_foreign_tables_are_not_adopted(database: Database, parsed: Callable[..., Ticket]) -> None:
    """A table of the same name that is another one is refused by name and column, and left as it was."""
    with database.writing() as run:
        run("CREATE TABLE ticket_fact (ticket_id TEXT PRIMARY KEY, mine TEXT)")
    with pytest.raises(MigrationRefusedError, match="ticket_fact has no column assignee_id"):
        Warehouse(database).write_batch([parsed()], STAMP)
    with database.reading() as run:
        tables = run("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
        assert tables == [("ticket_fact",)]


def _altered(database: Database, sql: str) -> None:
    with database.writing() as run:
        migrate(run, database.name)
        run(sql)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE warehouse_migration SET sha256 = 'f00' WHERE version = 1", "0001_warehouse with SHA-256 f00"),
        ("UPDATE warehouse_migration SET name = '0001_other' WHERE version = 1", "applied as 0001_other"),
        ("INSERT INTO warehouse_migration VALUES (99, '0099_far', 'a', now())", "and has 99, 0099_far"),
    ],
)
def test_another_history_is_refused_by_name(
    database: Database, parsed: Callable[..., Ticket], damage: str, named: str
) -> None:
    """By writers and readers; nothing is written."""
    _altered(database, damage)
    warehouse = Warehouse(database)
    for refused in (lambda: warehouse.write_batch([parsed()], STAMP), lambda: warehouse.partition_state(DAY)):
        with pytest.raises(MigrationRefusedError, match=named) as error:
            refused()
        assert error.value.next_step
    with database.reading() as run:
        assert run("SELECT count(*) FROM raw_ticket_event") == [(0,)]


def test_a_newer_database_is_refused_by_name(database: Database, parsed: Callable[..., Ticket]) -> None:
    """An older program neither reads nor writes what it may misread."""
    with database.writing() as run:
        assert migrate(run, database.name, [*read_migrations(), NEXT])[-1] == "9999_next"
    for refused in (
        lambda: Warehouse(database).write_batch([parsed()], STAMP),
        lambda: Warehouse(database).null_rates(DAY),
    ):
        with pytest.raises(MigrationRefusedError, match=rf"version {NEXT.version}, 9999_next; this program knows"):
            refused()


def test_a_migration_that_fails_leaves_nothing(database: Database) -> None:
    """Neither its first statement nor the migrations before it, for all are one transaction."""
    broken = Migration(NEXT.version, NEXT.name, "CREATE TABLE half (a TEXT); SELECT * FROM no_such_table", "d" * 64)

    def apply() -> None:
        with database.writing() as run:
            migrate(run, database.name, [*read_migrations(), broken])

    with pytest.raises(EnvironmentFault, match="undone"):
        apply()
    with database.reading() as run:
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"
        assert run(tables) == [(0,)]


MIGRATE = """
import os, sys
from pipelines.ingestion.migrations import migrate
from pipelines.ingestion.settings import warehouse_of
database = warehouse_of(os.environ).database
sys.stdin.readline()
with database.writing() as run:
    print(len(migrate(run, database.name)))
"""


@pytest.mark.soak
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_that_start_at_once_apply_each_once(database: Database, processes: int) -> None:
    """One of them applies all, the others wait and find nothing to do."""
    url = f"duckdb:///{database.path}" if isinstance(database, DuckDBFile) else database.url  # type: ignore[attr-defined]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE],
            cwd=ROOT,
            env={"DATABASE_URL": url, "PATH": "/usr/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for each in started:  # all are loaded, or nearly, before the first may begin
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    told = sorted(int(each.communicate()[0]) for each in started)
    assert [each.returncode for each in started] == [0] * processes
    assert told == [0] * (processes - 1) + [len(read_migrations())]


def test_numbers_have_no_gap(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0003_b.sql"):
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(ValueError, match=r"0003_b\.sql: expected a name that begins with 0002_"):
        read_migrations(tmp_path)
