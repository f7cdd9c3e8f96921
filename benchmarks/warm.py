"""The same questions to Dagster's own event log on PostgreSQL and to the ledger of it, warm, in one process.

A longer history than 2,000 runs: BENCH_RUNS.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg
import psycopg
from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._serdes import deserialize_value, serialize_value

from benchmarks.measure import Row
from run_evidence.ledger import Ledger
from run_evidence.ledger import open as open_reader
from run_evidence.sensors.capture.context import CaptureContext
from run_evidence.sensors.sync import sync_runs
from tests.postgres import new_database, postgres_server
from tests.sensors.stores import storage_yaml

_RUNS = int(os.environ.get("BENCH_RUNS", "2000"))
_STEPS = 4
_TEAMS = 100  # each with assets of its own
_FAILS = 20  # every so many runs one fails
_APART_S = 420
_COMPARED = 50
_TURNS = 60
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_WINDOW_S = 3 * 86_400

# The ledger's own events of a run, its plan and its outcomes, have no record in Dagster.
_OF_RUN = "SELECT * FROM events WHERE run_id = $run AND storage_id IS NOT NULL ORDER BY storage_id"
_FAILED = (
    "SELECT * FROM failures WHERE event_type = 'step.failed.v1' "
    "AND occurred_at >= $after AND occurred_at < $before ORDER BY occurred_at DESC"
)
_ASSETS = "SELECT * FROM assets"
_VERDICT = "SELECT verdict, reason FROM runs WHERE run_id = $run"


@dataclass(frozen=True, slots=True)
class _History:
    """What was recorded: runs in order, those that failed, and when the first began, in seconds."""

    run_ids: list[str]
    started_s: float


def run() -> Iterator[Row]:
    """Record a history, capture it, ask both, and require that they answer the same."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    with _instance() as (instance, folder):
        history = _record(instance)
        ledger = Ledger(folder / "ledger")
        sync_runs(instance, CaptureContext(ledger, grace_seconds=0))
        yield Row("runs, assets, events in the ledger", f"{_RUNS:,}, {_STEPS * _TEAMS}, {ledger.log().size:,}")
        yield from _asked(instance, ledger, history)


@contextmanager
def _instance() -> Iterator[tuple[dg.DagsterInstance, Path]]:
    with tempfile.TemporaryDirectory() as name, contextmanager(postgres_server)() as server:
        folder = Path(name)
        (folder / "dagster.yaml").write_text(storage_yaml("postgres", folder, lambda: new_database(server)))
        with dg.DagsterInstance.from_config(name) as instance:
            yield instance, folder


def _record(instance: dg.DagsterInstance) -> _History:
    """Run a job that succeeds and one that fails, and store their records again as other teams' later runs."""
    templates = [_template(fails=False), _template(fails=True)]
    started_s = time.time() - _RUNS * _APART_S
    run_ids = []
    for number in range(_RUNS):
        original, records = templates[number % _FAILS == _FAILS - 1]
        run_ids.append(new_id := str(uuid.uuid4()))
        instance.run_storage.add_run(original._replace(run_id=new_id))
        moved = []
        for record in records:
            text = serialize_value(record).replace(original.run_id, new_id)
            other = deserialize_value(text.replace("template_", f"team_{number % _TEAMS:02}_"), EventLogEntry)
            at = record.timestamp - records[0].timestamp + started_s + number * _APART_S
            moved.append(other._replace(timestamp=at))
        _store(instance, moved)
    address = instance.event_log_storage.postgres_url.replace("+psycopg2", "")  # type: ignore[attr-defined]
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # as a server does by itself in time
    return _History(run_ids, started_s)


def _store(instance: dg.DagsterInstance, events: Sequence[EventLogEntry]) -> None:
    """Store a run's records as `store_event` does one by one, but in one transaction and by one connection."""
    storage: Any = instance.event_log_storage
    with storage.index_transaction() as connection:
        stored = connection.execute(
            storage.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        )
        numbered = zip(events, [row[0] for row in stored], strict=True)
        for event, number in numbered:
            of_dagster = event.dagster_event
            if of_dagster and of_dagster.event_type in ASSET_EVENTS and of_dagster.asset_key:
                storage._store_asset_event_tags(connection, [event], [number])
                storage._store_asset_event(connection, event, number)


