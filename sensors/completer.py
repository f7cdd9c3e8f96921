"""The cursor sensor: it makes the ledger complete, whatever the hook and the status sensors missed.

It walks Dagster's runs by the time they changed, from the beginning of history, with its own cursor and an
overlap, and looks again at every run it has not closed. It adds nothing to the runs it reads. Deployed twice
it does the same work twice and leaves the same ledger.
"""

from __future__ import annotations

from typing import Any, Final

import dagster as dg
import orjson

from ledger import LedgerError
from sensors.attached import Attachment
from sensors.sync import Synced, sync_runs
from sensors.trouble import report_trouble

SENSOR_NAME: Final = "ledger_complete"
OVERLAP_US: Final = 120_000_000
"""Two minutes: clocks of several hosts write the times this cursor is made of, and commits come late."""

TICK_BUDGET_SECONDS: Final = 20.0
"""A tick stops between pages after this and goes on in the next; Dagster's own limit is 60 s."""


def completing_sensor(attachment: Attachment) -> dg.SensorDefinition:
    """Make the sensor, running by default."""

    @dg.sensor(
        name=SENSOR_NAME,
        minimum_interval_seconds=attachment.tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Completes the run-evidence ledger and seals it.",
    )
    def complete(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            done = _tick(context, attachment)
        except LedgerError as error:  # the cursor stays: the next tick does the same work again
            report_trouble(context.instance, SENSOR_NAME, "", str(error))
            return dg.SkipReason(f"The ledger is not reachable: {error}")
        left = "" if done.complete else "; more in the next tick"
        changed = done.runs - done.unchanged
        return dg.SkipReason(f"{done.appended} events of {changed} runs captured, {len(done.open_runs)} open{left}")

    return complete


def _tick(context: dg.SensorEvaluationContext, attachment: Attachment) -> Synced:
    cursor: dict[str, Any] = orjson.loads(context.cursor) if context.cursor else {"updated_at": 0, "open": []}
    attachment.declare_policy(attachment.ledger.known([""]))
    done = sync_runs(
        context.instance,
        attachment.capturing(),
        updated_after=max(cursor["updated_at"] - OVERLAP_US, 0),
        also=cursor["open"],
        seconds=TICK_BUDGET_SECONDS,
    )
    context.update_cursor(orjson.dumps({"updated_at": done.updated_at, "open": done.open_runs}).decode())
    return done
