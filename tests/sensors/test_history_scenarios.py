"""Scenarios about what happens to a run's records after the run: late, deleted, wiped, moved, many."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from history import (
    change_record,
    copy_runs,
    move_history,
    shard,
    write_engine_events,
    write_log_line,
    write_materialization,
)
from holding import (
    assert_each_item_has_one_outcome,
    assert_holds,
    dagster_records,
    ledger_records,
    outcomes,
    rows,
    sync,
)
from scenarios import first, second, third
from stores import StorageConfig

import run_evidence.sensors.sync
from run_evidence.ledger import Ledger
from run_evidence.ledger.ledger import RunKnown
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SensorCursor, tick
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.capture.policy import OptionalDependency, Policy
from run_evidence.sensors.capture.run_capture import RunCapture
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.sync import sync_runs

BOTH_MADE = {"first": "materialized", "second": "materialized"}
ABSENT_RUN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def run_id(instance: dg.DagsterInstance) -> str:
    """Give a run that has ended: two assets."""
    return dg.materialize([first, second], instance=instance).run_id


def _about(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> tuple[str, source.RunFacts, CaptureContext, RunKnown]:
    facts = source.run_facts(instance, run_id)
    assert facts is not None
    return source.store_id(instance), facts, CaptureContext(ledger, grace_seconds=0), ledger.known([run_id])[run_id]


def _count(ledger: Ledger, event_type: str) -> int:
    ((count,),) = rows(ledger, "SELECT count(*) FROM events WHERE event_type = $type", type=event_type)
    return int(count)


def test_a_deleted_run_stays_in_the_ledger(instance: dg.DagsterInstance, ledger: Ledger, run_id: str) -> None:
    """Dagster forgets the run; the ledger is unchanged, and the reused ids of a next run are its own."""
    sync(instance, ledger)
    before = ledger_records(ledger)
    instance.delete_run(run_id)
    assert sync(instance, ledger).appended == 0
    assert ledger_records(ledger) == before
    after = dg.materialize([first], instance=instance).run_id
    sync(instance, ledger)
    assert_holds(instance, ledger, deleted={run_id})
    assert set(before) < set(ledger_records(ledger))
    assert outcomes(ledger, run_id) == BOTH_MADE
    assert outcomes(ledger, after) == {"first": "materialized"}


def test_a_run_deleted_before_its_late_record_was_read(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """What was captured is kept as it was; a record that nobody read before the deletion is gone, no trouble."""
    sync(instance, ledger)
    write_materialization(instance, run_id, "late", "first")
    instance.delete_run(run_id)
    done = sync(instance, ledger)
    assert (done.appended, done.troubled) == (0, ())
    assert_holds(instance, ledger, deleted={run_id})
    assert outcomes(ledger, run_id) == BOTH_MADE


def test_a_log_that_was_emptied_takes_nothing_from_the_ledger(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """A run whose records are gone while its row is there: outcomes are not derived again from less."""
    sync(instance, ledger)
    before, told = ledger_records(ledger), outcomes(ledger, run_id)
    instance.event_log_storage.delete_events(run_id)
    for _ in range(2):
        assert sync(instance, ledger).appended == 0
    assert ledger_records(ledger) == before
    assert outcomes(ledger, run_id) == told
    assert _count(ledger, "run.reopened.v1") == 0


def test_a_late_record_reopens_a_closed_run(instance: dg.DagsterInstance, ledger: Ledger, run_id: str) -> None:
    """A record after closing is kept, named late, and the outcomes derived anew; the row need not change."""
    sync(instance, ledger)
    row = source.run_facts(instance, run_id)
    write_materialization(instance, run_id, "late", "first")
    assert source.run_facts(instance, run_id) == row
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert _count(ledger, "run.reopened.v1") == 1
    closings = "SELECT (data->>'$.revision')::INT FROM events WHERE event_type = 'run.closed.v1' ORDER BY index"
    assert rows(ledger, closings) == [(1,), (2,)]
    assert sync(instance, ledger).unchanged == 1


def test_a_late_log_line_is_counted_and_changes_no_outcome(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """A log line after closing is no record: the count is corrected, the run is not reopened."""
    sync(instance, ledger)
    write_log_line(instance, run_id, "a line from outside")
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert _count(ledger, "run.reopened.v1") == 0
    assert sync(instance, ledger).unchanged == 1


def test_wipes_and_reported_materializations_are_captured(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Records without a run have run id "" in the ledger, and are read again only when there are more."""
    wiped = dg.materialize([first], instance=instance).run_id
    instance.report_runless_asset_event(dg.AssetMaterialization("outside", metadata={"by": "hand"}))
    instance.wipe_assets([dg.AssetKey("first")])
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert outcomes(ledger, wiped) == {"first": "materialized"}, "what a run did stays done when it is wiped"
    found = rows(ledger, "SELECT event_type, asset_key FROM events WHERE run_id = '' ORDER BY storage_id")
    assert found == [("asset.materialized.v1", "outside"), ("asset.wiped.v1", "first")]
    assert sync(instance, ledger).appended == 0
    instance.report_runless_asset_event(dg.AssetObservation("outside"))
    assert sync(instance, ledger).appended == 1
    assert_holds(instance, ledger)


