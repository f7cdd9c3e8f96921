"""What became of every planned item: one outcome each, with its reason and the events it rests on.

What a run produced or checked without having planned it has an outcome too, marked as not planned: a check that
failed counts, whoever asked for it.

A pure function of a run's events. It derives what the orchestrator never records ("did not happen, and
why") and is kept apart from the raw events: its result is an event of its own (`outcomes.derived.v1`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Final

from run_evidence.ledger.model.canonical import Json
from run_evidence.ledger.model.chunks import in_parts
from run_evidence.ledger.model.event import OUTCOMES, Event, encode, source_event_id
from run_evidence.ledger.model.plan import Kind, Plan, PlanItem, ancestors, item_order, own_steps, read_plan
from run_evidence.ledger.model.stated import ASSET_STATUS, CHECK_STATUS, stated_codes, stated_status

VERDICT_OF: Final[Mapping[str, str]] = {
    "materialized": "passed",
    "materialized_with_warning": "warned",
    "observed": "passed",
    "check_passed": "passed",
    "check_warned": "warned",
    "check_skipped": "skipped",
    "check_failed": "failed",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_skipped": "skipped",
    "not_available": "not_available",
    "upstream_failed": "not_evaluated",
    "not_produced": "not_evaluated",
    "canceled": "not_evaluated",
    "not_started": "not_evaluated",
    "not_evaluated": "not_evaluated",
    "lost": "unknown",
    "pending": "unknown",
    "unknown": "unknown",
}
"""Every outcome an item can have, and its place in the verdict lattice."""

RUN_ENDED: Final = {"run.succeeded.v1": "succeeded", "run.failed.v1": "failed", "run.canceled.v1": "canceled"}
_STEP_ENDED: Final = {
    "step.succeeded.v1": "succeeded",
    "step.failed.v1": "failed",
    "step.skipped.v1": "skipped",
}
_MAX_REASON: Final = 2_000  # characters; several records share the bytes of one entry
_MAX_WORD: Final = 100  # characters; what is left out begins and ends between words, where one ends so near
_LEFT_OUT: Final = " … "
_MAX_QUOTED: Final = 200  # characters of another step's message that a reason quotes
_MAX_NAMED: Final = 3  # names that a reason quotes
_RECORDED_ALL_THE_SAME: Final = (
    " (a materialization of the same attempt was recorded all the same; it does not count)"
)
_EARLIER_ATTEMPT: Final = "only_in_earlier_attempt"
_SPEAKS_FOR_ALL: Final = frozenset({"asset.skipped.v1", "check.evaluated.v1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """An event of one run, as far as outcomes depend on it."""

    event_id: str
    event_type: str
    occurred_at: int
    step_key: str | None = None
    attempt: int | None = None
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
    """What became of one item; `basis` holds the ids of the events that say so.

    `planned` is false for what the run produced or checked without having planned it.
    """

    item: PlanItem
    outcome: str
    reason_code: str | None
    reason: str | None
    basis: tuple[str, ...]
    attempts: int
    planned: bool = True

    @property
    def verdict(self) -> str:
        """The outcome's place in the verdict lattice."""
        return VERDICT_OF[self.outcome]


@dataclass(frozen=True, slots=True)
class _Step:
    """A step's last state. `state`: succeeded, failed, skipped, started (and never ended)."""

    state: str
    event: RunEvent


_ABOUT_ASSETS: Final = frozenset(
    {"asset.materialized.v1", "asset.observed.v1", "asset.skipped.v1", "check.evaluated.v1"}
)
_PRODUCED: Final = frozenset({"asset.materialized.v1", "asset.observed.v1"})
_Partitions = dict[str | None, list[tuple[int, RunEvent]]]
"""Events by partition, each with its place in the order of the log."""

_EXPECTED: Final = "step.expectation_evaluated.v1"
_HOOK_RAISED: Final = "hook.errored.v1"
NO_ASSET: Final = ""
"""The asset key of what was checked in a step that neither makes nor checks an asset. No asset has it."""


