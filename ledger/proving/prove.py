"""Making proofs: for one event, for a run, for what a document rests on.

Entries come from the segments, hashes from the tile cache. Whatever comes out was checked against the tree
checkpoint first, so a damaged cache costs time and never gives a wrong proof.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.model.document import recorded_documents
from run_evidence.ledger.proving.check_document import named_checkpoint, objects_in, read_document
from run_evidence.ledger.storage.checkpoints import newest_checkpoint, read_checkpoint
from run_evidence.ledger.storage.consistency import prove_extension
from run_evidence.ledger.storage.inclusion import AuditPaths
from run_evidence.ledger.storage.search import answer, memory_database, sql_text
from run_evidence.ledger.storage.tile_cache import TileCache
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint
from run_evidence.ledger.tlog.merkle import leaf_hash
from run_evidence.ledger.tlog.proof_file import MARK_DIGITS, ConsistencyProof, Inclusion, ProofFile

if TYPE_CHECKING:
    import duckdb

    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.storage.log import Log
    from run_evidence.ledger.storage.store import Store

_DERIVATIONS = frozenset({"outcomes.derived.v1", "run.closed.v1", "run.reopened.v1"})


@dataclass(frozen=True, slots=True)
class Prover:
    """A ledger's log open for proving under one checkpoint; make it with `open_prover`."""

    store: Store
    log: Log
    head: StoredCheckpoint
    connection: duckdb.DuckDBPyConnection

    @property
    def size(self) -> int:
        """The number of entries under the head."""
        return self.head.checkpoint.size

    def prove_event(self, event_id: str) -> ProofFile:
        """Prove one event. Cost: one row group of one segment, and the tiles on its path.

        Raises: UsageError when it is not under the checkpoint; IntegrityError when the log contradicts the head.
        """
        return ProofFile(tuple(self._included([self._by_id(event_id)])), self.head)

    def prove_run(self, run_id: str) -> ProofFile:
        """Prove every sealed entry of a run. Raises: UsageError when there is none."""
        entries = self._of_run(run_id)
        if not entries:
            raise UsageError(
                f"The log has no entry of run {run_id!r} among its first {self.size}.",
                next_step="ledger runs lists the runs; ledger seal, if it is new",
            )
        return self._together(entries, ("run", run_id))

    def prove_document(self, document: bytes, *, whole_runs: bool = False) -> ProofFile:
        """Prove what a document rests on: the log's record of it, the events it names, the closings of its runs.

        `whole_runs` proves every entry of its runs.

        Raises: UsageError when the log has not recorded it, or it names something that is not sealed;
        IntegrityError when the checkpoint it names is not one of this log.
        """
        body = read_document(document)
        named = named_checkpoint(body)
        growth = self._reach(named)
        event_ids, indexes = _named_events(body)
        found = self._all_by_id(event_ids) | self._all_at(indexes)
        known = named[1] if named else self.size  # a run that was reopened later was not for this document
        of_runs = [e for run_id in sorted(_named_runs(body)) for e in self._of_run(run_id) if e[0] < known]
        found.update(_closings(of_runs) if found and not whole_runs else of_runs)
        digest = hashlib.sha256(document).hexdigest()
        found.update([self._recorded(digest)])
        return self._together(sorted(found.items()), ("document", digest), growth)

    def prove_recorded(
        self, document: bytes, also: Iterable[str], closings_of: Iterable[str], entries: Iterable[int] = ()
    ) -> ProofFile:
        """Prove that the log recorded a document, others by their SHA-256, and the outcomes runs were closed with.

        Where the document was recorded again, its newest record counts. And `entries` by their indexes, each under
        the checkpoint.

        Raises: UsageError when the log has not recorded one of them.
        """
        digest = hashlib.sha256(document).hexdigest()
        found = dict([self._recorded(digest, -1), *map(self._recorded, also)])
        for run_id in closings_of:
            found.update(_closings(self._of_run(run_id)))
        found.update(self._all_at(set(entries)))
        return ProofFile(tuple(self._included(sorted(found.items()))), self.head, ("document", digest))

    def _recorded(self, digest: str, which: int = 0) -> tuple[int, bytes]:
        """Return the entry that records a document of this digest: of several the first, with -1 the last."""
        paths = [str(s.path) for s in self.log.segments if s.first_index < self.size]
        rows = self._rows("document_recorded", paths, {"sha256": digest, "size": self.size})
        found = [row for row in rows if digest in recorded_documents(orjson.loads(row[1])["data"])]
        if found:
            return found[which][0], found[which][1]
        raise UsageError(
            f"The log has not recorded a document with SHA-256 {digest} among its first {self.size} entries: "
            "it was changed, comes from another ledger, or its record is not sealed yet.",
            next_step="ledger seal, if it is new; ledger report RUN_ID derives and records it again",
        )

    def _by_id(self, event_id: str) -> tuple[int, bytes]:
        paths = [str(s.path) for s in self.log.segments if s.min_event_id <= event_id <= s.max_event_id]
        asked = {"id": event_id, "size": self.size}
        rows = self._rows("entry_by_id", paths, asked)
        if not rows:
            raise UsageError(
                f"Event {event_id} is not among the first {self.size} entries of the log.",
                next_step="ledger seal, if it is new; ledger query finds an event's id",
            )
        index, entry = rows[0]
        return index, entry

    def _all_by_id(self, event_ids: Collection[str]) -> dict[int, bytes]:
        """Return these events by index. Raises: UsageError naming one that is not under the checkpoint."""
        if not event_ids:
            return {}
        first, last = min(event_ids), max(event_ids)
        paths = [str(s.path) for s in self.log.segments if s.min_event_id <= last and s.max_event_id >= first]
        rows = self._rows("entries_by_id", paths, {"ids": sorted(event_ids), "size": self.size})
        for missing in sorted(set(event_ids) - {event_id for event_id, _, _ in rows}):
            self._by_id(missing)
        return {index: entry for _, index, entry in rows}

    def _all_at(self, indexes: Collection[int]) -> dict[int, bytes]:
        """Return the entries at these indexes. Raises: UsageError naming one that is not under the checkpoint."""
        paths = [str(s.path) for s in self.log.segments if s.first_index < self.size]
        asked = {"indexes": sorted(indexes), "size": self.size}
        found = dict(self._rows("entries_at", paths, asked)) if indexes else {}
        for missing in sorted(set(indexes) - found.keys()):
            raise UsageError(
                f"There is no entry {missing} among the first {self.size} of the log.", next_step="ledger seal"
            )
        return found

    def _of_run(self, run_id: str) -> list[tuple[int, bytes]]:
        paths = [str(s.path) for s in self.log.segments if s.first_index < self.size]
        return self._rows("entries_of_run", paths, {"run_id": run_id, "size": self.size})

    def _rows(self, name: str, paths: Sequence[str], asked: Mapping[str, Any]) -> list[Any]:
        return answer(self.connection, sql_text(name), {"paths": paths, **asked}) if paths else []

    def _included(self, entries: Sequence[tuple[int, bytes]]) -> Iterator[Inclusion]:
        paths = AuditPaths(self.store, self.log, self.head.checkpoint)
        for index, entry in entries:
            try:
                yield Inclusion(index, entry, paths.path(index, leaf_hash(entry)))
            except IntegrityError as error:
                raise IntegrityError(f"{error}; nothing was proved", next_step="ledger verify") from None

    def _together(
        self,
        entries: Sequence[tuple[int, bytes]],
        subject: tuple[str, str],
        growth: ConsistencyProof | None = None,
    ) -> ProofFile:
        """Return a multi-proof of entries, ascending."""
        leaves = [(index, leaf_hash(entry)) for index, entry in entries]
        try:
            shared = AuditPaths(self.store, self.log, self.head.checkpoint).shared(leaves)
        except IntegrityError:  # which says that they do not lead to the root together, and not which one it is
            list(self._included(entries))
            raise
        found = tuple(
            Inclusion(index, entry, mark=leaf.hex()[:MARK_DIGITS])
            for (index, entry), (_, leaf) in zip(entries, leaves, strict=True)
        )
        return ProofFile(found, self.head, subject, growth, shared)

    def _reach(self, named: tuple[str, int, bytes] | None) -> ConsistencyProof | None:
        """Lead from the checkpoint a document names to the one of the proof; `None` if it is that one."""
        if named is None:
            return None
        origin, size, root = named
        head = self.head.checkpoint
        if origin != head.origin or size > head.size:
            raise UsageError(
                f"The document was derived from {size} entries of {origin}; this is {head.size} of {head.origin}.",
                next_step="ledger seal, or name the ledger it came from with --ledger",
            )
        old = Checkpoint(origin, size, root)
        if old == head:
            return None
        return ConsistencyProof(size, root, prove_extension(self.store, lambda: self.log, old, head))


