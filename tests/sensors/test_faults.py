"""A ledger that is full, hangs, is forbidden, gone or out of time: runs go on, and the gap closes by itself."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from freezegun import freeze_time
from holding import assert_holds, ledger_records, sync
from privileges import unprivileged
from scenarios import first, second, third

import run_evidence.sensors.attach.attachment
import run_evidence.sensors.attach.cursor_sensor
import run_evidence.sensors.attach.failure_log
import run_evidence.sensors.attach.hook
import run_evidence.sensors.attach.status_sensors
import run_evidence.sensors.attach.verdict_sensor
from run_evidence.ledger import Ledger
from run_evidence.ledger.storage.files import create_idempotent
from run_evidence.sensors import with_ledger
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SENSOR_NAME, SensorCursor, format_cursor, read_cursor, tick
from run_evidence.sensors.attach.failure_log import report_trouble
from run_evidence.sensors.capture.policy import Policy
from tests.paths import paths

Fault = Callable[[Ledger], contextlib.AbstractContextManager[None]]
HOOK_SECONDS = 0.5


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something at a folder while the test runs; skips where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        if os.environ.get("LEDGER_TESTS_REQUIRE_ALL") == "1":
            pytest.fail(f"mount: {done.stderr}")
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def full(broken: Ledger) -> Iterator[None]:
    """Let the ledger's disk be full: a file system of 64 kB that holds nothing but filling."""
    with mounted(broken.root, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        broken.create()
        with contextlib.suppress(OSError), (broken.root / "inbox" / ".tmp-filling").open("wb") as filling:
            while True:
                filling.write(b"x" * 1_024)
                filling.flush()
        yield


@contextlib.contextmanager
def read_only(broken: Ledger) -> Iterator[None]:
    """Let the ledger lie on a file system that was mounted to be read only."""
    broken.create()
    with mounted(broken.root, "--bind", str(broken.root)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(broken.root)], check=True)
        yield


@contextlib.contextmanager
def _without(broken: Ledger, rights: int) -> Iterator[None]:
    """Take rights from all folders of a ledger; who is root gives its own power over them up meanwhile."""
    broken.create()
    with unprivileged():
        for folder in reversed(paths(broken).folders):
            folder.chmod(rights)
        try:
            with pytest.raises(PermissionError):
                (paths(broken).inbox / "probe").touch()
            yield
        finally:
            for folder in paths(broken).folders:
                folder.chmod(0o700)


@contextlib.contextmanager
def forbidden(broken: Ledger) -> Iterator[None]:
    """Let the right to write be taken away."""
    with _without(broken, 0o500):
        yield


@contextlib.contextmanager
def hidden(broken: Ledger) -> Iterator[None]:
    """Let the right to look at it be taken away, too."""
    with _without(broken, 0o000):
        yield


@contextlib.contextmanager
def hanging(broken: Ledger) -> Iterator[None]:
    """Let the store hang at every write until the test is over, as a network disk does."""
    over = threading.Event()

    def slow(path: Path, data: bytes) -> None:
        over.wait()
        create_idempotent(path, data)

    broken.create()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("run_evidence.ledger.storage.folder.create_idempotent", slow)
        try:
            yield
        finally:
            over.set()


@contextlib.contextmanager
def in_the_way(broken: Ledger) -> Iterator[None]:
    """Let a file lie where the ledger's folder should be."""
    broken.root.write_text("not a folder")
    yield
    broken.root.unlink()


FAULTS: list[Fault] = [full, read_only, forbidden, hidden, hanging, in_the_way]


def attached(broken: Ledger, hook_seconds: float = 600) -> dg.Definitions:
    """Attach the ledger to a project of three assets."""
    return with_ledger(
        dg.Definitions(assets=[first, second, third]),
        ledger=broken.root,
        grace_seconds=0,
        hook_timeout_seconds=hook_seconds,
    )


def run_everything(instance: dg.DagsterInstance, defs: dg.Definitions) -> None:
    """Run all assets, then every sensor of ours."""
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    assert result.success
    happened = [event.event_type_value for event in result.all_events]
    assert happened.count("HOOK_COMPLETED") == 3
    assert "HOOK_ERRORED" not in happened
    finished = next(event for event in result.all_events if event.event_type_value == "PIPELINE_SUCCESS")
    for sensor in defs.get_repository_def().sensor_defs:
        if isinstance(sensor, dg.RunStatusSensorDefinition):
            about = dg.build_run_status_sensor_context(sensor.name, finished, instance, result.dagster_run)
            assert sensor(about) is None
        else:
            assert isinstance(sensor(dg.build_sensor_context(instance=instance)), dg.SkipReason)


