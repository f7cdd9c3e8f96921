"""Completeness: walk Dagster's runs in the order they changed, capture each, and know where to go on.

`ledger sync` walks from the beginning; the cursor sensor from where it was. A run that the ledger has closed
and that has not changed since, neither its row nor its log, costs one look and nothing else. Memory is that
of one page of runs, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from run_evidence.ledger import IntegrityError, Ledger, LedgerError, RunKnown
from run_evidence.sensors.capture.capture import Outbox, capture_known, capture_runless, policy_of
from run_evidence.sensors.capture.completeness import is_settled, is_unchanged, sealed_closings
from run_evidence.sensors.capture.context import CaptureContext, Captured
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.source import RUNLESS, LogSize, RunFacts, facts_of, run_facts

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from run_evidence.ledger import Sealed
    from run_evidence.sensors.capture.run_capture import RunCapture

PAGE_RUNS: Final = 500
"""How many runs are compared together: one query, and a few numbers in memory for each run."""

KNOWN_RUNS: Final = 100
KNOWN_RECORDS: Final = 50_000
"""How many runs, and about how many records of theirs, are compared with the ledger together."""

SEAL_EVENTS: Final = 10_000
"""How much may wait in the inbox during a long sync before it is sealed."""

OVERLAP_US: Final = 120_000_000
"""Two minutes: clocks of several hosts write the times this cursor is made of, and commits come late."""

NOT_READ: Final = LogSize(-1, -1)
"""The size of a log that could not be read, or at which a sync was abandoned: such a run is read last."""

_WALK_SHARE: Final = 0.7
"""The part of a limited time that goes to changed runs before open ones are read again."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """An open run: still running, or `ended` less than the grace ago; and how long its log was.

    One that was not read to its end counts as ended: it is read again whether or not its log grows.
    """

    run_id: str
    ended: bool
    size: LogSize


@dataclass(frozen=True, slots=True)
class Sealing:
    """What came of sealing, once or several times: the seals that were `done`.

    `failed` says why nothing more could be sealed, with the error's next step and exit code; what was captured
    waits in the inbox.
    """

    done: tuple[Sealed, ...] = ()
    failed: str = ""
    failed_next: str | None = None
    failed_code: int = 0

    def __add__(self, later: Sealing) -> Sealing:
        """Put two seals together; what the later one says of failing holds."""
        return replace(later, done=(*self.done, *later.done))

    def problems(self) -> list[str]:
        """Say what a person has to know of, each thing once; of witnesses and signatures as of the last seal."""
        lasting = [p for done in self.done[:-1] for p in done.problems if p[0] not in _ASKED_AGAIN]
        now = [problem for done in self.done[-1:] for problem in done.problems]
        failed = [("not sealed", self.failed)] if self.failed else []
        return [f"{word}: {text}" for word, text in dict.fromkeys((*failed, *lasting, *now))]

    @property
    def next_step(self) -> str | None:
        """The way on."""
        steps = [done.next_step for done in self.done[-1:]]
        return self.failed_next or next(filter(None, steps), None)

    @property
    def exit_code(self) -> int:
        """The command line's: that of the worst problem."""
        lasting = (3 for done in self.done if done.exit_code == 3)
        return max([self.failed_code, *lasting, *(done.exit_code for done in self.done[-1:])], key=_GRAVITY.index)


_ASKED_AGAIN: Final = frozenset({"not signed", "not cosigned"})
_GRAVITY: Final = (0, 2, 4, 3)