class _Seen:
    """A run's events, by what outcomes ask of them."""

    def __init__(self, events: Iterable[RunEvent]) -> None:
        self.by_asset: dict[tuple[str, str | None], _Partitions] = defaultdict(dict)
        self.steps: dict[str, _Step] = {}
        self.attempts: dict[str, int] = defaultdict(int)
        self._attempt: dict[str, int] = {}
        self.outputs: dict[str, list[RunEvent]] = defaultdict(list)
        self._noted = 0
        self._blamed: dict[str, list[str]] = {}
        self.plans: list[Mapping[str, Any]] = []
        self.ended: RunEvent | None = None
        self._beside: list[RunEvent] = []
        for event in events:
            self._note(event)
        self.plan = read_plan(self.plans)
        self.after = self.plan.after
        self.of_assets = frozenset(i.step_key for i in self.plan.items if i.kind != "check" and i.step_key)

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
            self._attempt[event.step_key] = max(event.attempt or 1, self._attempt.get(event.step_key, 1))
        elif event.step_key and kind == "step.output_yielded.v1":
            self.outputs[event.step_key].append(event)
        elif event.step_key and kind == _EXPECTED:
            self._beside.append(event)
        elif event.step_key and kind == _HOOK_RAISED:
            reason = {"description": _message(event)}
            self._beside.append(replace(event, outcome="warned", reason_code="hook_errored", data=reason))
        elif event.asset_key and kind in _ABOUT_ASSETS:
            check_name = event.check_name if kind == "check.evaluated.v1" else None
            known = self.by_asset[event.asset_key, check_name].setdefault(event.partition, [])
            self._noted += 1
            known.append((self._noted, event))

    @property
    def run_state(self) -> str:
        """One of running, succeeded, failed, canceled."""
        return RUN_ENDED[self.ended.event_type] if self.ended else "running"

    def states(self, step_key: str) -> list[_Step]:
        """Return the states of a planned step: none, one, or those of the steps a dynamic one became."""
        return [self.steps[key] for key in self._became(step_key)]

    def tries(self, step_key: str) -> int:
        """Return how often a planned step was started; of what a dynamic one became the most often started."""
        return max((self.attempts[key] for key in self._became(step_key) if key in self.attempts), default=0)

    def _became(self, step_key: str) -> Sequence[str]:
        return _became(step_key, self.steps)

    def about(self, item: PlanItem) -> list[RunEvent]:
        """Return what was recorded of the item in its partition or in none, of one without a partition in any."""
        known = self.by_asset.get((item.asset_key, item.check_name), {})
        wanted = known if item.partition is None else [p for p in (None, item.partition) if p in known]
        return [event for _, event in sorted((e for p in wanted for e in known[p]), key=itemgetter(0))]

    def evaluations(self, item: PlanItem) -> list[RunEvent]:
        """Return the evaluations that decide about a check: one for each partition, the gravest first.

        Of several for a partition the gravest counts, of a step that was tried again those of its last attempt
        that evaluated.
        """
        by_partition: dict[str | None, list[RunEvent]] = defaultdict(list)
        for event in self.about(item):
            by_partition[event.partition].append(event)
        return sorted(map(self.gravest_evaluation, by_partition.values()), key=self._evaluation_order)

    def gravest_evaluation(self, events: Sequence[RunEvent]) -> RunEvent:
        """Return the evaluation that counts of several of one thing."""
        return min(_of_last_attempts(events), key=self._evaluation_order)

    def _evaluation_order(self, event: RunEvent) -> int:
        return -_gravity(self.check_word(event))

    def check_word(self, event: RunEvent) -> str:
        """Name the outcome of an evaluation; what passed in an attempt that failed, and in no later one, warns."""
        word = _check_word(event)
        return "check_warned" if word == "check_passed" and self.superseded(event) else word

    def superseded(self, event: RunEvent) -> bool:
        """Tell whether the step of an event was tried again after the attempt that the event is of."""
        return (event.attempt or 1) < self._attempt.get(event.step_key or "", 1)

    def own_words(self, item: PlanItem, done: RunEvent) -> list[RunEvent]:
        """Return what an asset's own steps stated of it, `done` first: each of them in its last attempt that did.

        An asset may log a materialization or an observation of itself before Dagster records its own, and an inner
        op of a graph-backed asset may state with its output what became of it.
        """
        inner = {key for each in self.inner_steps(item) for key in self._became(each)}
        own = {done.step_key, *inner, *self._became(item.step_key or "")}
        said = [e for e in self.about(item) if e.event_type in _PRODUCED and e.step_key in own]
        outputs = [event for key in sorted(inner) for event in self.outputs.get(key, ())]
        return [done, *_of_last_attempts(said), *_of_last_attempts(outputs)]

    def beside_checks(self) -> dict[tuple[str, str], list[RunEvent]]:
        """Return expectations, and hooks that raised, by asset and name.

        A step's are of each asset that it makes, else of what it checks. A step of neither, an op of a job without
        assets, has no asset that they could be of: then the asset is empty, and the name has the step.
        """
        steps = dict.fromkeys(event.step_key or "" for event in self._beside)
        made: dict[str, dict[str, None]] = defaultdict(dict)
        checked: dict[str, dict[str, None]] = defaultdict(dict)
        for item in self.plan.items if steps else ():
            for own in self.own_steps(item):
                for step_key in _became(own, steps):
                    (checked if item.kind == "check" else made)[step_key][item.asset_key] = None
        found: dict[tuple[str, str], list[RunEvent]] = defaultdict(list)
        for event in self._beside:
            step_key = event.step_key or ""
            of_assets = made.get(step_key) or checked.get(step_key)
            hook = event.event_type == _HOOK_RAISED
            names = ["hook"] if hook else ["expectation", str(event.data.get("label") or "")]
            name = ":".join(names if of_assets else [names[0], step_key, *names[1:]])
            for asset_key in of_assets or [NO_ASSET]:
                found[asset_key, name].append(event)
        return found

    def own_steps(self, item: PlanItem) -> tuple[str, ...]:
        """Return the step of an item and, of a graph-backed asset, the ops of its graph that lead there."""
        return own_steps(self.after, item.step_key, self.of_assets) if item.step_key else ()

    def inner_steps(self, item: PlanItem) -> tuple[str, ...]:
        """Return the ops of a graph-backed asset before the one that makes it; of any other asset none."""
        return tuple(key for key in self.own_steps(item) if key != item.step_key)

    def yielded_nothing(self, step_key: str) -> str | None:
        """Return a step that a planned one became, and that succeeded without any output in its last attempt.

        A dynamic op yields as many outputs as there is to do, which may be none: then nothing became of what it
        is mapped over.
        """
        mapped = [key for key, before in self.after.items() if key.endswith("[?]") and step_key in before]
        if mapped and not any(self._became(key) for key in mapped):
            return None
        return next((key for key in self._became(step_key) if self._is_empty(self.steps[key])), None)

    def _is_empty(self, step: _Step) -> bool:
        outputs = self.outputs.get(step.event.step_key or "", ())
        return step.state == "succeeded" and all(map(self.superseded, outputs))

    def first(self, step_keys: Iterable[str], state: str) -> _Step | None:
        """Return the first of these steps that is in this state."""
        return next((step for key in step_keys for step in self.states(key) if step.state == state), None)

    def left_out(self, step_key: str) -> bool:
        """Tell whether a step was skipped, or succeeded and yielded nothing."""
        return any(step.state == "skipped" or self._is_empty(step) for step in self.states(step_key))

    def blamed(self, failure: RunEvent) -> list[str]:
        """Return the names of the failed step's assets and checks that its error names as what went wrong."""
        error = failure.data.get("error")
        names = set(error.get("names") or ()) if isinstance(error, Mapping) else set()
        if names and failure.event_id not in self._blamed:
            of_step = (i for i in self.plan.items if i.step_key == failure.step_key)
            known = {_bare_name(item.asset_key, item.check_name) for item in of_step}
            known |= {check for _, check in self.by_asset if check is not None}
            self._blamed[failure.event_id] = sorted(names & known)
        return self._blamed.get(failure.event_id, [])

    def last(self, item: PlanItem, event_type: str) -> RunEvent | None:
        """Return the last event of this type about the item.

        A skip or a check without a partition speaks for all of them; what was produced is produced in one.
        """
        speaks = {item.partition, None} if event_type in _SPEAKS_FOR_ALL else {item.partition}
        for event in reversed(self.about(item)):
            if event.event_type == event_type and (item.partition is None or event.partition in speaks):
                return event
        return None

    def stands_against(self, skip: RunEvent, done: RunEvent) -> bool:
        """Tell whether a declared skip holds although a materialization was recorded.

        It holds for its own step, and for every op of a graph-backed asset, until a later attempt makes the asset:
        a function that returns nothing after it declared the skip is recorded by Dagster as having made something.
        """
        declared_in = skip.attempt or 1
        if skip.step_key == done.step_key:
            return (done.attempt or 1) <= declared_in
        same_asset = (skip.step_key or "").split(".")[0] == (done.step_key or "").split(".")[0]
        return same_asset and self.attempts.get(skip.step_key or "", 1) <= declared_in