@pytest.mark.soak
def test_a_run_of_ten_thousand_records(instance: dg.DagsterInstance, ledger: Ledger, run_id: str) -> None:
    """A very long log is captured whole, in several appends, each of them all or nothing."""
    write_engine_events(instance, run_id, (f"event {n}" for n in range(10_000)))
    done = sync(instance, ledger)
    assert done.records > 10_000
    assert_holds(instance, ledger)
    assert outcomes(ledger, run_id) == BOTH_MADE
    assert sync(instance, ledger).appended == 0


@pytest.mark.soak
def test_five_hundred_runs_while_nothing_watched(instance: dg.DagsterInstance, ledger: Ledger, run_id: str) -> None:
    """History from before the ledger is captured, with little time for each tick of the sensor."""
    copies = copy_runs(instance, run_id, 500)
    attachment = Attachment(ledger, Policy(), grace_seconds=0)
    cursor, ticks = SensorCursor(), 0
    while True:
        seconds = itertools.count(step=0.001)  # a hundred looks at the clock, and the time is over
        done, cursor = tick(instance, attachment, cursor, 0.1, clock=lambda seconds=seconds: next(seconds))
        ticks += 1
        if done.complete and not cursor.open_runs:
            break
    assert ticks > 1
    ids = {r.storage_id for r in instance.get_records_for_run(run_id).records if r.event_log_entry.dagster_event}
    expected = [(run, storage_id) for run in (run_id, *copies) for storage_id in ids]
    assert sorted(ledger_records(ledger)) == sorted(expected)
    assert_each_item_has_one_outcome(ledger)
    told = "SELECT run_id, asset_key, outcome FROM outcomes ORDER BY ALL"
    made = [(run, asset, "materialized") for run in (run_id, *copies) for asset in BOTH_MADE]
    assert rows(ledger, told) == sorted(made)
    assert sync(instance, ledger).unchanged == 501


@pytest.mark.soak
@pytest.mark.parametrize(("runs", "records"), [(1, 50_000), (2, 1), (3, 60)])
def test_runs_are_compared_in_parts_that_do_not_show(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    runs: int,
    records: int,
) -> None:
    """However few runs are compared together: all is captured; what is closed and unchanged is passed over."""
    copies = copy_runs(instance, run_id, 7)
    sync(instance, ledger)
    write_materialization(instance, copies[3], "late", "first")
    more = copy_runs(instance, run_id, 4)
    monkeypatch.setattr(run_evidence.sensors.sync, "KNOWN_RUNS", runs)
    monkeypatch.setattr(run_evidence.sensors.sync, "KNOWN_RECORDS", records)
    done = sync(instance, ledger)
    assert (done.runs, done.unchanged, done.open_runs) == (12, 7, ())
    assert {run for run, _ in ledger_records(ledger)} == {run_id, *copies, *more}
    assert_holds(instance, ledger)


