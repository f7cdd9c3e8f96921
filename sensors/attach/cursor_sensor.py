"""The cursor sensor: it makes the ledger complete, whatever the hook and the status sensors missed.

It walks Dagster's runs by the time they changed, from the beginning of history, with its own cursor and an
overlap, and looks again at every run it has not closed. With the time that is left it walks all of history
over and over, a page a tick: a log can grow without its run's row changing, and clocks can go back. It adds
nothing to the runs it reads. Deployed twice it does the same work twice and leaves the same ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import dagster as dg
import orjson

from run_evidence.ledger import OwnEvent
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.failure_log import report_trouble
from run_evidence.sensors.capture.partitions import extents_of, partitions_declared
from run_evidence.sensors.dagster_log.source import RUNLESS, LogSize
from run_evidence.sensors.sync import OVERLAP_US, PAGE_RUNS, Clock, OpenRun, Stopped, Synced, TimeLimit, sync_runs

if TYPE_CHECKING:
    from dagster import DagsterInstance

SENSOR_NAME: Final = "ledger_complete"
TICK_BUDGET_SECONDS: Final = 20.0
"""A tick stops after this, also within a run, and goes on in the next; Dagster's own limit is 60 s."""

TICK_LIMIT_SECONDS: Final = 40.0
"""A tick is left alone after this: the store hangs, and the user's own sensors wait for the same daemon. The next
goes on behind the run at which it hung."""

_MINUTE_US: Final = 60_000_000

OPEN_REMEMBERED: Final = 500
"""How many open runs a cursor keeps; those that ended first. The rest is found again by its next change."""


@dataclass(frozen=True, slots=True)
class SensorCursor:
    """Where the sensor goes on: the newest change seen, the place in history, the runs it has not closed.

    `behind`: the last tick did not reach the end, so the next goes on where it stopped, without overlap.
    """

    updated_at: int = 0
    behind: bool = False
    looked_at: int = 0
    open_runs: tuple[OpenRun, ...] = ()


def read_cursor(text: str | None) -> SensorCursor:
    """Read a cursor; one that cannot be read is the beginning, which costs time and loses nothing."""
    try:
        body = orjson.loads(text or "{}")
        runs = tuple(
            OpenRun(each["run_id"], each["ended"], LogSize(**each["size"])) for each in body.get("open_runs", ())
        )
        updated_at, looked_at = int(body.get("updated_at", 0)), int(body.get("looked_at", 0))
        return SensorCursor(updated_at, body.get("behind") is True, looked_at, runs)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return SensorCursor()


def format_cursor(cursor: SensorCursor) -> str:
    """Write a cursor as JSON, with at most `OPEN_REMEMBERED` runs."""
    runs = sorted(cursor.open_runs, key=lambda run: not run.ended)[:OPEN_REMEMBERED]
    return orjson.dumps({**asdict(cursor), "open_runs": [asdict(run) for run in runs]}).decode()