def _became(step_key: str, steps: Collection[str]) -> Sequence[str]:
    """Return those of the steps that a planned one became: itself, of a dynamic one all that were made of it."""
    if not step_key.endswith("[?]"):
        return [step_key] if step_key in steps else []
    return [key for key in steps if key.startswith(step_key[:-2])]


def derive_outcomes(events: Sequence[RunEvent]) -> tuple[Outcome, ...]:
    """Give every planned item of a run exactly one outcome, and what came without a plan one each, after these.

    `events` are all of one run's in the order of its log. The plan is read from its `plan.committed.v1`
    events; a run without one has outcomes only of what it produced and checked all the same.
    """
    seen = _Seen(events)
    plan = seen.plan
    planned = [_check(seen, plan, i) if i.kind == "check" else _asset(seen, plan, i) for i in plan.items]
    return (*planned, *_unplanned(seen, plan))


def _unplanned(seen: _Seen, plan: Plan) -> list[Outcome]:
    """Return an outcome for each asset × partition that was produced, and check that was evaluated, unplanned."""
    planned: dict[tuple[str, str | None], set[str | None]] = defaultdict(set)
    optional: set[str] = set()
    for item in plan.items:
        planned[item.asset_key, item.check_name].add(item.partition)
        optional.update(() if item.required else {item.asset_key})
    outcomes = _beside(seen, optional, {*planned, *seen.by_asset})
    for (asset_key, check_name), by_partition in seen.by_asset.items():
        known = planned.get((asset_key, check_name), set())
        kind: Kind = "materialize" if check_name is None else "check"
        wanted, make = _MADE_BY[kind]
        for partition, noted in by_partition.items():
            events = [event for _, event in noted if event.event_type == wanted]
            of_all = kind == "check" and partition is None and bool(known)  # an evaluation without a partition
            if not events or of_all or known & {None, partition}:
                continue
            decides = seen.gravest_evaluation(events) if kind == "check" else events[-1]
            required = asset_key not in optional
            item = PlanItem(asset_key, partition, check_name, decides.step_key, kind, required)
            outcomes.append(replace(make(seen, item, decides), planned=False))
    return sorted(outcomes, key=lambda outcome: item_order(outcome.item))


