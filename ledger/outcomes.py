"""What became of every planned item: one outcome each, with its reason and the events it rests on.

A pure function of a run's events. It derives what the orchestrator never records ("did not happen, and
why") and is kept apart from the raw events: its result is an event of its own (`outcomes.derived.v1`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.canonical import Json
from ledger.event import Event, encode, source_event_id
from ledger.parts import in_parts
from ledger.plan import Plan, PlanItem, ancestors, read_plan

VERDICT_OF: Final[Mapping[str, str]] = {
    "materialized": "passed",
    "observed": "passed",
    "check_passed": "passed",
    "check_warned": "warned",
    "check_failed": "failed",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_skipped": "skipped",
    "not_available": "not_available",
    "upstream_failed": "not_evaluated",
    "canceled": "not_evaluated",
    "not_started": "not_evaluated",
    "not_evaluated": "not_evaluated",
    "lost": "unknown",
    "pending": "unknown",
}
"""Every outcome an item can have, and its place in the verdict lattice."""

RUN_ENDED: Final = {"run.succeeded.v1": "succeeded", "run.failed.v1": "failed", "run.canceled.v1": "canceled"}
_STEP_ENDED: Final = {
    "step.succeeded.v1": "succeeded",
    "step.failed.v1": "failed",
    "step.skipped.v1": "skipped",
}
_SPEAKS_FOR_ALL: Final = frozenset({"asset.skipped.v1", "check.evaluated.v1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """An event of one run, as far as outcomes depend on it."""

    event_id: str
    event_type: str
    occurred_at: int
    step_key: str | None = None
    asset_key: str | None = None
    partition: str | None = None
    check_name: str | None = None
    outcome: str | None = None
    reason_code: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_record(cls, event: Event) -> RunEvent:
        """Take it from a record of the orchestrator that is being captured."""
        return cls(
            event_id=source_event_id(
                str(event.store_id), str(event.run_id), event.storage_id or 0, event.occurred_at
            ),
            **cls._rest(event),
        )

    @classmethod
    def of_own(cls, event: Event) -> RunEvent:
        """Take it from an event of the ledger's own."""
        return cls(event_id=encode(event, event.occurred_at).event_id, **cls._rest(event))

    @classmethod
    def _rest(cls, event: Event) -> dict[str, Any]:
        return {name: getattr(event, name) for name in cls.__slots__ if name != "event_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one planned item; `basis` holds the ids of the events that say so."""

    item: PlanItem
    outcome: str
    reason_code: str | None
    reason: str | None
    basis: tuple[str, ...]
    attempts: int

    @property
    def verdict(self) -> str:
        """The outcome's place in the verdict lattice."""
        return VERDICT_OF[self.outcome]


@dataclass(frozen=True, slots=True)
class _Step:
    """A step's last state. `state`: succeeded, failed, skipped, started (and never ended)."""

    state: str
    event: RunEvent


_GRAVITY: Final = {"passed": 0, "warned": 1}  # anything else is a failure


class _Seen:
    """A run's events, by what outcomes ask of them."""

    def __init__(self, events: Iterable[RunEvent]) -> None:
        self.by_asset: dict[tuple[str, str | None], list[RunEvent]] = defaultdict(list)
        self.steps: dict[str, _Step] = {}
        self.attempts: dict[str, int] = defaultdict(int)
        self.plans: list[Mapping[str, Any]] = []
        self.ended: RunEvent | None = None
        for event in events:
            self._note(event)

    def _note(self, event: RunEvent) -> None:
        kind = event.event_type
        if kind == "plan.committed.v1":
            self.plans.append(event.data)
        elif kind in RUN_ENDED:
            self.ended = event
        elif event.step_key and kind in _STEP_ENDED:
            self.steps[event.step_key] = _Step(_STEP_ENDED[kind], event)
        elif event.step_key and kind in {"step.started.v1", "step.restarted.v1"}:
            self.steps[event.step_key] = _Step("started", event)
            self.attempts[event.step_key] += 1
        elif event.asset_key and kind in {"asset.materialized.v1", "asset.observed.v1", "asset.skipped.v1"}:
            self.by_asset[event.asset_key, None].append(event)
        elif event.asset_key and kind == "check.evaluated.v1":
            self.by_asset[event.asset_key, event.check_name].append(event)

    @property
    def run_state(self) -> str:
        """One of running, succeeded, failed, canceled."""
        return RUN_ENDED[self.ended.event_type] if self.ended else "running"

    def states(self, step_key: str) -> list[_Step]:
        """Return the states of a planned step: none, one, or those of the steps a dynamic one became."""
        if not step_key.endswith("[?]"):
            return [self.steps[step_key]] if step_key in self.steps else []
        return [step for key, step in self.steps.items() if key.startswith(step_key[:-2])]

    def evaluation(self, item: PlanItem) -> RunEvent | None:
        """Return the evaluation that decides about a check: the gravest of the last one for each partition."""
        last = {
            event.partition: event
            for event in self.by_asset.get((item.asset_key, item.check_name), ())
            if item.partition is None or event.partition in {None, item.partition}
        }
        return max(last.values(), key=lambda event: _GRAVITY.get(event.outcome or "", 2), default=None)

    def last(self, item: PlanItem, event_type: str) -> RunEvent | None:
        """Return the last event of this type about the item.

        A skip or a check without a partition speaks for all of them; what was produced is produced in one.
        """
        speaks = {item.partition, None} if event_type in _SPEAKS_FOR_ALL else {item.partition}
        for event in reversed(self.by_asset.get((item.asset_key, item.check_name), ())):
            if event.event_type == event_type and (item.partition is None or event.partition in speaks):
                return event
        return None


def derive_outcomes(events: Sequence[RunEvent]) -> tuple[Outcome, ...]:
    """Give every planned item of a run exactly one outcome.

    `events` are all of one run's in the order of its log. The plan is read from its `plan.committed.v1`
    events; a run without one has no outcomes.
    """
    seen = _Seen(events)
    plan = read_plan(seen.plans)
    return tuple(_check(seen, plan, i) if i.kind == "check" else _asset(seen, plan, i) for i in plan.items)


def _make(item: PlanItem, seen: _Seen, outcome: str, reason: tuple[str, str] | None, *basis: RunEvent) -> Outcome:
    return Outcome(
        item=item,
        outcome=outcome,
        reason_code=reason[0] if reason else None,
        reason=reason[1] if reason else None,
        basis=tuple(event.event_id for event in basis),
        attempts=seen.attempts.get(item.step_key or "", 0),
    )


def _asset(seen: _Seen, plan: Plan, item: PlanItem) -> Outcome:
    if done := seen.last(item, "asset.materialized.v1"):
        return _make(item, seen, "materialized", None, done)
    if skip := seen.last(item, "asset.skipped.v1"):
        word = "not_available" if skip.outcome == "not_available" else "skipped"
        return _make(item, seen, word, (skip.reason_code or word, str(skip.data.get("text", ""))), skip)
    observed = seen.last(item, "asset.observed.v1")
    if observed and (item.kind == "observe" or not item.required):
        return _make(item, seen, "observed", None, observed)
    outcome, reason, basis = _why_not(seen, plan, item)
    if not item.required and item.reason_code and outcome in {"skipped", "upstream_skipped", "not_started"}:
        return _make(item, seen, "not_available", (item.reason_code, item.reason or reason[1]), *basis)
    return _make(item, seen, outcome, reason, *basis)


def _check(seen: _Seen, plan: Plan, item: PlanItem) -> Outcome:
    if done := seen.evaluation(item):
        word = {"passed": "check_passed", "warned": "check_warned"}.get(done.outcome or "", "check_failed")
        reason = None if word == "check_passed" else (done.reason_code or word, _told(done))
        return _make(item, seen, word, reason, done)
    outcome, reason, basis = _why_not(seen, plan, item)
    if outcome == "pending":
        return _make(item, seen, outcome, reason, *basis)
    if outcome == "failed":
        reason = ("check_crashed", "the step that evaluates it failed before it gave a result")
    return _make(item, seen, "not_evaluated", reason, *basis)


def _told(evaluation: RunEvent) -> str:
    """Say what a check said: its own description, else Dagster's sentence."""
    return str(evaluation.data.get("description") or evaluation.data.get("message") or "")


_INTERRUPTED: Final = "DagsterExecutionInterruptedError"
_CRASHED: Final = "ChildProcessCrashException"

_Why = tuple[str, tuple[str, str], tuple[RunEvent, ...]]


def _why_not(seen: _Seen, plan: Plan, item: PlanItem) -> _Why:
    """Say why an item without a result of its own has none: (outcome, reason, basis)."""
    step = seen.steps.get(item.step_key or "")
    if step is None:
        return _never_started(seen, plan, item)
    end = (seen.ended,) if seen.ended else ()
    if step.state == "failed":
        return _failed(seen, step.event)
    if step.state == "skipped":
        reason = ("upstream_skipped", "an input it needs was skipped, so the step was skipped")
        return "upstream_skipped", reason, (step.event,)
    if step.state == "succeeded":
        return "skipped", ("no_output", "the step succeeded and yielded nothing for this item"), (step.event,)
    if seen.run_state == "running":
        return "pending", ("still_running", "the step has started and not ended"), (step.event,)
    if seen.run_state == "canceled":
        return "canceled", ("run_canceled", "the run was canceled while the step ran"), (step.event, *end)
    return "lost", ("process_lost", "the step started and never ended; its process died"), (step.event, *end)


def _failed(seen: _Seen, failure: RunEvent) -> _Why:
    """Tell a step that failed from one whose process died or was stopped; the orchestrator says failed of all."""
    if _died_of(failure, _INTERRUPTED):
        if seen.run_state == "canceled":
            return "canceled", ("run_canceled", "the run was canceled while the step ran"), (failure,)
        return "lost", ("process_interrupted", "its process was stopped from outside"), (failure,)
    if _died_of(failure, _CRASHED):
        return "lost", ("process_lost", "its process died without a word"), (failure,)
    return "failed", ("step_failed", _message(failure)), (failure,)


def _died_of(failure: RunEvent, class_name: str) -> bool:
    error = failure.data.get("error")
    while isinstance(error, Mapping):
        if error.get("class") == class_name:
            return True
        error = error.get("cause")
    return False


def _never_started(seen: _Seen, plan: Plan, item: PlanItem) -> _Why:
    end = (seen.ended,) if seen.ended else ()
    if item.kind == "dependency":
        reason = (item.reason_code or "not_in_run", item.reason or "this run does not produce it")
        return "not_started", reason, ()
    for upstream in ancestors(plan.after, item.step_key or ""):
        for step in seen.states(upstream):
            if step.state == "failed" and _failed(seen, step.event)[0] != "canceled":
                return "upstream_failed", ("upstream_failed", f"step {upstream} failed"), (step.event,)
    if seen.run_state == "running":
        return "pending", ("not_started_yet", "the run has not come to it"), ()
    if seen.run_state == "canceled":
        return "canceled", ("run_canceled", "the run was canceled before the step started"), end
    if seen.ended and seen.run_state == "failed":
        return "not_started", ("run_failed_before_step", f"the run failed before: {_message(seen.ended)}"), end
    return "not_started", ("never_started", "the run ended without starting the step"), end


def _message(event: RunEvent) -> str:
    error = event.data.get("error")
    cause = error.get("cause") if isinstance(error, Mapping) else None
    # An exception in the user's code is the cause of Dagster's own "error occurred while executing op".
    told = cause if isinstance(cause, Mapping) else error
    text = told.get("message") if isinstance(told, Mapping) else None
    return str(text or event.data.get("message") or "").strip()[:500]


def outcome_parts(outcomes: Sequence[Outcome], revision: int) -> list[dict[str, Json]]:
    """Split outcomes into payloads of `outcomes.derived.v1`, always at least one.

    `revision` counts the closings of the run, from 1; the outcomes of the highest one count.
    """
    parts = list(in_parts(map(_outcome_json, outcomes))) or [[]]
    return [
        {"revision": revision, "part": number, "parts": len(parts), "outcomes": part}
        for number, part in enumerate(parts, start=1)
    ]


def _outcome_json(outcome: Outcome) -> dict[str, Json]:
    item = outcome.item
    values: dict[str, Json] = {
        "asset_key": item.asset_key,
        "partition": item.partition,
        "check_name": item.check_name,
        "step_key": item.step_key,
        "kind": item.kind,
        "required": item.required,
        "outcome": outcome.outcome,
        "verdict": outcome.verdict,
        "reason_code": outcome.reason_code,
        "reason": outcome.reason[:300] if outcome.reason else None,
        "basis": list(outcome.basis),
        "attempts": outcome.attempts,
    }
    return {name: value for name, value in values.items() if value is not None}
