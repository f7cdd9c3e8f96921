"""Writing 100,000 tickets into the example factory's warehouse, against the database's own fastest way.

Both sides read the same file of JSON Lines. Ours holds every line against the contract; the other way only parses
(orjson), makes the payload and its digest, and hands the columns over: COPY into a staging table in PostgreSQL,
Arrow in DuckDB, then the same tables are written from it, in one transaction. In the processor's time, ours and the
server's, which no neighbour prolongs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import orjson
import psycopg
import pyarrow as pa

from benchmarks.measure import Row
from pipelines.ingestion.databases import open_database
from pipelines.ingestion.ticket_ingest import ingest_batch, source_of_file
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.samples import make_ticket
from tests.mortal_servers import MortalPostgres

_TICKETS = 100_000
_TRIES = 3
_STAMP = BatchStamp("run-1", None, datetime(2026, 4, 18, tzinfo=UTC))
_NOW = datetime(2026, 4, 18, tzinfo=UTC)
_FIELDS = (
    *("source_id", "ticket_id", "ingest_batch_id", "customer_id", "org_id", "status", "priority", "category"),
    *("product_line", "product_version", "assignee_id", "sla_tier", "pii_level", "quality_gate", "owner"),
    *("created_at", "updated_at", "resolved_at", "sla_due_at"),
)
_COLUMNS = (*_FIELDS, "payload", "source_fingerprint")
_FACTS = tuple(name for name in _COLUMNS if name != "payload")
_TABLES = f"""
    CREATE TABLE event (source_id TEXT, source_fingerprint TEXT, ticket_id TEXT, ingest_batch_id TEXT,
        created_at TIMESTAMPTZ, payload TEXT, PRIMARY KEY (source_id, source_fingerprint));
    CREATE TABLE customer (customer_id TEXT PRIMARY KEY, org_id TEXT);
    CREATE TABLE fact ({", ".join(f"{n} {'TIMESTAMPTZ' if n.endswith('_at') else 'TEXT'}" for n in _FACTS)},
        PRIMARY KEY (ticket_id), FOREIGN KEY (customer_id) REFERENCES customer (customer_id));
"""
_SELECTED = ", ".join(f"CAST({n} AS TIMESTAMPTZ)" if n.endswith("_at") else n for n in _FACTS)
_EVENTS = """
    INSERT INTO event
    SELECT source_id, source_fingerprint, ticket_id, ingest_batch_id, CAST(created_at AS TIMESTAMPTZ), payload
    FROM staging ON CONFLICT DO NOTHING
"""
_CUSTOMERS = """
    INSERT INTO customer SELECT customer_id, max(org_id) FROM staging GROUP BY customer_id ON CONFLICT DO NOTHING