def _beside(seen: _Seen, optional: Set[str], taken: set[tuple[str, str | None]]) -> list[Outcome]:
    """Return an outcome for each expectation, a check of Dagster's older API, and each hook that raised.

    No run plans them. An expectation failed where it did in the last attempt of any step. A name is that of no
    check in `taken`.
    """
    outcomes = []
    for (asset_key, said), events in sorted(seen.beside_checks().items()):
        name = said
        while (asset_key, name) in taken:
            name = f"{said.partition(':')[0]}:{name}"
        taken.add((asset_key, name))
        gravest = seen.gravest_evaluation(events)
        item = PlanItem(asset_key, None, name, gravest.step_key, "check", asset_key not in optional)
        outcomes.append(replace(_evaluated(seen, item, gravest), planned=False))
    return outcomes


def _of_last_attempts(events: Sequence[RunEvent]) -> list[RunEvent]:
    """Return those of each step's last attempt in which there are any, in their order."""
    last: dict[str | None, int] = {}
    for event in events:
        last[event.step_key] = max(last.get(event.step_key, 1), event.attempt or 1)
    return [event for event in events if (event.attempt or 1) == last[event.step_key]]


def _gravity(outcome: str) -> int:
    return OUTCOMES.index(VERDICT_OF[outcome])


