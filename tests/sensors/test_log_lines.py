"""Plain log lines may hold secrets: they are counted, and kept only where somebody asks for it."""

from pathlib import Path

import dagster as dg
import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.sensors.capture.capture import capture_run
from run_evidence.sensors.capture.context import CaptureContext

_LINES = "SELECT step_key, data->>'$.message', storage_id FROM events WHERE event_type = 'log.line_kept.v1'"
_CLOSED = (
    "SELECT (data->>'$.log_lines')::INT, (data->>'$.dagster_records')::INT, (data->>'$.ledger_records')::INT "
    "FROM events WHERE event_type = 'run.closed.v1'"
)


@dg.asset
def talkative(context: dg.AssetExecutionContext) -> None:
    context.log.info("first line")
    context.log.warning("second line, 行")


@pytest.fixture
def run(tmp_path: Path) -> tuple[dg.DagsterInstance, str]:
    instance = dg.DagsterInstance.local_temp(str(tmp_path))
    return instance, dg.materialize([talkative], instance=instance).run_id


def test_without_asking_a_log_line_is_counted_and_not_stored(
    run: tuple[dg.DagsterInstance, str], tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    capture_run(*run, CaptureContext(ledger, grace_seconds=0))
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert snapshot.rows(_LINES) == []
        assert snapshot.rows(_CLOSED)[0][0] == 2
        assert snapshot.rows("SELECT count(*) FROM events WHERE data::VARCHAR LIKE '%first line%'") == [(0,)]


def test_lines_that_were_asked_for_are_kept_once_and_change_no_count(
    run: tuple[dg.DagsterInstance, str], tmp_path: Path
) -> None:
    """They are events of the ledger's own, so the counts of both sides stay those of Dagster's records."""
    ledger = Ledger(tmp_path / "ledger")
    how = CaptureContext(ledger, grace_seconds=0, log_lines=True)
    capture_run(*run, how)
    again = capture_run(*run, how)
    assert again is not None
    assert again.appended == 0
    ledger.seal()
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert sorted(snapshot.rows(_LINES)) == [
            ("talkative", "first line", None),
            ("talkative", "second line, 行", None),
        ]
        assert len({row[1:] for row in snapshot.rows(_CLOSED)}) == 1
        lines, dagster, held = snapshot.rows(_CLOSED)[0]
        assert (lines, dagster) == (2, held)
