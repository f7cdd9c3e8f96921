"""Dagster's event types and ours: past tense, dotted, versioned. Never an import path, never a class name.

A type that is not listed (of a later Dagster) becomes `dagster.recorded.v1`; every event keeps Dagster's
own name in `data.dagster_event_type`.
"""

from __future__ import annotations

from typing import Final, Protocol

UNLISTED: Final = "dagster.recorded.v1"

EVENT_TYPES: Final = {
    "PIPELINE_ENQUEUED": "run.enqueued.v1",
    "PIPELINE_DEQUEUED": "run.dequeued.v1",
    "PIPELINE_STARTING": "run.launched.v1",
    "PIPELINE_START": "run.started.v1",
    "PIPELINE_SUCCESS": "run.succeeded.v1",
    "PIPELINE_FAILURE": "run.failed.v1",
    "PIPELINE_CANCELING": "run.cancel_requested.v1",
    "PIPELINE_CANCELED": "run.canceled.v1",
    "RUN_SUSPENDED": "run.suspended.v1",
    "RUN_RESUMED": "run.resumed.v1",
    "STEP_WORKER_STARTING": "step.worker_launched.v1",
    "STEP_WORKER_STARTED": "step.worker_started.v1",
    "STEP_START": "step.started.v1",
    "STEP_RESTARTED": "step.restarted.v1",
    "STEP_UP_FOR_RETRY": "step.retry_scheduled.v1",
    "STEP_SUCCESS": "step.succeeded.v1",
    "STEP_FAILURE": "step.failed.v1",
    "STEP_SKIPPED": "step.skipped.v1",
    "STEP_INPUT": "step.input_received.v1",
    "STEP_OUTPUT": "step.output_yielded.v1",
    "STEP_EXPECTATION_RESULT": "step.expectation_evaluated.v1",
    "LOADED_INPUT": "io.input_loaded.v1",
    "HANDLED_OUTPUT": "io.output_handled.v1",
    "OBJECT_STORE_OPERATION": "io.object_stored.v1",
    "ASSET_STORE_OPERATION": "io.asset_stored.v1",
    "RESOURCE_INIT_STARTED": "resource.init_started.v1",
    "RESOURCE_INIT_SUCCESS": "resource.init_succeeded.v1",
    "RESOURCE_INIT_FAILURE": "resource.init_failed.v1",
    "ASSET_MATERIALIZATION_PLANNED": "asset.materialization_planned.v1",
    "ASSET_MATERIALIZATION": "asset.materialized.v1",
    "ASSET_FAILED_TO_MATERIALIZE": "asset.materialization_failed.v1",
    "ASSET_OBSERVATION": "asset.observed.v1",
    "ASSET_WIPED": "asset.wiped.v1",
    "ASSET_HEALTH_CHANGED": "asset.health_changed.v1",
    "FRESHNESS_STATE_EVALUATION": "asset.freshness_evaluated.v1",
    "FRESHNESS_STATE_CHANGE": "asset.freshness_changed.v1",
    "ASSET_CHECK_EVALUATION_PLANNED": "check.evaluation_planned.v1",
    "ASSET_CHECK_EVALUATION": "check.evaluated.v1",
    "ENGINE_EVENT": "engine.reported.v1",
    "HOOK_COMPLETED": "hook.completed.v1",
    "HOOK_ERRORED": "hook.errored.v1",
    "HOOK_SKIPPED": "hook.skipped.v1",
    "LOGS_CAPTURED": "logs.captured.v1",
    "ALERT_START": "alert.started.v1",
    "ALERT_SUCCESS": "alert.succeeded.v1",
    "ALERT_FAILURE": "alert.failed.v1",
    "CODE_LOCATION_UPDATED": "code_location.updated.v1",
}

LOG_LINE: Final = "log.line_kept.v1"
"""A plain log line, kept only where somebody asked for it: lines may hold secrets. An event of the ledger's own."""

TERMINAL: Final = frozenset({"run.succeeded.v1", "run.failed.v1", "run.canceled.v1"})

END_NOTICED: Final = "run.end_noticed.v1"
"""When the end of a run was first seen, where the run's clock is ahead of the ledger's. The ledger's own."""

LEDGER_REPORTED: Final = "ledger.reported.v1"
"""A record that the ledger itself put into Dagster's log: it states a verdict, so it is no evidence of a run."""

VERDICT_CHECK: Final = "ledger_verdict"
"""The name of the asset check by which Dagster shows a verdict. The ledger's own evaluations have `TOLD_LABEL`."""

TOLD_LABEL: Final = "ledger/run"
"""The metadata label of the ledger's own observations and evaluations: the run that they speak of."""

SKIP_LABEL: Final = "ledger/skip"
"""The metadata label under which `sensors.skip` puts a declared skip into Dagster's own log."""


class _Recorded(Protocol):
    """What is read of a record here."""

    @property
    def event_type(self) -> str:
        """Our name of its type."""

    @property
    def step_key(self) -> str | None:
        """Its step."""


def is_idle(event: _Recorded) -> bool:
    """Tell a record that no outcome depends on: the engine's own words about a run, in no step of it.

    Dagster writes one into a run for every run-status sensor that has seen its end, ours included, at any time
    later. It is captured like any other; it reopens no run, and a ledger that lacks it only lags.
    """
    return event.event_type == "engine.reported.v1" and event.step_key is None
