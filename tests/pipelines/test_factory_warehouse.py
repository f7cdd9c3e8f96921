"""What the warehouse promises, on DuckDB and PostgreSQL alike: one suite, run on both."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ingestion.databases import DatabaseMissingError, DuckDBFile, PostgresDatabase, open_database
from pipelines.ingestion.warehouse import BatchOutcome, BatchStamp, Warehouse
from pipelines.partitions import daily_window
from run_evidence.ledger.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipelines.ingestion.databases import Database
    from pipelines.tickets import Ticket

DAY = daily_window("2026-04-17")
STAMP = BatchStamp("run-1", "release-1", datetime(2026, 4, 18, tzinfo=UTC))


def rows(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """Ask the database itself."""
    with database.reading() as run:
        return run(sql)


def test_writing_the_same_batch_again_changes_nothing(database: Database, parsed: Callable[..., Ticket]) -> None:
    """An idempotent write inserts nothing, updates nothing and leaves Silver's digest as it was."""
    warehouse = Warehouse(database)
    batch = [parsed(ticket_id=f"TKT-20260417-{n:06d}", customer_id=f"cus_{n % 7}") for n in range(2_500)]
    assert warehouse.write_batch([*batch, *batch[:5]], STAMP) == BatchOutcome(inserted=2_500, updated=0)
    state = warehouse.partition_state(DAY)
    assert (state.event_count, state.event_ticket_count, state.ticket_count) == (2_500, 2_500, 2_500)
    assert warehouse.write_batch(batch, BatchStamp("run-2", "release-2", STAMP.ingested_at)) == BatchOutcome(0, 0)
    assert warehouse.partition_state(DAY) == state
    assert rows(database, "SELECT DISTINCT release_id FROM ticket_fact") == [("release-1",)]


