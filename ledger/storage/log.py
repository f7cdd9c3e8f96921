"""The log: a Delta Lake table of segments, append-only. Here it is read; `ledger.storage.commit` adds to it.

Delta's own log is believed for *which files there are*, never for *what they hold*: that is what the Merkle
tree is for. Nothing here opens a segment, so a query does not pay for Arrow to learn what there is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError
from run_evidence.ledger.model.schema import VERSION
from run_evidence.ledger.storage.faults import read_fault
from run_evidence.ledger.storage.layout import CHECKPOINTS, LOG, is_checkpoint_name, is_segment_name
from run_evidence.ledger.storage.store import Store

APP: Final = "run-evidence-ledger"
"""Under this name each commit states the size of the log in a Delta transaction."""

ADDED: Final = "ledger.schema"
"""In the metadata of a column of the table: the schema version that added it; absent of those of version 1."""

_COMMITTED: Final = re.compile(r"[0-9]{20}\.(?:json$|checkpoint)")
"""A commit, or a Delta checkpoint of some, in `_delta_log`."""

_STATED: Final = ("path", "size_bytes", "min.index", "num_records", "min.event_id", "max.event_id")


@dataclass(frozen=True, slots=True)
class Segment:
    """One committed file of the log: entries `first_index` … `first_index + count − 1`."""

    path: Path
    size_bytes: int
    first_index: int
    count: int
    min_event_id: str
    max_event_id: str

    @property
    def name(self) -> str:
        """The file's name in the table's folder."""
        return self.path.name

    @property
    def is_gone(self) -> bool:
        """Whether the file is there no more."""
        return not self.path.exists()

    @property
    def end(self) -> int:
        """The index after the last entry."""
        return self.first_index + self.count


@dataclass(frozen=True, slots=True)
class Log:
    """One version of the table: its segments in index order. Never changes once loaded.

    `table` is Delta's own handle on that version, for whoever commits behind it; `None` before the first commit.
    """

    folder: Path
    version: int
    segments: tuple[Segment, ...]
    table: DeltaTable | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """The number of entries sealed."""
        return self.segments[-1].end if self.segments else 0

    @property
    def foreign(self) -> tuple[str, ...]:
        """The names of files that another tool put in the place of segments, as an OPTIMIZE does."""
        return tuple(s.name for s in self.segments if not is_segment_name(s.name))


@dataclass(frozen=True, slots=True)
class StatedFile:
    """A file that Delta's log names. `segment` is `None` where another tool wrote it."""

    path: Path
    size_bytes: int
    segment: Segment | None


@dataclass(frozen=True, slots=True)
class StatedLog:
    """What Delta's log says, believed for nothing: its files, and the size of the log by our last commit."""

    table: DeltaTable
    files: tuple[StatedFile, ...]
    size: int


def stated_files(store: Store) -> StatedLog | None:
    """Read what Delta's log says where `load` may refuse it, because another tool wrote to the table.

    `None` where nothing was committed yet.

    Raises: what `load` raises for a table that cannot be read, or names files elsewhere.
    """
    folder = store.path(LOG)
    try:
        if not _has_commits(folder / "_delta_log"):
            return None
        table = DeltaTable(folder)
        _require_known(folder, table)
        rows = _add_actions(table)
        files = []
        for name, size_bytes, *stated in rows:
            path = _inside(folder, name)
            own = is_segment_name(path.name) and all(value is not None for value in stated)
            files.append(StatedFile(path, size_bytes, Segment(path, size_bytes, *stated) if own else None))
        return StatedLog(table, tuple(files), table.transaction_version(APP) or 0)
    except (DeltaError, OSError, ValueError) as error:
        raise read_fault(f"The log at {folder} cannot be loaded", error, "ledger doctor") from None


def open_log(store: Store) -> Log:
    """Load the newest version of a ledger's log, and see that it reaches as far as its checkpoints say.

    Raises `IntegrityError` when it does not, or what `load` raises.
    """
    sealed = _newest_checkpoint(store)  # before the log: a checkpoint is written after the commit it is about
    log = load(store)
    if log.size < sealed:
        raise IntegrityError(
            f"The log at {log.folder} has {log.size} entries, a checkpoint is of {sealed}: entries were removed.",
            next_step="ledger verify, then restore log/ from a copy of the ledger",
        )
    return log


def _newest_checkpoint(store: Store) -> int:
    return max((int(name) for name in store.names(CHECKPOINTS) if is_checkpoint_name(name)), default=0)


