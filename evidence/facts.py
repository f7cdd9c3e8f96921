"""What the ledger holds about a run, read once, as plain values that everything else here is derived from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from run_evidence.evidence.corrections import Correction, read_corrections
from run_evidence.evidence.recorded_event import Recorded
from run_evidence.evidence.verdict import RunVerdict, count, judge
from run_evidence.ledger import (
    IntegrityError,
    Outcome,
    Plan,
    PlanItem,
    RunEvent,
    blob_name,
    derive_outcomes,
    read_plan,
)

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix

QUERIES: Final = ("erased_payloads", "runs", "run_amendments", "run_events")
"""The queries a run is read with (`sql/`)."""

ALL_RUNS: Final = 2**62

_FAILURES: Final = frozenset(
    {"run.failed.v1", "run.canceled.v1", "step.failed.v1", "resource.init_failed.v1", "hook.errored.v1"}
)
_SKIPS: Final = frozenset({"asset.skipped.v1", "step.skipped.v1"})
_EVALUATIONS: Final = frozenset({"check.evaluated.v1", "step.expectation_evaluated.v1"})
_PRODUCED: Final = frozenset({"asset.materialized.v1", "asset.observed.v1"})
_OF_OUTCOMES: Final = frozenset({"outcomes.derived.v1", "run.closed.v1"})
_NOT_THERE: Final = frozenset({"erased", "gone"})
_OUTCOME_TYPES: Final = (
    _FAILURES
    | _SKIPS
    | _PRODUCED
    | {
        "plan.committed.v1",
        "run.succeeded.v1",
        "step.started.v1",
        "step.restarted.v1",
        "step.output_yielded.v1",
        "step.succeeded.v1",
        "check.evaluated.v1",
        "step.expectation_evaluated.v1",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run's row. Times in microseconds since 1970. `status` is Dagster's word and no verdict."""

    run_id: str
    job_name: str | None
    status: str
    partition: str | None
    started_at: int
    ended_at: int | None
    events: int
    late_events: int
    first_index: int | None
    last_index: int | None
    trace_id: str | None
    release_id: str | None
    batch_id: str | None
    store_id: str | None
    closing: int
    reopening: int

    @property
    def closed(self) -> bool:
        """Whether it was read whole after its end, and no record came later."""
        return self.closing > self.reopening


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRun:
    """A run as the ledger has it: its row, its events, one outcome for each planned item, and the verdict.

    `corrections` are of any of its events, `derived_in` the events its outcomes were recorded in. `inherited` are
    the outcomes of the run that it re-executes, of items this one did not plan itself: a re-execution from failure
    plans what failed, and the rest stands as it was.
    """

    row: RunRow
    events: tuple[Recorded, ...]
    outcomes: tuple[Outcome, ...]
    after: Mapping[str, tuple[str, ...]]
    verdict: RunVerdict
    corrections: tuple[Correction, ...] = ()
    derived_in: frozenset[str] = frozenset()
    inherited: tuple[Outcome, ...] = ()
    _place: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_place", {event.event_id: place for place, event in enumerate(self.events)})

    def rests_on(self, outcome: Outcome) -> tuple[Recorded, ...]:
        """Return the events of this run that an outcome rests on, in the order in which they were recorded."""
        places = (self._place[event_id] for event_id in outcome.basis if event_id in self._place)
        return tuple(self.events[place] for place in sorted(places))

    def judged(self, outcomes: Sequence[Outcome]) -> RunVerdict:
        """Judge a part of the run, or the run as somebody else sees it, by these outcomes."""
        return judge(
            outcomes,
            status=self.row.status,
            closed=self.row.closed,
            corrections=self.corrections,
            derived_in=self.derived_in,
        )

    @property
    def final(self) -> bool:
        """Whether the run was closed: what is derived now stays true until a late record reopens it."""
        return self.row.closed

    @property
    def tags(self) -> Mapping[str, str]:
        """The run's tags as last recorded, without those Dagster hides from its users."""
        told = [e for e in self.events if e.event_type in {"run.seen.v1", "run.tags_changed.v1"}]
        tags = told[-1].data.get("tags", {}) if told else {}
        return {name: value for name, value in sorted(tags.items()) if not name.startswith(".")}

    @property
    def checks(self) -> tuple[Recorded, ...]:
        """Every evaluation of a check."""
        return self._of({"check.evaluated.v1"})

    @property
    def evaluations(self) -> tuple[Recorded, ...]:
        """Every evaluation of a check and of an expectation of a step."""
        return self._of(_EVALUATIONS)

    @property
    def products(self) -> tuple[Recorded, ...]:
        """Every materialization and observation."""
        return self._of(_PRODUCED)

    @property
    def skips(self) -> tuple[Recorded, ...]:
        """What was left out by declaration, and the steps Dagster skipped because of it."""
        return self._of(_SKIPS)

    @property
    def without_payload(self) -> tuple[Recorded, ...]:
        """Events whose payload lay beside the log and is not there any more."""
        return tuple(e for e in self.events if e.payload_state in _NOT_THERE)

    @property
    def failures(self) -> tuple[Recorded, ...]:
        """Failed steps, resources and hooks, and the run's own failure; failed checks are among the checks."""
        return self._of(_FAILURES)

    def why(self, outcome: Outcome) -> str:
        """Say why an item is not passed, as code and words: what a check gave itself, what a failed step said."""
        basis = self.rests_on(outcome)
        given = [e for e in basis if e.event_type in _EVALUATIONS]
        if outcome.item.kind == "check" and given:
            codes = [code for event in given for code in event.reason_codes]
            return "; ".join(filter(None, [", ".join(codes), *(event.findings for event in given)]))
        if outcome.reason_code is None:
            return ""
        failed = (e.words for e in basis if outcome.outcome == "failed" and e.event_type in _FAILURES)
        reason = "; ".join(next(failed, outcome.reason or "").splitlines())
        repeated = outcome.reason_code == outcome.outcome  # then the code says nothing that the outcome did not
        return ": ".join(filter(None, ["" if repeated and reason else outcome.reason_code, reason]))

    def target_of(self, correction: Correction) -> str:
        """Name the event a correction is about: its type, and what it is about itself."""
        event = next((e for e in self.events if e.event_id == correction.target_event_id), None)
        return event.name if event else correction.target_event_id

    @property
    def closing(self) -> Recorded | None:
        """The event that closed the run last: how many records were read on both sides."""
        return next(reversed(self._of({"run.closed.v1"})), None)

    def _of(self, event_types: Collection[str]) -> tuple[Recorded, ...]:
        return tuple(e for e in self.events if e.event_type in event_types)


