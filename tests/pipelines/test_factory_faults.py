"""What is killed or loses its server in the middle leaves nothing by half; the same again, and all is as ever."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.ingestion.databases import DuckDBFile, PostgresDatabase, open_database
from pipelines.ingestion.object_store import PART_BYTES, BucketStore, object_key
from pipelines.ingestion.ticket_ingest import main
from pipelines.ingestion.warehouse import BatchOutcome, BatchStamp, Warehouse
from run_evidence.ledger import EnvironmentFault, Ledger, open_snapshot
from run_evidence.sensors.capture.capture import CaptureContext
from run_evidence.sensors.sync import sync_runs
from tests.mortal_servers import S3_KEYS, MortalPostgres, MortalS3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from conftest import Factory

    from pipelines.ingestion.databases import Database
    from pipelines.ingestion.increments import Increment
    from pipelines.ingestion.ticket_reader import RejectedLine
    from pipelines.tickets import Ticket

KILLS = 50
TICKETS = 200
STAMP = BatchStamp("run-1", "release-1", datetime(2026, 4, 18, tzinfo=UTC))
_WHEN = "('ingested_at', 'quarantined_at', 'moved_at', 'applied_at')"  # when, which differs from run to run


def contents(database: Database) -> dict[str, list[Any]]:
    """Return every table's rows, sorted, without the times of writing."""
    found: dict[str, list[Any]] = {}
    with database.reading() as run:
        columns: dict[str, list[str]] = {}
        for table, column in run(
            "SELECT table_name, column_name FROM information_schema.columns "
            f"WHERE table_schema = current_schema() AND column_name NOT IN {_WHEN} ORDER BY 1, 2"
        ):
            columns.setdefault(table, []).append(column)
        for table, names in columns.items():
            rows = run(f"SELECT {', '.join(names)} FROM {table}")
            found[table] = sorted(repr([_plain(value) for value in row]) for row in rows)
    return found


def _plain(value: object) -> object:
    """Return a value alike from both databases."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _write_batches(folder: Path, count: int, ticket: Callable[..., dict[str, Any]]) -> list[Path]:
    """Write files of which each has new tickets, newer versions of the file before it, and a refused line."""
    paths = []
    for batch in range(count):
        path = folder / f"batch-{batch:03d}.jsonl"
        first = batch * TICKETS // 2
        rows = [
            ticket(
                ticket_id=f"TKT-20260417-{number:06d}",
                ingest_batch_id=path.stem,
                customer_id=f"cus_{number % 7}",
                updated_at=f"2026-04-17T10:00:{batch:02d}Z",
            )
            for number in range(first, first + TICKETS)
        ]
        rows.append(ticket(owner=None))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        paths.append(path)
    return paths


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_kills_leave_no_half_batch(
    kind: str, tmp_path: Path, ticket: Callable[..., dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    """SIGKILL at a random moment of each batch: it is there whole or not at all, and a rerun makes it whole.

    In the end every table is that of a clean run in another database.
    """
    url = f"duckdb:///{tmp_path / 'w.duckdb'}"
    if kind == "postgres":
        url = request.getfixturevalue("postgres").url
    paths = _write_batches(tmp_path, KILLS + 1, ticket)
    command = [sys.executable, str(Path(__file__).with_name("mortal_ingest.py")), str(tmp_path), str(KILLS), "17"]
    environ = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    kills = [each for each in told if each["left"] is not None]
    assert len(kills) == KILLS
    assert sum(each["at_work"] for each in kills) >= KILLS // 2, "it was killed at work"
    assert {tuple(each["left"]) for each in kills} <= {(0, 0), (TICKETS, 0)}
    assert any(each["left"] == [0, 0] for each in kills)
    for path in paths:
        arguments = ["--input", str(path), "--batch-id", path.stem]
        assert main(arguments, {"DATABASE_URL": f"duckdb:///{tmp_path / 'clean.duckdb'}"}) == 0
    assert contents(open_database(url)) == contents(DuckDBFile(tmp_path / "clean.duckdb"))


@pytest.fixture(scope="module")
def mortal_postgres() -> Iterator[MortalPostgres]:
    yield from MortalPostgres.started()


def _batch(parsed: Callable[..., Ticket], count: int = 2_500) -> list[Ticket]:
    return [parsed(ticket_id=f"TKT-20260417-{n:06d}", customer_id=f"cus_{n % 7}") for n in range(count)]


@pytest.mark.soak
@pytest.mark.postgres
@pytest.mark.parametrize("way", ["immediate", "fast"])
def test_a_server_restarted_in_mid_batch_leaves_nothing_of_it(
    mortal_postgres: MortalPostgres,
    tmp_path: Path,
    parsed: Callable[..., Ticket],
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fault names DATABASE_URL; the same batch again is as if nothing had been."""
    monkeypatch.setattr("pipelines.ingestion.warehouse._CHUNK_ROWS", 1_000)
    database = PostgresDatabase(mortal_postgres.new_database())
    warehouse, batch = Warehouse(database), _batch(parsed)
    warehouse.write_batch(batch[:10], STAMP)
    before = contents(database)

    def interrupted() -> Iterator[Ticket]:
        for number, each in enumerate(batch):
            if number == 1_500:  # after the first thousand were sent
                mortal_postgres.stop(way)
                mortal_postgres.start()
            yield each

    with pytest.raises(EnvironmentFault) as fault:
        warehouse.write_batch(interrupted(), STAMP)
    assert "DATABASE_URL" in str(fault.value.next_step)
    assert contents(database) == before
    warehouse.write_batch(batch, STAMP)
    clean = Warehouse(DuckDBFile(tmp_path / "clean.duckdb"))
    clean.write_batch(batch[:10], STAMP)
    clean.write_batch(batch, STAMP)
    assert contents(database) == contents(clean.database)


