"""What capture costs: a hook in a run, a finished run against Dagster's own read of it, a sync of many runs."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from benchmarks.measure import Row, best_seconds
from ledger import Ledger
from sensors import with_ledger
from sensors.capture import capture_run
from sensors.capturing import Capturing
from sensors.sync import sync_runs

_ASSETS = 100
_RUNS = 60
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run() -> Iterator[Row]:
    """Measure on persistent instances of their own."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        yield from _hook(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _history(Path(folder))


def _definitions(count: int) -> dg.Definitions:
    assets = [dg.asset(name=f"trivial_{number}")(_trivial) for number in range(count)]
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("job")])


def _trivial() -> None:
    return None


def _seconds(defs: dg.Definitions, instance: dg.DagsterInstance) -> tuple[float, str]:
    job = defs.resolve_job_def("job")
    started = time.perf_counter()
    done = job.execute_in_process(instance=instance, run_config=_QUIET)
    return time.perf_counter() - started, done.run_id


def _hook(folder: Path) -> Iterator[Row]:
    """Run the same job with and without the hook, in turn, so that noise falls on both."""
    instance = dg.DagsterInstance.local_temp(str(folder))
    plain = _definitions(_ASSETS)
    hooked = with_ledger(plain, ledger=folder / "ledger")
    _seconds(plain, instance)
    _seconds(hooked, instance)
    times = [(_seconds(plain, instance)[0], _seconds(hooked, instance)) for _ in range(5)]
    without = statistics.median(t for t, _ in times)
    with_hook = statistics.median(t for _, (t, _) in times)
    overhead = (with_hook - without) / _ASSETS * 1e3
    yield Row(f"job of {_ASSETS} trivial assets, in process", f"{without:.2f} s", "1")
    yield Row("… with the hook", f"{with_hook:.2f} s", f"{with_hook / without:.2f}")
    yield Row("hook, for each step", f"{overhead:.1f} ms")
    yield from _one_run(instance, times[-1][1][1], folder)


def _one_run(instance: dg.DagsterInstance, run_id: str, folder: Path) -> Iterator[Row]:
    records = len(instance.event_log_storage.get_records_for_run(run_id).records)
    read = best_seconds(lambda: instance.event_log_storage.get_records_for_run(run_id), tries=5)
    fresh = iter(range(1_000))

    def capture() -> None:
        capture_run(instance, run_id, Capturing(Ledger(folder / f"fresh-{next(fresh)}"), grace_seconds=0))

    seconds = best_seconds(capture, tries=5)
    yield Row(f"get_records_for_run, {records} records", f"{read * 1e3:.0f} ms", "1")
    yield Row("capture of that run into an empty ledger", f"{seconds * 1e3:.0f} ms", f"{seconds / read:.2f}")


def _history(folder: Path) -> Iterator[Row]:
    """Fill an instance with runs, read them as Dagster does, and sync them twice."""
    instance = dg.DagsterInstance.local_temp(str(folder))
    defs = _definitions(3)
    run_ids = [_seconds(defs, instance)[1] for _ in range(_RUNS)]
    ledger = Ledger(folder / "ledger")

    def read_all() -> None:
        with dg.DagsterInstance.local_temp(str(folder)) as reader:  # cold, as `sync` is
            for run_id in run_ids:
                reader.event_log_storage.get_records_for_run(run_id)

    def sync() -> None:
        with dg.DagsterInstance.local_temp(str(folder)) as reader:
            sync_runs(reader, Capturing(ledger, grace_seconds=0))

    read = best_seconds(read_all, tries=1)
    first = best_seconds(sync, tries=1)
    again = best_seconds(sync, tries=1)
    yield Row(f"Dagster's own read of {_RUNS} runs, cold", f"{read:.2f} s", "1")
    yield Row("sync of them into an empty ledger, cold", f"{first:.2f} s", f"{first / read:.2f}")
    yield Row("a second sync, nothing new", f"{again:.2f} s", f"{again / first:.2f} of the first")