def read_rows(prefix: Prefix, run_ids: Sequence[str] | None = None, limit: int = ALL_RUNS) -> list[RunRow]:
    """Read the rows of runs, newest first: all, or those named."""
    names = RunRow.__slots__
    wanted = None if run_ids is None else list(run_ids)
    rows = prefix.select("runs", run_ids=wanted, row_limit=limit)
    return [RunRow(**dict(zip(names, row, strict=True))) for row in rows]


def read_runs(prefix: Prefix, run_ids: Sequence[str], rows: Sequence[RunRow] | None = None) -> list[JudgedRun]:
    """Read everything about the named runs, newest first. A run the ledger does not know is left out.

    `rows` are theirs where they were read already, which spares reading them again.
    """
    found = _read_runs(prefix, run_ids, rows)
    read: dict[str, JudgedRun | None] = {facts.row.run_id: facts for facts in found}
    while missing := {parent for facts in read.values() if (parent := _parent(facts))} - read.keys():
        read |= dict.fromkeys(missing, None) | {
            facts.row.run_id: facts for facts in _read_runs(prefix, sorted(missing))
        }
    return [replace(facts, inherited=_inherited(facts, read)) for facts in found]


PARENT: Final = "dagster/parent_run_id"
"""The tag that names the run which a run re-executes."""


def _parent(facts: JudgedRun | None) -> str | None:
    return facts.tags.get(PARENT) if facts else None


def _inherited(facts: JudgedRun, read: Mapping[str, JudgedRun | None]) -> tuple[Outcome, ...]:
    """Return the outcomes a run inherits from those it re-executes: the latest of each item it did not plan."""
    own = {identity_of(outcome) for outcome in facts.outcomes}
    inherited: dict[tuple[str, str | None, str | None], Outcome] = {}
    before, seen = read.get(_parent(facts) or ""), {facts.row.run_id}
    while before is not None and before.row.run_id not in seen:
        seen.add(before.row.run_id)
        for outcome in before.outcomes:
            if identity_of(outcome) not in own:
                inherited.setdefault(identity_of(outcome), outcome)
        before = read.get(_parent(before) or "")
    return tuple(inherited.values())


