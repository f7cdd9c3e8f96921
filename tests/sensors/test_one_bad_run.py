"""One run that cannot be captured is named, tried again later and passed over, whatever is wrong with it."""

import contextlib
import itertools
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from history import copy_runs, shard
from holding import assert_holds, rows

import run_evidence.ledger.ledger
import run_evidence.sensors.attach.cursor_sensor
import run_evidence.sensors.capture.run_capture
from run_evidence.ledger import EnvironmentFault, Event, IntegrityError, Ledger
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SensorCursor, completing_sensor, read_cursor, summary, tick
from run_evidence.sensors.attach.status_sensors import nudge_sensor
from run_evidence.sensors.dagster_log import source
from tests.here import ledger_here
from tests.paths import paths

Fault = Callable[[pytest.MonkeyPatch, dg.DagsterInstance, Ledger, str], None]


@dg.asset
def made() -> None: ...


def log_is_damaged(patch: pytest.MonkeyPatch, instance: dg.DagsterInstance, _: Ledger, bad: str) -> None:
    path = shard(instance, bad)
    moved = path.with_suffix(".aside")
    path.rename(moved)
    path.write_bytes(b"not a database, " * 100)
    patch.callback = lambda: moved.replace(path)  # type: ignore[attr-defined]


def ledger_cannot_read_it(patch: pytest.MonkeyPatch, _: dg.DagsterInstance, __: Ledger, bad: str) -> None:
    known = Ledger.known

    def raising(self: Ledger, run_ids: Any, **more: Any) -> Any:
        if bad in run_ids:
            raise IntegrityError("blobs/… is not what its name says")
        return known(self, run_ids, **more)

    patch.setattr(Ledger, "known", raising)


def ledger_refuses_it(patch: pytest.MonkeyPatch, _: dg.DagsterInstance, __: Ledger, bad: str) -> None:
    encode = run_evidence.ledger.ledger.encode

    def refusing(event: Event, *rest: Any, **more: Any) -> Any:
        if event.run_id == bad and event.event_type == "step.started.v1":
            raise ValueError("no such text")
        return encode(event, *rest, **more)

    patch.setattr(run_evidence.ledger.ledger, "encode", refusing)


def row_cannot_be_asked_for(patch: pytest.MonkeyPatch, _: dg.DagsterInstance, __: Ledger, bad: str) -> None:
    read = source.read_records

    def raising(instance: dg.DagsterInstance, run_id: str, after: int = 0) -> Iterator[Any]:
        if run_id == bad:
            raise RuntimeError("database disk image is malformed")
        return read(instance, run_id, after)

    patch.setattr(source, "read_records", raising)


def records_of_no_run(patch: pytest.MonkeyPatch, instance: dg.DagsterInstance, _: Ledger, __: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("reported"))
    row_cannot_be_asked_for(patch, instance, _, source.RUNLESS)


FAULTS: list[Fault] = [log_is_damaged, ledger_cannot_read_it, ledger_refuses_it, row_cannot_be_asked_for]


@pytest.fixture
def runs(instance: dg.DagsterInstance) -> list[str]:
    """Give four finished runs, oldest first."""
    first = dg.materialize([made], instance=instance).run_id
    return [first, *copy_runs(instance, first, 3)]


def attached(ledger: Ledger) -> Attachment:
    return Attachment(ledger, None, grace_seconds=0)


def closed(ledger: Ledger) -> set[str]:
    if not ledger.exists():
        return set()
    return {run_id for (run_id,) in rows(ledger, "SELECT run_id FROM runs WHERE closed")}


