"""Verification: nothing that is stored is believed, everything is computed again from the bytes on disk.

It needs no private key, no Dagster and no cache. Each finding says where, what was expected and what is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import IntegrityError, LedgerError, NewerSchemaError
from run_evidence.ledger.query.snapshot import erased_payloads
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.layout import PAYLOADS, is_erased_mark, payload_name
from run_evidence.ledger.storage.log import Log, Segment, load
from run_evidence.ledger.storage.rows import table
from run_evidence.ledger.storage.search import answer, spilling_database, sql_text
from run_evidence.ledger.storage.segment import size_on_disk, stated_frontier
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint
from run_evidence.ledger.tlog.merkle import Frontier
from run_evidence.ledger.tlog.trust import NOTHING_BROUGHT, Trust
from run_evidence.ledger.verification.checkpoints import (
    read_checkpoints,
    read_copies,
    verify_coverage,
    verify_length,
    verify_signatures,
)
from run_evidence.ledger.verification.findings import MAX_FINDINGS, Finding, Progress, Verification
from run_evidence.ledger.verification.rows import Checked, check_all, erasures, payloads
from run_evidence.ledger.verification.tree import GrowingTree, read_cache_note

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.verification.memory import VerifierMemory

_MEMORY_LIMIT: Final = "400MB"
_ERASE_TRIES: Final = 20
_ERASE_PAUSE_S: Final = 0.05
_WORTH_A_PROCESS: Final = 100_000
"""Entries that one process verifies in the second or two that another takes to start."""

__all__ = ["MAX_FINDINGS", "Finding", "Progress", "Verification", "verify"]


def verify(
    ledger: Ledger,
    progress: Progress = lambda _done, _all: None,
    *,
    trust: Trust = NOTHING_BROUGHT,
    since: Sequence[Path] = (),
    workers: int | None = 1,
    log: Log | None = None,
    memory: VerifierMemory | None = None,
) -> Verification:
    """Check all of a ledger: each entry, column, segment, checkpoint, signature, tile, payload, unsealed object.

    Hashes each entry again from its bytes, derives its columns again, rebuilds the tree and holds it against
    every checkpoint, segment footer and tile, and against the copies of older checkpoints in `since`. `trust` has
    the keys the verifier brought; without any, the key the ledger names as its own has to have signed. `workers`
    processes share the work; `None` for every processor, as far as the log is large enough to gain by it. `log` is
    a version of the log that is open already; else the newest is loaded. `memory` is the verifier's own: the log
    has to extend the checkpoint it remembers, and is remembered where nothing is found. What a verification holds
    in the machine's memory does not grow with the log.

    Raises `NotALedgerError` when there is none; everything else that is wrong is a finding.
    """
    result = Verification(ledger.require())
    store = ledger.store
    heads = read_checkpoints(store, result)
    signing = verify_signatures(store, heads, trust, result)
    copies = read_copies(since, trust, result)
    remembered = memory.last(result) if memory else {}
    blobs = _Blobs()
    _verify_inbox(store, blobs, result)
    try:
        log = load(store) if log is None else log
    except IntegrityError as error:
        result.add(Finding("log", str(error)))
        return result
    result.size = log.size
    if log.foreign:
        problem = "another tool has rewritten files of the log, so nothing is known of its entries"
        step = "ledger compact, which checks them and writes them again; then: ledger verify"
        result.add(Finding(f"log/{log.foreign[0]}", problem, kind="rewritten", next_step=step))
        return result
    if workers is None:
        workers = max(1, min(os.cpu_count() or 1, log.size // _WORTH_A_PROCESS))
    tiles = read_cache_note(store, result)
    kept = [copy.checkpoint.size for copy in (*copies.values(), *remembered.values())]
    stops = [*heads, *kept, *([tiles.size] if tiles else [])]
    tree = GrowingTree(store, stops, result)
    _verify_segments(log, tree, blobs, result, progress, workers)
    result.root = tree.frontier().root().hex()
    now = _size_now(store, log, [*heads, *signing.signed_from])
    _verify_checkpoints(now, heads, tree, result)
    result.since = _verify_copies(log, copies, tree, result)
    _verify_copies(log, remembered, tree, result)
    verify_length(now, signing, result)
    if tree.size == log.size:
        whole = Checkpoint(result.origin, log.size, tree.frontier().root())
        verify_coverage(store, log, heads, whole, trust, signing, result)
    _verify_tiles(store, tiles, tree, result)
    blobs.verify(ledger, result)
    if result.ok:
        _verify_positions(log, result)
    if memory:
        memory.compare_signatures(remembered, heads, result)
        memory.compare_address(ledger.root, trust.logs, result)
        memory.remember(ledger.root, heads, [*signing.known, *trust.witnesses], result)
    return result


class _Blobs:
    """The payloads that entries name, and those that entries record as erased."""

    def __init__(self) -> None:
        self.named: set[str] = set()
        self.erased: set[str] = set()

    def verify(self, ledger: Ledger, result: Verification) -> None:
        """Hash every payload beside the log; none is missing that was not erased, none is there that was."""
        store = ledger.store
        found = {
            name for name in store.names(PAYLOADS) if not is_erased_mark(name) and _verify_blob(store, name, result)
        }
        result.blobs = len(found)
        gone = self.named - found
        erased = self.erased
        if gone - erased:  # erased since the log was loaded?
            with contextlib.suppress(LedgerError):
                erased = erased | erased_payloads(ledger)
        result.erased = len(gone & erased)
        for name in sorted(gone - erased):
            problem = "an entry names this payload; it is not there, and no event says that it was erased"
            result.add(Finding(f"blobs/{name}", problem, None, name))
        for name in sorted(_still_there(store, found & erased)):
            problem = "this payload was erased on record, and is there"
            step = "ledger erase EVENT_ID finishes it; the view payloads names the event of this digest"
            result.add(Finding(f"blobs/{name}", problem, kind="not erased", next_step=step))


def _verify_blob(store: Store, name: str, result: Verification) -> bool:
    """Hash one payload; False where it went away meanwhile."""
    try:
        with store.open(payload_name(name)) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    except IntegrityError as error:
        result.add(Finding(f"blobs/{name}", str(error)))
        return True
    if digest != name:
        result.add(Finding(f"blobs/{name}", "the payload is not what was recorded", None, name, digest))
    return True


def _still_there(store: Store, names: set[str]) -> set[str]:
    """Return those of the payloads that stay where they are: one may be erased at this moment."""
    for _ in range(_ERASE_TRIES):
        names = {name for name in names if store.stat(payload_name(name))}
        if not names:
            break
        time.sleep(_ERASE_PAUSE_S)
    return names


def _verify_inbox(store: Store, blobs: _Blobs, result: Verification) -> None:
    for name in inbox.names(store):
        try:
            rows = table(inbox.read_rows(store, name) or [])
        except IntegrityError as error:
            result.add(Finding(f"inbox/{name}", str(error)))
            continue
        except NewerSchemaError as error:
            result.add(Finding(f"inbox/{name}", str(error), kind="newer", next_step=error.next_step))
            continue
        result.unsealed += len(rows)
        blobs.named.update(payloads(rows))
        blobs.erased.update(erasures(rows))


def _verify_segments(
    log: Log, tree: GrowingTree, blobs: _Blobs, result: Verification, progress: Progress, workers: int
) -> None:
    """Check every row group and grow the tree by it; ends at the first segment that cannot be read whole."""
    ids: list[str] = []
    for item in check_all(log, workers):
        if isinstance(item, Finding):
            result.add(item)
            return
        for finding in item.findings:
            result.add(finding)
        result.entries += item.count
        result.entry_bytes += item.entry_bytes
        blobs.named.update(item.payloads)
        blobs.erased.update(item.erased)
        tree.grow(item.leaf_hashes())
        progress(result.entries, log.size)
        ids += [event_id for event_id in (item.low, item.high) if event_id]
        if item.unreadable or (item.group.last_of_segment and not _finish_segment(item, tree, ids, result)):
            return  # without the missing leaves nothing after them can be held against a root
        if item.group.last_of_segment:
            ids = []


def _finish_segment(item: Checked, tree: GrowingTree, ids: Sequence[str], result: Verification) -> bool:
    """Hold what is stated about a segment against what is in it; False when the next has no place to go."""
    segment = item.group.segment
    where = f"log/{segment.name}"
    _compare_statement(segment, where, ids, result)
    if tree.size != segment.end:
        problem = "it holds another number of entries than the log says"
        got = str(tree.size - segment.first_index)
        result.add(Finding(where, problem, None, str(segment.count), got))
        return False
    try:
        stated = stated_frontier(segment)
    except IntegrityError as error:
        result.add(Finding(where, str(error)))
        return False
    if stated != tree.frontier():
        problem = "the footer's frontier is not that of the entries"
        result.add(Finding(where, problem, None, tree.frontier().root().hex(), stated.root().hex()))
    result.segments += 1
    return True


def _compare_statement(segment: Segment, where: str, ids: Sequence[str], result: Verification) -> None:
    """Hold what Delta's log states about a segment, which look-ups rely on, against what is in it."""
    size = size_on_disk(segment)
    if size != segment.size_bytes:
        problem = "the file has another size than the log says"
        result.add(Finding(where, problem, None, str(segment.size_bytes), str(size)))
    stated = [segment.min_event_id, segment.max_event_id]
    if ids and [min(ids), max(ids)] != stated:
        problem = "it has other first and last event ids than the log says"
        result.add(Finding(where, problem, None, " to ".join(stated), f"{min(ids)} to {max(ids)}"))


