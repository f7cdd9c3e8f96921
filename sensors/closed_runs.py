"""A sensor that hands on the runs which the ledger has closed, to whatever has to follow the end of a run.

What that is the project says; `run_evidence.evidence.write_documents` writes the runs' documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import dagster as dg
import orjson

from run_evidence.ledger import NOW, Ledger, open_ledger, open_snapshot

Work = Callable[[Ledger, Sequence[str]], Mapping[str, str]]
"""Does something with the runs of these ids. Returns what it could not do, by a name it takes in their place: it is
called with that name again in the next tick."""

_SQL: Final = Path(__file__).parent / "sql" / "closed_runs.sql"
_WAITING: Final = 500
"""How many names that are to be tried again a cursor keeps."""

NAMED: Final = 5
"""How many troubles a tick names where Dagster shows it."""


def closed_runs_sensor(
    name: str,
    work: Work,
    *,
    job_name: str | None = None,
    ledger: str | Path | None = None,
    tick_seconds: int = 30,
) -> dg.SensorDefinition:
    """Make a sensor that calls `work` for every run that the ledger has closed: of one job, or of all.

    `ledger` is an address as for `with_ledger`. Failed runs are closed too; one that was reopened is closed again.

    Raises: UsageError for an address that cannot be one.
    """
    address = open_ledger(ledger)

    @dg.sensor(
        name=name,
        minimum_interval_seconds=tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Hands on every run that the ledger has closed, failed ones included.",
    )
    def hand_on(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return hand_on_closed_runs(context, address, work, job_name)

    return hand_on


def hand_on_closed_runs(
    context: dg.SensorEvaluationContext, ledger: Ledger, work: Work, job_name: str | None = None
) -> dg.SkipReason:
    """Do one tick of such a sensor: call `work` for what was closed since the last, and for what failed then."""
    if not ledger.exists():
        return dg.SkipReason("There is no ledger yet.")
    start, waiting = read_place(context.cursor)
    with open_snapshot(ledger, NOW) as snapshot:
        closed = snapshot.rows(_SQL.read_text(encoding="utf-8"), {"job": job_name, "from": start})
    names = list(dict.fromkeys([*(run_id for _, run_id in closed), *waiting]))
    failed = work(ledger, names) if names else {}
    wrong = [f"not done, tried again later: {name}: {problem}" for name, problem in failed.items()]
    for each in wrong:
        context.log.warning(each)
    place = closed[-1][0] + 1 if closed else start
    context.update_cursor(format_place(place, failed))
    return dg.SkipReason("; ".join([f"{len(closed)} runs closed since the last tick", *wrong[:NAMED]]))


def format_place(start: int, waiting: Iterable[str]) -> str:
    """Return the cursor from which `read_place` reads the index to go on from, and what is to be tried again."""
    return orjson.dumps({"from": start, "waiting": sorted(waiting)[:_WAITING]}).decode()


def read_place(cursor: str | None) -> tuple[int, list[str]]:
    """Return the index to go on from, and the names that are to be tried again.

    A cursor that cannot be read is the beginning: documents that are there are not written again.
    """
    try:
        place = orjson.loads(cursor or "0")
        if isinstance(place, int):
            return place, []
        return int(place["from"]), [str(name) for name in place["waiting"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return 0, []
