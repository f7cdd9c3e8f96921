"""Reading a run's plan from Dagster: its planned events, its execution plan, and the policy's optional parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ledger import Event
from ledger.plan import Kind, Plan, PlanItem
from sensors.policy import OptionalDependency, Policy
from sensors.translate import asset_key_text

if TYPE_CHECKING:
    from dagster._core.snap import ExecutionPlanSnapshot

PLANNED_TYPES = frozenset({"asset.materialization_planned.v1", "check.evaluation_planned.v1"})


def build_plan(planned: Iterable[Event], steps: ExecutionPlanSnapshot | None, policy: Policy) -> Plan:
    """Put together what a run set out to do.

    `planned` are the run's events of `PLANNED_TYPES`, in order. An optional dependency that the run does not
    plan itself becomes an item of kind `dependency`. An asset and a check are planned once each, however
    often Dagster says so.
    """
    optional = {o.asset_key: o for o in policy.optional}
    observed = frozenset(_observable_keys(steps)) if steps else frozenset()
    items: dict[tuple[str, str | None, str | None], PlanItem] = {}
    for event in planned:
        for partition in _partitions(event):
            item = _item(event, partition, optional.get(event.asset_key or ""), observed)
            items.setdefault((item.asset_key, partition, item.check_name), item)
    in_run = {key for key, _, check in items if check is None}
    for missing in optional.values():
        if missing.asset_key not in in_run:
            items[missing.asset_key, None, None] = PlanItem(
                missing.asset_key,
                kind="dependency",
                required=False,
                reason_code=missing.reason_code,
                reason=missing.reason,
            )
    return Plan(tuple(items.values()), dict(_after(steps)) if steps else {})


def _item(
    event: Event, partition: str | None, optional: OptionalDependency | None, observed: frozenset[str]
) -> PlanItem:
    kind: Kind = "check" if event.check_name else "observe" if event.asset_key in observed else "materialize"
    return PlanItem(
        asset_key=event.asset_key or "",
        partition=partition,
        check_name=event.check_name,
        step_key=event.step_key,
        kind=kind,
        required=optional is None,
        reason_code=optional.reason_code if optional else None,
        reason=optional.reason if optional else None,
    )


def _partitions(event: Event) -> list[str | None]:
    """Return the partitions one planned event stands for; `[None]` where there are none."""
    subset = event.data.get("partitions_subset")
    if event.check_name or not subset:
        return [event.partition]
    from dagster._serdes import deserialize_value

    keys: Any = deserialize_value(str(subset))
    return sorted(keys.get_partition_keys()) or [event.partition]


def _observable_keys(steps: ExecutionPlanSnapshot) -> Iterator[str]:
    for step in steps.steps:
        for output in step.outputs:
            properties = output.properties
            kind = getattr(properties, "asset_execution_type", None)
            if properties and properties.asset_key and kind is not None and kind.value == "OBSERVATION":
                yield asset_key_text(properties.asset_key.path)


def _after(steps: ExecutionPlanSnapshot) -> Iterator[tuple[str, tuple[str, ...]]]:
    for step in steps.steps:
        upstream = {handle.step_key for each in step.inputs for handle in each.upstream_output_handles}
        yield step.key, tuple(sorted(upstream))
