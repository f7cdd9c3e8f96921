"""Completeness: walk Dagster's runs in the order they changed, capture each, and know where to go on.

`ledger sync` walks from the beginning; the cursor sensor from where it was. Runs that the ledger has closed
and that have not changed since cost one look at their row and nothing else. Memory is that of one page of
runs, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ledger import Event
from ledger.handle import RunKnown
from sensors.capture import FLUSH_EVENTS, capture_known
from sensors.run_capture import Captured, Capturing
from sensors.source import RunFacts, facts_of, run_facts

if TYPE_CHECKING:
    from dagster import DagsterInstance

PAGE_RUNS: Final = 100
SEAL_EVENTS: Final = 20_000
"""How much may wait in the inbox during a long sync before it is sealed."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did. `open_runs` are not closed yet: still going on, or ended less than the grace ago.

    `updated_at` is the newest change it has seen, in microseconds; `complete` whether it came to the end.
    """

    runs: int = 0
    unchanged: int = 0
    records: int = 0
    appended: int = 0
    unreadable: int = 0
    open_runs: tuple[str, ...] = ()
    updated_at: int = 0
    complete: bool = True


Progress = Callable[[Synced], None]


def sync_runs(
    instance: DagsterInstance,
    how: Capturing,
    *,
    updated_after: int = 0,
    also: Collection[str] = (),
    seconds: float | None = None,
    progress: Progress = lambda _: None,
) -> Synced:
    """Capture every run that changed at or after `updated_after` (microseconds), and the runs in `also`.

    Stops early, between pages, after `seconds`; then `complete` is false and `updated_at` says where to go
    on. Raises `LedgerError` when the ledger cannot be written.
    """
    done = Synced(updated_at=updated_after)
    deadline = None if seconds is None else time.monotonic() + seconds
    walker = _Walker(instance, how)
    revisited = [facts for facts in (run_facts(instance, run_id) for run_id in also) if facts]
    visited = {facts.run_id for facts in revisited}
    done = walker.capture_page(done, revisited)
    progress(done)
    for page in _pages(instance, updated_after):
        if deadline is not None and time.monotonic() > deadline:
            return replace(walker.finish(done), complete=False)
        done = walker.capture_page(done, [facts for facts in page if facts.run_id not in visited])
        done = replace(done, updated_at=max(done.updated_at, page[-1].updated_at))
        progress(done)
    return walker.finish(done)


class _Walker:
    """Captures page after page; seals when much waits."""

    def __init__(self, instance: DagsterInstance, how: Capturing) -> None:
        self._instance = instance
        self._how = how
        self._unsealed = 0

    def capture_page(self, done: Synced, page: Sequence[RunFacts]) -> Synced:
        """Capture the runs of a page that are not closed and unchanged; one append for several small runs."""
        if not page:
            return done
        known = self._how.ledger.known([facts.run_id for facts in page] + [""])
        pending: list[Event] = []
        still_open = list(done.open_runs)
        for facts in page:
            if is_settled(facts, known[facts.run_id]):
                done = replace(done, runs=done.runs + 1, unchanged=done.unchanged + 1)
                continue
            captured = capture_known(self._instance, facts, self._how, known, pending)
            done = _plus(done, captured)
            if not captured.closed:
                still_open.append(facts.run_id)
            if len(pending) >= FLUSH_EVENTS:
                self._flush(pending)
        self._flush(pending)
        return replace(done, open_runs=tuple(still_open))

    def _flush(self, pending: list[Event]) -> None:
        self._unsealed += self._how.ledger.append(pending)
        pending.clear()
        if self._unsealed >= SEAL_EVENTS:
            self._how.ledger.seal()
            self._unsealed = 0

    def finish(self, done: Synced) -> Synced:
        """Seal what was appended."""
        if self._how.ledger.exists():
            self._how.ledger.seal()
        return done


def _plus(done: Synced, captured: Captured) -> Synced:
    return replace(
        done,
        runs=done.runs + 1,
        records=done.records + captured.records,
        appended=done.appended + captured.appended,
        unreadable=done.unreadable + captured.unreadable,
    )


def is_settled(facts: RunFacts, known: RunKnown) -> bool:
    """Tell whether the ledger closed this run and its row has not changed since."""
    closed = [event.data for event in known.own if event.event_type == "run.closed.v1"]
    return bool(closed) and closed[-1]["run_updated_at"] == facts.updated_at


def _pages(instance: DagsterInstance, updated_after: int) -> Iterator[list[RunFacts]]:
    """Yield runs by the time they last changed, oldest first, in pages; runs may change while we walk.

    Pages go on from the last time seen, inclusive: a run that changes meanwhile moves to the end and is seen
    again there. More runs than a page with one and the same time are fetched with a larger page.
    """
    import dagster as dg

    after, limit = updated_after, PAGE_RUNS
    seen_at_edge: set[str] = set()
    while True:
        # Dagster compares "later than"; a microsecond less makes it "not before".
        moment = datetime.fromtimestamp(max(after - 1, 0) / 1e6, tz=UTC)
        records = instance.get_run_records(
            dg.RunsFilter(updated_after=moment), limit=limit, order_by="update_timestamp", ascending=True
        )
        page = [facts for facts in map(facts_of, records) if facts.run_id not in seen_at_edge]
        if not page and len(records) < limit:
            return
        if not page:
            limit *= 2
            continue
        yield page
        if len(records) < limit:
            return
        after = page[-1].updated_at
        seen_at_edge = {facts.run_id for facts in map(facts_of, records) if facts.updated_at == after}
        limit = PAGE_RUNS
