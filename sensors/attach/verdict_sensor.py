"""The sensor that shows verdicts in Dagster: after capture, beside it, and never in its way.

It reads the sealed log from its own cursor, so it does not matter who closed a run. What it cannot write it warns
of and tries again; no run and no capture waits for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import dagster as dg

from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.closed_runs import NAMED, format_place, read_place
from run_evidence.sensors.show_verdicts import Shown, show_verdicts

if TYPE_CHECKING:
    from dagster import DagsterInstance

VERDICT_SENSOR: Final = "ledger_verdicts"
TICK_BUDGET_SECONDS: Final = 15.0
TICK_LIMIT_SECONDS: Final = 40.0
"""As of the cursor sensor: a tick stops after the one and is left alone after the other."""


def verdict_sensor(attachment: Attachment, name: str, under: str) -> dg.SensorDefinition:
    """Make the sensor under a name that is free, running by default; `name` is what trouble is noted under."""

    @dg.sensor(
        name=under,
        minimum_interval_seconds=attachment.tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows the verdict of each run that the ledger has closed: the tags ledger/….",
    )
    def show(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance, (start, waiting) = context.instance, read_place(context.cursor)
        done: list[Shown] = []

        def work() -> None:
            if attachment.ledger.exists():
                done.append(_within(instance, attachment, start, waiting))

        if not attachment.bounded(instance, name, "", work, TICK_LIMIT_SECONDS):
            return dg.SkipReason("The ledger could not be read; see ledger-capture.log")
        if not done:
            return dg.SkipReason("There is no ledger yet.")
        shown = done[0]
        wrong = [f"not shown, tried again later: {run}: {why}" for run, why in shown.waiting.items() if why]
        for each in wrong:
            context.log.warning(each)
        context.update_cursor(format_place(shown.start, shown.waiting))
        more = [] if shown.complete else ["more in the next tick"]
        return dg.SkipReason("; ".join([f"{shown.tagged} runs tagged", *more, *wrong[:NAMED]]))

    return show


def _within(instance: DagsterInstance, attachment: Attachment, start: int, waiting: list[str]) -> Shown:
    stop = time.monotonic() + TICK_BUDGET_SECONDS
    return show_verdicts(instance, attachment.ledger, start, waiting, lambda: time.monotonic() > stop)
