"""One run on its way into the ledger: its records, and what the ledger itself says about it.

Raw records and the ledger's own events (seen, tags, plan, skip, outcomes, closed) are kept apart: a record is
taken as it is, and what is derived from it is an event of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ledger import Event, InputError, Ledger
from ledger.alarm import conflict_event
from ledger.event import encode
from ledger.handle import OwnEvent, RunKnown
from ledger.outcomes import RunEvent, derive_outcomes, outcome_parts
from ledger.plan import plan_parts
from sensors import source
from sensors.planning import PLANNED_TYPES, build_plan
from sensors.policy import Policy
from sensors.source import RunFacts
from sensors.translate import Correlation, Translator, declared_skip
from sensors.vocabulary import TERMINAL

if TYPE_CHECKING:
    from dagster import DagsterInstance

DEFAULT_GRACE_SECONDS: Final = 60.0
"""How long after its end a run is read once more before it is closed: late records are normal in Dagster."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What one capture of a run did: the records Dagster has, the events appended, whether it is closed now."""

    run_id: str
    records: int
    log_lines: int
    appended: int
    unreadable: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Capturing:
    """How to capture: where to, what may be missing, and what to say where a run carries no tags.

    `defaults` is for processes that run in the release they name (a step, a code location); a historical
    `sync` has none. `grace_seconds` is counted from the run's terminal record, by the ledger's clock.
    """

    ledger: Ledger
    policy: Policy | None = None
    defaults: Correlation = field(default_factory=Correlation)
    grace_seconds: float = DEFAULT_GRACE_SECONDS


