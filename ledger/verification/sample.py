"""A quick look: some entries, chosen at random, hashed again and proved to be under the newest head."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.storage.consistency import prove_extension
from run_evidence.ledger.storage.inclusion import AuditPaths
from run_evidence.ledger.storage.log import Log, load
from run_evidence.ledger.storage.tile_cache import TileCache
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint
from run_evidence.ledger.tlog.merkle import leaf_hash
from run_evidence.ledger.tlog.trust import NOTHING_BROUGHT, Trust
from run_evidence.ledger.verification.checkpoints import (
    read_checkpoints,
    read_copies,
    require_covered,
    verify_signatures,
)
from run_evidence.ledger.verification.findings import Finding, Progress, Verification
from run_evidence.ledger.verification.rows import RowGroup, check_some, groups

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.verification.memory import VerifierMemory


def verify_sample(
    ledger: Ledger,
    count: int,
    progress: Progress = lambda _done, _all: None,
    *,
    trust: Trust = NOTHING_BROUGHT,
    since: Sequence[Path] = (),
    memory: VerifierMemory | None = None,
) -> Verification:
    """Check `count` random entries, their paths to the newest checkpoint, signatures, and the copies in `since`.

    What was altered elsewhere is not seen: the result says how many entries were verified. Paths come from the tile
    cache, which is made (once, from all entries) where it is missing.

    `memory` is held against the log like a copy; a sample is not remembered.

    Raises: NotALedgerError; UsageError when `count` is below 1; everything else that is wrong is a finding.
    """
    if count < 1:
        raise UsageError(f"--sample {count}: a look at no entry shows nothing.", next_step="--sample 1000")
    result = Verification(ledger.require(), sampled=0)
    heads = read_checkpoints(ledger.store, result)
    signing = verify_signatures(ledger.store, heads, trust, result)
    copies = read_copies(since, trust, result)
    remembered = memory.last(result) if memory else {}
    newest = heads.get(max(heads, default=0))
    if newest is None:
        result.add(
            Finding("checkpoints", "there is no sound checkpoint to prove entries under (ledger seal writes one)")
        )
        return result
    try:
        log = load(ledger.store)
        if log.foreign:
            problem = "another tool has rewritten files of the log (ledger compact takes them back)"
            result.add(Finding(f"log/{log.foreign[0]}", problem, kind="rewritten", next_step="ledger compact"))
            return result
        result.size, result.root = log.size, newest.checkpoint.root.hex()
        if log.size < newest.checkpoint.size:
            problem = "the log is shorter than this checkpoint: entries were removed"
            where = f"checkpoints/{newest.checkpoint.size:016d}"
            result.add(Finding(where, problem, None, str(newest.checkpoint.size), str(log.size)))
            return result
        require_covered(log.size, heads, signing, result)
        _look(ledger, log, newest, count, progress, result)
        result.since = _compare_copies(ledger, log, newest, copies, result)
        _compare_copies(ledger, log, newest, remembered, result)
        if memory:
            memory.compare_signatures(remembered, heads, result)
            memory.compare_address(ledger.root, trust.logs, result)
    except IntegrityError as error:
        result.add(Finding("log", str(error)))
    return result


def _look(
    ledger: Ledger, log: Log, head: StoredCheckpoint, count: int, progress: Progress, result: Verification
) -> None:
    size = head.checkpoint.size
    chosen = sorted(random.SystemRandom().sample(range(size), min(count, size)))
    TileCache(ledger.store).catch_up(log)
    paths = AuditPaths(ledger.store, log, head.checkpoint)
    for group, indexes in _by_group(log, chosen, result):
        findings: list[Finding] = []
        for index, entry in check_some(group, indexes, findings):
            _prove(paths, index, leaf_hash(entry), result)
            result.entries += 1
            result.entry_bytes += len(entry)
        for finding in findings:
            result.add(finding)
        result.sampled = result.entries
        progress(result.entries, len(chosen))


def _prove(paths: AuditPaths, index: int, leaf: bytes, result: Verification) -> None:
    try:
        paths.path(index, leaf)
    except IntegrityError as error:
        result.add(
            Finding("log", f"the entry is not under the newest checkpoint: {error}", index, None, leaf.hex())
        )


def _by_group(log: Log, chosen: Sequence[int], result: Verification) -> list[tuple[RowGroup, list[int]]]:
    wanted: dict[RowGroup, list[int]] = defaultdict(list)
    position = 0
    found = groups(log)
    before: RowGroup | None = None
    for item in found:
        if isinstance(item, Finding):
            result.add(item)
            break
        while before is not None and position < len(chosen) and chosen[position] < item.first:
            wanted[before].append(chosen[position])
            position += 1
        before = item
    if before is not None:
        wanted[before].extend(chosen[position:])
    return [(group, indexes) for group, indexes in wanted.items() if indexes]


def _compare_copies(
    ledger: Ledger, log: Log, newest: StoredCheckpoint, copies: dict[str, StoredCheckpoint], result: Verification
) -> list[int]:
    proved = []
    for where, copy in copies.items():
        if copy.checkpoint.size > newest.checkpoint.size:
            problem = "the log has fewer entries than this copy of its checkpoint: entries were cut off"
            sizes = str(copy.checkpoint.size), str(newest.checkpoint.size)
            result.add(Finding(where, problem, None, *sizes))
            continue
        try:
            prove_extension(ledger.store, lambda: log, copy.checkpoint, newest.checkpoint)
            proved.append(copy.checkpoint.size)
        except IntegrityError as error:
            result.add(Finding(where, f"history was rewritten: {error}"))
    return proved
