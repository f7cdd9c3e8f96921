"""What capture costs, as ratios to what Dagster itself takes for the same in the same run.

`BENCH_RUNS=10000 python -m benchmarks capture` measures a longer history than the usual one.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg

from benchmarks.measure import Row, best_seconds
from run_evidence.ledger import Ledger
from run_evidence.sensors import with_ledger
from run_evidence.sensors.capture.capture import capture_run
from run_evidence.sensors.capture.context import CaptureContext
from run_evidence.sensors.sync import PAGE_RUNS, sync_runs

_RUNS = int(os.environ.get("BENCH_RUNS", "2000"))
_STEPS = 100
_TURNS = 9
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_PEAK = """
import sys, warnings
warnings.filterwarnings("ignore")
import dagster as dg
from run_evidence.ledger import Ledger
from run_evidence.sensors.capture.context import CaptureContext
from run_evidence.sensors.sync import sync_runs
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    sync_runs(instance, CaptureContext(Ledger(sys.argv[2]), grace_seconds=0), max_runs=int(sys.argv[3]))
# Not our own ru_maxrss: it starts at what the process had that started us.
print(int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) * 1024)
"""


def run() -> Iterator[Row]:
    """Measure a step's hook, one run, and a history of runs, each on a persistent instance of its own."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    with _instance() as (instance, folder):
        yield from _hook(instance, folder)
    with _instance() as (instance, folder):
        yield from _one_run(instance, folder)
    with _instance() as (instance, folder):
        yield from _history(instance, folder)


@contextmanager
def _instance() -> Iterator[tuple[dg.DagsterInstance, Path]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        with dg.DagsterInstance.from_config(name) as instance:
            yield instance, folder


def _assets(count: int, metadata: int) -> list[dg.AssetsDefinition]:
    def make(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"asset_{number}")
        def made() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(metadata={f"label_{n}": n * number for n in range(metadata)})

        return made

    return [make(number) for number in range(count)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _hook(instance: dg.DagsterInstance, folder: Path) -> Iterator[Row]:
    """Run the same job without a hook, with one that does nothing, and with ours, in turn: noise falls on all."""

    @dg.success_hook
    def idle(_: dg.HookContext) -> None: ...

    def job(assets: Sequence[dg.AssetsDefinition]) -> dg.Definitions:
        return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("job")])

    assets = _assets(_STEPS, metadata=0)
    kinds = (
        job(assets),
        job([a.with_hooks({idle}) for a in assets]),
        with_ledger(job(assets), ledger=folder / "l"),
    )
    jobs = [defs.resolve_job_def("job") for defs in kinds]

    def execute(job: dg.JobDefinition) -> float:
        return _seconds(lambda: job.execute_in_process(instance=instance, run_config=_QUIET))

    for each in jobs:
        execute(each)
    alone, idling, hooked = (min(times) for times in zip(*(map(execute, jobs) for _ in range(_TURNS)), strict=True))
    yield Row(f"job of {_STEPS} trivial assets, in process", f"{alone:.2f} s", "1")
    yield Row("… with a hook that does nothing", f"{idling:.2f} s", f"{idling / alone:.3f}")
    yield Row("… with the ledger's hook", f"{hooked:.2f} s", f"{hooked / alone:.3f} (at most 1.15)")
    yield Row(
        "what the ledger's hook adds to one that does nothing", f"{(hooked - idling) / _STEPS * 1e3:.1f} ms a step"
    )


