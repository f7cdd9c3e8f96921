"""Everything this package asks of a Dagster instance, in one place.

Two of the calls are not marked public by Dagster: the run storage's id, and reading a run's log with the
ids of its records. They stay behind these functions, with a contract test that runs on every storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ledger import EnvironmentFault
from sensors.translate import SourceRecord

if TYPE_CHECKING:
    from dagster import DagsterInstance, RunRecord
    from dagster._core.snap import ExecutionPlanSnapshot

PAGE_RECORDS: Final = 5_000
TERMINAL_STATUSES: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run's row in Dagster. Times in microseconds since 1970, UTC."""

    run_id: str
    job_name: str
    status: str
    tags: Mapping[str, str]
    created_at: int
    updated_at: int
    execution_plan_snapshot_id: str | None


def store_id(instance: DagsterInstance) -> str:
    """Return the id of the instance's run storage: stable across processes, different for every store.

    Raises `EnvironmentFault` when the storage has none (it is not one of Dagster's SQL storages).
    """
    from dagster._core.storage.legacy_storage import LegacyRunStorage
    from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

    storage: Any = instance.run_storage
    if isinstance(storage, LegacyRunStorage):  # how a `storage:` section in dagster.yaml arrives
        storage = storage._storage.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise EnvironmentFault(
            f"{type(storage).__name__} has no id of its own, so its records cannot be told from another store's.",
            next_step="use one of Dagster's SQL storages (SQLite, PostgreSQL, MySQL)",
        )
    return str(storage.get_run_storage_id())


def run_facts(instance: DagsterInstance, run_id: str) -> RunFacts | None:
    """Return the run's row, `None` when Dagster has no such run (any more)."""
    record = instance.get_run_record_by_id(run_id)
    return facts_of(record) if record else None


def facts_of(record: RunRecord) -> RunFacts:
    """Read what the ledger needs from a run's row."""
    run = record.dagster_run
    return RunFacts(
        run_id=run.run_id,
        job_name=run.job_name,
        status=run.status.value,
        tags=dict(run.tags),
        created_at=round(record.create_timestamp.timestamp() * 1_000_000),
        updated_at=round(record.update_timestamp.timestamp() * 1_000_000),
        execution_plan_snapshot_id=run.execution_plan_snapshot_id,
    )


def read_records(instance: DagsterInstance, run_id: str, after: int = 0) -> Iterator[SourceRecord]:
    """Yield every record of a run's log with an id above `after`, in id order, log lines included.

    Reads pages of `PAGE_RECORDS`, so memory does not grow with the run. On a SQL storage the stored text
    is read as it is (about 4 µs a record); elsewhere it is Dagster's serialisation of what it returns.
    """
    storage = _sql_storage(instance)
    while True:
        page = _sql_page(storage, run_id, after) if storage else _object_page(instance, run_id, after)
        yield from page
        if len(page) < PAGE_RECORDS:
            return
        after = page[-1].storage_id


def _sql_storage(instance: DagsterInstance) -> Any:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
    from dagster._core.storage.legacy_storage import LegacyEventLogStorage

    storage: Any = instance.event_log_storage
    if isinstance(storage, LegacyEventLogStorage):  # how a `storage:` section in dagster.yaml arrives
        storage = storage._storage.event_log_storage
    return storage if isinstance(storage, SqlEventLogStorage) else None


def _sql_page(storage: Any, run_id: str, after: int) -> list[SourceRecord]:
    import sqlalchemy
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    table = SqlEventLogStorageTable.c
    query = (
        sqlalchemy.select(table.id, table.event)
        .where(table.run_id == run_id, table.id > after)
        .order_by(table.id.asc())
        .limit(PAGE_RECORDS)
    )
    with storage.run_connection(run_id) as connection:
        return [SourceRecord(row[0], row[1]) for row in connection.execute(query)]


def _object_page(instance: DagsterInstance, run_id: str, after: int) -> list[SourceRecord]:
    from dagster._core.event_api import EventLogCursor
    from dagster._serdes import serialize_value

    found = instance.event_log_storage.get_records_for_run(
        run_id, cursor=EventLogCursor.from_storage_id(after).to_string(), limit=PAGE_RECORDS, ascending=True
    )
    return [SourceRecord(r.storage_id, serialize_value(r.event_log_entry)) for r in found.records]


def execution_plan(instance: DagsterInstance, facts: RunFacts) -> ExecutionPlanSnapshot | None:
    """Return the run's execution plan as it was snapshot at launch, `None` when there is none."""
    if facts.execution_plan_snapshot_id is None:
        return None
    return instance.get_execution_plan_snapshot(facts.execution_plan_snapshot_id)