def identity_of(outcome: Outcome) -> tuple[str, str | None, str | None]:
    """Return what makes an item of a run the one it is: its asset, partition and check."""
    return outcome.item.asset_key, outcome.item.partition, outcome.item.check_name


def _read_runs(prefix: Prefix, run_ids: Sequence[str], known: Sequence[RunRow] | None = None) -> list[JudgedRun]:
    rows = read_rows(prefix, run_ids) if known is None else known
    found = [row.run_id for row in rows]
    events, corrections = _read_events(prefix, found, None), read_corrections(prefix, found)
    return [_facts(row, events[row.run_id], corrections.get(row.run_id, ())) for row in rows]


T = TypeVar("T")
_DAMAGE: Final = (IntegrityError, KeyError, TypeError, ValueError)
"""What reading a run raises whose payloads are gone, or hold something else than the ledger writes."""


def read_sound_runs(prefix: Prefix, run_ids: Sequence[str]) -> tuple[dict[str, JudgedRun], dict[str, str]]:
    """Read the named runs by their ids; of those that cannot be read, why not."""
    return _apart(run_ids, lambda ids: {facts.row.run_id: facts for facts in read_runs(prefix, ids)})


def read_plans_beside(prefix: Prefix) -> tuple[dict[str, Plan], dict[str, str]]:
    """Read the plans that are kept outside their entries, by run; of those that cannot be read, why not."""

    def read(run_ids: Sequence[str]) -> dict[str, Plan]:
        events = _read_events(prefix, run_ids, {"plan.committed.v1"})
        return {run_id: read_plan(event.data for event in of_run) for run_id, of_run in events.items()}

    return _apart([run_id for (run_id,) in prefix.select("plans_beside")], read)


def _apart(
    run_ids: Sequence[str], read: Callable[[Sequence[str]], dict[str, T]]
) -> tuple[dict[str, T], dict[str, str]]:
    """Read runs together, and one by one where that fails, so that a damaged one takes no other along."""
    try:
        return read(run_ids), {}
    except _DAMAGE as error:
        if len(run_ids) < 2:
            said = str(error) if isinstance(error, IntegrityError) else f"{type(error).__name__}: {error}"
            return {}, dict.fromkeys(run_ids, said)
    found: dict[str, T] = {}
    damaged: dict[str, str] = {}
    for run_id in run_ids:
        sound, problem = _apart([run_id], read)
        found |= sound
        damaged |= problem
    return found, damaged


def read_verdicts(prefix: Prefix, rows: Sequence[RunRow]) -> dict[str, RunVerdict]:
    """Read the verdict of each of these runs, and no more of its events than that takes.

    A run that cannot be read is `unknown`, with the reason.
    """
    of_run = {row.run_id: row for row in rows}
    found, damaged = _apart(list(of_run), lambda ids: _read_verdicts(prefix, [of_run[run_id] for run_id in ids]))
    nothing = count(())
    return found | {
        run_id: RunVerdict("unknown", "run_not_readable", problem, nothing, ())
        for run_id, problem in damaged.items()
    }


def _read_verdicts(prefix: Prefix, rows: Sequence[RunRow]) -> dict[str, RunVerdict]:
    closed = [row.run_id for row in rows if row.closed]
    still_open = [row.run_id for row in rows if not row.closed]
    events = _read_events(prefix, closed, _OF_OUTCOMES) | _read_events(prefix, still_open, _OUTCOME_TYPES)
    corrections = read_corrections(prefix, [row.run_id for row in rows])
    return {row.run_id: _judge(row, events.get(row.run_id, []), corrections.get(row.run_id, ())) for row in rows}


def _facts(row: RunRow, events: Sequence[Recorded], corrections: tuple[Correction, ...]) -> JudgedRun:
    return JudgedRun(
        row=row,
        events=tuple(events),
        outcomes=_outcomes(row, events),
        after=read_plan(e.data for e in events if e.event_type == "plan.committed.v1").after,
        verdict=_judge(row, events, corrections),
        corrections=corrections,
        derived_in=_derived_in(row, events),
    )