def _one_run(instance: dg.DagsterInstance, folder: Path) -> Iterator[Row]:
    """Capture a finished run, with everything that is on by default, into an empty ledger."""
    run_id = dg.materialize(_assets(_STEPS, metadata=3), instance=instance, run_config=_QUIET).run_id
    records = len(instance.get_records_for_run(run_id).records)
    read = best_seconds(lambda: instance.get_records_for_run(run_id), tries=9)
    fresh = iter(range(1_000))

    def capture() -> None:
        capture_run(instance, run_id, CaptureContext(Ledger(folder / f"fresh-{next(fresh)}"), grace_seconds=0))

    seconds = best_seconds(capture, tries=9)
    yield Row(f"get_records_for_run, {records} records", f"{read * 1e3:.0f} ms", "1")
    yield Row(
        "capture of that run into an empty ledger, closed",
        f"{seconds * 1e3:.0f} ms",
        f"{seconds / read:.2f} (at most 1.3)",
    )


def _history(instance: dg.DagsterInstance, folder: Path) -> Iterator[Row]:
    """Read a history as Dagster does, sync it twice, and see what memory a sync takes."""
    run_id = dg.materialize(_assets(4, metadata=3), instance=instance, run_config=_QUIET).run_id
    records = _RUNS * len(instance.get_records_for_run(run_id).records)
    _copy_runs(instance, run_id, _RUNS - 1)
    ledger = Ledger(folder / "ledger")

    def cold(work: Callable[[dg.DagsterInstance], object]) -> float:
        with dg.DagsterInstance.from_config(str(folder)) as opened:
            return _seconds(lambda: work(opened))

    def sync(opened: dg.DagsterInstance) -> None:
        sync_runs(opened, CaptureContext(ledger, grace_seconds=0))

    first = cold(sync)
    again = min(cold(sync) for _ in range(3))
    with dg.DagsterInstance.from_config(str(folder)) as reader:
        read, warm = _seconds(lambda: _read_all(reader)), _seconds(lambda: _read_all(reader))
    yield Row(f"Dagster's own read of {_RUNS:,} runs, {records:,} records", f"{read:.1f} s", "1")
    yield Row("… once more, with every file's connection open", f"{warm:.1f} s", f"{warm / read:.2f}")
    yield Row(
        "sync of them into an empty ledger, sealed",
        f"{first:.1f} s",
        f"{first / read:.2f} of the first reading (at most 1.5), {first / warm:.2f} of the second",
    )
    yield Row("a second sync, nothing new", f"{again:.2f} s", f"{again / first:.1%} of the first (at most 10 %)")
    part = max(_RUNS // 4, PAGE_RUNS)
    few, all_of_it = (_peak_bytes(folder, runs) for runs in (part, _RUNS))
    yield Row(f"most memory of a process that syncs {part:,} runs", f"{few / 1e6:.0f} MB", "1")
    yield Row(f"… {_RUNS:,} runs", f"{all_of_it / 1e6:.0f} MB", f"{all_of_it / few:.2f}")


def _read_all(instance: dg.DagsterInstance) -> None:
    for each in instance.get_run_records():
        instance.get_records_for_run(each.dagster_run.run_id)


def _peak_bytes(home: Path, runs: int) -> int:
    program = [sys.executable, "-c", _PEAK, str(home), str(home / f"ledger-of-{runs}"), str(runs)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def _copy_runs(instance: dg.DagsterInstance, run_id: str, count: int) -> None:
    """Copy a finished run, seven minutes apart, as Dagster would have stored it in a fraction of the time."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    original = Path(instance.root_directory) / "history" / "runs" / f"{run_id}.db"
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(count):
        new_id = str(uuid.uuid4())
        copy = original.with_name(f"{new_id}.db")
        shutil.copy(original, copy)
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            changed = "UPDATE event_logs SET run_id = ?, event = replace(event, ?, ?)"
            connection.execute(changed, (new_id, run_id, new_id))
        instance.run_storage.add_run(run._replace(run_id=new_id))
    with closing(sqlite3.connect(original.parent.parent / "runs.db")) as connection, connection:
        ago = "datetime('now', printf('-%d minutes', 7 * (SELECT max(id) - runs.id FROM runs AS r)))"
        connection.execute(f"UPDATE runs SET create_timestamp = {ago}, update_timestamp = {ago}")  # noqa: S608
