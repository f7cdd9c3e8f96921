"""Saying that something was left out, and why: the one call an asset makes for itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from run_evidence.ledger import Event, UsageError
from run_evidence.sensors.capture.policy import require_reason_code
from run_evidence.sensors.dagster_log.names import asset_key_text
from run_evidence.sensors.dagster_log.vocabulary import SKIP_LABEL

_OUTCOMES = frozenset({"skipped", "not_available"})

if TYPE_CHECKING:
    from dagster import AssetExecutionContext as AssetContext
    from dagster import AssetKey, OpExecutionContext
    from dagster._core.definitions.events import CoercibleToAssetKey
    from dagster._core.execution.plan.step import ExecutionStep


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
    asset_key: CoercibleToAssetKey | None = None,
    partition_key: str | None = None,
) -> Iterator[Any]:
    """Declare that this step leaves its asset out, and return what the asset has to return or to yield.

    `return skip(context, …)` in a function that returns, `yield from skip(context, …)` in one that yields: an
    optional output (`output_required=False`, `skippable=True`) is then not produced, and a required one is
    handed to Dagster empty, with metadata that says what it is. The declaration is made by the call itself, and
    holds also where what it returns is dropped and Dagster records a materialization of the same attempt.

    `skipped` is a choice (a dry run, a switched-off dependency); `not_available` means it was wanted and is
    not there. A step with several assets names the one it leaves out; a run of many partitions may name one of
    them, else all are meant. The declaration goes into Dagster's own log as an engine event, so that it is as
    durable as the run itself and every capture path finds it; the ledger turns it into `asset.skipped.v1`.

    Raises `UsageError` without a proper reason code, or when the step has not one asset and none is named.
    """
    from dagster import AssetKey

    require_reason_code(reason_code)
    if outcome not in _OUTCOMES:
        raise UsageError(f"{outcome!r} is no way to skip; say 'skipped' or 'not_available'.")
    key = _own_key(context) if asset_key is None else AssetKey.from_coercible(asset_key)
    if partition_key is None and context.has_partition_key:
        partition_key = context.partition_key
    declared = DeclaredSkip(asset_key_text(key.path), partition_key, outcome, reason_code, text)
    step = _step(context)
    if step is not None:
        _report(context, step.key, declared)
    return _left_out(step, key, declared)


def _step(context: AssetContext | OpExecutionContext) -> ExecutionStep | None:
    """Return the step that runs, `None` where the user's function is called by a test of theirs."""
    from dagster._core.errors import DagsterInvalidPropertyError

    try:
        return context.get_step_execution_context().step
    except DagsterInvalidPropertyError:
        return None


def _own_key(context: AssetContext | OpExecutionContext) -> AssetKey:
    keys: Collection[AssetKey] = getattr(context, "selected_asset_keys", ())
    if len(keys) != 1:
        raise UsageError(
            f"This step has {len(keys) or 'no'} assets; which one is skipped?",
            next_step="pass asset_key= to skip()",
        )
    return next(iter(keys))


def _report(context: AssetContext | OpExecutionContext, step_key: str, declared: DeclaredSkip) -> None:
    from dagster import MetadataValue
    from dagster._core.events import EngineEventData

    as_text = json.dumps(asdict(declared), sort_keys=True)
    context.instance.report_engine_event(
        f"{declared.outcome}: {declared.asset_key} ({declared.reason_code}) {declared.text}",
        dagster_run=context.run,
        engine_event_data=EngineEventData(metadata={SKIP_LABEL: MetadataValue.text(as_text)}),
        step_key=step_key,
    )


def _left_out(step: ExecutionStep | None, key: AssetKey, declared: DeclaredSkip) -> Iterator[Any]:
    """Yield the outputs that Dagster requires of this asset, or of an op inside it, empty and named as such."""
    from dagster import Output

    for output in step.step_outputs if step else ():
        about = output.properties
        if (
            about.asset_key in {key, None}
            and about.is_required
            and not about.is_dynamic
            and not about.asset_check_key
        ):
            said: dict[str, Any] = {
                "status": declared.outcome,
                "reason_codes": [declared.reason_code],
                "reason": declared.text,
            }
            yield Output(None, output_name=output.name, metadata=said)


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
