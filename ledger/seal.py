"""Sealing: the inbox becomes a segment with indexes, a longer Merkle tree and a checkpoint.

Whoever gets there seals; rivals are harmless, because only one of them wins the compare-and-swap and the
others read again. The order of steps makes a crash at any point leave the old state, or the new one and
something that the next seal cleans up:

1. list and read the inbox, 2. load the log (in this order: an object that vanished in between is in the
log), 3. drop what the log has, 4. write and flush a segment, 5. commit, 6. write the checkpoint,
7. remove what was sealed from the inbox.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ledger import inbox
from ledger.alarm import conflict_event
from ledger.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from ledger.errors import EnvironmentFault, IntegrityError
from ledger.event import Row, columns, encode
from ledger.layout import Layout
from ledger.log import CommitLostError, Log, commit_append, load
from ledger.lookup import sealed_digests
from ledger.merkle import Frontier, leaf_hash
from ledger.segment import new_path, read_frontier, rows_table, write
from ledger.store import create_exclusive, remove

MAX_SEGMENT_ENTRIES: Final = 100_000
_MAX_LOST_RACES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal did: `sealed` new entries, `duplicates` dropped, `alarms` raised, objects it refused."""

    size: int
    sealed: int
    duplicates: int
    alarms: int
    refused: tuple[str, ...]


@dataclass(slots=True)
class _Batch:
    """One pass over the inbox: the first of each event_id is `fresh`, others with another digest `rivals`."""

    objects: list[str] = field(default_factory=list)
    fresh: dict[str, Row] = field(default_factory=dict)
    rivals: list[tuple[str, bytes]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    read: int = 0


def seal(layout: Layout, origin: str, clock: Callable[[], int]) -> Sealed:
    """Seal everything in the inbox; returns when it is empty or holds only what is refused.

    `clock` gives microseconds (for the alarms a seal may raise). Safe to run from many processes at once.
    Raises `IntegrityError` when the log's own state contradicts itself; the inbox is then left as it is.
    """
    sealed = duplicates = alarms = 0
    lost_races = 0
    while True:
        batch = _read_batch(layout)
        log = load(layout.log)
        alarms_raised = _alarms(log, batch, _drop_known(log, batch), clock())
        rows = [*batch.fresh.values(), *alarms_raised]
        try:
            frontier = _commit(log, rows) if rows else _frontier(log)
        except CommitLostError:
            lost_races += 1
            if lost_races > _MAX_LOST_RACES:
                raise EnvironmentFault(
                    f"Lost {lost_races} commits to other sealers in a row; nothing was lost, the inbox is kept.",
                    next_step="stop some of the processes that seal, then: ledger seal",
                ) from None
            continue
        _write_checkpoint(layout, origin, frontier)
        inbox.discard(layout, batch.objects)
        sealed += len(rows)
        alarms += len(alarms_raised)
        duplicates += batch.read - len(batch.fresh)
        if not batch.objects:
            return Sealed(frontier.size, sealed, duplicates, alarms, tuple(batch.refused))


def _read_batch(layout: Layout) -> _Batch:
    batch = _Batch()
    for name in inbox.names(layout):
        if batch.read >= MAX_SEGMENT_ENTRIES:
            break
        try:
            item = inbox.read(layout, name)
            if item is not None:
                _take(batch, item.name, _rows(item))
        except IntegrityError as error:
            batch.refused.append(str(error))
    return batch


def _rows(item: inbox.InboxObject) -> list[Row]:
    rows = []
    for line, entry in enumerate(item.entries, start=1):
        try:
            rows.append(columns(entry))
        except IntegrityError as error:
            raise IntegrityError(f"inbox/{item.name} line {line}: {error}") from None
    return rows


def _take(batch: _Batch, name: str, rows: list[Row]) -> None:
    for row in rows:
        first = batch.fresh.setdefault(row.event_id, row)
        if first.source_digest != row.source_digest:
            batch.rivals.append((first.source_digest, row.entry))
    batch.objects.append(name)
    batch.read += len(rows)


def _drop_known(log: Log, batch: _Batch) -> list[tuple[str, bytes]]:
    """Drop what is sealed; return (recorded digest, entry) for what contradicts what is recorded."""
    conflicts = list(batch.rivals)
    for event_id, digest in sealed_digests(log, batch.fresh.keys()).items():
        row = batch.fresh.pop(event_id)
        if row.source_digest != digest:
            conflicts.append((digest, row.entry))
    return conflicts


def _alarms(log: Log, batch: _Batch, conflicts: list[tuple[str, bytes]], now: int) -> list[Row]:
    raised = {}
    for digest, entry in conflicts:
        alarm = columns(encode(conflict_event(digest, entry), now).entry)
        raised[alarm.event_id] = alarm
    known = sealed_digests(log, raised.keys())
    return [row for event_id, row in raised.items() if event_id not in known and event_id not in batch.fresh]


def _commit(log: Log, rows: list[Row]) -> Frontier:
    frontier = _frontier(log).extend([leaf_hash(row.entry) for row in rows])
    path = new_path(log.folder, log.size, len(rows))
    segment = write(path, rows_table(rows, log.size), frontier)
    try:
        commit_append(log, segment)
    except CommitLostError:
        remove(path)
        raise
    return frontier


def _frontier(log: Log) -> Frontier:
    return read_frontier(log.segments[-1]) if log.segments else Frontier.empty()


def _write_checkpoint(layout: Layout, origin: str, frontier: Frontier) -> None:
    """Write the tree head of this size; one that is there already must say the same.

    This is also where a seal notices that the log's newest segment was exchanged since the last one.
    """
    if frontier.size == 0:
        return
    head = Checkpoint(origin, frontier.size, frontier.root())
    path = layout.checkpoint(frontier.size)
    try:
        create_exclusive(path, format_checkpoint(head).encode())
    except FileExistsError:
        stated = parse_checkpoint(path.read_text(encoding="utf-8", errors="replace"))
        if stated != head:
            raise IntegrityError(
                f"checkpoints/{path.name} states {stated.origin}, {stated.size} entries, root {stated.root.hex()}; "
                f"calculated {head.origin}, {head.size} entries, root {head.root.hex()}.",
                next_step="ledger verify",
            ) from None