@contextlib.contextmanager
def open_prover(ledger: Ledger, size: int | None = None) -> Iterator[Prover]:
    """Open a ledger for proving, under its newest checkpoint or the one of `size` entries.

    Raises: NotALedgerError; UsageError when there is no such checkpoint; IntegrityError when the log cannot be
    loaded or is shorter than the head.
    """
    ledger.require()
    head = newest_checkpoint(ledger.store) if size is None else read_checkpoint(ledger.store, size)
    if head is None:
        raise UsageError(
            "There is no checkpoint" + (f" of {size} entries." if size is not None else " yet: nothing is sealed."),
            next_step="ledger seal",
        )
    log = ledger.log()
    TileCache(ledger.store).catch_up(log)
    with memory_database() as connection:
        yield Prover(ledger.store, log, head, connection)


def _named_events(document: Mapping[str, Any]) -> tuple[set[str], set[int]]:
    """Return the event ids a document says it rests on, and the indexes of the entries that it names so."""
    named: set[str] = set()
    indexes: set[int] = set()
    for _, item in objects_in(document):
        if isinstance(item.get("event_id"), str):
            named.add(item["event_id"])
        elif type(item.get("entry")) is int:
            indexes.add(item["entry"])
        basis = item.get("basis")
        named.update(found for found in basis if isinstance(found, str)) if isinstance(basis, list) else None
    return named, indexes


def _named_runs(document: Mapping[str, Any]) -> set[str]:
    run, runs = document.get("run"), document.get("runs")
    of_runs = [each for each in (run, *(runs if isinstance(runs, list) else ())) if isinstance(each, dict)]
    stated = [document.get("run_id"), *(each.get("run_id") for each in of_runs)]
    stated += [before for each in of_runs for before in each.get("inherits_from") or ()]
    return {run_id for run_id in stated if isinstance(run_id, str) and run_id}


def _closings(entries: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [(i, entry) for i, entry in entries if orjson.loads(entry)["event_type"] in _DERIVATIONS]