def _make(item: PlanItem, seen: _Seen, outcome: str, reason: tuple[str, str] | None, *basis: RunEvent) -> Outcome:
    return Outcome(
        item=item,
        outcome=outcome,
        reason_code=reason[0] if reason else None,
        reason=reason[1] if reason else None,
        basis=tuple(event.event_id for event in basis),
        attempts=max(map(seen.tries, seen.own_steps(item)), default=0),
    )


def _produced(seen: _Seen, item: PlanItem, event: RunEvent, word: str = "materialized") -> Outcome:
    """Take what was produced for what it says of itself, the gravest word: that nothing was produced, for one."""
    gravest = max(seen.own_words(item, event), key=lambda each: _gravity(_asset_word(each, word)))
    outcome = _asset_word(gravest, word)
    if outcome == word and (flaw := _flaw(seen, item, event)):
        return _make(item, seen, "materialized_with_warning", flaw, event)
    if outcome == word:
        return _make(item, seen, word, None, event)
    return _make(item, seen, outcome, _stated_reason(gravest, stated_status(gravest.data) or ""), gravest)


def _flaw(seen: _Seen, item: PlanItem, done: RunEvent) -> tuple[str, str] | None:
    """Say what is wrong with how something was produced, though a materialization of it was recorded."""
    if seen.superseded(done):
        return _EARLIER_ATTEMPT, f"attempt {done.attempt or 1} produced it and failed, and no later one did"
    empty = next(filter(None, map(seen.yielded_nothing, seen.inner_steps(item))), None)
    return ("no_output", f"step {empty}, which is part of it, yielded nothing") if empty else None


def _asset_word(event: RunEvent, word: str) -> str:
    return ASSET_STATUS.get(stated_status(event.data) or "", word)


SAYS_STATUS: Final = "its own metadata says status "
"""How the reason begins of an outcome that an asset or a check states of itself, against what Dagster recorded."""


def _stated_reason(event: RunEvent, status: str) -> tuple[str, str]:
    codes = stated_codes(event.data)
    quoted = f": {', '.join(codes)}" if codes else ""
    return codes[0] if codes else f"status_{status}", f"{SAYS_STATUS}{status}{quoted}"


