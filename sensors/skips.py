"""Saying that something was left out, and why: the one call an asset makes for itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ledger import Event, UsageError
from sensors.names import asset_key_text
from sensors.policy import require_reason_code
from sensors.vocabulary import SKIP_LABEL

_OUTCOMES = frozenset({"skipped", "not_available"})

if TYPE_CHECKING:
    from dagster import AssetExecutionContext as AssetContext
    from dagster import AssetKey, OpExecutionContext


@dataclass(frozen=True, slots=True)
class DeclaredSkip:
    """What an asset said about leaving itself out."""

    asset_key: str
    partition: str | None
    outcome: str
    reason_code: str
    text: str


def skip(
    context: AssetContext | OpExecutionContext,
    *,
    reason_code: str,
    text: str,
    outcome: Literal["skipped", "not_available"] = "skipped",
    asset_key: AssetKey | None = None,
) -> None:
    """Declare that this step leaves its asset out. The asset must then yield no output.

    `skipped` is a choice (a dry run, a switched-off dependency); `not_available` means it was wanted and is
    not there. The declaration goes into Dagster's own log as an engine event, so that it is as durable as
    the run itself and every capture path finds it; the ledger turns it into `asset.skipped.v1`.

    Raises `UsageError` without a proper reason code, or when the step has several assets and none is named.
    """
    require_reason_code(reason_code)
    if outcome not in _OUTCOMES:
        raise UsageError(f"{outcome!r} is no way to skip; say 'skipped' or 'not_available'.")
    key = asset_key or _own_key(context)
    declared = {
        "asset_key": asset_key_text(key.path),
        "partition": context.partition_key if context.has_partition_key else None,
        "outcome": outcome,
        "reason_code": reason_code,
        "text": text,
    }
    _report(
        context,
        f"{outcome}: {declared['asset_key']} ({reason_code}) {text}",
        json.dumps(declared, sort_keys=True),
    )


def _own_key(context: AssetContext | OpExecutionContext) -> AssetKey:
    keys = context.selected_asset_keys
    if len(keys) != 1:
        raise UsageError(
            f"This step has {len(keys)} assets; which one is skipped?", next_step="pass asset_key= to skip()"
        )
    return next(iter(keys))


def _report(context: AssetContext | OpExecutionContext, message: str, declared: str) -> None:
    from dagster import MetadataValue
    from dagster._core.events import EngineEventData

    context.instance.report_engine_event(
        message,
        dagster_run=context.run,
        engine_event_data=EngineEventData(metadata={SKIP_LABEL: MetadataValue.text(declared)}),
        step_key=context.get_step_execution_context().step.key,
    )


def declared_skip(event: Event) -> DeclaredSkip | None:
    """Return what `skip` declared in this record, `None` for any other, and for one that only looks like it."""
    if event.event_type != "engine.reported.v1":
        return None
    metadata: Any = event.data.get("metadata") or ()
    for entry in metadata:
        if entry["label"] == SKIP_LABEL:
            try:
                declared = DeclaredSkip(**json.loads(entry["value"]))
                require_reason_code(declared.reason_code)
            except (TypeError, ValueError, UsageError):
                return None
            return declared if declared.outcome in _OUTCOMES and declared.asset_key else None
    return None
