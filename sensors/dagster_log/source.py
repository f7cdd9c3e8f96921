"""Everything this package asks of a Dagster instance, in one place.

Two of the calls are not marked public by Dagster: the run storage's id, and reading a run's log with the
ids of its records. They stay behind these functions, with a contract test that runs on every storage.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from run_evidence.ledger import EnvironmentFault
from run_evidence.sensors.dagster_log.own_tags import OWN_TAGS, read_stamp, without_own
from run_evidence.sensors.dagster_log.translate import SourceRecord

if TYPE_CHECKING:
    from dagster import DagsterInstance, RunRecord

PAGE_RECORDS: Final = 5_000
RUNLESS: Final = ""
"""The run id of records that belong to no run: wipes, materializations reported from outside."""

_SQLITE_BUSY_SECONDS: Final = 5.0
_RIVAL_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run's row in Dagster. Times in microseconds since 1970, UTC.

    `tags` are without the ledger's own, `own_tags` those alone. `stamped_at` is when the row changed last before
    these were written, where nothing else was changed since.
    """

    run_id: str
    job_name: str
    status: str
    tags: Mapping[str, str]
    created_at: int
    updated_at: int
    execution_plan_snapshot_id: str | None
    own_tags: Mapping[str, str] = field(default_factory=dict)
    stamped_at: int | None = None

    @property
    def changed_at(self) -> int:
        """When the row changed last, but for the ledger's own tags."""
        return self.updated_at if self.stamped_at is None else self.stamped_at


def store_id(instance: DagsterInstance) -> str:
    """Return the id of the instance's run storage: stable across processes, different for every store.

    Raises `EnvironmentFault` when the storage has none (it is not one of Dagster's SQL storages). Asked once
    for each instance: it is a query, and it never changes.
    """
    known = _STORE_IDS.get(instance)
    if known is None:
        known = _STORE_IDS[instance] = _read_store_id(instance)
    return known


_STORE_IDS: WeakKeyDictionary[DagsterInstance, str] = WeakKeyDictionary()


def _read_store_id(instance: DagsterInstance) -> str:
    import sqlalchemy
    from dagster._core.storage.legacy_storage import LegacyRunStorage
    from dagster._core.storage.runs.schema import InstanceInfo
    from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

    storage: Any = instance.run_storage
    if isinstance(storage, LegacyRunStorage):  # how a `storage:` section in dagster.yaml arrives
        storage = storage._storage.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise EnvironmentFault(
            f"{type(storage).__name__} has no id of its own, so its records cannot be told from another store's.",
            next_step="use one of Dagster's SQL storages (SQLite, PostgreSQL, MySQL)",
        )
    first = sqlalchemy.select(InstanceInfo.c.run_storage_id).order_by(InstanceInfo.c.id).limit(1)
    if not storage.fetchone(first):
        # Dagster makes the id when it is first asked for, and two who ask at once make two. Everybody lets
        # the other's be committed and takes the first.
        storage.get_run_storage_id()
        time.sleep(_RIVAL_SECONDS)
    row: Any = storage.fetchone(first)
    return str(row["run_storage_id"])


def run_facts(instance: DagsterInstance, run_id: str) -> RunFacts | None:
    """Return the run's row, `None` when Dagster has no such run (any more)."""
    record = instance.get_run_record_by_id(run_id)
    return facts_of(record) if record else None


def facts_of(record: RunRecord) -> RunFacts:
    """Read what the ledger needs from a run's row.

    Which run it re-executes Dagster writes into the tags of most runs, and into the row of every one.
    """
    run = record.dagster_run
    parents = {"dagster/parent_run_id": run.parent_run_id, "dagster/root_run_id": run.root_run_id}
    tags = {name: run_id for name, run_id in parents.items() if run_id} | dict(run.tags)
    return RunFacts(
        run_id=run.run_id,
        job_name=run.job_name,
        status=run.status.value,
        tags=without_own(tags),
        created_at=round(record.create_timestamp.timestamp() * 1_000_000),
        updated_at=round(record.update_timestamp.timestamp() * 1_000_000),
        execution_plan_snapshot_id=run.execution_plan_snapshot_id,
        own_tags={name: value for name, value in tags.items() if name in OWN_TAGS},
        stamped_at=read_stamp(run.run_id, run.status.value, tags),
    )


@dataclass(frozen=True, slots=True)
class LogSize:
    """How many records a run's log holds, log lines included, and the largest id.

    0 and 0 when it is empty, −1 and −1 when it cannot be read.
    """

    records: int
    last_id: int


def log_sizes(instance: DagsterInstance, run_ids: Sequence[str]) -> dict[str, LogSize]:
    """Look how far the log of each run has come; every run asked for has a value.

    Cost: one query for all on a storage with one database; about 0.2 ms a run where each run has a file.
    """
    storage = _sql_storage(instance)
    if storage is None:
        return {run_id: _counted(instance, run_id) for run_id in run_ids}
    if _is_sharded(storage):
        return {run_id: _shard_size(storage, run_id) for run_id in run_ids}
    return _sizes_by_query(storage, run_ids)


