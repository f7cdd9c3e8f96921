"""Which runs need nothing more: closed in the ledger, and unchanged in Dagster since.

Asked of every run whenever somebody captures, so it must be cheap: one query of the sealed log for a page of
runs, which reads numbers and not records.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from run_evidence.ledger import Ledger, look_up
from run_evidence.sensors.dagster_log.source import LogSize

if TYPE_CHECKING:
    from run_evidence.ledger import RunKnown
    from run_evidence.sensors.dagster_log.source import RunFacts

_SQL: Final = Path(__file__).parents[1] / "sql" / "sealed_closings.sql"


def sealed_closings(ledger: Ledger, run_ids: Collection[str]) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """Return {run: (records sealed, what its last closing states)} for those of the runs whose closing is sealed.

    What waits in the inbox is not read: it can only add to a run, and a run that has more than its closing
    states is not settled. Raises `LedgerError` when the log cannot be read.
    """
    segments = ledger.log().segments if run_ids and ledger.exists() else ()
    if not segments:
        return {}
    rows = look_up(segments, _SQL.read_text(encoding="utf-8"), {"run_ids": list(run_ids)})
    return {run_id: (held, orjson.loads(entry)["data"]) for run_id, held, entry in rows}


def is_unchanged(facts: RunFacts, size: LogSize, held: int, closed: Mapping[str, Any]) -> bool:
    """Tell whether a run is as its last closing states: its row, its log, and the records the ledger holds."""
    if closed.get("run_updated_at") != facts.changed_at or closed.get("ledger_records") != held:
        return False  # also where the closing's payload was erased
    counted = closed["dagster_records"] + closed["log_lines"] + closed["unreadable_records"]
    return size == LogSize(counted, closed["last_storage_id"])


def is_settled(facts: RunFacts, size: LogSize, known: RunKnown) -> bool:
    """Tell the same of a run by all that the ledger holds about it, sealed or not."""
    closed = next((event.data for event in reversed(known.own) if event.event_type == "run.closed.v1"), None)
    return closed is not None and is_unchanged(facts, size, len(known.records), closed)