def load(store: Store) -> Log:
    """Load the newest version of the log; an empty one (version −1) where nothing was sealed yet.

    Raises `IntegrityError` when the table cannot be loaded, was written to by something else, or its
    segments leave a gap or overlap; `EnvironmentFault` when the machine cannot read it.
    """
    folder = store.path(LOG)
    try:
        if not _has_commits(folder / "_delta_log"):
            return Log(folder, -1, ())
        table = DeltaTable(folder)
        _require_known(folder, table)
        found = _segments(folder, table)
        stated = table.transaction_version(APP) or 0
    except TableNotFoundError:
        return Log(folder, -1, ())
    except (DeltaError, OSError, ValueError) as error:
        raise read_fault(f"The log at {folder} cannot be loaded", error, "ledger doctor") from None
    segments = tuple(sorted(found, key=lambda s: (s.first_index, s.count)))
    log = Log(folder, table.version(), segments, table)
    _check_dense(log)
    if stated != log.size:
        raise IntegrityError(
            f"The log at {folder} states {stated} entries and has {log.size}: something else wrote to it.",
            next_step="ledger doctor",
        )
    return log


def _require_known(folder: Path, table: DeltaTable) -> None:
    """Pass if the table has no column of a schema version that this program does not know.

    A query reads files without looking into their footers for the version, so it has to be known here.
    """
    stated = [str(field.metadata[ADDED]) for field in table.schema().fields if ADDED in field.metadata]
    newest = max((int(version) for version in stated if version.isdecimal()), default=1)
    if newest > VERSION:
        raise NewerSchemaError(f"The log at {folder}", newest, VERSION)


def log_state(store: Store) -> tuple[object, ...]:
    """Return what is another value whenever something was committed, or a checkpoint written, without loading it.

    Raises: what `load` raises for a folder of commits that has something else in it.
    """
    newest = max(_commits(store.path(LOG) / "_delta_log"), key=lambda item: item.name, default=None)
    if newest is None:
        return ()
    stat = newest.stat(follow_symlinks=False)
    return newest.name, stat.st_ino, stat.st_mtime_ns, stat.st_size, _newest_checkpoint(store)


def files_state(paths: Iterable[str]) -> tuple[object, ...]:
    """Return what is another value when a file was written to, exchanged or removed; a file takes a microsecond."""
    found: list[object] = []
    for path in paths:
        try:
            stat = Path(path).stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _has_commits(folder: Path) -> bool:
    """Return whether anything was committed: the folder may be there before its first commit is."""
    return bool(_commits(folder))


def _commits(folder: Path) -> list[os.DirEntry[str]]:
    """Return the files of commits.

    Raises: IntegrityError where there is something else than files and folders, for delta-rs would wait for a pipe
    without end.
    """
    try:
        with os.scandir(folder) as found:
            items = list(found)
    except FileNotFoundError:
        return []
    odd = [item.name for item in items if not (item.is_file(follow_symlinks=False) or item.is_dir())]
    if odd:
        raise IntegrityError(f"log/_delta_log/{min(odd)} is no regular file.", next_step="ledger doctor")
    return [item for item in items if _COMMITTED.match(item.name)]


def _segments(folder: Path, table: DeltaTable) -> list[Segment]:
    return [_segment(folder, *row) for row in _add_actions(table)]


def _add_actions(table: DeltaTable) -> list[tuple[Any, ...]]:
    """Return `_STATED` of each file the table has now; `None` for what is not stated."""
    actions = table.get_add_actions(flatten=True)
    if not actions.num_rows:
        return []
    stated = [
        actions.column(name).to_pylist() if name in actions.column_names else [None] * actions.num_rows
        for name in _STATED
    ]
    return list(zip(*stated, strict=True))


def _segment(folder: Path, name: str, *stated: Any) -> Segment:
    """Make a segment of what Delta states about a file; a ledger's own commits state all of it."""
    path = _inside(folder, name)
    wanted = (int, int, int, str, str)
    if not all(isinstance(value, kind) for value, kind in zip(stated, wanted, strict=True)):
        raise IntegrityError(
            f"log/{path.name} was added without the statistics of a ledger's own commits: something else wrote "
            "to the table.",
            next_step="ledger compact",
        )
    return Segment(path, *stated)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file that Delta's log names; it lies in the log's folder and is no link."""
    path = folder / unquote(name)
    if path.parent != folder or path.is_symlink():
        raise IntegrityError(f"The log refers to a file outside its folder: {name!r}.", next_step="ledger doctor")
    if path.exists() and not path.is_file():
        raise IntegrityError(f"log/{path.name} is no regular file.", next_step="ledger doctor")
    return path


def _check_dense(log: Log) -> None:
    expected = 0
    for segment in log.segments:
        if segment.first_index != expected or segment.count < 1:
            raise IntegrityError(
                f"log/{segment.name} has {segment.count} entries from {segment.first_index}, expected more "
                f"from {expected}: the table has lost or gained a segment.",
                next_step="ledger doctor",
            )
        expected = segment.end