def _asset(seen: _Seen, plan: Plan, item: PlanItem) -> Outcome:
    done, skip = seen.last(item, "asset.materialized.v1"), seen.last(item, "asset.skipped.v1")
    if skip and (done is None or seen.stands_against(skip, done)):
        word = "not_available" if skip.outcome == "not_available" else "skipped"
        text = str(skip.data.get("text", "")) + (_RECORDED_ALL_THE_SAME if done else "")
        return _make(item, seen, word, (skip.reason_code or word, text), *filter(None, (skip, done)))
    if done:
        return _produced(seen, item, done)
    observed = seen.last(item, "asset.observed.v1")
    if observed and (item.kind == "observe" or not item.required):
        return _produced(seen, item, observed, "observed")
    outcome, reason, basis = _why_not(seen, plan, item)
    if not item.required and item.reason_code and outcome in {"skipped", "upstream_skipped", "not_started"}:
        return _make(item, seen, "not_available", (item.reason_code, item.reason or reason[1]), *basis)
    return _make(item, seen, outcome, reason, *basis)


def _check(seen: _Seen, plan: Plan, item: PlanItem) -> Outcome:
    evaluations = seen.evaluations(item)
    if evaluations:
        gravest = _evaluated(seen, item, evaluations[0])
        missing = _never_evaluated(plan, item, {event.partition for event in evaluations})
        if not missing or gravest.outcome == "check_failed":
            return gravest
        quoted = f"it was evaluated for {len(evaluations)} of {len(evaluations) + len(missing)} planned partitions"
        reason = ("partitions_not_evaluated", f"{quoted}, and not for {_some(missing)}")
        return _make(item, seen, "not_evaluated", reason, *evaluations)
    outcome, reason, basis = _why_not(seen, plan, item)
    if outcome == "pending":
        return _make(item, seen, outcome, reason, *basis)
    if outcome == "failed":
        reason = ("check_crashed", "the step that evaluates it failed before it gave a result")
    return _make(item, seen, "not_evaluated", reason, *basis)


def _never_evaluated(plan: Plan, item: PlanItem, evaluated: Set[str | None]) -> list[str]:
    """Return the planned partitions of its asset that a check lacks.

    Plans of earlier versions name a check of several partitions once, without any; an evaluation that has no
    partition is of all of them.
    """
    if item.partition is not None or None in evaluated:
        return []
    of_asset = {i.partition for i in plan.items if i.asset_key == item.asset_key and i.kind != "check"}
    return sorted(partition for partition in of_asset - evaluated if partition is not None)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _evaluated(seen: _Seen, item: PlanItem, event: RunEvent) -> Outcome:
    word = seen.check_word(event)
    if word == "check_passed":
        return _make(item, seen, word, None, event)
    if _check_word(event) == "check_passed":
        reason = f"attempt {event.attempt or 1} evaluated it and failed, and no later one did"
        return _make(item, seen, word, (_EARLIER_ATTEMPT, reason), event)
    stated = stated_status(event.data) or ""
    if event.outcome == "passed":
        return _make(item, seen, word, _stated_reason(event, stated), event)
    return _make(item, seen, word, (event.reason_code or word, _words_of(event)), event)


def _check_word(event: RunEvent) -> str:
    """Name the outcome of an evaluation; one that Dagster says passed is what it states itself, where it does."""
    if event.outcome == "passed":
        return CHECK_STATUS.get(stated_status(event.data) or "", "check_passed")
    return "check_warned" if event.outcome == "warned" else "check_failed"


def _words_of(evaluation: RunEvent) -> str:
    """Say what a check said: its own description, else Dagster's sentence."""
    return str(evaluation.data.get("description") or evaluation.data.get("message") or "")


_INTERRUPTED: Final = "DagsterExecutionInterruptedError"
_CRASHED: Final = "ChildProcessCrashException"

_Why = tuple[str, tuple[str, str], tuple[RunEvent, ...]]


