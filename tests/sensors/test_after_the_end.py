"""What is written into a run after its end, and runs that end by another clock than the ledger's."""

from collections.abc import Sequence

import dagster as dg
import pytest
from history import write_engine_events, write_materialization
from holding import assert_holds, outcomes, rows, sync

from run_evidence.ledger import Ledger
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.capture.run_capture import RunCapture
from run_evidence.sensors.dagster_log.source import run_facts, store_id
from run_evidence.sensors.reconcile import reconcile

SEEN = 'Sensor "ledger_on_success" acted on run status SUCCESS of run'
DAY_US = 86_400_000_000


@dg.asset
def made() -> None: ...


@pytest.fixture
def run_id(instance: dg.DagsterInstance) -> str:
    return dg.materialize([made], instance=instance).run_id


def count(ledger: Ledger, event_type: str) -> int:
    return len(rows(ledger, "SELECT 1 FROM events WHERE event_type = $t", t=event_type))


@pytest.mark.soak
def test_what_sensors_leave_in_a_run_reopens_nothing(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """The run stays closed, the ledger lags and misses nothing, and the next capture counts it in."""
    sync(instance, ledger)
    before = outcomes(ledger, run_id)
    for number in range(3):
        instance.report_engine_event(f"{SEEN} {number}", dagster_run=instance.get_run_by_id(run_id))
        done = reconcile(instance, ledger)
        assert (done.whole, done.missing, done.behind) == (True, 0, 1)
        assert sync(instance, ledger).appended == 2, "the record, and the count"
        assert_holds(instance, ledger)
    assert (count(ledger, "run.reopened.v1"), count(ledger, "outcomes.derived.v1")) == (0, 1)
    assert rows(ledger, "SELECT closed, late_events FROM runs") == [(True, 0)]
    assert outcomes(ledger, run_id) == before
    assert sync(instance, ledger).unchanged == 1


@pytest.mark.soak
@pytest.mark.parametrize("order", [("idle", "made"), ("made", "idle"), ("made",), ("idle", "made", "idle")])
@pytest.mark.parametrize("dies", [False, True])
def test_what_matters_reopens_whatever_comes_beside_it(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str, order: Sequence[str], dies: bool
) -> None:
    """Also when the capture that recorded it died before it said so."""
    sync(instance, ledger)
    for each in order:
        if each == "made":
            write_materialization(instance, run_id, "late", "late")
        else:
            write_engine_events(instance, run_id, [SEEN])
    if dies:
        facts = run_facts(instance, run_id)
        assert facts
        work = RunCapture(store_id(instance), facts, CaptureContext(ledger), ledger.known([run_id])[run_id])
        ledger.append(list(work.new_records(instance)))
    sync(instance, ledger)
    assert (count(ledger, "run.reopened.v1"), count(ledger, "outcomes.derived.v1")) == (1, 2)
    assert_holds(instance, ledger)
    assert sync(instance, ledger).unchanged == 1


@pytest.mark.soak
@pytest.mark.parametrize("days", [-2, 0, 1, 400])
@pytest.mark.parametrize("grace", [0.0, 60.0])
def test_a_run_is_closed_a_grace_after_its_end_was_seen(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str, days: int, grace: float
) -> None:
    """However far its worker's clock is ahead or behind; the closing says how far ahead it was."""
    ((ended_at,),) = [(round(instance.get_run_stats(run_id).end_time * 1e6),)]  # type: ignore[operator]
    now = ended_at - days * DAY_US + 1_000_000  # by the ledger's clock the run ends in so many days
    for after, closed in ((0, grace == 0 or days < 0), (58_000_000, grace == 0 or days < 0), (62_000_000, True)):
        then = Ledger(ledger.root, clock=lambda after=after: now + after)
        for _ in range(2):
            captured = capture_run(instance, run_id, CaptureContext(then, grace_seconds=grace))
            assert captured
            assert captured.closed == closed, after
    assert count(ledger, "run.end_noticed.v1") == (days > 0)
    assert count(ledger, "run.closed.v1") == 1
    ((ahead,),) = rows(
        ledger, "SELECT (data->>'$.clock_ahead_us')::BIGINT FROM events WHERE event_type = 'run.closed.v1'"
    )
    assert ahead is None if days <= 0 else abs(ahead - days * DAY_US) < 2_000_000
    assert_holds(instance, ledger)


def test_several_captures_of_a_run_ahead_agree(instance: dg.DagsterInstance, ledger: Ledger, run_id: str) -> None:
    """Who saw its end first counts, whoever closes it; a clock that is set back later changes nothing."""
    ended_at = round(instance.get_run_stats(run_id).end_time * 1e6)  # type: ignore[operator]
    start = ended_at - DAY_US
    for seconds in (0, 5, 30, 61, 90, -3_600):
        then = Ledger(ledger.root, clock=lambda seconds=seconds: start + seconds * 1_000_000)
        capture_run(instance, run_id, CaptureContext(then))
    assert count(ledger, "run.end_noticed.v1") == 1
    assert count(ledger, "run.closed.v1") == 1