def seal(ledger: Ledger) -> Sealing:
    """Seal what was captured; never raises for the ledger's state, so that capture goes on."""
    try:
        return Sealing((ledger.seal(),))
    except LedgerError as error:
        return Sealing(failed=str(error), failed_next=error.next_step, failed_code=error.exit_code)


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did.

    `unchanged` runs were closed before and are as they were. `troubled` names runs that could not be read or
    translated, with the reason; they stay open. `unnamed` are assets that said they are not available, and that
    no policy names. `updated_at` is the newest change it has seen, in
    microseconds; `complete` whether it reached the end; `sealing` the result of sealing.
    """

    runs: int = 0
    unchanged: int = 0
    records: int = 0
    log_lines: int = 0
    appended: int = 0
    unreadable: int = 0
    open_runs: tuple[OpenRun, ...] = ()
    troubled: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    updated_at: int = 0
    complete: bool = True
    sealing: Sealing = Sealing()


Progress = Callable[[Synced], None]
Clock = Callable[[], float]
Stopped = Callable[[], Synced]
"""Says, from any thread, what a sync that is abandoned at this moment has done, and where to go on."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long a sync may take: about `seconds` of the clock, `None` for as long as it takes.

    `paused` remembers, from one call to the next, how far runs were read that are larger than the time. `watched`
    is given what tells how far the call is, for a caller that may not wait for its end.
    """

    seconds: float | None = None
    clock: Clock = time.monotonic
    paused: dict[str, RunCapture] = field(default_factory=dict)
    watched: Callable[[Stopped], None] = lambda _: None


def sync_runs(
    instance: DagsterInstance,
    how: CaptureContext,
    *,
    updated_after: int = 0,
    also: Sequence[OpenRun] = (),
    within: TimeLimit | None = None,
    max_runs: int | None = None,
    progress: Progress = lambda _: None,
) -> Synced:
    """Capture every run that changed at or after `updated_after` (microseconds), and seal.

    Also the runs in `also`, and the records that belong to no run. Stops early when the time is over that there
    is, or once it has walked `max_runs`; then `complete` is false, `updated_at` says where to go on, and runs it
    did not reach stay among `open_runs`. A run that is larger than the time is read in part and stays there too.
    Raises `LedgerError` when the ledger cannot be read or written; one run that cannot be read or recorded is
    `troubled` and holds up no other, and neither does what cannot be sealed.
    """
    within = within or TimeLimit()
    walker = _Walker(instance, how, updated_after, within, also)
    within.watched(walker.stopped)
    try:
        return _walk(walker, instance, updated_after, max_runs, progress)
    except BaseException:
        within.paused.clear()  # what they took may not have been appended
        raise


def _walk(
    walker: _Walker, instance: DagsterInstance, updated_after: int, max_runs: int | None, progress: Progress
) -> Synced:
    walker.begin()
    progress(walker.synced())
    for page in run_pages(instance, updated_after):
        if walker.runs and walker.is_late(_WALK_SHARE):
            walker.complete = False
            break
        walker.walk(page)
        progress(walker.synced())
        enough = max_runs is not None and walker.runs >= max_runs and walker.updated_at > updated_after
        if enough and len(page) >= PAGE_RUNS:
            walker.complete = False
        if not walker.complete:
            break
    walker.revisit()
    progress(walker.synced())
    return walker.finish()


class _Walker:
    """Captures page after page within a limited time; seals when much waits."""

    def __init__(
        self,
        instance: DagsterInstance,
        how: CaptureContext,
        start: int,
        within: TimeLimit,
        also: Sequence[OpenRun],
    ) -> None:
        self._instance = instance
        self._how = how
        self._policy = Policy()
        self._within = within
        self._started = within.clock()
        self._also = also
        self._at_work: dict[str, OpenRun] = {}
        self._walking = True
        # These are read again in any case, so the walk passes over them.
        self._due = {run.run_id for run in also if run.ended}
        self._suspect = {run.run_id for run in also if run.size == NOT_READ}
        self._outbox = Outbox(how.ledger)
        self._sealed_at = 0
        self._sealing = Sealing()
        self._open: dict[str, OpenRun] = {}
        self._troubled: list[str] = []
        self._unnamed: dict[str, None] = {}
        self._unchanged = self._records = self._log_lines = self._unreadable = 0
        self.runs = 0
        self.updated_at = self._reached = start
        self.complete = True

    def stopped(self) -> Synced:
        """Sum up what was done if this was abandoned now: the run at work, too, is passed and stays open.

        So are those of which something was not appended yet. The run at work comes last and is marked: if it is
        what hangs, it holds up no other next time.
        """
        open_runs = {run.run_id: run for run in self._also} | dict(self._open)
        at_work = dict(self._at_work)
        if at_work:
            last = next(reversed(at_work))
            at_work[last] = replace(at_work[last], size=NOT_READ)
        rest = [run for run_id, run in open_runs.items() if run_id not in at_work]
        return replace(
            self.synced(),
            updated_at=max(self._reached, self.updated_at),
            complete=False,
            open_runs=(*rest, *at_work.values()),
        )

    def synced(self) -> Synced:
        """Sum up what was done so far."""
        return Synced(
            runs=self.runs,
            unchanged=self._unchanged,
            records=self._records,
            log_lines=self._log_lines,
            appended=self._outbox.appended,
            unreadable=self._unreadable,
            open_runs=tuple(self._open.values()),
            troubled=tuple(self._troubled),
            unnamed=tuple(self._unnamed),
            updated_at=self.updated_at,
            complete=self.complete,
            sealing=self._sealing,
        )

    def begin(self) -> None:
        """Capture what belongs to no run, and learn the policy that holds."""
        self._how.ledger.redaction()  # when it is wrong nothing may be recorded: say so once
        runless = self._how.ledger.known([RUNLESS])[RUNLESS]
        self._policy = policy_of(self._how, runless)
        try:
            self._add(capture_runless(self._instance, self._how, runless, self._outbox))
        except Exception as error:
            if self._outbox.broken:
                raise
            self._pass_over(RUNLESS, error)
        self._flush({})

    def walk(self, page: Sequence[RunFacts]) -> None:
        """Capture the runs of a page; when the time is over, `complete` is false and the rest is left."""
        page_left = [facts for facts in page if facts.run_id not in self._due]
        done = self._capture(page_left, _WALK_SHARE)
        self.complete = done == len(page_left)
        reached = page if self.complete else page_left[:done]
        self.updated_at = max(self.updated_at, reached[-1].updated_at)

    def revisit(self) -> None:
        """Look again at runs that were open; those the time does not reach stay open, to be first next time."""
        self._walking = False
        waiting = [run for run in self._also if run.run_id not in self._open]
        waiting.sort(key=lambda run: run.run_id in self._suspect)
        reopened: dict[str, OpenRun] = {}
        first = True  # of these, too, one at least
        while waiting and (first or not self.is_late(1.0)):
            first = False
            page, waiting = waiting[:PAGE_RUNS], waiting[PAGE_RUNS:]
            sizes = source.log_sizes(self._instance, [run.run_id for run in page])
            # A run that ended waits for the grace to pass, one that goes on for its log to grow.
            reopened.update({r.run_id: r for r in page if not r.ended and sizes[r.run_id] == r.size})
            due = [r for r in page if r.run_id not in reopened]
            found = [facts for facts in (run_facts(self._instance, r.run_id) for r in due) if facts]
            missed = {facts.run_id for facts in found[self._capture(found, 1.0) :]}
            waiting = [*(r for r in due if r.run_id in missed), *waiting]
        self._open = {**{r.run_id: r for r in waiting}, **reopened, **self._open}

    def _capture(self, page: Sequence[RunFacts], share: float) -> int:
        """Capture the runs of a page that are not closed and unchanged; return how many the time allowed."""
        ids = [facts.run_id for facts in page]
        sizes = source.log_sizes(self._instance, ids)
        closings = sealed_closings(self._how.ledger, ids)
        settled = {
            facts.run_id
            for facts in page
            if facts.run_id in closings and is_unchanged(facts, sizes[facts.run_id], *closings[facts.run_id])
        }
        done = captured = 0
        for group in _groups(page, sizes, settled):
            ids = [facts.run_id for facts in group if facts.run_id not in settled]
            known = self._known([run_id for run_id in ids if run_id not in self._within.paused])
            for facts in group:
                if captured and self.is_late(share):  # one at least, so that every call comes further
                    self._flush(sizes)
                    return done
                self.runs += 1
                done += 1
                about = known.get(facts.run_id)
                if facts.run_id in settled or (about and is_settled(facts, sizes[facts.run_id], about)):
                    self._unchanged += 1
                else:
                    self._one(facts, sizes[facts.run_id], about, share)
                    captured += 1
        self._flush(sizes)
        return done

    def _known(self, run_ids: Sequence[str]) -> dict[str, RunKnown]:
        """Return what the ledger holds about the runs; one that cannot be read there is left out."""
        try:
            return self._how.ledger.known(run_ids)
        except IntegrityError:
            if len(run_ids) < 2:
                return {}
        return {run_id: known for each in run_ids for run_id, known in self._known([each]).items()}

    def _flush(self, sizes: Mapping[str, LogSize]) -> None:
        """Append what waits; runs of which the ledger refuses something are named and stay open."""
        before = set(self._outbox.refused)
        self._outbox.flush()
        self._at_work.clear()
        for run_id in self._outbox.refused.keys() - before:
            self._troubled.append(f"{run_id}: {self._outbox.refused[run_id]}")
            self._within.paused.pop(run_id, None)
            if run_id in sizes:
                self._open[run_id] = OpenRun(run_id, ended=True, size=sizes[run_id])

    def _pass_over(self, run_id: str, error: Exception) -> None:
        """Name a run that cannot be read or translated: it must not hold up all others."""
        self._troubled.append(f"{run_id or '(no run)'}: {type(error).__name__}: {error}")

    def _one(self, facts: RunFacts, size: LogSize, known: RunKnown | None, share: float) -> None:
        if facts.run_id in self._suspect:  # what it may hang at must not keep the others' events
            self._flush({})
        self._at_work[facts.run_id] = OpenRun(facts.run_id, ended=True, size=size)
        if self._walking:
            self._reached = max(self._reached, facts.updated_at)
        ended = closed = False
        try:
            if known is None and facts.run_id not in self._within.paused:  # asked once more, to say what is wrong
                known = self._how.ledger.known([facts.run_id])[facts.run_id]
            captured = capture_known(
                self._instance,
                facts,
                self._how,
                self._policy,
                known or RunKnown({}, []),
                self._outbox,
                self._within.paused,
                lambda: self.is_late(share),
            )
            ended, closed = captured.ended or captured.paused, captured.closed
            self._add(captured)
        except Exception as error:
            if self._outbox.broken:
                raise
            self._pass_over(facts.run_id, error)
        self._open.pop(facts.run_id, None)
        if not closed:
            self._open[facts.run_id] = OpenRun(facts.run_id, ended, size)
        if self._outbox.appended - self._sealed_at >= SEAL_EVENTS:
            self._sealing += seal(self._how.ledger)
            self._sealed_at = self._outbox.appended

    def _add(self, captured: Captured) -> None:
        self._records += captured.records
        self._log_lines += captured.log_lines
        self._unreadable += captured.unreadable
        self._unnamed |= dict.fromkeys(captured.unnamed)

    def is_late(self, share: float) -> bool:
        """Tell whether this share of the time is over."""
        seconds = self._within.seconds
        return seconds is not None and self._within.clock() - self._started > seconds * share

    def finish(self) -> Synced:
        """Seal what was appended."""
        if self._how.ledger.exists():
            self._sealing += seal(self._how.ledger)
            if self.complete:
                self._how.ledger.note_sync()
        return self.synced()


def _groups(
    page: Sequence[RunFacts], sizes: Mapping[str, LogSize], settled: Collection[str]
) -> Iterator[list[RunFacts]]:
    """Yield a page in order, in parts whose runs that are not settled are few enough to be compared together."""
    group: list[RunFacts] = []
    runs = records = 0
    for facts in page:
        if facts.run_id not in settled:
            if runs and (runs >= KNOWN_RUNS or records + sizes[facts.run_id].records > KNOWN_RECORDS):
                yield group
                group, runs, records = [], 0, 0
            runs += 1
            records += max(sizes[facts.run_id].records, 0)
        group.append(facts)
    if group:
        yield group


def run_pages(
    instance: DagsterInstance, updated_after: int, page_runs: int | None = None
) -> Iterator[list[RunFacts]]:
    """Yield runs by the time they last changed, oldest first, in pages; runs may change while we walk.

    Pages go on from the last time seen, inclusive: a run that changes meanwhile moves to the end and is seen
    again there. More runs than a page with one and the same time are fetched with a larger page.
    """
    import dagster as dg

    page_runs = page_runs or PAGE_RUNS
    after, limit = updated_after, page_runs
    seen_at_edge: set[str] = set()
    while True:
        # Dagster compares "later than"; a microsecond less makes it "not before".
        moment = datetime.fromtimestamp(max(after - 1, 0) / 1e6, tz=UTC)
        records = instance.get_run_records(
            dg.RunsFilter(updated_after=moment), limit=limit, order_by="update_timestamp", ascending=True
        )
        found = [facts_of(record) for record in records]
        page = [facts for facts in found if facts.run_id not in seen_at_edge]
        if page:
            yield page
        if len(found) < limit:
            return
        if not page:
            limit *= 2
            continue
        after = page[-1].updated_at
        seen_at_edge = {facts.run_id for facts in found if facts.updated_at == after}
        limit = page_runs
