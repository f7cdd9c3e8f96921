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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Final

import pyarrow as pa

from run_evidence.ledger.errors import EnvironmentFault
from run_evidence.ledger.model.conflict import conflict_event
from run_evidence.ledger.model.event import Key, Row, decode_entry, encode
from run_evidence.ledger.sealing.batch import Entries, entries_of, inbox_batches
from run_evidence.ledger.sealing.signing import (
    NoMemoryError,
    last_signed,
    require_agreement,
    require_length,
    write_checkpoint,
)
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.checkpoints import checkpoint_sizes, read_checkpoint
from run_evidence.ledger.storage.commit import CommitLostError, commit_append
from run_evidence.ledger.storage.keyring import LogSigner
from run_evidence.ledger.storage.log import Log, open_log
from run_evidence.ledger.storage.rows import indexed, table, views
from run_evidence.ledger.storage.search import sealed_digests
from run_evidence.ledger.storage.segment import discard, stated_frontier, write
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.storage.tile_cache import GrowingTiles, TileCache
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.merkle import Frontier, leaf_hashes

_MAX_LOST_RACES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal did: `sealed` new entries, `duplicates` dropped, `alarms` raised, objects it refused.

    `signed_by` is the verifier key it signed with; `unsigned` says why a key that is there did not sign, and what
    to do. `newer` are objects of a later program, left for it. `unwitnessed` names the witnesses that did not
    cosign, `contradicted` those that know another history.
    """

    size: int
    sealed: int
    duplicates: int
    alarms: int
    refused: tuple[str, ...]
    signed_by: str | None = None
    unwitnessed: tuple[str, ...] = ()
    contradicted: tuple[str, ...] = ()
    unsigned: tuple[str, str] | None = None
    newer: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """What a person has to know of: a word, and the sentence that goes with it."""
        alarms = f"{self.alarms} records read differently at their source now"
        return (
            *(("refused", each) for each in self.refused),
            *(("newer", each) for each in self.newer),
            *((("altered at the source", alarms),) if self.alarms else ()),
            *((("not signed", self.unsigned[0]),) if self.unsigned else ()),
            *(("not cosigned", each) for each in self.unwitnessed),
            *(("contradicted", each) for each in self.contradicted),
        )

    @property
    def next_step(self) -> str | None:
        """The way on from the worst of the problems that have one."""
        if self.contradicted:
            return "the log was cut or rewritten: compare it with a copy, and keep this state as evidence"
        if self.newer:
            return "upgrade run-evidence-ledger, then: ledger seal"
        return self.unsigned[1] if self.unsigned else None

    @property
    def exit_code(self) -> int:
        """The command line's: 3 where the history is in doubt, 4 where something of the environment is missing."""
        if self.refused or self.alarms or self.contradicted:
            return 3
        return 4 if self.newer or self.unwitnessed or self.unsigned else 0


def seal(store: Store, origin: str, clock: Callable[[], int], signer: LogSigner | None = None) -> Sealed:
    """Seal everything that is in the inbox now, but what is refused; what is appended meanwhile may wait.

    `clock` gives microseconds (for the alarms a seal may raise). `signer` signs the newest checkpoint, also when
    nothing new has come. Safe to run from many processes at once.
    Raises `IntegrityError` when the log's own state contradicts itself; the inbox is then left as it is.
    """
    names = inbox.names(store)
    done: list[_Intake] = []
    with ThreadPoolExecutor(1) as clearing:  # what one segment took goes while the next one is sealed
        while not done or names:
            done.append(_seal_segment(store, origin, names, clock(), signer))
            names = names[done[-1].taken :]
            cleared = clearing.submit(inbox.discard, store, done[-1].objects)
        cleared.result()
    size, unsigned = done[-1].tree.size, done[-1].unsigned
    return Sealed(
        size,
        sum(part.sealed for part in done),
        sum(part.duplicates for part in done),
        sum(part.alarms for part in done),
        tuple(problem for part in done for problem in part.refused),
        format_vkey(signer.key.verifier()) if signer and size and not unsigned else None,
        unsigned=unsigned,
        newer=tuple(problem for part in done for problem in part.newer),
    )


def _seal_segment(store: Store, origin: str, names: Sequence[str], now: int, signer: LogSigner | None) -> _Intake:
    """Seal the first of these objects, as many as make a segment; return what became of them."""
    known: dict[Key, str] = {}
    for _ in range(_MAX_LOST_RACES):
        last = last_signed(signer, origin) if signer else None  # before the log: another sealer may add to both
        log = open_log(store)
        _require_own(log)
        if signer is not None:
            require_length(log.size, last, signer)  # nothing is added to a log that was cut
        _write_missing_checkpoints(store, origin, log, signer)
        intake = _Intake(store, log, _frontier(store, origin, log), now, known)
        try:
            _commit(store, log, intake, intake.rows(names))
        except CommitLostError:
            continue
        except _SealedBeforeError as error:
            known |= error.digests  # what is sealed stays sealed
            continue
        frontier = intake.tree.frontier()
        if frontier.size:
            try:
                write_checkpoint(store, Checkpoint(origin, frontier.size, frontier.root()), signer)
            except NoMemoryError as error:  # sealed all the same, as by a process without the key
                intake.unsigned = str(error), str(error.next_step)
        return intake
    raise EnvironmentFault(
        f"Lost {_MAX_LOST_RACES} commits to other sealers in a row; nothing was lost, the inbox is kept.",
        next_step="stop some of the processes that seal, then: ledger seal",
    )


