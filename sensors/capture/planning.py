"""Reading a run's plan from Dagster: its planned events, its execution plan, and the policy's optional parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from run_evidence.ledger import Event, Kind, Plan, PlanItem
from run_evidence.sensors.capture.policy import OptionalDependency, Policy
from run_evidence.sensors.dagster_log.names import short_name
from run_evidence.sensors.dagster_log.steps import Steps

PLANNED_TYPES = frozenset({"asset.materialization_planned.v1", "check.evaluation_planned.v1"})

ItemKey = tuple[str, str | None, str | None]
"""What is planned: asset, partition, check."""


def build_plan(planned: Iterable[Event], steps: Steps | None, policy: Policy) -> Plan:
    """Put together what a run set out to do.

    `planned` are the run's events of `PLANNED_TYPES`, in order. An optional dependency that the run does not
    plan itself becomes an item of kind `dependency`. An asset and a check are planned once for each partition,
    however often Dagster says so; an asset without partitions once, without one.
    """
    optional = {o.asset_key: o for o in policy.optional}
    observed = steps.observable if steps else frozenset()
    unpartitioned = steps.unpartitioned if steps else frozenset()
    items: dict[ItemKey, PlanItem] = {}
    for event in planned:
        whole = event.check_name is None and event.asset_key in unpartitioned
        for partition in [None] if whole else _partitions(event):
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
    return Plan(tuple(items.values()), steps.after if steps else {})


def planned_keys(planned: Iterable[Event]) -> set[ItemKey]:
    """Return what these planned events stand for."""
    return {
        (event.asset_key or "", partition, event.check_name)
        for event in planned
        for partition in _partitions(event)
    }


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
    if not subset:
        return [event.partition]
    from dagster._serdes import deserialize_value

    keys: Any = deserialize_value(str(subset))
    names: list[str | None] = [short_name(key) for key in sorted(keys.get_partition_keys())]
    return names or [event.partition]
