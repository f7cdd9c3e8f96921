"""A run's plan: what it set out to do, item by item, committed before it is known what came of it.

An item is one asset × partition, one check, or one optional dependency. The plan travels in one or more
`plan.committed.v1` events, each small enough for an entry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from run_evidence.ledger.model.canonical import Json
from run_evidence.ledger.model.chunks import in_parts

Kind = Literal["materialize", "observe", "check", "dependency"]

_Key = tuple[str, bool, str, bool, str]

_AFTER_IN_RECORD: Final = 20
"""A step that waits for thousands of others takes several records, which `read_plan` joins."""


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One thing a run set out to do. `kind` is what would fulfil it; an optional one never fails the run.

    `reason_code` and `reason` are the policy's words for the case that an optional one is not there.
    """

    asset_key: str
    partition: str | None = None
    check_name: str | None = None
    step_key: str | None = None
    kind: Kind = "materialize"
    required: bool = True
    reason_code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All items of a run, and `after`: for each step the steps it directly waits for."""

    items: tuple[PlanItem, ...]
    after: Mapping[str, tuple[str, ...]]


def plan_parts(plan: Plan) -> list[dict[str, Json]]:
    """Split a plan into payloads of `plan.committed.v1`, always at least one; `read_plan` joins them."""
    items = [_item_json(item) for item in sorted(plan.items, key=item_order)]
    parts = list(in_parts([*items, *_steps_json(plan)])) or [[]]
    return [
        {
            "part": number,
            "parts": len(parts),
            "items": [record for record in part if isinstance(record, dict) and "asset_key" in record],
            "steps": [record for record in part if isinstance(record, dict) and "after" in record],
        }
        for number, part in enumerate(parts, start=1)
    ]


def _steps_json(plan: Plan) -> Iterator[Json]:
    for step_key, after in sorted(plan.after.items()):
        for first in range(0, max(len(after), 1), _AFTER_IN_RECORD):
            yield {"step_key": step_key, "after": list(after[first : first + _AFTER_IN_RECORD])}


def read_plan(payloads: Iterable[Mapping[str, Any]]) -> Plan:
    """Join the payloads of a run's plan events, also of a plan that was completed later.

    The first statement about an item holds, unless it says no more than that the item is a dependency.
    """
    items: dict[_Key, PlanItem] = {}
    after: dict[str, dict[str, None]] = {}
    for payload in payloads:
        for entry in payload["items"]:
            item = PlanItem(**entry)
            said = items.setdefault(item_order(item), item)
            if said.kind == "dependency" and item.kind != "dependency":
                items[item_order(item)] = item
        for step in payload["steps"]:
            after.setdefault(step["step_key"], {}).update(dict.fromkeys(step["after"]))
    return Plan(tuple(items[key] for key in sorted(items)), {key: tuple(steps) for key, steps in after.items()})


def _item_json(item: PlanItem) -> dict[str, Json]:
    values: dict[str, Json] = {name: getattr(item, name) for name in PlanItem.__slots__}
    return {name: value for name, value in values.items() if value is not None}


def item_order(item: PlanItem) -> _Key:
    """Return what makes an item that item: asset, partition, check; `None` sorts first and is not ""."""
    partition, check = item.partition, item.check_name
    return (item.asset_key, partition is not None, partition or "", check is not None, check or "")


def ancestors(after: Mapping[str, Sequence[str]], step_key: str) -> Iterator[str]:
    """Yield every step that `step_key` waits for, directly or not, each once, nearest first."""
    seen = {step_key}
    queue = [step_key]
    while queue:
        for upstream in after.get(queue.pop(0), ()):
            if upstream not in seen:
                seen.add(upstream)
                queue.append(upstream)
                yield upstream


def own_steps(after: Mapping[str, Sequence[str]], step_key: str, of_assets: Collection[str]) -> tuple[str, ...]:
    """Return a step and, where it is an op of a graph, the ops of that graph it waits for, nearest first.

    They make one asset together. What is beyond the step of another asset (`of_assets`) belongs to that one.
    """
    graph, dot, _ = step_key.partition(".")
    if not dot:
        return (step_key,)
    own = {step_key: None}
    queue = [step_key]
    while queue:
        for upstream in after.get(queue.pop(0), ()):
            if upstream.startswith(f"{graph}.") and upstream not in own and upstream not in of_assets:
                own[upstream] = None
                queue.append(upstream)
    return tuple(own)
