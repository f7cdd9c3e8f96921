"""Histories made of real records: runs copied within an instance, records written after the fact."""

from __future__ import annotations

import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.dagster_run import DagsterRun


def copy_runs(instance: dg.DagsterInstance, run_id: str, count: int) -> list[str]:
    """Copy a finished run with its whole log, under new run ids, into the same SQLite instance.

    As Dagster would have stored it, in a fraction of the time of running it.
    """
    run = instance.get_run_by_id(run_id)
    assert run is not None
    original = shard(instance, run_id)
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [_copy(instance, run, original) for _ in range(count)]


def _copy(instance: dg.DagsterInstance, run: DagsterRun, original: Path) -> str:
    new_id = str(uuid.uuid4())
    shutil.copy(original, original.with_name(f"{new_id}.db"))
    with closing(sqlite3.connect(original.with_name(f"{new_id}.db"))) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "UPDATE event_logs SET run_id = ?, event = replace(event, ?, ?)", (new_id, run.run_id, new_id)
        )
    instance.run_storage.add_run(run._replace(run_id=new_id))
    return new_id


def shard(instance: dg.DagsterInstance, run_id: str) -> Path:
    """Return the file of a run's log."""
    return Path(instance.root_directory) / "history" / "runs" / f"{run_id}.db"


@dataclass(frozen=True)
class RunScript:
    """A finished run and its records, to be played again under new run ids, a few records at a time."""

    run: DagsterRun
    entries: Sequence[EventLogEntry]

    def begin(self, instance: dg.DagsterInstance) -> str:
        """Add a run's row, as launching does, and return its id; its log is empty."""
        run_id = str(uuid.uuid4())
        instance.run_storage.add_run(self.run._replace(run_id=run_id, status=dg.DagsterRunStatus.NOT_STARTED))
        return run_id

    def play(self, instance: dg.DagsterInstance, run_id: str, start: int, count: int) -> int:
        """Store the next records, and move the row on as they say; returns how many are stored now."""
        storage = instance.event_log_storage
        entries = [entry._replace(run_id=run_id) for entry in self.entries[start : start + count]]
        with storage.run_connection(run_id) as connection:  # type: ignore[attr-defined]
            for entry in entries:
                connection.execute(storage.prepare_insert_event(entry))  # type: ignore[attr-defined]
        for entry in entries:
            if entry.dagster_event and entry.dagster_event.is_job_event:
                instance.run_storage.handle_run_event(run_id, entry.dagster_event)
        return start + len(entries)


def script_of(instance: dg.DagsterInstance, run_id: str) -> RunScript:
    """Take a finished run's records down."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return RunScript(run, [record.event_log_entry for record in instance.get_records_for_run(run_id).records])


def write_engine_events(instance: dg.DagsterInstance, run_id: str, messages: Iterable[str]) -> None:
    """Write many engine events into a run's log in one transaction."""
    storage = instance.event_log_storage
    template = next(r.event_log_entry for r in instance.get_records_for_run(run_id).records)
    with storage.run_connection(run_id) as connection:  # type: ignore[attr-defined]
        for message in messages:
            connection.execute(storage.prepare_insert_event(_engine_entry(template, message)))  # type: ignore[attr-defined]


def _engine_entry(template: EventLogEntry, message: str) -> EventLogEntry:
    event = DagsterEvent(
        event_type_value=DagsterEventType.ENGINE_EVENT.value,
        job_name=template.job_name or "",
        message=message,
        event_specific_data=EngineEventData(),
    )
    return EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        level=10,
        user_message=message,
        run_id=template.run_id,
        timestamp=template.timestamp,
        job_name=template.job_name,
        dagster_event=event,
    )


def write_log_line(instance: dg.DagsterInstance, run_id: str, message: str) -> None:
    """Write a plain log line, which carries no event, into a run's log."""
    template = next(r.event_log_entry for r in instance.get_records_for_run(run_id).records)
    instance.handle_new_event(_engine_entry(template, message)._replace(dagster_event=None))


def write_materialization(instance: dg.DagsterInstance, run_id: str, asset: str, step_key: str) -> None:
    """Write a materialization into a run's log, as an orphaned step does."""
    from dagster._core.events import StepMaterializationData

    run = instance.get_run_by_id(run_id)
    assert run is not None
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name=run.job_name,
        step_key=step_key,
        event_specific_data=StepMaterializationData(dg.AssetMaterialization(asset), []),
    )
    instance.report_dagster_event(event, run_id)


def move_history(source: dg.DagsterInstance, target: dg.DagsterInstance) -> None:
    """Copy every run and record into another store, where the records get other ids."""
    for run in reversed(source.get_runs()):
        job, plan = run.job_snapshot_id, run.execution_plan_snapshot_id
        assert job
        assert plan
        if not target.run_storage.has_job_snapshot(job):
            target.run_storage.add_job_snapshot(source.get_job_snapshot(job))
        if not target.run_storage.has_execution_plan_snapshot(plan):
            target.run_storage.add_execution_plan_snapshot(source.get_execution_plan_snapshot(plan))
        target.run_storage.add_run(run)
        for record in source.get_records_for_run(run.run_id).records:
            target.event_log_storage.store_event(record.event_log_entry)


def change_record(instance: dg.DagsterInstance, run_id: str, storage_id: int, before: str, after: str) -> None:
    """Change the text of a record where Dagster stores it."""
    with closing(sqlite3.connect(shard(instance, run_id))) as connection, connection:
        (text,) = connection.execute("SELECT event FROM event_logs WHERE id = ?", (storage_id,)).fetchone()
        assert re.search(re.escape(before), text)
        connection.execute(
            "UPDATE event_logs SET event = ? WHERE id = ?", (text.replace(before, after), storage_id)
        )