class RunCapture:
    """The capture of one run: what is read, what is new, what the ledger says about it.

    It can be asked again while the run goes on; then it reads on from where it was. After events were
    appended, `absorb` them, so that nothing is said twice.
    """

    def __init__(self, store: str, facts: RunFacts, how: Capturing, known: RunKnown) -> None:
        self._store = store
        self._facts = facts
        self._how = how
        self._known = known
        self._own_ids = {event.event_id for event in known.own}
        self._correlation = correlation_of(facts, how.defaults)
        self._translator = Translator(store, facts.run_id, self._correlation, facts.job_name)
        self._events: list[RunEvent] = []
        self._planned: list[Event] = []
        self._skips: list[Event] = []
        self._terminal: Event | None = None
        self._new: list[int] = []
        self._records = self._log_lines = self._unreadable = self._last_id = 0
        self._closed = False

    def new_records(self, instance: DagsterInstance) -> Iterator[Event]:
        """Yield the events of records the ledger does not have, in id order; notes all of them."""
        for record in source.read_records(instance, self._facts.run_id, self._last_id):
            self._last_id = record.storage_id
            try:
                event = self._translator.translate(record)
            except InputError:
                self._unreadable += 1
                continue
            if event is None:
                self._log_lines += 1
                continue
            self._note(event)
            stated = self._known.records.get((self._store, record.storage_id))
            if stated is None:
                self._new.append(record.storage_id)
                yield event
            elif stated != event.source_digest:
                alarm = conflict_event(stated, encode(event, self._how.ledger.clock()).entry)
                yield from self._unless_known([alarm])

    def absorb(self, appended: Iterable[Event]) -> None:
        """Take note of events of this run that are in the ledger now."""
        for event in appended:
            if event.storage_id is not None:
                self._known.records[self._store, event.storage_id] = event.source_digest or ""
                continue
            own = OwnEvent(encode(event, 0).event_id, event.event_type, event.occurred_at, event.data)
            self._own_ids.add(own.event_id)
            self._known.own.append(own)
        self._new.clear()

    def _note(self, event: Event) -> None:
        self._records += 1
        self._events.append(RunEvent.of_record(event))
        if event.event_type in PLANNED_TYPES:
            self._planned.append(event)
        elif event.event_type in TERMINAL:
            self._terminal = event
        elif declared := declared_skip(event):
            self._skips.append(self._skip_event(event, declared))

    def own_events(self, instance: DagsterInstance, policy: Policy) -> Iterator[Event]:
        """Yield what the ledger itself has to say about the run and has not said yet."""
        yield from self.declared_skips()
        opening = list(self.opening_events(instance, policy))
        yield from opening
        planned = [event.data for event in opening if event.event_type == "plan.committed.v1"]
        yield from self._closing(planned or self._of_type("plan.committed.v1"))

    def declared_skips(self) -> Iterator[Event]:
        """Yield the skips that assets declared for themselves."""
        yield from self._unless_known(self._skips)

    def opening_events(self, instance: DagsterInstance, policy: Policy) -> Iterator[Event]:
        """Yield that the run was seen, with its tags, and what it set out to do; later, tags that changed."""
        seen = self._of_type("run.seen.v1")
        tags = dict(self._facts.tags)
        if not seen:
            yield self._own("run.seen.v1", self._facts.created_at, {"tags": tags, "status": self._facts.status})
        elif self._latest_tags(seen) != tags:
            yield self._own("run.tags_changed.v1", self._facts.updated_at, {"tags": tags})
        if not self._of_type("plan.committed.v1"):
            plan = build_plan(self._planned, source.execution_plan(instance, self._facts), policy)
            for payload in plan_parts(plan):
                yield self._own("plan.committed.v1", self._facts.created_at, payload)

    def _latest_tags(self, seen: Sequence[Mapping[str, Any]]) -> Any:
        changed = self._of_type("run.tags_changed.v1")
        return (changed or seen)[-1]["tags"]

    def _closing(self, plan_payloads: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
        if self._terminal is None:
            return
        last_close = (self._of_type("run.closed.v1") or [None])[-1]
        if last_close:
            if last_close["dagster_records"] == self._records and not self._new:
                self._closed = True
                return
            yield self._reopening(last_close)
        grace_over = self._terminal.occurred_at + self._how.grace_seconds * 1_000_000
        if self._how.ledger.clock() < grace_over:
            return
        self._closed = True
        revision = last_close["revision"] + 1 if last_close else 1
        yield from self._outcomes(self._terminal, plan_payloads, revision)
        yield self._own("run.closed.v1", self._terminal.occurred_at, self._closing_data(revision))

    def _reopening(self, last_close: Mapping[str, Any]) -> Event:
        """Say which records arrived after the run was closed; they stay what they are, and are named here."""
        # A capture that died after appending the late records leaves none that are new: then their ids tell.
        since = [s for _, s in self._known.records if s > last_close["last_storage_id"]]
        late: dict[str, Any] = {
            "revision": last_close["revision"],
            "late_storage_ids": sorted(self._new or since)[:1_000],
        }
        return self._own("run.reopened.v1", self._facts.updated_at, late)

    def _closing_data(self, revision: int) -> dict[str, Any]:
        held = {storage_id for store, storage_id in self._known.records if store == self._store}
        return {
            "revision": revision,
            "dagster_status": self._facts.status,
            "dagster_records": self._records,
            "ledger_records": len(held | set(self._new)),
            "log_lines": self._log_lines,
            "unreadable_records": self._unreadable,
            "last_storage_id": self._last_id,
            "run_updated_at": self._facts.updated_at,
            "grace_seconds": str(self._how.grace_seconds),
        }

    def _outcomes(
        self, terminal: Event, plan_payloads: Sequence[Mapping[str, Any]], revision: int
    ) -> Iterator[Event]:
        plan = [
            RunEvent(event_id="", event_type="plan.committed.v1", occurred_at=self._facts.created_at, data=payload)
            for payload in plan_payloads
        ]
        skips = [
            RunEvent(
                event_id=encode(skip, skip.occurred_at).event_id,
                event_type=skip.event_type,
                occurred_at=skip.occurred_at,
                asset_key=skip.asset_key,
                partition=skip.partition,
                outcome=skip.outcome,
                reason_code=skip.reason_code,
                data=skip.data,
            )
            for skip in self._skips
        ]
        outcomes = derive_outcomes([*plan, *self._events, *skips])
        for payload in outcome_parts(outcomes, revision):
            yield self._own("outcomes.derived.v1", terminal.occurred_at, payload)

    def _skip_event(self, record: Event, declared: Mapping[str, Any]) -> Event:
        return self._own(
            "asset.skipped.v1",
            record.occurred_at,
            {"text": declared["text"], "declared_in_storage_id": record.storage_id},
            step_key=record.step_key,
            attempt=record.attempt,
            asset_key=declared["asset_key"],
            partition=declared["partition"],
            outcome=declared["outcome"],
            reason_code=declared["reason_code"],
        )

    def _own(self, event_type: str, occurred_at: int, data: dict[str, Any], **about: Any) -> Event:
        return Event(
            event_type=event_type,
            occurred_at=occurred_at,
            store_id=self._store,
            run_id=self._facts.run_id,
            job_name=self._facts.job_name,
            trace_id=self._correlation.trace_id,
            release_id=self._correlation.release_id,
            batch_id=self._correlation.batch_id,
            data=data,
            **about,
        )

    def _unless_known(self, events: Sequence[Event]) -> Iterator[Event]:
        for event in events:
            if encode(event, event.occurred_at).event_id not in self._own_ids:
                yield event

    def _of_type(self, event_type: str) -> list[Any]:
        return [event.data for event in self._known.own if event.event_type == event_type]

    def result(self, appended: int) -> Captured:
        """Sum the capture up."""
        return Captured(
            self._facts.run_id, self._records, self._log_lines, appended, self._unreadable, self._closed
        )


def correlation_of(facts: RunFacts, defaults: Correlation) -> Correlation:
    """Take the ids from the run's tags, else from the defaults; the trace, last, from the run id itself.

    A `traceparent` tag (W3C) gives its trace id when there is no `trace_id` tag.
    """
    tags = facts.tags
    parent = tags.get("traceparent", "").split("-")
    from_parent = parent[1] if len(parent) == 4 and len(parent[1]) == 32 else None
    return Correlation(
        trace_id=tags.get("trace_id") or from_parent or defaults.trace_id or facts.run_id.replace("-", ""),
        release_id=tags.get("release_id") or defaults.release_id,
        batch_id=tags.get("batch_id") or defaults.batch_id,
    )
