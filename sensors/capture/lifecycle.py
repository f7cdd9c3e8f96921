"""What the ledger itself says about a run: seen, its tags, its plan, its outcomes, closed, reopened.

Each is an event of its own, beside the records and never in them. Said once: what the ledger holds already is
not said again, whoever captures and however often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

from run_evidence.ledger import (
    MASK,
    MASKED,
    RUN_ENDED,
    Event,
    OwnEvent,
    Plan,
    PlanItem,
    Redaction,
    RunEvent,
    derive_outcomes,
    encode,
    outcome_parts,
    plan_parts,
    read_plan,
)
from run_evidence.sensors.capture.context import CaptureContext, correlation_of, tag_snapshot
from run_evidence.sensors.capture.planning import ItemKey
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.capture.skips import DeclaredSkip
from run_evidence.sensors.dagster_log.names import short_name
from run_evidence.sensors.dagster_log.source import RunFacts
from run_evidence.sensors.dagster_log.vocabulary import END_NOTICED, is_idle

Clean = Callable[[Event], Event]

_MAX_LATE_IDS: Final = 1_000
_NO_CHANGE: Final = {"grace_seconds", "status"}
"""What a closing says besides, and no closing is repeated for: the setting, and a word that its records imply."""

_SECOND_US: Final = 1_000_000
_AHEAD_US: Final = 10_000_000
"""How far a run's end may lie ahead of the ledger's clock before that is worth a word."""
_NAMES: Final = ("asset_key", "partition", "check_name")


@dataclass(slots=True)
class Reading:
    """What has been read of a run's log so far, in the order of its ids."""

    events: list[RunEvent] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    planned: list[Event] = field(default_factory=list)
    skips: list[tuple[Event, DeclaredSkip]] = field(default_factory=list)
    terminal: Event | None = None
    log_lines: int = 0
    unreadable: int = 0
    last_id: int = 0

    @property
    def records(self) -> int:
        """The number of records that carry an event."""
        return len(self.ids)

    @property
    def plan_is_whole(self) -> bool:
        """Tell whether Dagster is done with planning: it writes the plan first, then anything else."""
        return self.records > len(self.planned)