def read_records(instance: DagsterInstance, run_id: str, after: int = 0) -> Iterator[SourceRecord]:
    """Yield every record of a run's log with an id above `after`, in id order, log lines included.

    Reads pages of `PAGE_RECORDS`, so memory does not grow with the run. On a SQL storage the stored text
    is read as it is (about 4 µs a record); elsewhere it is Dagster's serialisation of what it returns.
    """
    storage = _sql_storage(instance)
    while True:
        if storage is None:
            page = _object_page(instance, run_id, after)
        elif _is_sharded(storage):
            page = _shard_page(storage, run_id, after)
        else:
            page = _sql_page(storage, run_id, after)
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


def _is_sharded(storage: Any) -> bool:
    """Tell whether each run has a SQLite file of its own, Dagster's default."""
    from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

    return isinstance(storage, SqliteEventLogStorage)


@contextlib.contextmanager
def _shard(storage: Any, run_id: str) -> Iterator[sqlite3.Connection | None]:
    """Open a run's file for reading, `None` when there is none.

    Dagster's own connection would create the file, check its migrations (about 19 ms for each file) and hold
    a lock of the process that the user's run needs for its next event. Reading needs none of that.
    """
    path = Path(storage.path_for_shard(run_id))
    if not path.exists():
        yield None
        return
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_SQLITE_BUSY_SECONDS)
        ) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'event_logs'").fetchone()
            yield connection if known else None  # a file that Dagster is only just making has no table yet
    except sqlite3.Error as error:
        raise EnvironmentFault(
            f"The log of run {run_id or '(none)'} in {path} cannot be read: {error}.",
            next_step="check the file and its folder's permissions; Dagster reads it too",
        ) from None


def _shard_page(storage: Any, run_id: str, after: int) -> list[SourceRecord]:
    with _shard(storage, run_id) as connection:
        if connection is None:
            return []
        rows = connection.execute(
            "SELECT id, event FROM event_logs WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?",
            (run_id, after, PAGE_RECORDS),
        )
        return [SourceRecord(*row) for row in rows]


_SIZE_OF_SHARD: Final = "SELECT count(*), coalesce(max(id), 0) FROM event_logs WHERE run_id = ?"


def _shard_size(storage: Any, run_id: str) -> LogSize:
    size = _size_at_rest(str(storage.path_for_shard(run_id)), run_id)
    if size is not None:
        return size
    try:
        with _shard(storage, run_id) as connection:
            if connection is None:
                return LogSize(0, 0)
            return LogSize(*connection.execute(_SIZE_OF_SHARD, (run_id,)).fetchone())
    except EnvironmentFault:
        return LogSize(-1, -1)  # one damaged file must not hide the others; reading it says what is wrong


def _size_at_rest(path: str, run_id: str) -> LogSize | None:
    """Return the state of a run's file if nobody is writing it; `None` when that is not known.

    All of it is in the one file then, and SQLite need neither lock it nor map the index of its log, which is
    half of what opening it costs. A writer that comes and goes meanwhile changes the file's state.
    """
    before = _state_at_rest(path)
    if before is None:
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).as_uri()}?immutable=1", uri=True)) as connection:
            row = connection.execute(_SIZE_OF_SHARD, (run_id,)).fetchone()
    except sqlite3.Error:
        return None
    return LogSize(*row) if before == _state_at_rest(path) else None


def _state_at_rest(path: str) -> tuple[int, ...] | None:
    """Return what a write to a file changes, `None` when there is no such file or something waits beside it."""
    waiting = [size for beside in ("-wal", "-journal") if (size := _size_of(path + beside))]
    if waiting:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0


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


def _sizes_by_query(storage: Any, run_ids: Sequence[str]) -> dict[str, LogSize]:
    import sqlalchemy
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    table = SqlEventLogStorageTable.c
    query = (
        sqlalchemy.select(table.run_id, sqlalchemy.func.count(), sqlalchemy.func.max(table.id))
        .where(table.run_id.in_(run_ids))
        .group_by(table.run_id)
    )
    with storage.index_connection() as connection:
        found = {row[0]: LogSize(row[1], row[2]) for row in connection.execute(query)}
    return {run_id: found.get(run_id, LogSize(0, 0)) for run_id in run_ids}


def _object_page(instance: DagsterInstance, run_id: str, after: int) -> list[SourceRecord]:
    from dagster._core.event_api import EventLogCursor
    from dagster._serdes import serialize_value

    found = instance.event_log_storage.get_records_for_run(
        run_id, cursor=EventLogCursor.from_storage_id(after).to_string(), limit=PAGE_RECORDS, ascending=True
    )
    return [SourceRecord(r.storage_id, serialize_value(r.event_log_entry)) for r in found.records]


def _counted(instance: DagsterInstance, run_id: str) -> LogSize:
    ids = [record.storage_id for record in read_records(instance, run_id)]
    return LogSize(len(ids), max(ids, default=0))
