"""A run's execution plan: which step waits for which, as Dagster took it down at launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from run_evidence.sensors.dagster_log.names import asset_key_text, short_name
from run_evidence.sensors.dagster_log.source import RunFacts

if TYPE_CHECKING:
    from dagster import DagsterInstance


@dataclass(frozen=True, slots=True)
class Steps:
    """A run's execution plan, as far as it matters here.

    `after`: for each step the steps it directly waits for. `observable`: keys of assets it observes.
    `unpartitioned`: keys of assets without partitions, which Dagster plans in the partition of their run.
    """

    after: Mapping[str, tuple[str, ...]]
    observable: frozenset[str]
    unpartitioned: frozenset[str] = frozenset()


_PLANS: WeakKeyDictionary[DagsterInstance, dict[str, Steps]] = WeakKeyDictionary()
_PLANS_REMEMBERED: Final = 64


def execution_plan(instance: DagsterInstance, facts: RunFacts) -> Steps | None:
    """Return the run's execution plan as it was snapshot at launch, `None` when there is none to be read.

    Runs of one job share their snapshots, so the last ones are remembered for each instance.
    """
    snapshot_id = facts.execution_plan_snapshot_id
    if snapshot_id is None:
        return None
    remembered = _PLANS.setdefault(instance, {})
    if snapshot_id not in remembered:
        found = _read_plan(instance, snapshot_id)
        if found is None:
            return None
        while len(remembered) >= _PLANS_REMEMBERED:
            del remembered[next(iter(remembered))]
        remembered[snapshot_id] = found
    return remembered[snapshot_id]


def _read_plan(instance: DagsterInstance, snapshot_id: str) -> Steps | None:
    from dagster_shared.serdes.errors import DeserializationError

    try:
        plan = instance.get_execution_plan_snapshot(snapshot_id)
    except DeserializationError:  # written by a version of Dagster that this one cannot read
        return None
    after = {}
    observable = set()
    unpartitioned = set()
    for step in plan.steps:
        upstream = {short_name(handle.step_key) for each in step.inputs for handle in each.upstream_output_handles}
        after[short_name(step.key)] = tuple(sorted(upstream))
        for output in step.outputs:
            about = output.properties
            if not about or not about.asset_key:
                continue
            key = short_name(asset_key_text(about.asset_key.path))
            if about.asset_execution_type is not None and about.asset_execution_type.value == "OBSERVATION":
                observable.add(key)
            if not about.is_asset_partitioned:
                unpartitioned.add(key)
    return Steps(after, frozenset(observable), frozenset(unpartitioned))