def _template(*, fails: bool) -> tuple[dg.DagsterRun, list[EventLogEntry]]:
    def make(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"template_{number}")
        def made() -> dg.MaterializeResult[None]:
            if fails and number == _STEPS - 1:
                raise dg.Failure("the warehouse was not there")
            return dg.MaterializeResult(metadata={f"label_{n}": n * number for n in range(3)})

        return made

    assets = [make(number) for number in range(_STEPS)]
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(assets, instance=instance, run_config=_QUIET, raise_on_error=False)
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
        records = [record.event_log_entry for record in instance.get_records_for_run(done.run_id).records]
    return run._replace(job_snapshot_id=None, execution_plan_snapshot_id=None), records


def _asked(instance: dg.DagsterInstance, ledger: Ledger, history: _History) -> Iterator[Row]:
    """Ask each question of both; what Dagster has no word for is asked of the ledger alone."""
    reader = open_reader(ledger.root)

    def asked(sql: str, **params: Any) -> list[dict[str, Any]]:
        return reader.query(sql, params).rows()

    def run_id(turn: int) -> str:
        return history.run_ids[turn * 7 % _RUNS]

    def after_s(turn: int) -> float:
        return history.started_s + (_RUNS // 2 + turn) * _APART_S

    def failed_in_dagster(turn: int) -> Sequence[dg.EventLogRecord]:
        wanted = dg.EventRecordsFilter(
            dg.DagsterEventType.STEP_FAILURE,
            after_timestamp=after_s(turn),
            before_timestamp=after_s(turn) + _WINDOW_S,
        )
        return instance.get_event_records(wanted)

    def failed_in_ledger(turn: int) -> Sequence[Any]:
        after = datetime.fromtimestamp(after_s(turn), UTC)
        return asked(_FAILED, after=after, before=after + timedelta(seconds=_WINDOW_S))

    questions: list[_Question] = [
        _Question(
            "one run's events",
            lambda turn: instance.get_records_for_run(run_id(turn)).records,
            lambda turn: asked(_OF_RUN, run=run_id(turn)),
            lambda record: record.storage_id,
            lambda row: row["storage_id"],
        ),
        _Question(
            f"failed steps in {_WINDOW_S // 86_400} days",
            failed_in_dagster,
            failed_in_ledger,
            lambda record: (record.run_id, record.event_log_entry.step_key),
            lambda row: (row["run_id"], row["step_key"]),
        ),
        _Question(
            "the latest state of each asset",
            lambda _: instance.get_asset_records(),
            lambda _: asked(_ASSETS),
            lambda record: (record.asset_entry.asset_key.to_user_string(), record.asset_entry.last_run_id),
            lambda row: (row["asset_key"], row["run_id"]),
        ),
    ]
    for each in questions:
        yield from each.measured()
    yield Row("ledger: one run's verdict", _told(_seconds(lambda turn: asked(_VERDICT, run=run_id(turn)))))


@dataclass(frozen=True, slots=True)
class _Question:
    """A question to both, about something else in every turn; and how a row of each is named, to compare them."""

    what: str
    of_dagster: Callable[[int], Sequence[Any]]
    of_ledger: Callable[[int], Sequence[Any]]
    key_of_record: Callable[[Any], object]
    key_of_row: Callable[[Any], object]

    def measured(self) -> Iterator[Row]:
        for turn in range(_COMPARED):
            records = sorted(map(self.key_of_record, self.of_dagster(turn)), key=repr)
            rows = sorted(map(self.key_of_row, self.of_ledger(turn)), key=repr)
            if not records or records != rows:
                raise RuntimeError(f"{self.what}: Dagster has {len(records)}, the ledger {len(rows)}, or others")
        theirs, ours = _seconds(self.of_dagster), _seconds(self.of_ledger)
        yield Row(f"Dagster on PostgreSQL: {self.what}, {len(records)}", _told(theirs), "1")
        yield Row(f"ledger: {self.what}", _told(ours), f"{ours[0] / theirs[0]:.2f} (at most 1)")


def _seconds(ask: Callable[[int], object]) -> tuple[float, float]:
    """Return the median and the shortest time of the turns, in seconds."""
    times = []
    for turn in range(_TURNS):
        started = time.perf_counter()
        ask(turn)
        times.append(time.perf_counter() - started)
    return median(times), min(times)


def _told(seconds: tuple[float, float]) -> str:
    return f"{seconds[0] * 1e3:.1f} ms, at best {seconds[1] * 1e3:.1f}"