def test_what_waits_unsealed_does_not_hide_that_a_run_is_open(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """A late record that is in the inbox only, of a run whose closing is sealed, still reopens the run."""
    sync(instance, ledger)
    write_materialization(instance, run_id, "late", "first")
    late = list(RunCapture(*_about(instance, ledger, run_id)).new_records(instance))
    assert len(late) == 1
    ledger.append(late)  # whoever captured it died before it said anything else
    sync(instance, ledger)
    assert _count(ledger, "run.reopened.v1") == 1
    assert_holds(instance, ledger)


@pytest.mark.soak
def test_two_deployments_of_the_sensor_on_one_ledger(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str, home: Path
) -> None:
    """Both do all of the work at the same time; each record, and the policy of both, is in the ledger once."""
    policy = Policy((OptionalDependency("lake/house", "lakehouse_not_there", "Week04 is not set up"),))
    now = ledger.clock() + 1_000_000
    runs = [run_id, *copy_runs(instance, run_id, 30)]
    problems: list[Exception] = []

    def deployed() -> None:
        cursor = SensorCursor()
        try:
            with dg.DagsterInstance.from_config(str(home)) as mine:
                for _ in range(3):
                    same_time = Ledger(ledger.root, clock=lambda: now)
                    _, cursor = tick(mine, Attachment(same_time, policy, grace_seconds=0), cursor)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            problems.append(error)

    threads = [threading.Thread(target=deployed) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert _count(ledger, "policy.declared.v1") == 1
    told = rows(ledger, "SELECT run_id, asset_key, outcome FROM outcomes ORDER BY ALL")
    expected = {**dict.fromkeys(BOTH_MADE, "materialized"), "lake/house": "not_available"}
    assert told == sorted((run, asset, outcome) for run in runs for asset, outcome in expected.items())


@pytest.fixture
def other(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Open a second instance, with a store of another id where ids are counted over all runs."""
    from stores import storage_yaml

    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(storage_yaml("sqlite-consolidated", folder, lambda: ""))
    with dg.DagsterInstance.from_config(str(folder)) as opened:
        yield opened


@pytest.mark.soak
def test_an_instance_that_moved_to_another_store(
    instance: dg.DagsterInstance, other: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """Records that were captured before the move are the same records after it; only what is new is added."""
    dg.materialize([first], instance=instance)
    sync(instance, ledger)
    before, told = ledger_records(ledger), outcomes(ledger, run_id)
    move_history(instance, other)
    sync(other, ledger)
    assert ledger_records(ledger) == before
    assert outcomes(ledger, run_id) == told
    assert sync(other, ledger).unchanged == 2
    later = dg.materialize([third], instance=other).run_id
    sync(other, ledger)
    expected, _ = dagster_records(other)
    assert {r for r in ledger_records(ledger) if r[0] == later} == {r for r in expected if r[0] == later}


def test_the_same_history_in_another_store_is_captured_there_when_it_never_was(
    instance: dg.DagsterInstance, other: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """Moved before the ledger was installed: the new store's ids are the identity."""
    move_history(instance, other)
    sync(other, ledger)
    assert_holds(other, ledger)
    assert rows(ledger, "SELECT DISTINCT store_id FROM events WHERE storage_id IS NOT NULL") == [
        (source.store_id(other),)
    ]


def test_a_plan_seen_half_written_is_completed(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A run's row is there before its planned events: nothing is committed until Dagster is done with planning."""
    job = dg.Definitions(assets=[first, second]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job)
    capture_run(instance, run.run_id, CaptureContext(ledger))
    assert _count(ledger, "run.seen.v1") == 1
    assert _count(ledger, "plan.committed.v1") == 0
    instance.report_run_failed(run, "never launched")
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert outcomes(ledger, run.run_id) == {
        "first": "not_started:run_failed_before_step",
        "second": "not_started:run_failed_before_step",
    }


def test_planned_events_that_commit_late_complete_the_plan(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """On PostgreSQL a planned event can become visible after the plan was committed: it is added, not lost."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=3_600))
    from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent

    planned = DagsterEvent.build_asset_materialization_planned_event(
        run.job_name, "third", AssetMaterializationPlannedData(dg.AssetKey("third"))
    )
    instance.report_dagster_event(planned, run_id)
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert outcomes(ledger, run_id)["third"] == "not_started:never_started"
    assert _count(ledger, "plan.committed.v1") == 2


@pytest.mark.soak
@pytest.mark.postgres
def test_a_record_that_commits_after_a_later_one_is_captured(
    home: Path, ledger: Ledger, storage_config: StorageConfig, tmp_path: Path
) -> None:
    """PostgreSQL gives ids before it commits: what was invisible below the last id seen is read later."""
    (home / "dagster.yaml").write_text(storage_config("postgres", tmp_path))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_id = dg.materialize([first, second], instance=instance).run_id
        records = instance.get_records_for_run(run_id).records
        storage: Any = instance.event_log_storage
        attachment = Attachment(ledger, Policy(), grace_seconds=0)
        with storage._engine.connect() as slow:  # a writer that takes its time
            transaction = slow.begin()
            slow.execute(storage.prepare_insert_event(records[0].event_log_entry))
            write_materialization(instance, run_id, "late", "first")
            _, cursor = tick(instance, attachment, SensorCursor())
            seen = {storage_id for _, storage_id in ledger_records(ledger)}
            transaction.commit()
        slow_id = {r.storage_id for r in instance.get_records_for_run(run_id).records} - seen
        assert min(slow_id) < max(seen)
        assert len(slow_id) == 1
        tick(instance, attachment, cursor)
        assert_holds(instance, ledger)
        assert outcomes(ledger, run_id) == {**BOTH_MADE, "late": "materialized"}


def test_tags_are_snapshot_and_a_change_is_an_event(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A tag added after the run does not rewrite what was seen; it is a new event, once."""
    tags = {"team": "数据", "long": "x" * 5_000, "trace_id": "t1", "release_id": "r1", "batch_id": "b1"}
    run_id = dg.materialize([first], instance=instance, tags=tags).run_id
    sync(instance, ledger)
    instance.add_run_tags(run_id, {"reviewed": "yes"})
    for _ in range(2):
        sync(instance, ledger)
    seen = "SELECT event_type, data->>'$.tags.reviewed', data->>'$.tags.team' FROM events WHERE storage_id IS NULL"
    kinds = {row[0]: row[1:] for row in rows(ledger, seen)}
    assert kinds["run.seen.v1"] == (None, "数据")
    assert kinds["run.tags_changed.v1"] == ("yes", "数据")
    assert _count(ledger, "run.tags_changed.v1") == 1
    carried = "SELECT DISTINCT trace_id, release_id, batch_id FROM events WHERE run_id = $run"
    assert rows(ledger, carried, run=run_id) == [("t1", "r1", "b1")]
    assert_holds(instance, ledger)


def test_a_terminal_record_counts_although_the_row_says_started(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """A process that died between the two: the log is believed."""
    copy = copy_runs(instance, run_id, 1)[0]
    from dagster._core.storage.runs.schema import RunsTable

    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(RunsTable.update().where(RunsTable.c.run_id == copy).values(status="STARTED"))
    assert sync(instance, ledger).open_runs == ()
    told = "SELECT data->>'$.dagster_status' FROM events WHERE run_id = $run AND event_type = 'run.closed.v1'"
    assert rows(ledger, told, run=copy) == [("STARTED",)]


def test_a_record_that_changed_at_its_source_raises_one_alarm(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """Same identity, other content: what was captured stays, and the contradiction is an event of its own."""
    sync(instance, ledger)
    before = ledger_records(ledger)
    storage_id = next(s for r, s in before if r == run_id)
    change_record(instance, run_id, storage_id, "intends", "INTENDS")
    for _ in range(2):
        capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0))
        ledger.seal()
    assert sorted(ledger_records(ledger)) == sorted(before)
    assert _count(ledger, "record.conflicted.v1") == 1


def test_one_run_that_cannot_be_read_holds_up_no_other(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """A damaged log is named and left open; the runs before and after it are captured."""
    damaged, sound = copy_runs(instance, run_id, 2)
    whole = shard(instance, damaged).read_bytes()
    shard(instance, damaged).write_bytes(b"not a database" * 100)
    done = sync(instance, ledger)
    assert [problem.partition(":")[0] for problem in done.troubled] == [damaged]
    assert {run for run, _ in ledger_records(ledger)} == {run_id, sound}
    shard(instance, damaged).write_bytes(whole)
    sync(instance, ledger)
    assert_holds(instance, ledger)


def test_a_record_that_is_none_is_counted_and_named(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """Text that is not a record of Dagster's is neither captured nor silently passed over."""
    change_record(instance, run_id, 1, '"timestamp"', '"timestump"')
    done = sync(instance, ledger)
    assert done.unreadable == 1
    told = "SELECT data->>'$.unreadable_records' FROM events WHERE event_type = 'run.closed.v1'"
    assert rows(ledger, told) == [("1",)]


def test_an_optional_dependency_that_is_not_there_is_never_passed(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """What the policy names and the run does not produce is an item of the run, not available, with its reason."""
    policy = Policy((OptionalDependency("lake/house", "lakehouse_not_there", "Week04 is not set up"),))
    sync_runs(instance, CaptureContext(ledger, policy, grace_seconds=0))
    assert outcomes(ledger, run_id)["lake/house"] == "not_available:lakehouse_not_there"
    assert_holds(instance, ledger)


def test_a_policy_declared_while_a_run_is_open_reaches_it(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """A plan that was committed by somebody without a policy is completed; a closed run keeps the one it had."""
    policy = Policy((OptionalDependency("lake/house", "lakehouse_not_there", "Week04 is not set up"),))
    capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=3_600))
    sync_runs(instance, CaptureContext(ledger, policy, grace_seconds=0))
    assert outcomes(ledger, run_id)["lake/house"] == "not_available:lakehouse_not_there"
    assert_holds(instance, ledger)
    later = Policy((*policy.optional, OptionalDependency("data/mart", "mart_not_there", "not yet")))
    write_materialization(instance, run_id, "late", "first")
    sync_runs(instance, CaptureContext(ledger, later, grace_seconds=0))
    assert "data/mart" not in outcomes(ledger, run_id)
    assert sync_runs(instance, CaptureContext(ledger, later, grace_seconds=0)).appended == 0


def test_a_run_that_is_not_there_is_no_capture(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Asking for a run that Dagster does not have makes no ledger."""
    assert capture_run(instance, ABSENT_RUN, CaptureContext(ledger)) is None
    assert not ledger.exists()