def test_parts_of_a_batch_come_to_the_same(
    database: Database, parsed: Callable[..., Ticket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are merged at once: a ticket that is new in the batch is no update, in any part of it."""
    warehouse = Warehouse(database)
    warehouse.write_batch([parsed(ticket_id="TKT-20260417-000009")], STAMP)
    monkeypatch.setattr("pipelines.ingestion.warehouse._CHUNK_ROWS", 2)
    later = {"status": "closed", "updated_at": "2026-04-18T10:00:00Z"}
    batch = [
        *(parsed(ticket_id=f"TKT-20260417-{n:06d}") for n in range(5)),
        *(parsed(ticket_id=f"TKT-20260417-{n:06d}", **later) for n in (0, 9, 9)),
        parsed(ticket_id="TKT-20260417-000004"),
    ]
    assert warehouse.write_batch(batch, STAMP) == BatchOutcome(inserted=7, updated=1)
    found = rows(database, "SELECT status, count(*) FROM ticket_fact GROUP BY status ORDER BY status")
    assert found == [("closed", 2), ("open", 4)]


def test_a_newer_version_updates_and_keeps_the_rest(database: Database, parsed: Callable[..., Ticket]) -> None:
    """On conflict only status, updated_at, resolved_at and the release change; Bronze keeps both versions."""
    warehouse = Warehouse(database)
    warehouse.write_batch([parsed(priority="p2_high")], STAMP)
    newer = parsed(
        status="resolved",
        priority="p4_low",
        updated_at="2026-04-18T10:00:00+02:00",
        resolved_at="2026-04-18T10:00:00+02:00",
    )
    later = BatchStamp("run-2", "release-2", STAMP.ingested_at)
    assert warehouse.write_batch([newer], later) == BatchOutcome(inserted=1, updated=1)
    facts = rows(database, "SELECT status, priority, updated_at, resolved_at, release_id FROM ticket_fact")
    instant = datetime(2026, 4, 18, 8, tzinfo=UTC)
    assert facts == [("resolved", "p2_high", instant, instant, "release-2")]
    assert warehouse.partition_state(DAY).event_count == 2


def test_a_late_older_version_does_not_win(database: Database, parsed: Callable[..., Ticket]) -> None:
    """Arriving last does not make a version the newest; Bronze still keeps it."""
    warehouse = Warehouse(database)
    warehouse.write_batch([parsed(status="closed", updated_at="2026-04-18T10:00:00Z")], STAMP)
    before = warehouse.partition_state(DAY)
    older = parsed(status="pending", updated_at="2026-04-17T10:00:00Z")
    assert warehouse.write_batch([older], STAMP) == BatchOutcome(inserted=1, updated=0)
    assert warehouse.partition_state(DAY).snapshot_id == before.snapshot_id
    assert rows(database, "SELECT status FROM ticket_fact") == [("closed",)]


@pytest.mark.soak
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
def test_silver_does_not_depend_on_the_order_of_arrival(
    database: Database, parsed: Callable[..., Ticket], data: st.DataObject
) -> None:
    """However versions are ordered and cut into batches, the same version of each ticket wins."""
    versions = [
        parsed(ticket_id=f"TKT-20260417-{number:06d}", status=status, updated_at=updated_at)
        for number in (1, 2)
        for status in ("open", "pending", "closed")
        for updated_at in (None, "2026-04-17T09:00:00Z", "2026-04-18T09:00:00Z")
    ]
    warehouse = Warehouse(database)
    winners = set()
    warehouse.write_batch([], STAMP)
    for _ in range(2):
        with database.writing() as run:
            run("DELETE FROM ticket_fact; DELETE FROM raw_ticket_event")
        order = data.draw(st.permutations(versions))
        cut = data.draw(st.integers(0, len(order)))
        for batch in (order[:cut], order[cut:]):
            warehouse.write_batch(batch, STAMP)
        winners.add(warehouse.partition_state(DAY).snapshot_id)
    assert len(winners) == 1


def test_a_batch_is_written_whole_or_not_at_all(database: Database, parsed: Callable[..., Ticket]) -> None:
    """An error while reading the batch's last line undoes its first: no Bronze without Silver."""
    warehouse = Warehouse(database)
    warehouse.write_batch([parsed()], STAMP)

    def breaking() -> Iterator[Ticket]:
        for number in range(2, 1_500):
            yield parsed(ticket_id=f"TKT-20260417-{number:06d}")
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError, match="the disk went away"):
        warehouse.write_batch(breaking(), STAMP)
    assert warehouse.partition_state(DAY).event_count == 1
    assert warehouse.write_batch([parsed(ticket_id="TKT-20260417-000002")], STAMP).inserted == 1


def test_a_statement_that_fails_undoes_the_batch(database: Database) -> None:
    """The database's own error becomes ours, names the database and leaves nothing half done."""

    def fail() -> None:
        with database.writing() as run:
            run("CREATE TABLE half_done (a TEXT)")
            run("SELECT * FROM no_such_table")

    with pytest.raises(EnvironmentFault, match="the transaction was undone"):
        fail()
    assert rows(database, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'half_done'") == [(0,)]


def test_only_this_days_rows_are_counted(database: Database, parsed: Callable[..., Ticket]) -> None:
    """The edges of the window are the instants, whatever offset a ticket was written with."""
    created = [
        *("2026-04-17T00:00:00Z", "2026-04-18T01:30:00+08:00", "2026-04-17T23:59:59.999999Z"),
        *("2026-04-16T23:59:59.999999Z", "2026-04-18T00:00:00Z"),
    ]
    batch = [parsed(ticket_id=f"TKT-20260417-{n:06d}", created_at=text) for n, text in enumerate(created)]
    warehouse = Warehouse(database)
    warehouse.write_batch(batch, STAMP)
    assert warehouse.partition_state(DAY).ticket_count == 3
    assert warehouse.partition_state(daily_window("2026-04-16")).ticket_count == 1
    assert warehouse.partition_state(daily_window("2026-04-20")).event_count == 0


def test_bronze_without_silver_is_found(database: Database, parsed: Callable[..., Ticket]) -> None:
    """The count that must be 0 is one that can be something else."""
    warehouse = Warehouse(database)
    warehouse.write_batch([parsed(), parsed(ticket_id="TKT-20260417-000002")], STAMP)
    with database.writing() as run:
        run("DELETE FROM ticket_fact WHERE ticket_id = 'TKT-20260417-000002'")
    state = warehouse.partition_state(DAY)
    assert (state.event_ticket_count, state.without_silver_count, state.ticket_count) == (2, 1, 1)


def test_customers_come_before_their_tickets(database: Database, parsed: Callable[..., Ticket]) -> None:
    """One row a customer; an organisation learned later fills a gap, and never replaces the first one known."""
    warehouse = Warehouse(database)
    warehouse.write_batch([parsed(ticket_id="TKT-20260417-000001")], STAMP)
    assert rows(database, "SELECT * FROM customer_dim") == [("cus_1", None)]
    for number, org in ((2, "org_a"), (3, "org_b")):
        warehouse.write_batch([parsed(ticket_id=f"TKT-20260417-{number:06d}", org_id=org)], STAMP)
    assert rows(database, "SELECT * FROM customer_dim") == [("cus_1", "org_a")]


def test_blanks_in_required_columns_are_counted(database: Database, parsed: Callable[..., Ticket]) -> None:
    """Null and blank both count; the ticket count is the denominator."""
    warehouse = Warehouse(database)
    warehouse.write_batch([parsed(ticket_id=f"TKT-20260417-{n:06d}") for n in range(4)], STAMP)
    with database.writing() as run:
        run("UPDATE ticket_fact SET owner = NULL WHERE ticket_id = 'TKT-20260417-000001'")
        run("UPDATE ticket_fact SET owner = ' ' WHERE ticket_id = 'TKT-20260417-000002'")
    nulls = warehouse.null_rates(DAY)
    assert nulls.ticket_count == 4
    assert {name: count for name, count in nulls.null_counts.items() if count} == {"owner": 2}


def test_a_warehouse_never_written_to_has_no_counts(database: Database) -> None:
    """Not 0: an error that says there is nothing to count."""
    with pytest.raises(DatabaseMissingError) as caught:
        Warehouse(database).partition_state(DAY)
    assert caught.value.next_step


def test_odd_texts_survive(database: Database, parsed: Callable[..., Ticket]) -> None:
    """Quotes, braces, backslashes and the whole of Unicode come back as they were."""
    odd = "NULL {\"a\",'b'} \\ $1 ; -- 已回复 🛰\u200f\x7f"
    Warehouse(database).write_batch([parsed(owner=odd, description=odd)], STAMP)
    assert rows(database, "SELECT owner FROM ticket_fact") == [(odd,)]


@pytest.mark.postgres
def test_both_databases_agree_on_the_digest(
    tmp_path: Path, postgres: PostgresDatabase, parsed: Callable[..., Ticket]
) -> None:
    """The same tickets give the same snapshot id, so evidence does not depend on where it was stored."""
    batch = [
        parsed(ticket_id="TKT-20260417-000009", owner="ä", updated_at="2026-04-17T09:00:00.123456+02:00"),
        parsed(ticket_id="TKT-20260417-000010", owner="Z", sla_due_at="2026-04-19T00:00:00Z"),
        parsed(ticket_id="TKT-20260417-000011", owner="a b"),
    ]
    states = set()
    for database in (DuckDBFile(tmp_path / "w.duckdb"), postgres):
        Warehouse(database).write_batch(batch, STAMP)
        states.add(Warehouse(database).partition_state(DAY))
    assert len(states) == 1


def test_concurrent_writers_lose_nothing(database: Database, parsed: Callable[..., Ticket]) -> None:
    """Four threads writing overlapping batches end with every ticket once."""
    warehouse = Warehouse(database)
    batch = [parsed(ticket_id=f"TKT-20260417-{n:06d}", customer_id=f"cus_{n % 3}") for n in range(60)]
    inserted: list[int] = []

    def write(offset: int) -> None:
        part = batch[offset : offset + 30]
        inserted.append(warehouse.write_batch(part[::-1] if offset % 20 else part, STAMP).inserted)

    threads = [threading.Thread(target=write, args=(offset,)) for offset in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = warehouse.partition_state(DAY)
    assert (sum(inserted), state.event_count, state.ticket_count) == (60, 60, 60)


HOLD = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep({})"


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Hold a DuckDB file from another process."""
    command = [sys.executable, "-c", HOLD.format(seconds), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_held_file_is_waited_for(tmp_path: Path, parsed: Callable[..., Ticket]) -> None:
    """Another process in the middle of its transaction delays a write and does not fail it."""
    path = tmp_path / "w.duckdb"
    with hold(path, 1.0):
        assert Warehouse(DuckDBFile(path)).write_batch([parsed()], STAMP).inserted == 1


def test_waiting_for_a_held_file_is_bounded(tmp_path: Path) -> None:
    """After the bound the error names the file and the way out."""
    path = tmp_path / "w.duckdb"
    with hold(path, 3_600) as holder:
        try:
            with (
                pytest.raises(EnvironmentFault, match=r"w\.duckdb: still locked after 0\.3 s") as caught,
                DuckDBFile(path, lock_timeout_s=0.3).writing(),
            ):
                pass
            assert holder.poll() is None, "it was still held"
        finally:
            holder.kill()
    assert "postgresql://" in str(caught.value.next_step)


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    """At once, without waiting for a lock that is not the matter."""
    path = tmp_path / "w.duckdb"
    path.write_text("not a database" * 1000)
    with pytest.raises(EnvironmentFault, match="not a usable DuckDB file"), DuckDBFile(path).writing():
        pass


def test_a_damaged_file_is_said_so(tmp_path: Path) -> None:
    """As one is that a process left which was killed while DuckDB wrote a block."""
    path = tmp_path / "w.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(10)")
    content = bytearray(path.read_bytes())
    content[12_288 + 100 : 12_288 + 200] = bytes(100)  # in the first block
    path.write_bytes(content)
    with pytest.raises(EnvironmentFault, match="not a usable DuckDB file"), DuckDBFile(path).reading():
        pass


def test_a_batch_is_in_the_log_until_that_has_grown(tmp_path: Path) -> None:
    """The file itself, which a kill could damage, is not written at the end of each transaction."""
    database = DuckDBFile(tmp_path / "w.duckdb")
    with database.writing() as run:
        run("CREATE TABLE t AS SELECT range AS a FROM range(10)")
    before = database.path.read_bytes()
    with database.writing() as run:
        run("INSERT INTO t SELECT range FROM range(10)")
    assert database.path.read_bytes() == before
    with database.reading() as run:
        assert run("SELECT count(*) FROM t") == [(20,)]


def test_reading_makes_no_file(tmp_path: Path) -> None:
    """A look at a warehouse that is not there leaves it not there."""
    with pytest.raises(DatabaseMissingError), DuckDBFile(tmp_path / "w.duckdb").reading():
        pass
    assert list(tmp_path.iterdir()) == []


def test_urls_name_databases(tmp_path: Path) -> None:
    """Three slashes for a relative file, four for an absolute one, as SQLAlchemy has it."""
    assert open_database("duckdb:///var/w.duckdb").name == "var/w.duckdb"
    assert open_database(f"duckdb:///{tmp_path}/w.duckdb").name == f"{tmp_path}/w.duckdb"
    for url in ("mysql://localhost/x", "w.duckdb", "duckdb://host/x", "duckdb:///", ""):
        with pytest.raises(UsageError, match="DATABASE_URL"):
            open_database(url)


def test_a_password_is_never_shown() -> None:
    """A server that cannot be reached is named by host and database only."""
    database = open_database("postgresql://me:s3cret@127.0.0.1:1/week06")
    with pytest.raises(EnvironmentFault) as caught, database.reading():
        pass
    assert "week06 at 127.0.0.1" in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.next_step}"
