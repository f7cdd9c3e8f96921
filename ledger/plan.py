"""A run's plan: what it set out to do, item by item, committed before it is known what came of it.

An item is one asset × partition, one check, or one optional dependency. The plan travels in one or more
`plan.committed.v1` events, each small enough for an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ledger.canonical import Json

Kind = Literal["materialize", "observe", "check", "dependency"]

_ITEMS_IN_PART: Final = 60
"""Keeps the payload of a part under `ledger.event.MAX_DATA_BYTES` with keys of up to 400 characters."""


@dataclass(frozen=True, slots=True, order=True)
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


def plan_parts(plan: Plan) -> Iterator[dict[str, Json]]:
    """Split a plan into payloads of `plan.committed.v1`, always at least one; `read_plan` joins them."""
    items = sorted(plan.items, key=_order)
    steps = sorted(plan.after.items())
    parts = max(-(-len(items) // _ITEMS_IN_PART), -(-len(steps) // _ITEMS_IN_PART), 1)
    for part in range(parts):
        window = slice(part * _ITEMS_IN_PART, (part + 1) * _ITEMS_IN_PART)
        yield {
            "part": part + 1,
            "parts": parts,
            "items": [_item_json(item) for item in items[window]],
            "steps": [{"step_key": key, "after": list(after)} for key, after in steps[window]],
        }


def read_plan(payloads: Iterable[Mapping[str, Any]]) -> Plan:
    """Join the payloads of a run's plan events. A part recorded twice counts once."""
    items: dict[PlanItem, None] = {}
    after: dict[str, tuple[str, ...]] = {}
    for payload in payloads:
        for entry in payload["items"]:
            items[PlanItem(**entry)] = None
        for step in payload["steps"]:
            after[step["step_key"]] = tuple(step["after"])
    return Plan(tuple(sorted(items, key=_order)), after)


def _item_json(item: PlanItem) -> dict[str, Json]:
    values: dict[str, Json] = {name: getattr(item, name) for name in PlanItem.__slots__}
    return {name: value for name, value in values.items() if value is not None}


def _order(item: PlanItem) -> tuple[str, str, str]:
    return (item.asset_key, item.partition or "", item.check_name or "")


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