def _named_soon(url: str, folder: Path) -> None:
    """Expect the command to name the variable within ten seconds, and no password."""
    (folder / "t.jsonl").write_text("{}\n")
    started = time.monotonic()
    with pytest.raises(EnvironmentFault) as fault:
        main(["--input", str(folder / "t.jsonl"), "--batch-id", "b"], {"DATABASE_URL": url})
    assert time.monotonic() - started < 10
    assert "DATABASE_URL" in str(fault.value.next_step)
    assert "s3cret" not in f"{fault.value} {fault.value.next_step}"


@pytest.mark.soak
@pytest.mark.postgres
def test_a_database_that_was_stopped_is_named_soon(mortal_postgres: MortalPostgres, tmp_path: Path) -> None:
    url = mortal_postgres.new_database()
    mortal_postgres.stop("fast")
    try:
        _named_soon(url, tmp_path)
    finally:
        mortal_postgres.start()


def test_a_database_that_never_answers_is_named_soon(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        _named_soon(f"postgresql://me:s3cret@127.0.0.1:{listener.getsockname()[1]}/week06", tmp_path)


@pytest.fixture
def mortal_s3() -> Iterator[MortalS3]:
    yield from MortalS3.started()


@pytest.mark.soak
@pytest.mark.s3
def test_a_store_stopped_in_mid_upload_shows_no_half_object(
    mortal_s3: MortalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault comes within ten seconds and names MINIO_ENDPOINT; sent again, the object is whole."""
    body = bytes(range(256)) * (4 * PART_BYTES // 256)
    path, sha256 = tmp_path / "manual.pdf", hashlib.sha256(body).hexdigest()
    path.write_bytes(body)
    store = BucketStore(mortal_s3.endpoint, **S3_KEYS, bucket="documents")
    stopped_at: list[float] = []

    def interrupted(path: Path, _: str) -> Iterator[bytes]:
        with path.open("rb") as file:
            for part in range(4):
                if part == 2:
                    mortal_s3.stop()
                    stopped_at.append(time.monotonic())
                yield file.read(PART_BYTES)

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.ingestion.object_store.checked", interrupted)
        with pytest.raises(EnvironmentFault) as fault:
            store.put_file(path, sha256)
    assert time.monotonic() - stopped_at[0] < 10
    assert "MINIO_ENDPOINT" in str(fault.value.next_step)
    assert S3_KEYS["secret_key"] not in f"{fault.value}"
    mortal_s3.start()
    assert store.size_bytes(object_key(sha256)) is None
    assert store.put_file(path, sha256)
    assert b"".join(store.read(object_key(sha256))) == body
    assert not store.put_file(path, sha256)


@pytest.mark.soak
@pytest.mark.postgres
def test_the_ledger_tells_the_fault_and_the_rerun(
    factory: Factory, mortal_postgres: MortalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that lost its server failed and names the variable, the next one delivers; each item has one end."""
    monkeypatch.setenv("DATABASE_URL", mortal_postgres.new_database())

    write_batch, stopped = Warehouse.write_batch, []

    def interrupted(
        warehouse: Warehouse,
        lines: Iterable[Ticket | RejectedLine],
        stamp: BatchStamp,
        increment: Increment | None = None,
    ) -> BatchOutcome:
        def stopping() -> Iterator[Ticket | RejectedLine]:
            for number, line in enumerate(lines):
                if number == 20:
                    mortal_postgres.stop("immediate")
                    stopped.append(number)
                yield line

        return write_batch(warehouse, stopping(), stamp, increment)

    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "write_batch", interrupted)
        broken = factory.run("2026-04-17")
    mortal_postgres.start()
    whole = factory.run("2026-04-17")
    assert (broken.success, whole.success, stopped) == (False, True, [20])
    ledger = Ledger(factory.root / "ledger")
    sync_runs(factory.instance, CaptureContext(ledger, grace_seconds=0))
    with open_snapshot(ledger) as snapshot:
        planned = snapshot.rows("SELECT run_id, planned, closed, unplanned FROM runs")
        assert {run_id for run_id, *_ in planned} == {broken.run_id, whole.run_id}
        for run_id, count, closed, unplanned in planned:
            ends = snapshot.rows(f"SELECT asset_key, check_name, outcome FROM outcomes WHERE run_id = '{run_id}'")
            assert (len(ends), closed, unplanned) == (count, True, 0)
        ((outcome, why),) = snapshot.rows(
            f"SELECT outcome, reason FROM outcomes WHERE run_id = '{broken.run_id}' "
            "AND asset_key = 'week06/ingestion/raw_ticket_events_partitioned' AND check_name IS NULL"
        )
        assert outcome == "failed"
        assert "DATABASE_URL" in why
        assert "the transaction was undone" in why
        ((state, by),) = snapshot.rows(
            "SELECT state, run_id FROM partitions WHERE asset_key = 'week06/silver/ticket_fact_partitioned' "
            "AND partition = '2026-04-17'"
        )
        assert (state, by) == ("materialized", whole.run_id)
