"""The run-status sensors: a nudge when a run ends, anywhere. They make capture prompt, not complete.

Dagster moves such a sensor's cursor on when its body raises, and starts it at "now": a run it misses is gone
for it. So the body never raises, returns None (anything else slows it to one run a tick), and the cursor
sensor is what completes the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import dagster as dg

from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.capture.capture import capture_run

NUDGE_SECONDS: Final = 15.0
"""The daemon waits for a sensor's body, and with it the user's own sensors."""

STATUSES: Final = {
    "ledger_on_success": dg.DagsterRunStatus.SUCCESS,
    "ledger_on_failure": dg.DagsterRunStatus.FAILURE,
    "ledger_on_cancel": dg.DagsterRunStatus.CANCELED,
}


def nudge_sensor(attachment: Attachment, name: str, under: str) -> dg.SensorDefinition:
    """Make the one of `STATUSES` under a name that is free, over all code locations, running by default."""
    return dg.run_status_sensor(
        run_status=STATUSES[name],
        name=under,
        monitor_all_code_locations=True,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=attachment.tick_seconds,
        description="Captures the run's evidence as soon as it ends.",
    )(_body(attachment, name))


def _body(attachment: Attachment, name: str) -> Callable[[dg.RunStatusSensorContext], None]:
    def capture(context: dg.RunStatusSensorContext) -> None:
        instance, run_id = context.instance, context.dagster_run.run_id
        attachment.bounded(
            instance, name, run_id, lambda: capture_run(instance, run_id, attachment.capturing()), NUDGE_SECONDS
        )

    return capture