def _size_now(store: Store, log: Log, sizes: Sequence[int]) -> int:
    """Return the size of the log, loaded again where one of these sizes lies beyond it: it may have grown."""
    if max(sizes, default=0) <= log.size:
        return log.size
    try:
        return max(log.size, load(store).size)
    except IntegrityError:
        return log.size


def _verify_checkpoints(
    now: int, heads: Mapping[int, StoredCheckpoint], tree: GrowingTree, result: Verification
) -> None:
    for size, head in heads.items():
        where = f"checkpoints/{size:016d}"
        if size > now:
            problem = "the log is shorter than this checkpoint: entries were removed"
            result.add(Finding(where, problem, None, str(size), str(now)))
        elif size in tree.at and tree.at[size].root() != head.checkpoint.root:
            calculated, claimed = tree.at[size].root().hex(), head.checkpoint.root.hex()
            problem = f"calculated root {calculated}, the checkpoint claims {claimed}"
            result.add(Finding(where, problem, None, calculated, claimed))


def _verify_copies(
    log: Log, copies: Mapping[str, StoredCheckpoint], tree: GrowingTree, result: Verification
) -> list[int]:
    """See that the log only grew since each copy: its first entries give the copy's root. Returns those sizes."""
    proved = []
    for where, copy in copies.items():
        size, claimed = copy.checkpoint.size, copy.checkpoint.root.hex()
        if size > log.size:
            problem = "the log has fewer entries than this copy of its checkpoint: entries were cut off"
            result.add(Finding(where, problem, None, str(size), str(log.size)))
        elif size in tree.at and tree.at[size].root() != copy.checkpoint.root:
            calculated = tree.at[size].root().hex()
            problem = f"the log's first {size} entries are not those of this copy: history was rewritten"
            result.add(Finding(where, problem, None, claimed, calculated))
        elif size in tree.at:
            proved.append(size)
    return proved


def _verify_tiles(store: Store, stated: Frontier | None, tree: GrowingTree, result: Verification) -> None:
    tree.finish()
    if stated is None or tree.size < result.size:
        return
    if stated.size > tree.size:
        if load(store).size < stated.size:  # else it has grown since it was loaded
            problem = "the tiles are of a longer log than there is"
            result.add(Finding("tile/frontier", problem, None, str(result.size), str(stated.size)))
    elif tree.at[stated.size] != stated:
        problem = "the tiles' frontier is not that of the entries"
        calculated = tree.at[stated.size].root().hex()
        result.add(Finding("tile/frontier", problem, None, calculated, stated.root().hex()))


def _verify_positions(log: Log, result: Verification) -> None:
    """Find records of the orchestrator, and events, that the log has twice."""
    if not log.segments:
        return
    with spilling_database(_MEMORY_LIMIT) as connection:  # ten million ids do not fit into it
        rows = answer(connection, sql_text("duplicates"), {"paths": [str(s.path) for s in log.segments]})
    for what, first, second in rows:
        result.add(Finding("log", f"{what} is there twice", second, f"only at entry {first}", f"also at {second}"))
