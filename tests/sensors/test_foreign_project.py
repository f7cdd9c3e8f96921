"""A project that nobody here wrote: synced, reconciled and pruned from the command line, its code untouched.

The project is one that comes with Dagster itself, for its own tests: an asset, and a repository with an op job.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import orjson
import pytest
from history import copy_runs
from holding import assert_holds, outcomes

from run_evidence.ledger import Ledger
from tests.here import ledger_here

Command = Callable[..., subprocess.CompletedProcess[str]]
ASSET = ("asset", "materialize", "-m", "dagster._utils.test.hello_world_defs", "--select", "*")
JOB = ("job", "execute", "-m", "dagster._utils.test.hello_world_repository", "-j", "hello_world_job")


@pytest.fixture
def command(home: Path, ledger: Ledger) -> Command:
    """Run a module as a command, with DAGSTER_HOME and LEDGER_URL set; `here` is our own, in this process."""
    environment = {**os.environ, "DAGSTER_HOME": str(home), "LEDGER_URL": str(ledger.root)}

    def run(module: str, *words: str, code: int = 0, **changed: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in (environment | changed).items() if value}
        program = [sys.executable, "-m", module, *words]
        if module == "here":
            done = ledger_here(*words, env=env)
        else:
            done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.mark.soak
def test_it_is_captured_compared_and_pruned(command: Command, home: Path, ledger: Ledger) -> None:
    """Two runs that know nothing of the ledger: all there, whole; deleted from Dagster they are in the ledger."""
    for start in (ASSET, JOB):
        command("dagster", *start)
    first = command("run_evidence.ledger.cli", "sync")
    assert "2 runs: 2 captured, 0 closed before and unchanged, 0 still running" in first.stdout
    assert "2 runs have only just ended" in first.stderr
    command("run_evidence.ledger.cli", "sync", "--grace", "0")
    assert "2 runs: 0 captured, 2 closed before and unchanged" in command("run_evidence.ledger.cli", "sync").stdout
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert_holds(instance, ledger)
        by_job = {run.job_name: run.run_id for run in instance.get_runs()}
    assert outcomes(ledger, by_job["__ASSET_JOB"]) == {"hello_asset": "materialized"}
    assert outcomes(ledger, by_job["hello_world_job"]) == {}
    assert (
        "whole: the ledger holds every record" in command("run_evidence.ledger.cli", "reconcile", "--full").stdout
    )

    nothing = command("run_evidence.ledger.cli", "prunable")
    assert (nothing.stdout, "0 of 2 runs" in nothing.stderr) == ("", True)
    listed = command("run_evidence.ledger.cli", "prunable", "--older-than", "0m")
    assert sorted(listed.stdout.split()) == sorted(by_job.values())
    assert "ledger prunable --older-than 0m | xargs -n 1 dagster run delete --force" in listed.stderr
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for run_id in listed.stdout.split():
            instance.delete_run(run_id)
    told = command("run_evidence.ledger.cli", "reconcile").stdout
    assert "2 runs deleted at the source: the ledger is the only copy" in told
    command("run_evidence.ledger.cli", "verify")


@pytest.mark.parametrize("name", ["sync", "reconcile", "prunable"])
def test_where_there_is_no_instance_each_command_says_so(command: Command, tmp_path: Path, name: str) -> None:
    """Unset, no folder, a folder of something else, a wrong configuration: exit 4, the reason and this command."""
    (tmp_path / "other").mkdir()
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "dagster.yaml").write_text("storage:\n  nonsense: 1\n")
    repeat = f"next:  ledger {name} --dagster-home PATH"
    unset = command("run_evidence.ledger.cli", name, code=4, DAGSTER_HOME="").stderr
    assert "DAGSTER_HOME is not set" in unset
    assert repeat in unset
    for place in (tmp_path / "nowhere", tmp_path / "other"):
        said = command("here", name, code=4, DAGSTER_HOME=str(place)).stderr
        assert str(place) in said
        assert repeat in said
    assert list((tmp_path / "other").iterdir()) == [], "looking makes no instance"
    assert "nonsense" in command("here", name, code=4, DAGSTER_HOME=str(wrong)).stderr


def test_a_storage_that_is_not_the_one_captured_is_told(
    command: Command, instance: dg.DagsterInstance, ledger: Ledger, tmp_path: Path
) -> None:
    """An instance without runs, and one whose storage was replaced, are no sound comparison, and said to be so."""
    assert "is this the Dagster instance you mean?" in command("here", "sync").stderr

    @dg.asset
    def made() -> None: ...

    dg.materialize([made], instance=instance)
    command("here", "sync", "--grace", "0")
    new = tmp_path / "new"
    new.mkdir()
    (new / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    said = command("here", "reconcile", DAGSTER_HOME=str(new))
    assert "1 run in the ledger is of another Dagster storage: not compared" in said.stdout
    assert "its storage was replaced" in said.stderr
    assert "whole" not in said.stdout


@pytest.mark.soak
def test_following_takes_what_comes(instance: dg.DagsterInstance, ledger: Ledger, home: Path) -> None:
    """`sync --follow` goes on: a run that comes later is captured and closed, until somebody interrupts."""

    @dg.asset
    def made() -> None: ...

    dg.materialize([made], instance=instance)
    words = ("--ledger", str(ledger.root), "sync", "--dagster-home", str(home), "--grace", "0", "--follow")
    with subprocess.Popen(
        [sys.executable, "-m", "run_evidence.ledger.cli", *words], stdout=subprocess.PIPE, text=True
    ) as follower:
        try:
            assert follower.stdout is not None
            assert "1 captured" in follower.stdout.readline()
            later = dg.materialize([made], instance=instance).run_id
            follower.stdout.readline()
            assert "1 captured" in follower.stdout.readline()
            follower.send_signal(signal.SIGINT)
            assert follower.wait() == 130
        finally:
            follower.kill()
    assert outcomes(ledger, later) == {"made": "materialized"}
    assert_holds(instance, ledger)


@pytest.mark.soak
def test_progress_is_shown_to_a_person_and_not_to_a_pipe(
    instance: dg.DagsterInstance, ledger: Ledger, home: Path
) -> None:
    """On a terminal a bar says how far a sync has come, on stderr; stdout has the result alone."""

    @dg.asset
    def made() -> None: ...

    run_id = dg.materialize([made], instance=instance).run_id
    copy_runs(instance, run_id, 3)
    terminal, theirs = pty.openpty()
    words = ("--ledger", str(ledger.root), "sync", "--dagster-home", str(home), "--json")
    program = [sys.executable, "-m", "run_evidence.ledger.cli", *words]
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "4 of 4 runs" in shown
    assert orjson.loads(done.stdout)["runs"] == 4
