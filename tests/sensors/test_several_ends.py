"""A run whose log holds several ends has one status, Dagster's own, wherever it is asked for."""

from collections.abc import Sequence
from itertools import product

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from holding import assert_holds, outcomes, outcomes_by_run, rows, sync

from run_evidence.ledger import Ledger
from run_evidence.sensors.capture.capture import CaptureContext, capture_run

ENDS = {
    DagsterEventType.RUN_SUCCESS: ("succeeded", "not_started:never_started"),
    DagsterEventType.RUN_FAILURE: ("failed", "not_started:run_failed_before_step"),
    DagsterEventType.RUN_CANCELED: ("canceled", "canceled:run_canceled"),
}
ORDERS = [ends for length in (1, 2, 3) for ends in product(ENDS, repeat=length)]
ROW = {"SUCCESS": "succeeded", "FAILURE": "failed", "CANCELED": "canceled"}


@dg.asset
def made() -> None: ...


JOB = dg.Definitions(assets=[made], jobs=[dg.define_asset_job("a_job")]).resolve_job_def("a_job")


def record(instance: dg.DagsterInstance, run_id: str, kind: DagsterEventType) -> None:
    event = DagsterEvent(event_type_value=kind.value, job_name="a_job", message=kind.value)
    instance.report_dagster_event(event, run_id)


def ended(instance: dg.DagsterInstance, ends: Sequence[DagsterEventType]) -> str:
    """Give a run that never started its step and ended so, one end after the other."""
    run_id = instance.create_run_for_job(JOB).run_id
    for kind in (DagsterEventType.RUN_START, *ends):
        record(instance, run_id, kind)
    return run_id


def words(instance: dg.DagsterInstance, ledger: Ledger) -> dict[str, set[str]]:
    """Return every word there is for the end of each run."""
    closings = rows(
        ledger,
        "SELECT run_id, data->>'$.status', data->>'$.dagster_status' FROM events "
        "WHERE event_type = 'run.closed.v1' ORDER BY (data->>'$.revision')::INT",
    )
    last = {run_id: {status, ROW[of_dagster]} for run_id, status, of_dagster in closings}
    shown = dict(rows(ledger, "SELECT run_id, status FROM runs"))
    return {
        run.run_id: {ROW[run.status.value], shown[run.run_id], *last[run.run_id]} for run in instance.get_runs()
    }


@pytest.mark.soak
def test_the_last_end_counts_everywhere(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """In Dagster's row, the view, the closing and the outcomes: all orders of up to three ends."""
    runs = {ended(instance, ends): ends for ends in ORDERS}
    sync(instance, ledger)
    assert_holds(instance, ledger)
    told, found = words(instance, ledger), outcomes_by_run(ledger)
    for run_id, ends in runs.items():
        status, outcome = ENDS[ends[-1]]
        assert told[run_id] == {status}, ends
        assert found[run_id] == {"made": outcome}, ends
    moments = """
        SELECT count(*) FROM runs AS r JOIN events AS e USING (run_id)
        WHERE e.occurred_at = r.ended_at AND e.event_type = 'run.' || r.status || '.v1'
    """
    ((moved,),) = rows(ledger, moments)
    assert moved >= len(runs)


@pytest.mark.soak
@pytest.mark.parametrize("ends", [order for order in ORDERS if len(order) == 2])
def test_an_end_that_comes_after_the_closing_counts(
    instance: dg.DagsterInstance, ledger: Ledger, ends: Sequence[DagsterEventType]
) -> None:
    """The run is reopened, and everything says the later word."""
    run_id = ended(instance, ends[:1])
    for number, kind in enumerate(ends):
        if number:
            record(instance, run_id, kind)
        capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0))
        assert words(instance, ledger) == {run_id: {ENDS[kind][0]}}
        assert outcomes(ledger, run_id) == {"made": ENDS[kind][1]}
    assert len(rows(ledger, "SELECT 1 FROM events WHERE event_type = 'run.reopened.v1'")) == len(ends) - 1