class _SealedBeforeError(Exception):
    """Some of what was taken for new is in the log: {key: source_digest}."""

    def __init__(self, digests: dict[Key, str]) -> None:
        super().__init__(f"{len(digests)} entries were sealed before")
        self.digests = digests


class _Intake:
    """What a log gets from the inbox: rows that it does not have, in order, and a tree that grows by them."""

    def __init__(self, store: Store, log: Log, before: Frontier, now: int, known: Mapping[Key, str]) -> None:
        self.tree = GrowingTiles(TileCache(store), before)
        self.taken = self.sealed = self.duplicates = self.alarms = 0
        self.objects: list[str] = []
        self.refused: list[str] = []
        self.newer: list[str] = []
        self.unsigned: tuple[str, str] | None = None
        self._store = store
        self._log = log
        self._now = now
        self._known = known
        self._digests = dict(known)
        self._conflicts: dict[tuple[Key, str], tuple[str, bytes]] = {}

    def rows(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows that become a segment, those of alarms last.

        Whether they are new to the log is asked at the end, once for all of them: in a log of ten million entries
        that takes as long as sealing 50,000. Raises `_SealedBeforeError` when some are not, which is seldom.
        """
        for piece in inbox_batches(self._store, names):
            self.taken += piece.taken
            self.objects += piece.objects
            self.refused += piece.refused
            self.newer += piece.newer
            yield self._grown_by(self._new(piece.read))
        if sealed := sealed_digests(self._log, self._digests.keys() - self._known.keys()):
            raise _SealedBeforeError(sealed)
        alarms = self._raised()
        self.alarms = len(alarms)
        yield self._grown_by(alarms)

    def _new(self, read: Entries) -> Entries:
        """Drop what is sealed; of entries under one key the one that is recorded counts, else the first."""
        keys = set(read.keys)
        if len(keys) == len(read) and keys.isdisjoint(self._digests):
            self._digests.update(zip(read.keys, read.digests, strict=True))
            return read
        fresh: list[bool] = []
        for number, (key, digest) in enumerate(zip(read.keys, read.digests, strict=True)):
            known = self._digests.get(key)
            fresh.append(known is None)
            if known is None:
                self._digests[key] = digest
            elif known == digest or (key, digest) in self._conflicts:
                self.duplicates += 1
            else:
                self._conflicts[key, digest] = known, read.table.column("entry")[number].as_py()
        return read.only(fresh)

    def _raised(self) -> Entries:
        """Make an alarm of each conflict, but for those that are in the log, or have arrived, already."""
        alarms = (self._alarm(digest, entry) for digest, entry in self._conflicts.values())
        rows = {row.key: row for row in alarms}
        known = sealed_digests(self._log, rows.keys())
        return entries_of(
            table([row for key, row in rows.items() if key not in known and key not in self._digests])
        )

    def _alarm(self, recorded_digest: str, rejected: bytes) -> Row:
        encoded = encode(conflict_event(recorded_digest, rejected), self._now)
        inbox.keep_blob(self._store, encoded)
        return decode_entry(encoded.entry)

    def _grown_by(self, new: Entries) -> pa.Table:
        first_index = self.tree.size
        for entries in new.table.column("entry").chunks:
            self.tree.grow(leaf_hashes(views(entries)))
        self.sealed += len(new)
        return indexed(new.table, first_index)


def _commit(store: Store, log: Log, intake: _Intake, rows: Iterator[pa.Table]) -> None:
    """Write and commit a segment of these rows; none where there are none."""
    first = next(filter(len, rows), None)
    if first is None:
        return
    segment = write(store, chain([first], rows), intake.tree.frontier)
    try:
        commit_append(log, segment)
    except CommitLostError:
        discard([segment])
        raise
    with contextlib.suppress(OSError):  # the tiles are a cache: whoever needs them makes them again
        intake.tree.keep()


def _require_own(log: Log) -> None:
    """Pass if all files of the log are segments: nothing is put behind what another tool wrote."""
    if log.foreign:
        raise EnvironmentFault(
            f"Another tool has rewritten files of the log, as an OPTIMIZE does: log/{log.foreign[0]}"
            + (f" and {len(log.foreign) - 1} more" if len(log.foreign) > 1 else "")
            + ". Nothing was sealed, the inbox is kept.",
            next_step="ledger compact, which checks them and writes them again; docs/operations.md",
        )


def _write_missing_checkpoints(store: Store, origin: str, log: Log, signer: LogSigner | None) -> None:
    """Write the checkpoints that are missing at the ends of segments, because a seal died before it wrote one.

    So only the newest segment can ever be without one, and any other that is missing was deleted. Signed where
    there is a key: the seal may be another one that is at work, and a checkpoint is never seen without its
    signature.
    """
    missing = {segment.end: segment for segment in log.segments}.keys() - set(checkpoint_sizes(store))
    for segment in log.segments:
        if segment.end in missing:
            frontier = stated_frontier(segment)
            with contextlib.suppress(NoMemoryError):  # said of the newest checkpoint
                write_checkpoint(store, Checkpoint(origin, frontier.size, frontier.root()), signer)


def _frontier(store: Store, origin: str, log: Log) -> Frontier:
    """Return the tree of the whole log, as its last segment states it and, if there is one, its checkpoint.

    This is where a seal notices that the newest segment was exchanged, and does not build on it.
    """
    frontier = stated_frontier(log.segments[-1]) if log.segments else Frontier.empty()
    require_agreement(read_checkpoint(store, frontier.size), Checkpoint(origin, frontier.size, frontier.root()))
    return frontier