def _judge(row: RunRow, events: Sequence[Recorded], corrections: Sequence[Correction]) -> RunVerdict:
    return judge(
        _outcomes(row, events),
        status=row.status,
        closed=row.closed,
        corrections=corrections,
        derived_in=_derived_in(row, events),
    )


def _derived_in(row: RunRow, events: Sequence[Recorded]) -> frozenset[str]:
    """Return the events that recorded the run's outcomes when it was closed; none while it is open."""
    if not row.closed:
        return frozenset()
    return frozenset(
        e.event_id for e in events if e.event_type in _OF_OUTCOMES and e.data.get("revision") == row.closing
    )


def _outcomes(row: RunRow, events: Sequence[Recorded]) -> tuple[Outcome, ...]:
    """Take the outcomes recorded when the run was closed; while it is open, derive them from what there is."""
    if not row.closed:
        return derive_outcomes([_as_run_event(event) for event in events])
    found: dict[tuple[str, str | None, str | None], Outcome] = {}
    for event in events:
        if event.event_type == "outcomes.derived.v1" and event.data["revision"] == row.closing:
            for entry in event.data["outcomes"]:
                outcome = _outcome(entry)
                found[identity_of(outcome)] = outcome
    return tuple(found.values())


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    named = ("asset_key", "partition", "check_name", "step_key", "kind", "required")
    return Outcome(
        item=PlanItem(**{name: entry[name] for name in named if name in entry}),
        outcome=entry["outcome"],
        reason_code=entry.get("reason_code"),
        reason=entry.get("reason"),
        basis=tuple(entry["basis"]),
        attempts=entry["attempts"],
        planned=entry.get("planned", True),
    )


def _as_run_event(event: Recorded) -> RunEvent:
    return RunEvent(**{name: getattr(event, name) for name in RunEvent.__slots__})


def _read_events(
    prefix: Prefix, run_ids: Sequence[str], event_types: Collection[str] | None
) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = defaultdict(list)
    if not run_ids:
        return found
    types = None if event_types is None else sorted(event_types)
    beside = _Payloads(prefix)
    for run_id, *values, text in prefix.select("run_events", run_ids=list(run_ids), event_types=types):
        event = _recorded(values, text, beside)
        if event.payload_state in _NOT_THERE and event.event_type in _OF_OUTCOMES | {"plan.committed.v1"}:
            raise IntegrityError(
                f"The payload of {event.event_type} {event.event_id} is not at blobs/{event.payload}, "
                f"so run {run_id} cannot be judged.",
                next_step="ledger verify",
            )
        found[run_id].append(event)
    return found


def read_events_by_id(prefix: Prefix, event_ids: Sequence[str]) -> dict[str, Recorded]:
    """Read these events, whichever run they are of, by their ids. One that the ledger does not have is left out."""
    rows = prefix.select("events_by_id", event_ids=list(event_ids)) if event_ids else []
    beside = _Payloads(prefix)
    found = (_recorded(values, text, beside) for _, *values, text in rows)
    return {event.event_id: event for event in found}


def _recorded(values: Sequence[Any], text: str, beside: _Payloads) -> Recorded:
    names = tuple(name for name in Recorded.__slots__ if name not in {"data", "payload", "payload_state"})
    data, payload, state = beside.data(text)
    about = dict(zip(names, values, strict=True))
    return Recorded(**about, data=data, payload=payload, payload_state=state)


class _Payloads:
    """The payloads kept beside the log; which of them were erased is asked when one is not there."""

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self._erased: frozenset[str] | None = None

    def data(self, text: str) -> tuple[Mapping[str, Any], str | None, str | None]:
        """Return an event's data; when that was too large for its entry, its digest and what became of it.

        A payload that is not there leaves the reference to it, so that what is missing is not taken for nothing.
        """
        sha256 = blob_name(text)
        if sha256 is None:
            return orjson.loads(text), None, None
        content = self._prefix.payload(sha256)
        if content is not None:
            return orjson.loads(content), sha256, "kept"
        if self._erased is None:
            self._erased = frozenset(row[0] for row in self._prefix.select("erased_payloads"))
        return orjson.loads(text), sha256, "erased" if sha256 in self._erased else "gone"
