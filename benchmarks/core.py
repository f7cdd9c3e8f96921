"""What recording, sealing, verifying and asking cost."""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import Row, best_seconds
from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.storage.log import Log
from run_evidence.ledger.storage.segment import read_batches
from run_evidence.ledger.tlog.merkle import Frontier, leaf_hash
from run_evidence.ledger.verification.verify import verify

_EVENTS = 100_000
_RUN_EVENTS = 50
_BATCH = 5_000


def events(first: int, count: int) -> list[Event]:
    """Make events as a run makes them: about 1 KB each, 50 to a run."""
    return [_event(number) for number in range(first, first + count)]


def _event(number: int) -> Event:
    run = number // _RUN_EVENTS
    run_id = hashlib.sha256(str(run).encode()).hexdigest()
    return Event(
        event_type="asset.materialized.v1" if number % 5 == 0 else "step.output_yielded.v1",
        occurred_at=1_760_000_000_000_000 + number * 1_000,
        store_id="6f1c3f5e-7d7d-4f0c-9c58-8f4e0f5d2c11",
        run_id=f"{run_id[:8]}-{run_id[8:12]}-4{run_id[13:16]}-8{run_id[17:20]}-{run_id[20:32]}",
        storage_id=number % _RUN_EVENTS + 1,
        job_name="daily_refresh",
        step_key=f"warehouse__orders__step_{number % 20}",
        attempt=1,
        asset_key=f"warehouse/orders/table_{number % 20}",
        partition="2026-04-17",
        trace_id=run_id[:32],
        release_id="release-2026.04.17",
        outcome="passed" if number % 5 == 0 else None,
        source_digest=hashlib.sha256(str(number).encode()).hexdigest(),
        data={
            "dagster_event_type": "ASSET_MATERIALIZATION",
            "message": f"Materialized value warehouse orders table_{number % 20}.",
            "metadata": [
                {"label": "row_count", "type": "int", "value": number},
                {"label": "path", "type": "path", "value": f"s3://warehouse/orders/table_{number % 20}/2026-04-17"},
                {"label": "note", "type": "text", "value": "x" * 200},
            ],
        },
    )


def run() -> Iterator[Row]:
    """Measure append, seal, verify and query on ledgers of their own."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _measure(Path(folder))


def _measure(folder: Path) -> Iterator[Row]:
    yield from _append(folder)
    seconds = min(_seal(Ledger(folder / f"seal-{number}")) for number in range(3))
    yield Row(f"seal {_EVENTS:,} events, best of 3", f"{_EVENTS / seconds:,.0f} events/s")
    ledger = Ledger(folder / "seal-0")
    yield from _verify(ledger)
    yield from _query(ledger)


def _seal(ledger: Ledger) -> float:
    """Return the seconds it takes to seal what was appended."""
    for first in range(0, _EVENTS, _BATCH):
        ledger.append(events(first, _BATCH))
    started = time.perf_counter()
    ledger.seal()
    return time.perf_counter() - started


def _append(folder: Path) -> Iterator[Row]:
    ledger = Ledger(folder / "appends")
    ledger.create()
    times = []
    for number in range(300):
        one = events(number, 1)
        started = time.perf_counter()
        ledger.append(one)
        times.append((time.perf_counter() - started) * 1e3)
    quantiles = statistics.quantiles(times, n=100)
    yield Row("append 1 event, durable, p50 / p99", f"{quantiles[49]:.2f} / {quantiles[98]:.2f} ms")
    batch = events(1_000, 100)
    seconds = best_seconds(lambda: ledger.append(batch))
    yield Row("append 100 events", f"{100 / seconds:,.0f} events/s")


def _verify(ledger: Ledger) -> Iterator[Row]:
    with open_snapshot(ledger) as snapshot:
        leaves = [entry for (entry,) in snapshot.rows("SELECT entry FROM entries")]
    count = len(leaves)
    bare = best_seconds(lambda: [hashlib.sha256(leaf).digest() for leaf in leaves])
    yield Row(f"hashlib.sha256 over the {count:,} entries", f"{count / bare:,.0f} entries/s", "1")
    floor = best_seconds(lambda: _read_and_hash(ledger.log()))
    yield Row("read all columns, hash the tree, check nothing", *_speed(count, floor, bare))
    for what, workers in (("one process", 1), ("two processes", 2)):
        seconds = best_seconds(partial(verify, ledger, workers=workers), tries=2)
        yield Row(f"verify them, {what}", *_speed(count, seconds, bare))


def _read_and_hash(log: Log) -> bytes:
    """Do what no verification can do without: read what it compares, and build the tree from the bytes."""
    tree = Frontier.empty()
    for segment in log.segments:
        for batch in read_batches(segment):
            tree = tree.extend(map(leaf_hash, batch.column("entry").to_pylist()))
    return tree.root()


def _speed(count: int, seconds: float, bare: float) -> tuple[str, str]:
    return f"{count / seconds:,.0f} entries/s", f"{bare / seconds:.2f} of hashlib"


def _query(ledger: Ledger) -> Iterator[Row]:
    import_duckdb = _cold([sys.executable, "-c", "import duckdb"])
    command = [
        sys.executable,
        "-m",
        "run_evidence.ledger.cli",
        "--ledger",
        str(ledger.root),
        "query",
        "SELECT 1 AS one",
    ]
    cold = _cold(command)
    yield Row("python -c 'import duckdb', cold", f"{import_duckdb * 1e3:.0f} ms", "1")
    yield Row("ledger query 'SELECT 1', cold", f"{cold * 1e3:.0f} ms", f"{cold / import_duckdb:.1f}")
    with open_snapshot(ledger) as snapshot:
        questions = {
            "one run of 2,000": "SELECT count(*) FROM events WHERE run_id = (SELECT max(run_id) FROM events)",
            "count by type and outcome": "SELECT event_type, outcome, count(*) FROM events GROUP BY ALL",
            "latest of each asset": "SELECT asset_key, max(occurred_at) FROM materializations GROUP BY 1",
        }
        for what, sql in questions.items():
            seconds = best_seconds(partial(snapshot.rows, sql))
            yield Row(f"query, warm: {what}", f"{seconds * 1e3:.0f} ms")


def _cold(command: list[str]) -> float:
    """Return the median of eleven starts, in seconds."""
    times = []
    for _ in range(11):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
