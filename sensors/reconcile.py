"""The ledger against Dagster as the other witness: what is missing, changed, late, or only left in the ledger.

Reads both sides and writes neither. A run that the ledger closed and that has not changed since costs one
look, the same as in `sync`; every other run is compared record by record, by id and digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from run_evidence.ledger import NOW, InputError, Ledger, RunKnown, open_snapshot
from run_evidence.sensors.capture.completeness import is_settled
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.source import RUNLESS, RunFacts
from run_evidence.sensors.dagster_log.translate import Correlation, Translator
from run_evidence.sensors.dagster_log.vocabulary import TERMINAL, is_idle
from run_evidence.sensors.sync import KNOWN_RUNS, run_pages

if TYPE_CHECKING:
    from dagster import DagsterInstance

ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

_HELD = "SELECT run_id, store_id, any_value(job_name) FROM events WHERE storage_id IS NOT NULL GROUP BY ALL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One run on both sides. Ids are those of Dagster's log.

    `missing` and `behind` are records the ledger does not have: `behind` those of a run that goes on, and what
    the engine still says after the end of one, on which no outcome depends;
    `changed` read differently in Dagster now; `extra` are no longer in Dagster's log of the run; `late` came
    after the run was closed; `unreadable` are no records of Dagster's. `deleted`: Dagster has no such run any
    more, so the ledger is the only copy of its `held` records.
    """

    run_id: str
    job_name: str
    held: int = 0
    missing: tuple[int, ...] = ()
    behind: int = 0
    changed: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    late: int = 0
    unreadable: int = 0
    closed: bool = False
    deleted: bool = False

    @property
    def agrees(self) -> bool:
        """Whether the ledger holds exactly what Dagster holds."""
        return not (self.missing or self.behind or self.changed or self.extra or self.unreadable or self.deleted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """Both sides as a whole. `differing` has every run that does not agree, or that had late records.

    `unchanged` runs were closed and needed one look. `elsewhere` runs are in the ledger from other stores.
    """

    runs: int = 0
    unchanged: int = 0
    compared: int = 0
    records: int = 0
    missing: int = 0
    behind: int = 0
    changed: int = 0
    extra: int = 0
    late: int = 0
    unreadable: int = 0
    deleted: int = 0
    elsewhere: int = 0
    differing: tuple[Compared, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing that Dagster has is missing from the ledger or contradicts it."""
        return not (self.missing or self.changed or self.unreadable)


def reconcile(
    instance: DagsterInstance,
    ledger: Ledger,
    *,
    full: bool = False,
    progress: Callable[[Reconciled], None] = lambda _: None,
) -> Reconciled:
    """Compare every run of an instance with the ledger; with `full`, also those closed and unchanged.

    Raises `NotALedgerError` when there is no ledger, `LedgerError` when one of the sides cannot be read.
    """
    ledger.require()
    store = source.store_id(instance)
    with open_snapshot(ledger, NOW, ("events",), payloads=False) as snapshot:
        held = snapshot.rows(_HELD)
    done = Reconciled()
    seen: set[str] = {RUNLESS}
    for facts, known, settled in _runs_with_knowledge(instance, ledger):
        seen.add(facts.run_id)
        if settled and not full:
            done = replace(done, runs=done.runs + 1, unchanged=done.unchanged + 1)
            done = _add(done, _unchanged(facts, known))
        else:
            done = replace(done, runs=done.runs + 1, compared=done.compared + 1)
            done = _add(done, compare_run(instance, facts, known))
        progress(done)
    done = _add(done, _runless(instance, ledger))
    gone = {run_id: job_name for run_id, where, job_name in held if where == store and run_id not in seen}
    for run in _deleted(instance, ledger, gone):
        done = _add(done, run)
    others = {run_id for run_id, where, _ in held if where != store} - seen - gone.keys()
    return replace(done, elsewhere=len(others))


def compare_run(instance: DagsterInstance, facts: RunFacts, known: RunKnown) -> Compared:
    """Compare one run record by record. `known` is what the ledger holds about it."""
    store = source.store_id(instance)
    translator = Translator(store, facts.run_id, Correlation())
    moved = Counter(digest for (where, _), digest in known.records.items() if where != store)
    missing: list[int] = []
    behind: list[int] = []
    changed, met = [], set()
    ended, over = facts.status in ENDED or facts.run_id == RUNLESS, False
    unreadable = 0
    for record in source.read_records(instance, facts.run_id):
        try:
            event = translator.translate(record)
        except InputError:
            unreadable += 1
            continue
        if event is None:
            continue
        over = over or event.event_type in TERMINAL
        stated = known.records.get((store, record.storage_id))
        met.add(record.storage_id)
        if stated is None:
            if moved[record.digest]:
                moved[record.digest] -= 1
            else:
                (missing if ended and not (over and is_idle(event)) else behind).append(record.storage_id)
        elif stated != record.digest:
            changed.append(record.storage_id)
    return replace(
        _unchanged(facts, known),
        missing=tuple(missing),
        behind=len(behind),
        changed=tuple(changed),
        extra=tuple(sorted(i for where, i in known.records if where == store and i not in met)),
        unreadable=unreadable,
    )


def _unchanged(facts: RunFacts, known: RunKnown) -> Compared:
    return Compared(
        run_id=facts.run_id,
        job_name=facts.job_name,
        held=len(known.records),
        late=len({i for data in _all(known, "run.reopened.v1") for i in data["late_storage_ids"]}),
        closed=bool(_all(known, "run.closed.v1")),
    )


def _all(known: RunKnown, event_type: str) -> list[Any]:
    return [event.data for event in known.own if event.event_type == event_type]


def _runs_with_knowledge(instance: DagsterInstance, ledger: Ledger) -> Iterator[tuple[RunFacts, RunKnown, bool]]:
    for page in run_pages(instance, 0, KNOWN_RUNS):
        ids = [facts.run_id for facts in page]
        sizes, known = source.log_sizes(instance, ids), ledger.known(ids)
        for facts in page:
            about = known[facts.run_id]
            yield facts, about, is_settled(facts, sizes[facts.run_id], about)


def _runless(instance: DagsterInstance, ledger: Ledger) -> Compared:
    return compare_run(instance, RunFacts(RUNLESS, "", "", {}, 0, 0, None), ledger.known([RUNLESS])[RUNLESS])


def _deleted(instance: DagsterInstance, ledger: Ledger, gone: dict[str, str | None]) -> Iterator[Compared]:
    """Yield runs that only the ledger has; one that Dagster made meanwhile is none of them."""
    import dagster as dg

    run_ids = sorted(gone)
    for first in range(0, len(run_ids), KNOWN_RUNS):
        page = run_ids[first : first + KNOWN_RUNS]
        there = {run.run_id for run in instance.get_runs(filters=dg.RunsFilter(run_ids=page))}
        known = ledger.known(page)
        for run_id in page:
            if run_id not in there:
                facts = RunFacts(run_id, gone[run_id] or "", "", {}, 0, 0, None)
                yield replace(_unchanged(facts, known[run_id]), deleted=True)


def _add(done: Reconciled, run: Compared) -> Reconciled:
    differs = not run.agrees or bool(run.late)
    return replace(
        done,
        records=done.records + run.held,
        missing=done.missing + len(run.missing),
        behind=done.behind + run.behind,
        changed=done.changed + len(run.changed),
        extra=done.extra + len(run.extra),
        late=done.late + run.late,
        unreadable=done.unreadable + run.unreadable,
        deleted=done.deleted + run.deleted,
        differing=(*done.differing, run) if differs else done.differing,
    )
