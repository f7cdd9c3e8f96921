"""What must hold of a ledger against the Dagster instance it was captured from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import dagster as dg

from run_evidence.ledger import Ledger
from run_evidence.ledger.query.as_of import NOW
from run_evidence.ledger.query.snapshot import open_snapshot, views_in
from run_evidence.sensors.capture.capture import CaptureContext
from run_evidence.sensors.sync import Synced, sync_runs

Record = tuple[str, int]


def sync(instance: dg.DagsterInstance, ledger: Ledger, grace_seconds: float = 0.0) -> Synced:
    """Capture everything, closing runs as soon as they have ended."""
    return sync_runs(instance, CaptureContext(ledger, grace_seconds=grace_seconds))


def rows(ledger: Ledger, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Run SQL over the ledger's views."""
    with open_snapshot(ledger, NOW, sorted(views_in(sql))) as snapshot:
        return snapshot.rows(sql, parameters)


def dagster_records(instance: dg.DagsterInstance) -> tuple[set[Record], dict[str, int]]:
    """Return what Dagster itself reads: (run_id, storage_id) of records with an event; log lines by run."""
    found: set[Record] = set()
    lines: Counter[str] = Counter()
    for run_id in ["", *(run.run_id for run in instance.get_runs())]:
        for record in instance.get_records_for_run(run_id).records:
            if record.event_log_entry.dagster_event is None:
                lines[run_id] += 1
            else:
                found.add((run_id, record.storage_id))
    return found, dict(lines)


def ledger_records(ledger: Ledger) -> list[Record]:
    """Return (run_id, storage_id) of every record in the ledger, as often as it is there."""
    return [(r, s) for r, s in rows(ledger, "SELECT run_id, storage_id FROM events WHERE storage_id IS NOT NULL")]


def assert_holds(instance: dg.DagsterInstance, ledger: Ledger, deleted: Collection[str] = ()) -> None:
    """Every record is there once, log lines are counted, every planned item of a closed run has one outcome.

    `deleted` names runs that Dagster no longer has; what the ledger holds of them is not compared.
    """
    expected, lines = dagster_records(instance)
    with open_snapshot(ledger, NOW, ("events",)) as snapshot:
        records = snapshot.rows("SELECT run_id, storage_id FROM events WHERE storage_id IS NOT NULL")
        counted = snapshot.rows(_LOG_LINES)
        planned, judged = snapshot.rows(_items("items")), snapshot.rows(_items("outcomes"))
        alarms = snapshot.rows("SELECT * FROM events WHERE event_type = 'record.conflicted.v1'")
    held = [(run, storage_id) for run, storage_id in records if run not in deleted]
    assert sorted(held) == sorted(expected), _difference(held, expected)
    assert {run: n for run, n in counted if run not in deleted} == {
        run: lines.get(run, 0) for run, _ in counted if run not in deleted
    }
    assert planned == judged
    assert alarms == []


_LOG_LINES = """
    SELECT run_id, (last(data ORDER BY index)->>'$.log_lines')::INT
    FROM events WHERE event_type = 'run.closed.v1' GROUP BY run_id
"""


def _difference(held: list[Record], expected: set[Record]) -> str:
    twice = [record for record, count in Counter(held).items() if count > 1]
    return f"missing {expected - set(held)}, extra {set(held) - expected}, twice {twice}"


def assert_each_item_has_one_outcome(ledger: Ledger) -> None:
    """Require that what closed runs planned and what they were judged by are the same items, each once."""
    with open_snapshot(ledger, NOW, ("events",)) as snapshot:
        assert snapshot.rows(_items("items")) == snapshot.rows(_items("outcomes"))


def _items(member: str) -> str:
    """Return SQL for the items of closed runs: those planned, or those with an outcome of the last closing."""
    event_type = {"items": "plan.committed.v1", "outcomes": "outcomes.derived.v1"}[member]
    return f"""
        WITH closed AS (
            SELECT run_id, max((data->>'$.revision')::INT) AS revision
            FROM events WHERE event_type = 'run.closed.v1' GROUP BY run_id
        ), named AS (
            SELECT e.run_id, unnest(from_json(e.data->'$.{member}',
                '[{{"asset_key":"VARCHAR","partition":"VARCHAR","check_name":"VARCHAR",
                  "planned":"BOOLEAN"}}]')) AS i
            FROM events AS e JOIN closed AS c ON c.run_id = e.run_id
            WHERE e.event_type = '{event_type}'
                AND coalesce((e.data->>'$.revision')::INT = c.revision, true)
        )
        SELECT run_id, i.asset_key, i.partition, i.check_name FROM named WHERE i.planned IS NOT FALSE ORDER BY ALL
    """


def outcomes(ledger: Ledger, run_id: str) -> dict[str, str]:
    """Return a run's outcomes as {asset, asset@partition or asset?check: outcome, or outcome:reason_code}."""
    return outcomes_by_run(ledger).get(run_id, {})


def outcomes_by_run(ledger: Ledger) -> dict[str, dict[str, str]]:
    """Return the outcomes of every run that has any, as `outcomes` has them."""
    sql = "SELECT run_id, asset_key, partition, check_name, outcome, reason_code FROM outcomes"
    found: dict[str, dict[str, str]] = {}
    for run_id, asset, partition, check, outcome, code in rows(ledger, sql):
        item = asset + (f"?{check}" if check else "") + (f"@{partition}" if partition else "")
        found.setdefault(run_id, {})[item] = f"{outcome}:{code}" if code else outcome
    return found
