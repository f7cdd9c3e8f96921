"""One run on its way into the ledger: which of its records are new, and what follows from all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger import Event, InputError, RunEvent, RunKnown, conflict_event, encode
from run_evidence.sensors.capture.context import CaptureContext, Captured
from run_evidence.sensors.capture.lifecycle import Life, Reading, cleaning
from run_evidence.sensors.capture.planning import PLANNED_TYPES, build_plan, planned_keys
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.capture.skips import declared_skip
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.source import RunFacts
from run_evidence.sensors.dagster_log.steps import execution_plan
from run_evidence.sensors.dagster_log.translate import Translator
from run_evidence.sensors.dagster_log.vocabulary import LOG_LINE, TERMINAL

if TYPE_CHECKING:
    from dagster import DagsterInstance

_LOOK_RECORDS: Final = 500
"""A look at the clock is asked for after this many records, which take some 20 ms."""


class RunCapture:
    """The capture of one run. It can be asked again while the run goes on; then it reads on from where it was.

    After events were appended, `absorb` them, so that nothing is recorded twice.
    """

    def __init__(self, store: str, facts: RunFacts, how: CaptureContext, known: RunKnown) -> None:
        self._store = store
        self._facts = facts
        self._how = how
        self._known = known
        # What is compared with the ledger is compared as the ledger records it: without secrets.
        self._clean = cleaning(how.ledger.redaction(), known.own)
        self._life = Life(store, facts, how, known.own, self._clean)
        self._translator = Translator(store, facts.run_id, self._life.correlation, facts.job_name)
        self._moved = _elsewhere(known, store)
        self._reading = Reading()
        lines = [event for event in known.own if event.event_type == LOG_LINE]
        self._lines: set[object] = {name for event in lines for name in (event.event_id, _line(event.data))}
        self._new: list[int] = []
        self._closed = False
        self._unnamed: tuple[str, ...] = ()
        self.paused = False

    def new_records(
        self, instance: DagsterInstance, is_late: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """Yield the events of records the ledger does not have, in id order; notes all of them.

        Pauses where `is_late` says so, for the next call to go on from there. The first call pauses only behind
        something that is new to the ledger, so that a capture which begins anew each time gets further too.
        """
        may_pause, self.paused = self.paused, False
        for read, record in enumerate(source.read_records(instance, self._facts.run_id, self._reading.last_id)):
            if read and read % _LOOK_RECORDS == 0 and (may_pause or self._new) and is_late():
                self.paused = True
                return
            self._reading.last_id = record.storage_id
            try:
                event = self._translator.translate(record)
            except InputError:
                self._reading.unreadable += 1
                continue
            if event is None:
                self._reading.log_lines += 1
                if self._how.log_lines:
                    yield from self._kept(self._translator.log_line(record))
                continue
            yield from self._taken(event, record.storage_id)

    def _kept(self, line: Event) -> Iterator[Event]:
        """Yield a log line that somebody asked for, unless the ledger has it."""
        if _line(line.data) in self._lines:
            return
        if encode(self._clean(line), line.occurred_at).event_id not in self._lines:
            yield line

    def _taken(self, event: Event, storage_id: int) -> Iterator[Event]:
        """Note a record's event, and yield it when it is new, or an alarm when it reads differently now."""
        stated = self._known.records.get((self._store, storage_id))
        if stated is None and (before := self._moved.get(event.source_digest or "")):
            # The store was moved: the same record, under the identity it was captured with.
            store, moved_id = before.pop(0)
            event = replace(event, store_id=store, storage_id=moved_id)
            stated = event.source_digest
        self._note(event, storage_id)
        if stated is None:
            self._new.append(storage_id)
            yield event
        elif stated != event.source_digest:
            alarm = conflict_event(stated, encode(event, self._how.ledger.clock()).entry)
            yield from self._life.alarm(alarm)

    def _note(self, event: Event, storage_id: int) -> None:
        declared = declared_skip(event)
        event = self._clean(event)  # a plan names its items and steps as the records name them
        self._reading.ids.append(storage_id)
        self._reading.events.append(RunEvent.of_record(event))
        if event.event_type in PLANNED_TYPES:
            self._reading.planned.append(event)
        elif event.event_type in TERMINAL:
            self._reading.terminal = event
        elif declared:
            self._reading.skips.append((event, declared))

    def go_on(self, facts: RunFacts) -> None:
        """Take the run's row as it is now, before a capture that was paused goes on."""
        self._facts = facts
        self._life.go_on(facts)

    def absorb(self, appended: Iterable[Event]) -> None:
        """Take note of events of this run that are in the ledger now."""
        for event in appended:
            if event.storage_id is None:
                self._life.absorb(event)
            else:
                self._known.records[event.store_id or "", event.storage_id] = event.source_digest or ""
        self._new.clear()

    def own_events(self, instance: DagsterInstance, policy: Policy) -> list[Event]:
        """Return what the ledger itself has to say about the run and has not said yet."""
        named = {each.asset_key for each in policy.optional}
        missing = (declared for _, declared in self._reading.skips if declared.outcome == "not_available")
        self._unnamed = tuple(dict.fromkeys(each.asset_key for each in missing if each.asset_key not in named))
        skips = list(self.declared_skips())
        opening = self.opening_events(instance, policy)
        plan = [event for event in opening if event.event_type == "plan.committed.v1"]
        held = len(self._known.records) + len(self._new)
        self._closed, closing = self._life.closing(self._reading, self._new, held, plan)
        return [*skips, *opening, *closing]

    def declared_skips(self) -> Iterator[Event]:
        """Yield the skips that assets declared for themselves."""
        yield from self._life.skipped(self._reading)

    def opening_events(self, instance: DagsterInstance, policy: Policy) -> list[Event]:
        """Return that the run was seen, with its tags, and what it set out to do, as far as it is not said."""
        events = list(self._life.seen())
        planned = self._reading.planned
        open_plan = self._reading.plan_is_whole and not self._life.settled(
            len(self._known.records) + len(self._new)
        )
        if open_plan and self._life.uncommitted(planned_keys(planned), policy):
            steps = execution_plan(instance, self._facts)
            events.extend(self._life.planned(build_plan(planned, steps, policy)))
        return events

    def result(self, appended: int) -> Captured:
        """Sum the capture up."""
        reading = self._reading
        return Captured(
            run_id=self._facts.run_id,
            records=reading.records,
            log_lines=reading.log_lines,
            appended=appended,
            unreadable=reading.unreadable,
            ended=reading.terminal is not None,
            closed=self._closed,
            paused=self.paused,
            unnamed=self._unnamed,
        )


def _line(data: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what makes a kept log line that line, whatever was taken out of its text."""
    return data.get("storage_id"), data.get("record_digest")


def _elsewhere(known: RunKnown, store: str) -> dict[str, list[tuple[str, int]]]:
    """Return {digest: where it was captured} for what is known of this run from another store."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for identity, digest in sorted(known.records.items()):
        if identity[0] != store:
            found[digest].append(identity)
    return found
