"""Committing to the log: each commit is a compare-and-swap, durable when it returns.

delta-rs does the commit protocol; the flushing it leaves out locally is done here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from run_evidence.ledger.model.schema import ADDED_IN, STATED
from run_evidence.ledger.storage.files import share_as_parent, sync_file, sync_folder
from run_evidence.ledger.storage.log import ADDED, APP, Log, Segment, StatedLog
from run_evidence.ledger.storage.rows import SCHEMA

_LATER: Final = {name: str(ADDED_IN.get(name, 2)) for name in (STATED, *ADDED_IN) if ADDED_IN}
"""{column: the version that added it}, for those that a table of version 1 does not have."""

_CONFIGURATION: Final = {"delta.appendOnly": "true", "delta.checkpointInterval": "100"}


class CommitLostError(Exception):
    """A rival committed first; the caller reads the log again and starts over."""


def commit_append(log: Log, segment: Segment) -> None:
    """Add one segment behind version `log`; durable when it returns.

    Raises `CommitLostError` when anything was committed since `log` was loaded.
    """
    _commit(log, [_add(segment, data_change=True)], segment.end)


def commit_compaction(log: Log, merged: Segment, parts: Sequence[Segment]) -> None:
    """Replace adjacent segments by one with the same entries; raises `CommitLostError` like an append."""
    removed = [_remove(part.name, part.size_bytes) for part in parts]
    _commit(log, [*removed, _add(merged, data_change=False)], log.size)


def commit_exchange(stated: StatedLog, added: Sequence[Segment], removed: Sequence[Path]) -> None:
    """Put segments in the place of files that another tool wrote; raises `CommitLostError` like an append."""
    gone = [_remove(file.path.name, file.size_bytes) for file in stated.files if file.path in set(removed)]
    log = Log(stated.files[0].path.parent, stated.table.version(), (), stated.table)
    _commit(log, [*gone, *(_add(segment, data_change=False) for segment in added)], stated.size)


def _remove(name: str, size_bytes: int) -> RemoveAction:
    return RemoveAction(
        path=name,
        data_change=False,
        deletion_timestamp=int(time.time() * 1000),
        size=size_bytes,
        partition_values={},
    )


def _add(segment: Segment, *, data_change: bool) -> AddAction:
    stats = {
        "numRecords": segment.count,
        "minValues": {"index": segment.first_index, "event_id": segment.min_event_id},
        "maxValues": {"index": segment.end - 1, "event_id": segment.max_event_id},
        "nullCount": {"index": 0, "event_id": 0},
    }
    modified = int(segment.path.stat().st_mtime * 1000)
    return AddAction(segment.name, segment.size_bytes, {}, modified, data_change, json.dumps(stats))


def _commit(log: Log, actions: list[AddAction | RemoveAction], size: int) -> None:
    """Commit as the version after `log`, or not at all: with no retries, delta-rs tries that version only."""
    table = _table(log)
    properties = CommitProperties(max_commit_retries=0, app_transactions=[Transaction(APP, size)])
    try:
        _widen(log, table)
        version = table.version() + 1
        table.create_write_transaction(actions, mode="append", schema=SCHEMA, commit_properties=properties)
    except CommitFailedError:
        raise CommitLostError from None
    _flush(log.folder, version)


def _widen(log: Log, table: DeltaTable) -> None:
    """Give a table of an older schema version the columns it does not have, in a commit of its own.

    A crash after it leaves columns that no file has, which is what every file of the older version looks like.
    """
    there = {field.name for field in table.schema().fields}
    missing = [field for field in _delta_schema().fields if field.name not in there]
    if missing:
        table.alter.add_columns(missing, commit_properties=CommitProperties(max_commit_retries=0))
        _flush(log.folder, table.version())


def _delta_schema() -> Schema:
    fields = (f.with_metadata({ADDED: _LATER[f.name]}) if f.name in _LATER else f for f in SCHEMA)
    return Schema.from_arrow(pa.schema(fields))


def _table(log: Log) -> DeltaTable:
    """Return the table at the version of `log`, or make it."""
    if log.table is not None:
        return log.table
    try:
        table = DeltaTable.create(log.folder, schema=_delta_schema(), mode="ignore", configuration=_CONFIGURATION)
    except CommitFailedError:
        raise CommitLostError from None
    if table.version() != 0:  # a rival made it and has gone on
        raise CommitLostError
    share_as_parent(log.folder / "_delta_log")
    _flush(log.folder, 0)
    sync_folder(log.folder)  # the name of `_delta_log` itself
    return table


def _flush(folder: Path, version: int) -> None:
    """Flush what delta-rs wrote for this version: the commit, a Delta checkpoint if one was due, the folder."""
    commits = folder / "_delta_log"
    sync_file(commits / f"{version:020d}.json")
    checkpoints = [*commits.glob(f"{version:020d}.checkpoint*")]
    for path in [*checkpoints, commits / "_last_checkpoint"] if checkpoints else []:
        sync_file(path)
    sync_folder(commits)
