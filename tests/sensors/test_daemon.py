"""The attached project under a real daemon, and without one."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
from holding import assert_holds, dagster_records, ledger_records, outcomes, rows, sync

from run_evidence.ledger import Ledger
from tests.dagster_processes import DAEMON_YAML, command, running, wait_until

HERE = Path(__file__).parent
PROJECT = ["-m", "attached_project", "-d", str(HERE)]


@pytest.fixture
def environment(home: Path, ledger: Ledger) -> dict[str, str]:
    """Give the environment of a user's processes: where Dagster and the ledger are, and the project."""
    path = os.pathsep.join((str(HERE), str(HERE.parent.parent)))
    return {**os.environ, "DAGSTER_HOME": str(home), "LEDGER_URL": str(ledger.root), "PYTHONPATH": path}


@pytest.mark.soak
@pytest.mark.daemon
def test_the_sensors_alone_capture_and_close_everything(
    home: Path, ledger: Ledger, environment: dict[str, str], tmp_path: Path
) -> None:
    """Launched runs, a backfill of three partitions, an automation run, a failure: captured and closed, no hook."""
    env = {**environment, "ATTACH": "sensors"}
    log = tmp_path / "daemon.log"
    (home / "dagster.yaml").write_text(DAEMON_YAML)
    daemon = running("dagster._daemon", "run", *PROJECT, env=env, log=log)
    with daemon, dg.DagsterInstance.from_config(str(home)) as instance:
        for job in ("orders_job", "broken_job", "op_job"):
            command("job", "launch", *PROJECT, "-j", job, env=env)
        days = ("--partitions", "2026-01-02,2026-01-05,2026-01-09")
        command("job", "backfill", *PROJECT, "-j", "daily_job", *days, "--noprompt", env=env)

        def captured() -> bool:
            # A run's worker writes "exited" after the run has ended, and perhaps after it was closed. Nothing is
            # written after it, so what is read once every run has it is what there will be.
            exited = [run for run in instance.get_runs() if _has_exited(instance, run.run_id)]
            if len(exited) < 7 or len(exited) < instance.get_runs_count() or not ledger.exists():
                return False
            records, _ = dagster_records(instance)
            closed = rows(ledger, "SELECT run_id FROM runs WHERE closed")
            return len(closed) == len(exited) and set(ledger_records(ledger)) == records

        wait_until(captured, "captured and closed", log)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert_holds(instance, ledger)
        by_job: dict[str, list[str]] = {}
        for run in instance.get_runs():
            by_job.setdefault(run.job_name, []).append(run.run_id)
        dependency = {"lake/house": "not_available:lakehouse_not_there"}
        assert outcomes(ledger, by_job["orders_job"][0]) == {
            "orders": "materialized",
            "orders?orders_are_there": "check_passed",
            **dependency,
        }
        assert outcomes(ledger, by_job["broken_job"][0]) == {"broken": "failed:step_failed", **dependency}
        assert outcomes(ledger, by_job["op_job"][0]) == dependency
        assert [outcomes(ledger, run_id) for run_id in by_job["__ASSET_JOB"]] == [
            {"totals": "materialized", **dependency}
        ]
        made = {day for run_id in by_job["daily_job"] for day in outcomes(ledger, run_id) if "@" in day}
        assert made == {f"daily@2026-01-{day}" for day in ("02", "05", "09")}
        assert sync(instance, ledger).appended == 0
    assert not (home / "ledger-capture.log").exists()


def _has_exited(instance: dg.DagsterInstance, run_id: str) -> bool:
    return any(record.message.startswith("Process for run exited") for record in instance.all_logs(run_id))


@pytest.mark.soak
@pytest.mark.daemon
def test_the_hook_alone_captures_while_the_run_goes_on(
    home: Path, ledger: Ledger, environment: dict[str, str]
) -> None:
    """Without a daemon: plan, results and skipped dependencies are there at once; `sync` adds the end."""
    command("job", "execute", *PROJECT, "-j", "orders_job", env={**environment, "ATTACH": "hook"})
    with dg.DagsterInstance.from_config(str(home)) as instance:
        expected, _ = dagster_records(instance)
        held = set(ledger_records(ledger))
        assert held < expected
        assert rows(ledger, "SELECT asset_key FROM materializations") == [("orders",)]
        planned = rows(ledger, "SELECT data FROM events WHERE event_type = 'plan.committed.v1'")
        assert len(planned) == 1
        assert "lake/house" in str(planned)
        sync(instance, ledger)
        assert_holds(instance, ledger)
        assert rows(ledger, "SELECT count(*) FROM events WHERE event_type = 'plan.committed.v1'") == [(1,)]
    assert not (home / "ledger-capture.log").exists()