"""
_FACT = f"""
    INSERT INTO fact SELECT DISTINCT ON (ticket_id) {_SELECTED} FROM staging ORDER BY ticket_id
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - of constants
_MERGE = (_EVENTS, _CUSTOMERS, _FACT)
# By /proc, for what getrusage says begins with the memory of whoever started the process.
_INGEST = """
import os, re, sys
from pathlib import Path
from pipelines.ingestion.ticket_ingest import main
main(sys.argv[1:], os.environ)
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Kind:
    """A database: how a new one is made, its own fastest way, and the process whose time is the server's."""

    name: str
    new: Callable[[], str]
    bare: Callable[[Path, str], None]
    server: int | None = None

    def seconds(self, work: Callable[[Path, str], None], path: Path, url: str) -> float:
        """Return the processor's time that the work takes here and in the server, its ended sessions included."""
        started = time.process_time() + self._served()
        work(path, url)
        return time.process_time() + self._served() - started

    def _served(self) -> float:
        if self.server is None:
            return 0.0
        time.sleep(0.3)  # until the session that was closed has ended
        fields = Path(f"/proc/{self.server}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS


def run() -> Iterator[Row]:
    """Measure both databases: the first write, the same again, and memory in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small = write_tickets(folder / "tickets.jsonl", _TICKETS)
        large = write_tickets(folder / "large.jsonl", 3 * _TICKETS)
        for server in MortalPostgres.started():
            files = (f"duckdb:///{folder / str(number)}.duckdb" for number in count())
            pid = server.server.get_pid()
            for kind in (
                Kind("DuckDB", files.__next__, _by_arrow),
                Kind("PostgreSQL", server.new_database, _by_copy, pid),
            ):
                yield from _speed(kind, small)
                for file, tickets in ((small, _TICKETS), (large, 3 * _TICKETS)):
                    peak = _peak_bytes(file, kind.new())
                    yield Row(f"{kind.name}: most memory, {tickets:,} tickets", f"{peak / 1e6:,.0f} MB")


def write_tickets(path: Path, tickets: int) -> Path:
    """Write a file of valid tickets of one day."""
    random = Random(17)  # noqa: S311 - samples need repeatability, not secrecy
    with path.open("w", encoding="utf-8") as file:
        for number in range(1, tickets + 1):
            ticket = make_ticket(random, "2026-04-17", number)
            file.write(json.dumps({**ticket, "ingest_batch_id": "batch-1"}, ensure_ascii=False) + "\n")
    return path


def _speed(kind: Kind, path: Path) -> Iterator[Row]:
    tries = []
    for _ in range(_TRIES):  # in turns, so that a noisy minute is everybody's
        bare = kind.seconds(kind.bare, path, kind.new())
        url = kind.new()
        tries.append((bare, kind.seconds(_ingest, path, url), kind.seconds(_ingest, path, url)))
    bare, first, again = (min(each) for each in zip(*tries, strict=True))
    of = f"{_TICKETS:,} tickets"
    yield Row(f"{kind.name}: parse and merge {of}, nothing checked", f"{_TICKETS / bare:,.0f} /s", "1")
    yield Row(f"{kind.name}: ingest them", f"{_TICKETS / first:,.0f} /s", f"{bare / first:.2f}")
    yield Row(
        f"{kind.name}: the same batch again", f"{_TICKETS / again:,.0f} /s", f"{first / again:.1f} × the first"
    )


def _ingest(path: Path, url: str) -> None:
    warehouse = Warehouse(open_database(url))
    summary, _ = ingest_batch(warehouse, [source_of_file(path, "batch-1", _NOW)], _STAMP)
    assert summary.valid == summary.total == summary.inserted + summary.duplicates


def _parsed(path: Path) -> list[list[Any]]:
    columns: list[list[Any]] = [[] for _ in _COLUMNS]
    with path.open("rb") as file:
        for line in file:
            record = orjson.loads(line)
            payload = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
            for column, field in zip(columns, _FIELDS, strict=False):
                column.append(record.get(field))
            columns[-2].append(payload.decode())
            columns[-1].append(hashlib.sha256(payload).hexdigest())
    return columns


def _by_arrow(path: Path, url: str) -> None:
    columns = _parsed(path)
    with duckdb.connect(url.removeprefix("duckdb:///")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_TABLES)
        connection.register("staging", pa.table(columns, names=list(_COLUMNS)))
        connection.begin()
        for sql in _MERGE:
            connection.execute(sql)
        connection.commit()


def _by_copy(path: Path, url: str) -> None:
    columns = _parsed(path)
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        connection.execute(_TABLES.encode())
        staging = ", ".join(f"{name} TEXT" for name in _COLUMNS)
        connection.execute(f"CREATE TEMPORARY TABLE staging ({staging})".encode())
        with connection.cursor() as cursor, cursor.copy(b"COPY staging FROM STDIN") as copy:
            for row in zip(*columns, strict=True):
                copy.write_row(row)
        for sql in _MERGE:
            connection.execute(sql.encode())


def _peak_bytes(path: Path, url: str) -> int:
    """Return the most memory that the command takes, Python and all; of a server's own nothing."""
    words = ["--input", str(path), "--batch-id", "batch-1"]
    environ = {**os.environ, "DATABASE_URL": url}
    done = subprocess.run([sys.executable, "-c", _INGEST, *words], env=environ, check=True, capture_output=True)
    return int(done.stdout.split()[-1]) * 1024
