"""The log: a Delta Lake table of segments, append-only, each commit a compare-and-swap.

delta-rs does the commit protocol; the flushing it leaves out locally is done here. Delta's own log is
believed for *which files there are*, never for *what they hold*: that is what the Merkle tree is for.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from ledger.errors import IntegrityError
from ledger.segment import SCHEMA, Segment
from ledger.store import sync_file, sync_folder

_APP = "run-evidence-ledger"
_CONFIGURATION = {"delta.appendOnly": "true", "delta.checkpointInterval": "100"}


class CommitLostError(Exception):
    """A rival committed first; the caller reads the log again and starts over."""


@dataclass(frozen=True, slots=True)
class Log:
    """One version of the table: its segments in index order. Never changes once loaded."""

    folder: Path
    version: int
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """The number of entries sealed."""
        return self.segments[-1].end if self.segments else 0


def load(folder: Path) -> Log:
    """Load the newest version of the log; an empty one (version −1) where nothing was sealed yet.

    Raises `IntegrityError` when the table cannot be loaded or its segments leave a gap or overlap.
    """
    try:
        table = DeltaTable(folder)
    except TableNotFoundError:
        return Log(folder, -1, ())
    except (DeltaError, OSError) as error:
        raise IntegrityError(
            f"The log at {folder} cannot be loaded: {str(error).splitlines()[0][:300]}",
            next_step="ledger doctor",
        ) from None
    segments = sorted(_segments(folder, table), key=lambda s: s.first_index)
    log = Log(folder, table.version(), tuple(segments))
    _check_dense(log)
    return log


def _segments(folder: Path, table: DeltaTable) -> list[Segment]:
    found = []
    for row in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        path = (folder / unquote(row["path"])).resolve()
        if path.parent != folder.resolve():
            raise IntegrityError(f"The log refers to a file outside its folder: {row['path']!r}.")
        try:
            found.append(
                Segment(
                    path,
                    row["size_bytes"],
                    row["min.index"],
                    row["num_records"],
                    row["min.event_id"],
                    row["max.event_id"],
                )
            )
        except KeyError as error:
            raise IntegrityError(
                f"log/{path.name} was added without the statistic {error}; a ledger's own commits have it.",
                next_step="ledger verify",
            ) from None
    return found


def _check_dense(log: Log) -> None:
    expected = 0
    for segment in log.segments:
        if segment.first_index != expected:
            raise IntegrityError(
                f"log/{segment.path.name} starts at entry {segment.first_index}, expected {expected}: "
                "the table has lost or gained a segment.",
                next_step="ledger doctor",
            )
        expected = segment.end


def commit_append(log: Log, segment: Segment) -> None:
    """Add one segment behind version `log`; durable when it returns.

    Raises `CommitLostError` when anything was committed since `log` was loaded.
    """
    table = _table(log)
    stated = table.transaction_version(_APP) or 0
    if stated > log.size:
        # delta-rs accepts a repeated application version (#2580), so the look comes before the commit.
        raise CommitLostError
    _commit(log.folder, table, [_add(segment, data_change=True)], segment.end)


def commit_compaction(log: Log, merged: Segment, parts: Sequence[Segment]) -> None:
    """Replace adjacent segments by one with the same entries; raises `CommitLostError` like an append."""
    table = _table(log)
    removed = [
        RemoveAction(
            path=p.path.name,
            data_change=False,
            deletion_timestamp=int(time.time() * 1000),
            size=p.size_bytes,
            partition_values={},
        )
        for p in parts
    ]
    _commit(log.folder, table, [*removed, _add(merged, data_change=False)], log.size)


def _table(log: Log) -> DeltaTable:
    if log.version < 0:
        table = DeltaTable.create(log.folder, schema=SCHEMA, mode="ignore", configuration=_CONFIGURATION)
        _flush(log.folder, 0)
    else:
        table = DeltaTable(log.folder, version=log.version)
    if table.version() != max(log.version, 0):
        raise CommitLostError
    return table


def _add(segment: Segment, *, data_change: bool) -> AddAction:
    stats = {
        "numRecords": segment.count,
        "minValues": {"index": segment.first_index, "event_id": segment.min_event_id},
        "maxValues": {"index": segment.end - 1, "event_id": segment.max_event_id},
        "nullCount": {"index": 0, "event_id": 0},
    }
    modified = int(segment.path.stat().st_mtime * 1000)
    return AddAction(segment.path.name, segment.size_bytes, {}, modified, data_change, json.dumps(stats))


def _commit(folder: Path, table: DeltaTable, actions: list[AddAction | RemoveAction], size: int) -> None:
    properties = CommitProperties(max_commit_retries=0, app_transactions=[Transaction(_APP, size)])
    try:
        table.create_write_transaction(actions, mode="append", schema=SCHEMA, commit_properties=properties)
    except CommitFailedError:
        raise CommitLostError from None
    _flush(folder, table.version() + 1)


def _flush(folder: Path, version: int) -> None:
    """Flush what delta-rs wrote for this version: the commit, a Delta checkpoint if one was due, the folder."""
    commits = folder / "_delta_log"
    due = [
        commits / f"{version:020d}.json",
        commits / "_last_checkpoint",
        *commits.glob(f"{version:020d}.checkpoint*"),
    ]
    for path in due:
        with contextlib.suppress(FileNotFoundError):
            sync_file(path)
    sync_folder(commits)