def become_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sensors wait for half a second instead of half a minute, and troubles be remembered for the test."""
    monkeypatch.setattr(run_evidence.sensors.attach.attachment, "BACK_OFF_SECONDS", 3_600.0)
    monkeypatch.setattr(run_evidence.sensors.attach.status_sensors, "NUDGE_SECONDS", HOOK_SECONDS)
    monkeypatch.setattr(run_evidence.sensors.attach.cursor_sensor, "TICK_LIMIT_SECONDS", HOOK_SECONDS)
    monkeypatch.setattr(run_evidence.sensors.attach.verdict_sensor, "TICK_LIMIT_SECONDS", HOOK_SECONDS)


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_runs_go_on_and_the_gap_closes_by_itself(
    instance: dg.DagsterInstance, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """With a broken ledger a run succeeds, waits once at most, and logs a warning; `sync` then brings it all in.

    A store that hangs does so until the test is over: that the run and each sensor end at all is their limit.
    """
    run_everything(instance, attached(ledger))
    sync(instance, ledger)
    shutil.rmtree(ledger.root)
    with fault(ledger), monkeypatch.context() as while_broken:
        become_impatient(while_broken)
        run_everything(instance, attached(ledger, HOOK_SECONDS))
    told = (home / "ledger-capture.log").read_text()
    assert told.count("hook run=") == 1
    assert SENSOR_NAME in told
    assert told.count(f"did not answer within {HOOK_SECONDS:g} s") <= 1 + 5, "the hook once, each sensor once"
    sync(instance, ledger)
    assert_holds(instance, ledger)
    run_everything(instance, attached(ledger))
    sync(instance, ledger)
    assert_holds(instance, ledger)


def test_a_process_leaves_a_broken_ledger_alone_for_a_while(
    instance: dg.DagsterInstance, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred steps do not wait a hundred times: after the first trouble the hook keeps away."""
    become_impatient(monkeypatch)
    monkeypatch.setattr(run_evidence.sensors.attach.hook, "PAUSE_SECONDS", 0.0)

    def step(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"step_{number}")
        def made() -> None: ...

        return made

    defs = with_ledger(
        dg.Definitions(assets=[step(n) for n in range(30)]), ledger=ledger.root, hook_timeout_seconds=HOOK_SECONDS
    )
    with hanging(ledger):
        assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    assert (home / "ledger-capture.log").read_text().count("hook run=") == 1


@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_ledger_that_was_removed_is_made_again(
    instance: dg.DagsterInstance, ledger: Ledger, all_of_it: bool
) -> None:
    """The folder, or all in it but its settings, goes under the sensor: it captures all of history again."""
    attachment = Attachment(ledger, Policy(), grace_seconds=0)
    dg.materialize([first], instance=instance)
    _, cursor = tick(instance, attachment, SensorCursor())
    for folder in paths(ledger).folders[0 if all_of_it else 1 :]:
        shutil.rmtree(folder, ignore_errors=True)
    for _ in range(2):
        _, cursor = tick(instance, attachment, cursor)
    assert_holds(instance, ledger)
    assert ledger_records(ledger) != []


def test_a_clock_that_goes_back_hides_nothing(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Runs of an hour that comes twice are captured by the sensor, during it and after."""
    attachment = Attachment(ledger, Policy(), grace_seconds=0)
    dg.materialize([first], instance=instance)
    done, cursor = tick(instance, attachment, SensorCursor())
    assert done.complete
    with freeze_time(datetime.now(tz=UTC) - timedelta(hours=1), tick=True):
        dg.materialize([second], instance=instance)
        done, cursor = tick(instance, attachment, cursor)
        assert done.appended > 10
        dg.materialize([third], instance=instance)
    for _ in range(2):
        done, cursor = tick(instance, attachment, cursor)
    assert_holds(instance, ledger)
    assert cursor.open_runs == ()


def test_a_clock_that_jumps_ahead_hides_nothing(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A run row written by a host whose clock is a day ahead does not blind the sensor for a day."""
    attachment = Attachment(ledger, Policy(), grace_seconds=0)
    with freeze_time(datetime.now(tz=UTC) + timedelta(days=1), tick=True):
        dg.materialize([first], instance=instance)
    _, cursor = tick(instance, attachment, SensorCursor())
    dg.materialize([second], instance=instance)
    done, cursor = tick(instance, attachment, cursor)
    assert done.appended > 10


@pytest.mark.parametrize("text", [None, "", "garbage", "5", "[]", '{"updated_at": "x"}', '{"open_runs": [{}]}'])
def test_a_cursor_that_is_none_is_the_beginning(text: str | None) -> None:
    """A cursor that was edited by hand costs time and loses nothing."""
    assert read_cursor(text) == SensorCursor()


def test_a_cursor_is_read_as_it_was_written(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Where the sensor was, and what it left open, comes back."""
    dg.materialize([first], instance=instance)
    _, cursor = tick(instance, Attachment(ledger, Policy(), grace_seconds=3_600), SensorCursor())
    assert len(cursor.open_runs) == 1
    assert read_cursor(format_cursor(cursor)) == cursor


class Homeless:
    """An instance that cannot say where it lives."""

    @property
    def root_directory(self) -> str:
        """Raise."""
        raise RuntimeError("this instance has no folder")


def test_trouble_is_told_even_when_it_cannot_be_written(
    instance: dg.DagsterInstance, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With no room for the log file the warning still goes through logging, and nothing is raised."""
    (home / "ledger-capture.log").mkdir()
    with caplog.at_level(logging.WARNING, logger="ledger.capture"):
        report_trouble(instance, "hook", "run-1", "no\nspace")
        report_trouble(None, "hook", "", "nowhere")
        report_trouble(Homeless(), "hook", "run-2", "no folder")  # type: ignore[arg-type]
    assert "no\nspace" in caplog.text
    assert "ledger-capture.log could not be written: IsADirectoryError" in caplog.messages[0]
    assert caplog.messages[1].endswith("nowhere; next: ledger sync")
    assert "could not be written: RuntimeError('this instance has no folder')" in caplog.messages[2]
    assert len(caplog.records) == 3


def test_the_log_of_troubles_does_not_grow_for_ever(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file and the one before it."""
    monkeypatch.setattr(run_evidence.sensors.attach.failure_log, "_MAX_BYTES", 200)
    for number in range(20):
        report_trouble(instance, "hook", "run-1", f"trouble {number}")
    assert sorted(p.name for p in home.glob("ledger-capture*")) == ["ledger-capture.log", "ledger-capture.log.1"]
    assert all(p.stat().st_size < 400 for p in home.glob("ledger-capture*"))
    assert "trouble 19" in (home / "ledger-capture.log").read_text()
