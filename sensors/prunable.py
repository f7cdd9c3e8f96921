"""Which runs Dagster may forget: those of which the ledger holds everything, sealed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.ledger import NOW, Ledger, RunKnown, open_snapshot
from run_evidence.sensors.capture.completeness import is_settled
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.source import RunFacts
from run_evidence.sensors.reconcile import compare_run
from run_evidence.sensors.sync import KNOWN_RUNS, run_pages

if TYPE_CHECKING:
    from dagster import DagsterInstance

_SQL: Final = Path(__file__).parent / "sql" / "sealed_runs.sql"


@dataclass(frozen=True, slots=True)
class Prunable:
    """A run that Dagster may forget: all of it is sealed in the ledger. `ended_at` in microseconds."""

    run_id: str
    job_name: str
    ended_at: int
    records: int


def prunable(instance: DagsterInstance, ledger: Ledger, ended_before: int) -> Iterator[Prunable]:
    """Yield the runs that can be deleted from Dagster without losing evidence, and only those; oldest first.

    Ended before `ended_before` (microseconds) and closed; as they were when they were closed, compared record
    by record just now; every event of theirs sealed, and every payload beside the log in its place.
    """
    ledger.require()
    for page in _pages_of_settled(instance, ledger):
        with open_snapshot(ledger, NOW, ("events",), payloads=False) as snapshot:
            rows = snapshot.rows(_SQL.read_text(encoding="utf-8"), {"runs": [facts.run_id for facts, _ in page]})
        sealed = {run_id: rest for run_id, *rest in rows}
        for facts, known in page:
            held, closed_at, payloads, all_sealed = sealed.get(facts.run_id, (0, None, None, False))
            ended_at = round(closed_at.timestamp() * 1_000_000) if closed_at else ended_before
            whole = all_sealed and held == len(known.records) and ended_at < ended_before
            there = whole and all(map(ledger.has_payload, payloads or ()))
            if there and compare_run(instance, facts, known).agrees:
                yield Prunable(facts.run_id, facts.job_name, ended_at, held)


def _pages_of_settled(instance: DagsterInstance, ledger: Ledger) -> Iterator[Sequence[tuple[RunFacts, RunKnown]]]:
    for page in run_pages(instance, 0, KNOWN_RUNS):
        ids = [facts.run_id for facts in page]
        sizes, known = source.log_sizes(instance, ids), ledger.known(ids)
        settled = [
            (facts, known[facts.run_id])
            for facts in page
            if is_settled(facts, sizes[facts.run_id], known[facts.run_id])
        ]
        if settled:
            yield settled
