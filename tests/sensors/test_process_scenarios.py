"""Scenarios in which processes are killed, cancelled or outlive their run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import mortal
import pytest
from holding import assert_holds, outcomes, rows, sync
from stores import StorageConfig

from run_evidence.ledger import Ledger


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder where the test and the run leave signs for each other."""
    folder = tmp_path / "stage"
    folder.mkdir()
    monkeypatch.setenv("STAGE", str(folder))
    return folder


@contextmanager
def execution(job: str) -> Iterator[subprocess.Popen[bytes]]:
    """Execute a job of `mortal` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, mortal.__file__, job], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def running(job: str, stage: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Execute a job of `mortal` in a process of its own; yields once its step has started."""
    with execution(job) as process:
        mortal.wait_for(stage / "started")
        yield process


@pytest.mark.soak  # tests/ledger/test_outcomes.py has the rule
def test_a_step_whose_process_is_killed_is_lost(instance: dg.DagsterInstance, ledger: Ledger, stage: Path) -> None:
    """SIGKILL of a step's process: the step is lost, not failed by its own doing, and what follows is not run."""
    with execution("killed_step") as process:
        process.wait()
    sync(instance, ledger)
    assert_holds(instance, ledger)
    (run,) = instance.get_runs()
    assert outcomes(ledger, run.run_id) == {
        "first": "materialized",
        "killed": "lost:process_lost",
        "after_killed": "upstream_failed:upstream_failed",
    }


@pytest.mark.soak  # test_history_scenarios.py has the rule
def test_a_step_that_outlives_its_run_reopens_it(instance: dg.DagsterInstance, ledger: Ledger, stage: Path) -> None:
    """SIGKILL of the run worker: lost; the orphan's late records reopen the run, which is closed anew."""
    with running("killed_worker", stage) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        (run,) = instance.get_runs()
        instance.report_run_failed(run, "the run worker is gone")  # what the daemon's run monitoring does
        assert sync(instance, ledger).open_runs == ()
        expected = {"first": "materialized", "outliving": "lost:process_lost"}
        never = {"after_outliving": "not_started:run_failed_before_step"}
        assert outcomes(ledger, run.run_id) == {**expected, **never}
        orphan = int((stage / "started").read_text())
        (stage / "go").touch()
        _wait_until_gone(orphan)
    done = sync(instance, ledger)
    assert done.appended > 2
    assert done.open_runs == ()
    assert_holds(instance, ledger)
    assert outcomes(ledger, run.run_id) == {"first": "materialized", "outliving": "materialized", **never}
    ((late,),) = rows(ledger, "SELECT data->>'$.late_storage_ids' FROM events WHERE event_type = 'run.reopened.v1'")
    after = "SELECT storage_id FROM events WHERE event_type = 'asset.materialized.v1' AND asset_key = 'outliving'"
    assert str(rows(ledger, after)[0][0]) in late
    assert sync(instance, ledger).appended == 0


def _wait_until_gone(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return  # ended; only its new parent has not looked yet
        signal.sigtimedwait([], 0.02)


@pytest.mark.soak
@pytest.mark.parametrize(
    "store", ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.soak])]
)
def test_a_cancelled_run_is_cancelled_and_not_failed(
    home: Path, ledger: Ledger, stage: Path, storage_config: StorageConfig, tmp_path: Path, store: str
) -> None:
    """The user cancels while a step runs: that step and what follows are cancelled, what was made stays made.

    What was captured while it ran is kept, its plan is there, and it was not closed.
    """
    (home / "dagster.yaml").write_text(storage_config(store, tmp_path))
    with dg.DagsterInstance.from_config(str(home)) as instance, running("cancelled", stage) as process:
        (run,) = instance.get_runs()
        ((followed, ended),) = ((each.run_id, each.ended) for each in sync(instance, ledger).open_runs)
        assert (followed, ended) == (run.run_id, False)
        assert rows(ledger, "SELECT count(*) FROM events WHERE event_type = 'plan.committed.v1'") == [(1,)]
        assert rows(ledger, "SELECT count(*) FROM events WHERE event_type = 'run.closed.v1'") == [(0,)]
        instance.report_run_canceling(run)  # what terminating a run does first
        process.send_signal(signal.SIGINT)
        process.wait()
        assert sync(instance, ledger).open_runs == ()
        assert_holds(instance, ledger)
        assert outcomes(ledger, run.run_id) == {
            "first": "materialized",
            "waiting": "canceled:run_canceled",
            "after_waiting": "canceled:run_canceled",
        }


@pytest.mark.soak
def test_a_run_that_is_interrupted_and_not_cancelled_is_closed_and_whole(
    instance: dg.DagsterInstance, ledger: Ledger, stage: Path
) -> None:
    """Ctrl-C in the process of a run, of which Dagster was not told."""
    with running("cancelled", stage) as process:
        process.send_signal(signal.SIGINT)
        process.wait()
    assert sync(instance, ledger).open_runs == ()
    assert_holds(instance, ledger)


def test_a_run_executed_again_from_failure_plans_only_what_is_left(
    instance: dg.DagsterInstance, ledger: Ledger, stage: Path
) -> None:
    """The second run plans, and materializes, what the first did not; each is judged by its own plan."""
    job = dg.reconstructable(mortal.mendable)
    failed = dg.execute_job(job, instance=instance, raise_on_error=False)
    (stage / "mended").touch()
    again = dg.execute_job(
        job,
        instance=instance,
        reexecution_options=dg.ReexecutionOptions.from_failure(failed.run_id, instance),
    )
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert outcomes(ledger, failed.run_id) == {
        "first": "materialized",
        "mended": "failed:step_failed",
        "after_mended": "upstream_failed:upstream_failed",
    }
    assert outcomes(ledger, again.run_id) == {"mended": "materialized", "after_mended": "materialized"}