@contextlib.contextmanager
def wrong(fault: Fault, instance: dg.DagsterInstance, ledger: Ledger, bad: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        fault(patch, instance, ledger, bad)
        yield
        getattr(patch, "callback", lambda: None)()


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_the_cursor_sensor_passes_one_bad_run_over_and_comes_back_to_it(
    instance: dg.DagsterInstance, ledger: Ledger, runs: list[str], fault: Fault
) -> None:
    """All others are captured and closed, the bad one is named and waits, and later ones are not held up."""
    bad, others = runs[1], {*runs} - {runs[1]}
    cursor = SensorCursor()
    with wrong(fault, instance, ledger, bad):
        for more in (0, 2):
            others |= {*copy_runs(instance, runs[0], more)}
            done, cursor = tick(instance, attached(ledger), cursor)
            assert closed(ledger) - {bad} == others
            assert not cursor.behind
            assert bad in {run.run_id for run in cursor.open_runs}
            assert f"not captured, tried again later: {bad}: " in summary(done)
    assert bad not in closed(ledger)
    done, cursor = tick(instance, attached(ledger), cursor)
    assert (closed(ledger), done.troubled) == ({*others, bad}, ())
    assert_holds(instance, ledger)


def test_records_of_no_run_hold_up_no_run(instance: dg.DagsterInstance, ledger: Ledger, runs: list[str]) -> None:
    """Where the log of wipes and reports cannot be read, the runs are captured all the same."""
    with wrong(records_of_no_run, instance, ledger, ""):
        done, cursor = tick(instance, attached(ledger), SensorCursor())
        assert closed(ledger) == {*runs}
        assert "(no run)" in summary(done)
    done, _ = tick(instance, attached(ledger), cursor)
    assert done.troubled == ()
    assert_holds(instance, ledger)


def test_what_cannot_be_sealed_holds_up_no_capture(
    instance: dg.DagsterInstance, ledger: Ledger, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor moves on, the tick says why nothing was sealed, and what was captured waits in the inbox."""
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "seal", lambda _: (_ for _ in ()).throw(IntegrityError("the log lost entries")))
        done, cursor = tick(instance, attached(ledger), SensorCursor())
        assert "not sealed: the log lost entries" in summary(done)
        assert cursor.updated_at > 0
        assert closed(ledger) == {*runs}
    done, _ = tick(instance, attached(ledger), cursor)
    assert done.sealing.problems() == []
    assert rows(ledger, "SELECT count(*) FROM events WHERE index IS NULL") == [(0,)]


@pytest.mark.parametrize("problem", [RuntimeError("x"), EnvironmentFault("x"), KeyError("x"), OSError("x")])
def test_a_status_sensor_never_raises(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    runs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    problem: Exception,
) -> None:
    """Whatever goes wrong with one run, Dagster moves the sensor on, and the cursor sensor takes the run."""

    def raising(*_: Any) -> None:
        raise problem

    monkeypatch.setattr("run_evidence.sensors.attach.status_sensors.capture_run", raising)
    sensor = nudge_sensor(attached(ledger), "ledger_on_success", "ledger_on_success")
    run = instance.get_run_by_id(runs[0])
    assert run
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=instance.get_records_for_run(run.run_id).records[-1].event_log_entry.dagster_event,  # type: ignore[arg-type]
        dagster_instance=instance,
        dagster_run=run,
    )
    assert sensor(context) is None


def run_sync(home: Path, ledger: Ledger, *more: str) -> subprocess.CompletedProcess[str]:
    words = ("--ledger", str(ledger.root), "sync", "--grace", "0", "--dagster-home", str(home), *more)
    return ledger_here(*words)


@pytest.mark.parametrize("named", [False, True])
def test_sync_says_what_its_seal_refused(
    home: Path, instance: dg.DagsterInstance, ledger: Ledger, runs: list[str], named: bool
) -> None:
    """As `ledger seal` does: exit code 3, and the object's name."""
    ledger.append([Event(event_type="asset.tested.v1", occurred_at=0, run_id="")])
    (waiting,) = paths(ledger).inbox.iterdir()
    waiting.chmod(0o600)
    waiting.write_bytes(waiting.read_bytes().replace(b"test", b"tested"))
    done = run_sync(home, ledger, *(["--run", runs[0]] if named else []))
    assert done.returncode == 3
    assert "refused: " in done.stderr
    assert ledger_here("--ledger", str(ledger.root), "seal").returncode == 3


def test_sync_says_who_did_not_cosign(
    home: Path, ledger: Ledger, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A witness that does not answer is exit code 4, as with `ledger seal`."""
    monkeypatch.setenv("LEDGER_WITNESSES", "http://127.0.0.1:9")
    done = run_sync(home, ledger)
    assert done.returncode == 4
    assert "not cosigned: " in done.stderr


def test_sync_goes_on_with_the_other_runs_it_was_asked_for(
    home: Path, instance: dg.DagsterInstance, ledger: Ledger, runs: list[str]
) -> None:
    """Of several runs named on the command line, one that cannot be read is named, with exit code 4."""
    shard(instance, runs[0]).write_bytes(b"not a database, " * 100)
    done = run_sync(home, ledger, "--run", runs[0], "--run", runs[1])
    assert done.returncode == 4
    assert f"not captured: {runs[0]}" in done.stderr
    assert closed(ledger) == {runs[1]}


def _progress(ledger: Ledger) -> tuple[set[str], int]:
    """Return which runs are closed, and how many records there are."""
    if not ledger.exists():
        return set(), 0
    found = rows(
        ledger,
        "SELECT run_id, count(storage_id), count(*) FILTER (event_type = 'run.closed.v1') FROM events GROUP BY ALL",
    )
    return {run_id for run_id, _, ends in found if ends}, sum(records for _, records, _ in found)


@pytest.mark.soak
@pytest.mark.parametrize("remembers", [True, False])
def test_a_run_that_takes_longer_than_a_tick_gets_further_with_each(
    instance: dg.DagsterInstance, ledger: Ledger, runs: list[str], monkeypatch: pytest.MonkeyPatch, remembers: bool
) -> None:
    """Every tick appends something or closes a run, whichever run it reads, until all are closed.

    Whether the process remembers how far the run was read, or is another one each time.
    """
    monkeypatch.setattr(run_evidence.sensors.capture.run_capture, "_LOOK_RECORDS", 2)
    large = instance.get_run_by_id(runs[0])
    assert large is not None
    for number in range(12):
        instance.report_engine_event(f"line {number}", large)
    (later,) = copy_runs(instance, runs[1], 1)
    attachment, cursor, ended, seen = attached(ledger), SensorCursor(), set[str](), [(0, 0)]
    while runs[0] not in ended:
        seconds = itertools.count(step=0.5)  # two looks at the clock, and a part of the time is over
        if not remembers:
            attachment = attached(ledger)
        _, cursor = tick(instance, attachment, cursor, 1.0, clock=lambda seconds=seconds: next(seconds))
        ended, records = _progress(ledger)
        seen.append((len(ended), records))
        assert seen[-1] > seen[-2]
    assert len(seen) > 8
    while cursor.open_runs or cursor.behind:
        _, cursor = tick(instance, attachment, cursor)
    assert closed(ledger) == {*runs, later}
    assert attachment.paused == {}
    assert_holds(instance, ledger)


def test_a_run_that_hangs_is_passed_by_the_next_tick(
    instance: dg.DagsterInstance, ledger: Ledger, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that nobody waits for any more leaves a cursor behind the run at which it hung, which stays open."""
    monkeypatch.setattr(run_evidence.sensors.attach.cursor_sensor, "TICK_LIMIT_SECONDS", 1.0)
    read, go = source.read_records, threading.Event()
    hung: list[str] = []

    def hanging(instance: dg.DagsterInstance, run_id: str, after: int = 0) -> Iterator[Any]:
        if run_id == runs[1]:
            hung.append(run_id)
            go.wait(600)
        return read(instance, run_id, after)

    monkeypatch.setattr(source, "read_records", hanging)
    text = None
    try:
        waiting: set[str] = set()
        # Each tick in a process of its own; a slow machine needs more of them.
        while waiting != {runs[1]} or closed(ledger) != {*runs} - {runs[1]}:
            context = dg.build_sensor_context(instance=instance, cursor=text)
            completing_sensor(attached(ledger), "complete", "complete")(context)
            text = context.cursor
            waiting = {run.run_id for run in read_cursor(text).open_runs}
            assert runs[1] in waiting or not hung
        assert hung
    finally:
        go.set()
    _, cursor = tick(instance, attached(ledger), read_cursor(text))
    assert closed(ledger) == {*runs}
    assert cursor.open_runs == ()
    assert_holds(instance, ledger)