def _why_not(seen: _Seen, plan: Plan, item: PlanItem) -> _Why:
    """Say why an item without a result of its own has none: (outcome, reason, basis).

    All ops of a graph-backed asset are its own steps, so what went wrong in one of them went wrong in it.
    """
    own = seen.own_steps(item)
    if failed := seen.first(own, "failed"):
        why = _failed(seen, failed.event)
        return _named_other(seen, item, failed.event) if why[0] == "failed" else why
    if started := seen.first(own, "started"):
        return _unfinished(seen, started.event)
    step = seen.steps.get(item.step_key or "")
    if step is None:
        return _never_started(seen, plan, item)
    if step.state == "skipped":
        return _skipped(seen, plan, own, step.event)
    return "skipped", ("no_output", "the step succeeded and yielded nothing for this item"), (step.event,)


def _unfinished(seen: _Seen, start: RunEvent) -> _Why:
    end = (seen.ended,) if seen.ended else ()
    if seen.run_state == "running":
        return "pending", ("still_running", "the step has started and not ended"), (start,)
    if seen.run_state == "canceled":
        return "canceled", ("run_canceled", "the run was canceled while the step ran"), (start, *end)
    return "lost", ("process_lost", "the step started and never ended; its process died"), (start, *end)


def _skipped(seen: _Seen, plan: Plan, own: Sequence[str], skip: RunEvent) -> _Why:
    """Tell what an asset's own inner op left out from what was left out before it."""
    skipped = [key for key in own if any(step.state == "skipped" for step in seen.states(key))]
    inner = [key for key in own if key not in skipped and seen.left_out(key)]
    before = {key for each in skipped for key in plan.after.get(each, ()) if key not in own}
    if len(own) > 1 and (inner or not any(map(seen.left_out, before))):
        which = f"step {inner[0]}" if inner else "an op"
        return "skipped", ("no_output", f"{which}, which is part of it, yielded nothing"), (skip,)
    return (
        "upstream_skipped",
        ("upstream_skipped", "an input it needs was skipped, so the step was skipped"),
        (skip,),
    )


def _named_other(seen: _Seen, item: PlanItem, failure: RunEvent) -> _Why:
    """Tell what failed in a step of many items from the rest of them, where the error names what did."""
    blamed = seen.blamed(failure)
    if not blamed or _bare_name(item.asset_key, item.check_name) in blamed:
        return "failed", ("step_failed", _message(failure)), (failure,)
    reason = f"its step failed over {_some(blamed)} before it"
    return "not_produced", ("step_failed_elsewhere", reason), (failure,)


def _bare_name(asset_key: str, check_name: str | None) -> str:
    return check_name if check_name is not None else asset_key.rpartition("/")[2]


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
                quoted = _message(step.event).partition("\n")[0][:_MAX_QUOTED]
                words = f"step {upstream} failed{': ' if quoted else ''}{quoted}"
                return "upstream_failed", ("upstream_failed", words), (step.event,)
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
    quoted = cause if isinstance(cause, Mapping) else error
    text = quoted.get("message") if isinstance(quoted, Mapping) else None
    return str(text or event.data.get("message") or "").strip()


_MADE_BY: Final[Mapping[Kind, tuple[str, Callable[[_Seen, PlanItem, RunEvent], Outcome]]]] = {
    "materialize": ("asset.materialized.v1", _produced),
    "check": ("check.evaluated.v1", _evaluated),
}


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
        "reason": _both_ends(outcome.reason) if outcome.reason else None,
        "basis": list(outcome.basis),
        "attempts": outcome.attempts,
        "planned": None if outcome.planned else False,
    }
    return {name: value for name, value in values.items() if value is not None}


def _both_ends(text: str) -> str:
    """Return a text, or of a long one its beginning and its end, which has the error of a failed command."""
    if len(text) <= _MAX_REASON:
        return text
    half = _MAX_REASON // 2 - len(_LEFT_OUT)
    start, end = text[:half], text[-half:]
    start = start[: start.rfind(" ", half - _MAX_WORD)].rstrip() if " " in start[-_MAX_WORD:] else start
    end = end[end.find(" ") :].lstrip() if " " in end[:_MAX_WORD] else end
    return f"{start}{_LEFT_OUT}{end}"