def completing_sensor(attachment: Attachment, name: str, under: str) -> dg.SensorDefinition:
    """Make the sensor under a name that is free, running by default; `name` is what trouble is noted under."""
    reached: list[Stopped] = []  # of the tick at work, which may be one that nobody waits for any more

    @dg.sensor(
        name=under,
        minimum_interval_seconds=attachment.tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Completes the run-evidence ledger and seals it.",
    )
    def complete(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance, cursor = context.instance, read_cursor(context.cursor)
        done: list[tuple[Synced, SensorCursor]] = []

        def work() -> None:
            done.append(tick(instance, attachment, cursor, watched=reached.append, project=context.repository_def))

        if not attachment.bounded(instance, name, "", work, TICK_LIMIT_SECONDS):
            # Where the ledger failed the cursor stays, and the next tick does the same work again. Where time ran
            # out it moves on: the run that takes so long, or hangs, must not hold up all others.
            if attachment.is_at_work(name) and reached:
                context.update_cursor(format_cursor(moved_to(cursor, reached[-1]())))
            return dg.SkipReason("The ledger could not be completed; see ledger-capture.log")
        reached.clear()
        synced, moved = done[0]
        context.update_cursor(format_cursor(moved))
        _report(instance, synced)
        return dg.SkipReason(summary(synced))

    return complete


_NAMED: Final = 5


def summary(synced: Synced) -> str:
    """Say what a tick did, and name what it could not do: the first few of it, the log has all."""
    changed = synced.runs - synced.unchanged
    parts = [f"{synced.appended} events of {changed} runs captured, {len(synced.open_runs)} open"]
    parts += [] if synced.complete else ["more in the next tick"]
    wrong = [f"not captured, tried again later: {each}" for each in synced.troubled] + synced.sealing.problems()
    parts += wrong[:_NAMED]
    parts += [f"and {len(wrong) - _NAMED} more in ledger-capture.log"] if len(wrong) > _NAMED else []
    return "; ".join(parts)


def _report(instance: DagsterInstance, synced: Synced) -> None:
    for each in synced.troubled:
        run_id, _, problem = each.partition(": ")
        report_trouble(instance, SENSOR_NAME, run_id, problem)
    for problem in synced.sealing.problems():
        report_trouble(instance, SENSOR_NAME, "", problem)


def moved_to(cursor: SensorCursor, stopped: Synced) -> SensorCursor:
    """Return where to go on after a tick that was abandoned."""
    return SensorCursor(max(stopped.updated_at, cursor.updated_at), True, cursor.looked_at, stopped.open_runs)


def tick(
    instance: DagsterInstance,
    attachment: Attachment,
    cursor: SensorCursor,
    seconds: float = TICK_BUDGET_SECONDS,
    watched: Callable[[Stopped], None] = lambda _: None,
    clock: Clock = time.monotonic,
    project: dg.RepositoryDefinition | None = None,
) -> tuple[Synced, SensorCursor]:
    """Do one tick's work within about `seconds` of the clock; return what it did and where to go on.

    Which partitions the assets of the `project` have is recorded where it is known, and where it changed.

    A run that takes longer is read on by the next tick. `watched` is what `sync_runs` takes.
    """
    ledger = attachment.ledger
    # To the minute, so that sensors that start together say the same thing, which is then recorded once.
    now = ledger.clock()
    own = ledger.known([RUNLESS])[RUNLESS].own
    attachment.declare(own, now - now % _MINUTE_US)
    if project is not None:
        _declare_partitions(instance, attachment, project, own, now - now % _MINUTE_US)
    # A clock that went back, or a row from a host ahead of us, must not hide what changes from now on.
    newest = min(cursor.updated_at, ledger.clock())
    done = sync_runs(
        instance,
        attachment.capturing(),
        updated_after=newest if cursor.behind else max(newest - OVERLAP_US, 0),
        also=cursor.open_runs,
        within=TimeLimit(seconds, clock, attachment.paused, watched),
    )
    looked_at = cursor.looked_at
    if done.complete:
        again = TimeLimit(seconds / 4, clock, attachment.paused)
        looked = sync_runs(
            instance, attachment.capturing(), updated_after=looked_at, max_runs=PAGE_RUNS, within=again
        )
        looked_at = 0 if looked.complete else looked.updated_at
        done = _both(done, looked)
    return done, SensorCursor(max(done.updated_at, newest), not done.complete, looked_at, done.open_runs)


def _declare_partitions(
    instance: DagsterInstance,
    attachment: Attachment,
    project: dg.RepositoryDefinition,
    own: Sequence[OwnEvent],
    declared_at: int,
) -> None:
    """Record which partitions there are. A definition of the user's own that cannot be read holds up no capture."""
    try:
        extents = extents_of(project, instance)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the user's code, or Dagster's of another version
        report_trouble(instance, SENSOR_NAME, "", f"the partitions of assets are not recorded: {error}")
        return
    attachment.ledger.append(partitions_declared(extents, own, declared_at))


def _both(done: Synced, looked: Synced) -> Synced:
    """Add what a second look at history found; it does not move the place in the changes."""
    open_runs = {run.run_id: run for run in (*done.open_runs, *looked.open_runs)}
    return Synced(
        runs=done.runs + looked.runs,
        unchanged=done.unchanged + looked.unchanged,
        records=done.records + looked.records,
        log_lines=done.log_lines + looked.log_lines,
        appended=done.appended + looked.appended,
        unreadable=done.unreadable + looked.unreadable,
        open_runs=tuple(open_runs.values()),
        troubled=tuple(dict.fromkeys((*done.troubled, *looked.troubled))),
        unnamed=tuple(dict.fromkeys((*done.unnamed, *looked.unnamed))),
        updated_at=done.updated_at,
        complete=done.complete,
        sealing=done.sealing + looked.sealing,
    )
