"""SIGKILL at any moment of capture, then one sync: nothing is missing, nothing is there twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from capturers import Nursery, nudged, syncing, ticking
from history import copy_runs
from holding import assert_each_item_has_one_outcome, ledger_records, rows, sync
from scenarios import first, second, third

from run_evidence.ledger import Ledger

KILLS = 200


@pytest.mark.soak
def test_two_hundred_kills_lose_nothing(instance: dg.DagsterInstance, ledger: Ledger, home: Path) -> None:
    """Three processes capture 5,000 records side by side and are killed 200 times at random moments."""
    run_id = dg.materialize([first, second, third], instance=instance).run_id
    ids = [r.storage_id for r in instance.get_records_for_run(run_id).records if r.event_log_entry.dagster_event]
    runs = [run_id, *copy_runs(instance, run_id, 40)]
    chance = random.Random(20260417)  # noqa: S311 - which moment, not which secret
    nurseries = [Nursery(role, home, ledger.root) for role in (syncing, nudged, ticking)]
    held = [0]
    for kill in range(KILLS):
        runs += copy_runs(instance, run_id, 1)  # so that there is something to capture at every moment
        time.sleep(chance.uniform(0.0, 0.1))
        assert nurseries[kill % 3].kill() == signal.SIGKILL, "it ended before it was killed"
        if kill % 50 == 49:  # however slow the machine is: what is killed is at work
            while (now := len(ledger_records(ledger)) if ledger.exists() else 0) <= held[-1]:
                time.sleep(0.05)
            held.append(now)
    for nursery in nurseries:
        nursery.close()
    sync(instance, ledger)
    expected = [(run, storage_id) for run in runs for storage_id in ids]
    assert len(expected) >= 5_000
    assert sorted(ledger_records(ledger)) == sorted(expected)
    assert_each_item_has_one_outcome(ledger)
    closed = rows(ledger, "SELECT run_id, count(*) FROM events WHERE event_type = 'run.closed.v1' GROUP BY run_id")
    assert dict(closed) == dict.fromkeys(runs, 1)
    verified = subprocess.run(
        [sys.executable, "-m", "run_evidence.ledger.cli", "--ledger", str(ledger.root), "verify"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