class Life:
    """The ledger's own events of one run."""

    def __init__(self, store: str, facts: RunFacts, how: CaptureContext, own: list[OwnEvent], clean: Clean) -> None:
        self._store = store
        self._facts = facts
        self._how = how
        # Recorded under other rules, perhaps: read as it would be recorded now.
        self._own = [replace(event, data=clean(_payload(event)).data) for event in own]
        self._clean = clean
        seen = self._all("run.seen.v1")
        self.correlation = correlation_of(facts, how.defaults, seen[0].get("correlation") if seen else None)

    def go_on(self, facts: RunFacts) -> None:
        """Take the run's row as it is now."""
        self._facts = facts

    def absorb(self, event: Event) -> None:
        """Take note of an own event that is in the ledger now."""
        recorded = self._clean(event)
        event_id = encode(recorded, 0).event_id
        self._own.append(OwnEvent(event_id, event.event_type, event.occurred_at, recorded.data))

    def seen(self) -> Iterator[Event]:
        """Yield that the run was seen, with its tags; later, tags that changed."""
        now = tag_snapshot(self._facts.tags)
        before = self._last("run.tags_changed.v1") or self._last("run.seen.v1")
        if before is None:
            ids = self.correlation
            said = {"trace_id": ids.trace_id, "release_id": ids.release_id, "batch_id": ids.batch_id}
            yield self._event("run.seen.v1", self._facts.created_at, {**now, "correlation": said})
            return
        changed = self._event("run.tags_changed.v1", self._facts.changed_at, now)
        recorded = self._clean(changed).data
        if any(_unkeyed(before.get(name)) != _unkeyed(recorded[name]) for name in now):
            yield changed

    def uncommitted(self, keys: Set[ItemKey], policy: Policy) -> bool:
        """Tell whether the plan is still to be committed, or lacks one of these items or of the policy's.

        A closed run was closed under the policy of its time; what is declared later does not reach it.
        """
        payloads = self._all("plan.committed.v1")
        if not payloads:
            return True
        items = read_plan(payloads).items
        optional: set[str] = set()
        if not self._all("run.closed.v1"):
            optional = {each.asset_key for each in policy.optional} - {key for key, _, check in keys if not check}
        planned = {_key(item) for item in items if item.kind != "dependency"}
        # An item without a partition is of all: Dagster plans an unpartitioned asset in its run's partition.
        missing = {key for key in keys - planned if (key[0], None, key[2]) not in planned}
        return bool(missing) or not optional <= {item.asset_key for item in items}

    def settled(self, held: int) -> bool:
        """Tell whether the run was closed with all of the `held` records: then its plan stays as it was closed.

        A version that reads plans in more detail does not add to what an older one has closed.
        """
        last = self._last("run.closed.v1")
        return last is not None and last["ledger_records"] >= held

    def planned(self, plan: Plan) -> Iterator[Event]:
        """Yield the plan; when one was committed before, only what it lacks: an item once planned never changes."""
        payloads = self._all("plan.committed.v1")
        if payloads:
            committed = read_plan(payloads).items
            known = {_key(item) for item in committed if item.kind != "dependency"}
            named = {item.asset_key for item in committed}
            added = tuple(
                item
                for item in plan.items
                if (item.asset_key not in named if item.kind == "dependency" else _key(item) not in known)
            )
            plan = Plan(added, plan.after)
        for payload in plan_parts(plan):
            yield self._event("plan.committed.v1", self._facts.created_at, payload)

    def skipped(self, reading: Reading) -> Iterator[Event]:
        """Yield the skips that assets declared for themselves in these records."""
        yield from self._unsaid(self._skip(record, declared) for record, declared in reading.skips)

    def alarm(self, event: Event) -> Iterator[Event]:
        """Yield the alarm, unless it was raised before."""
        yield from self._unsaid([event])

    def _unsaid(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events that are not recorded, neither by their ids nor, under other rules, by what they say."""
        ids = {own.event_id for own in self._own}
        sayings = {_saying(own.event_type, own.occurred_at, own.data) for own in self._own}
        for event in events:
            said = _saying(event.event_type, event.occurred_at, event.data)
            if said not in sayings and encode(self._clean(event), event.occurred_at).event_id not in ids:
                yield event

    def closing(
        self, reading: Reading, new: Sequence[int], held: int, new_plan: Sequence[Event]
    ) -> tuple[bool, list[Event]]:
        """Return whether the run is closed now, and the events that say so.

        `new` are the ids of records the ledger did not have, `held` how many it has with them, `new_plan` the
        plan events of this capture. A closed run that gained records is reopened, and closed again with its
        outcomes derived anew; one that only gained log lines, tags, or records that no outcome depends on is
        counted anew.
        """
        last = self._last("run.closed.v1")
        terminal = reading.terminal
        if terminal is None or held > reading.records:
            # The run has not ended; or Dagster no longer has all that was captured, and less proves nothing.
            return last is not None, []
        late = self._late(last, new, reading) if last else []
        idle = {storage_id for storage_id, event in zip(reading.ids, reading.events, strict=True) if is_idle(event)}
        # What was appended by a capture that died is neither new nor need its id be late: so it is counted.
        gained = last is not None and held - last["ledger_records"] > sum(i in idle for i in late)
        events = [self._reopened(last, late)] if last and gained else []
        seen_at, noticed = self._end_seen_at(terminal)
        over = self._how.ledger.clock() >= seen_at + self._how.grace_seconds * 1_000_000
        events.extend(noticed)
        if last and not gained:
            again = self._closed(reading, held, last["revision"], seen_at)
            same = all(last.get(name) == value for name, value in again.data.items() if name not in _NO_CHANGE)
            return True, [] if same else [again]
        if not over:
            return False, events
        revision = last["revision"] + 1 if last else 1
        plan = [*self._all("plan.committed.v1"), *(event.data for event in new_plan)]
        events.extend(self._outcomes(reading, plan, revision))
        return True, [*events, self._closed(reading, held, revision, seen_at)]

    def _late(self, last: Mapping[str, Any], new: Sequence[int], reading: Reading) -> list[int]:
        """Return the ids of the records that came after the run was closed."""
        # A capture that died after appending them leaves none that are new: then their ids tell.
        return sorted({*new, *(storage_id for storage_id in reading.ids if storage_id > last["last_storage_id"])})

    def _reopened(self, last: Mapping[str, Any], late: Sequence[int]) -> Event:
        """Say which records came after the run was closed; they stay what they are, and are named here."""
        data: dict[str, Any] = {"revision": last["revision"], "late_storage_ids": list(late[:_MAX_LATE_IDS])}
        return self._event("run.reopened.v1", self._facts.changed_at, data)

    def _end_seen_at(self, terminal: Event) -> tuple[int, list[Event]]:
        """Return from when on the grace counts: the run's end, or when somebody saw it, where that was before.

        A worker whose clock is a day ahead ends its runs tomorrow. That its end was seen is recorded once, with the
        time; captures side by side may each record it, and the first counts.
        """
        before = [each["seen_at"] for each in self._all(END_NOTICED)]
        now = self._how.ledger.clock()
        if before or self._last("run.closed.v1") or terminal.occurred_at - now <= _AHEAD_US:
            return min([*before, terminal.occurred_at]), []
        seen_at = now - now % _SECOND_US
        return seen_at, [self._event(END_NOTICED, seen_at, {"seen_at": seen_at, "ended_at": terminal.occurred_at})]

    def _closed(self, reading: Reading, held: int, revision: int, seen_at: int) -> Event:
        occurred_at = reading.terminal.occurred_at if reading.terminal else self._facts.changed_at
        data: dict[str, Any] = {
            "revision": revision,
            "dagster_status": self._facts.status,
            "status": RUN_ENDED[reading.terminal.event_type] if reading.terminal else "running",
            "dagster_records": reading.records,
            "ledger_records": held,
            "log_lines": reading.log_lines,
            "unreadable_records": reading.unreadable,
            "last_storage_id": reading.last_id,
            "run_updated_at": self._facts.changed_at,
            "grace_seconds": str(self._how.grace_seconds),
        }
        if seen_at < occurred_at:
            data["clock_ahead_us"] = occurred_at - seen_at
        return self._event("run.closed.v1", occurred_at, data)

    def _outcomes(
        self, reading: Reading, plan_payloads: Sequence[Mapping[str, Any]], revision: int
    ) -> Iterator[Event]:
        created_at = self._facts.created_at
        plan = [
            RunEvent(event_id="", event_type="plan.committed.v1", occurred_at=created_at, data=payload)
            for payload in plan_payloads
        ]
        skips = [RunEvent.of_own(self._clean(self._skip(record, declared))) for record, declared in reading.skips]
        outcomes = derive_outcomes([*plan, *reading.events, *skips])
        ended_at = reading.terminal.occurred_at if reading.terminal else self._facts.changed_at
        for payload in outcome_parts(outcomes, revision):
            yield self._event("outcomes.derived.v1", ended_at, payload)

    def _skip(self, record: Event, declared: DeclaredSkip) -> Event:
        return self._event(
            "asset.skipped.v1",
            record.occurred_at,
            {"text": declared.text, "declared_in_storage_id": record.storage_id},
            step_key=record.step_key,
            attempt=record.attempt,
            asset_key=short_name(declared.asset_key),
            partition=short_name(declared.partition),
            outcome=declared.outcome,
            reason_code=declared.reason_code,
        )

    def _event(self, event_type: str, occurred_at: int, data: dict[str, Any], **about: Any) -> Event:
        return Event(
            event_type=event_type,
            occurred_at=occurred_at,
            store_id=self._store,
            run_id=self._facts.run_id,
            job_name=self._facts.job_name,
            trace_id=self.correlation.trace_id,
            release_id=self.correlation.release_id,
            batch_id=self.correlation.batch_id,
            data=data,
            **about,
        )

    def _all(self, event_type: str) -> list[Any]:
        return [event.data for event in self._own if event.event_type == event_type]

    def _last(self, event_type: str) -> Any:
        return next((event.data for event in reversed(self._own) if event.event_type == event_type), None)


def cleaning(redaction: Redaction, own: Iterable[OwnEvent]) -> Clean:
    """Return what takes the secrets out of a run's events.

    A run whose plan was committed before masked names were made distinct keeps the names of that plan.
    """
    plans: list[Mapping[str, Any]] = [event.data for event in own if event.event_type == "plan.committed.v1"]
    names = (item.get(name) or "" for plan in plans for item in plan["items"] for name in _NAMES)
    return redaction.unkeyed.apply if any(MASK in name for name in names) else redaction.apply


def _payload(event: OwnEvent) -> Event:
    return Event(event_type=event.event_type, occurred_at=event.occurred_at, data=event.data)


def _saying(event_type: str, occurred_at: int, data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes a skip that skip and an alarm that alarm; no text, for redaction changes texts."""
    if "declared_in_storage_id" in data:
        return event_type, occurred_at, data["declared_in_storage_id"]
    if "rejected_digest" in data:
        return event_type, data.get("event_id"), data.get("recorded_digest"), data["rejected_digest"]
    return ()


def _unkeyed(value: Any) -> Any:
    """Return a value with the masks of names as versions without a key wrote them."""
    if isinstance(value, str):
        return MASKED.sub(MASK, value)
    if isinstance(value, Mapping):
        return {_unkeyed(key): _unkeyed(item) for key, item in value.items()}
    return value


def _key(item: PlanItem) -> ItemKey:
    return (item.asset_key, item.partition, item.check_name)
