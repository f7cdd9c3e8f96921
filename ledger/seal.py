"""Sealing: the inbox becomes a segment with indexes, a longer Merkle tree and a checkpoint.

Whoever gets there seals; rivals are harmless, because only one of them wins the compare-and-swap and the
others look again. The order of steps makes a crash at any point leave the old state, or the new one and
something that the next seal cleans up:

1. list and read the inbox, 2. load the log (in this order: an object that vanished in between is in the
log), 3. drop what the log has, 4. write and flush a segment, 5. commit, 6. write the checkpoint,
7. remove what was sealed from the inbox.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ledger import inbox
from ledger.alarm import conflict_event
from ledger.batch import Batch, Entries, batches, entries_of, join
from ledger.checkpoint import Checkpoint
from ledger.commit import CommitLostError, commit_append
from ledger.errors import EnvironmentFault
from ledger.event import Key, Row, columns, encode
from ledger.heads import read_head
from ledger.keys import Signer, format_vkey
from ledger.layout import Layout
from ledger.log import Log, open_log
from ledger.lookup import sealed_digests
from ledger.merkle import Frontier, leaf_hash
from ledger.rows import indexed, table
from ledger.segment import read_frontier, write
from ledger.signing import require_agreement, write_head
from ledger.store import remove
from ledger.tile_cache import TileCache

_MAX_LOST_RACES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal did: `sealed` new entries, `duplicates` dropped, `alarms` raised, objects it refused.

    `signed_by` is the verifier key it signed with, `unwitnessed` names the witnesses that did not cosign.
    """

    size: int
    sealed: int
    duplicates: int
    alarms: int
    refused: tuple[str, ...]
    signed_by: str | None = None
    unwitnessed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _New:
    """What a batch has that the log has not: entries, and the alarms for what contradicts what is recorded."""

    entries: Entries
    alarms: Entries
    conflicts: int


def seal(layout: Layout, origin: str, clock: Callable[[], int], signer: Signer | None = None) -> Sealed:
    """Seal everything that is in the inbox now, but what is refused; what is appended meanwhile may wait.

    `clock` gives microseconds (for the alarms a seal may raise). `signer` signs the newest head, also when
    nothing new has come. Safe to run from many processes at once.
    Raises `IntegrityError` when the log's own state contradicts itself; the inbox is then left as it is.
    """
    size = sealed = duplicates = alarms = 0
    refused: list[str] = []
    for batch in batches(layout, refused):
        size, new = _seal_batch(layout, origin, batch, clock(), signer)
        sealed += len(new.entries) + len(new.alarms)
        alarms += len(new.alarms)
        duplicates += len(batch.read) - len(new.entries) - new.conflicts
    signed_by = format_vkey(signer.verifier()) if signer and size else None
    return Sealed(size, sealed, duplicates, alarms, tuple(refused), signed_by)


def _seal_batch(layout: Layout, origin: str, batch: Batch, now: int, signer: Signer | None) -> tuple[int, _New]:
    """Seal one batch; return the size of the log and what was new."""
    for _ in range(_MAX_LOST_RACES):
        log = open_log(layout)
        new = _new(layout, log, batch, now)
        rows = join([new.entries, new.alarms]) if len(new.alarms) else new.entries
        before = _frontier(layout, origin, log)
        try:
            frontier = _commit(layout, log, before, rows) if len(rows) else before
        except CommitLostError:
            continue
        if frontier.size:
            write_head(layout, Checkpoint(origin, frontier.size, frontier.root()), signer)
        inbox.discard(layout, batch.objects)
        return frontier.size, new
    raise EnvironmentFault(
        f"Lost {_MAX_LOST_RACES} commits to other sealers in a row; nothing was lost, the inbox is kept.",
        next_step="stop some of the processes that seal, then: ledger seal",
    )


def _new(layout: Layout, log: Log, batch: Batch, now: int) -> _New:
    """Drop what is sealed; of entries under one key the one that is recorded counts, else the first."""
    recorded = sealed_digests(log, set(batch.read.keys))
    fresh: list[bool] = []
    conflicts: dict[tuple[Key, str], tuple[str, bytes]] = {}
    for key, digest, entry in zip(batch.read.keys, batch.read.digests, batch.read.bytes, strict=True):
        known = recorded.get(key)
        fresh.append(known is None)
        if known is None:
            recorded[key] = digest
        elif known != digest:
            conflicts[key, digest] = known, entry
    alarms = _alarms(layout, log, list(conflicts.values()), now, recorded)
    return _New(batch.read if all(fresh) else batch.read.only(fresh), alarms, len(conflicts))


def _alarms(
    layout: Layout, log: Log, conflicts: list[tuple[str, bytes]], now: int, recorded: Collection[Key]
) -> Entries:
    """Make an alarm of each conflict, but for those that are in the log, or have arrived, already."""
    rows = {row.key: row for row in (_alarm(layout, digest, entry, now) for digest, entry in conflicts)}
    known = sealed_digests(log, rows.keys())
    return entries_of(table([row for key, row in rows.items() if key not in known and key not in recorded]))


def _alarm(layout: Layout, recorded_digest: str, rejected: bytes, now: int) -> Row:
    encoded = encode(conflict_event(recorded_digest, rejected), now)
    inbox.keep_blob(layout, encoded)
    return columns(encoded.entry)


def _commit(layout: Layout, log: Log, before: Frontier, new: Entries) -> Frontier:
    with ThreadPoolExecutor(1) as beside:  # compressing lets others run, so the tree grows meanwhile
        growing = beside.submit(_grown, before, new.bytes)
        segment = write(log.folder, [indexed(new.table, log.size)], lambda: growing.result()[1])
    leaves, frontier = growing.result()
    try:
        commit_append(log, segment)
    except CommitLostError:
        remove(segment.path)
        raise
    with contextlib.suppress(OSError):  # the tiles are a cache: whoever needs them makes them again
        TileCache(layout).extend(before, leaves)
    return frontier


def _grown(before: Frontier, entries: Sequence[bytes]) -> tuple[list[bytes], Frontier]:
    leaves = list(map(leaf_hash, entries))
    return leaves, before.extend(leaves)


def _frontier(layout: Layout, origin: str, log: Log) -> Frontier:
    """Return the tree of the whole log, as its last segment states it and, if there is one, its checkpoint.

    This is where a seal notices that the newest segment was exchanged, and does not build on it.
    """
    frontier = read_frontier(log.segments[-1]) if log.segments else Frontier.empty()
    require_agreement(read_head(layout, frontier.size), Checkpoint(origin, frontier.size, frontier.root()))
    return frontier
