"""Verification: nothing that is stored is believed, everything is computed again from the bytes on disk.

It needs no private key, no Dagster and no cache. Each finding says where, what was expected and what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ledger import inbox
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import IntegrityError
from ledger.event import Row, columns
from ledger.layout import Layout, is_checkpoint_name
from ledger.log import Log, load
from ledger.lookup import memory_database, sql_text
from ledger.merkle import Frontier, leaf_hash
from ledger.segment import SCHEMA, Segment, read_batches, read_frontier, rows_table

if TYPE_CHECKING:
    from ledger.handle import Ledger

MAX_FINDINGS: Final = 100
"""Findings kept; a ledger that is wrong in more places is wrong enough."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was recorded. `index` is the entry's, where it is about one."""

    where: str
    problem: str
    index: int | None = None
    expected: str | None = None
    got: str | None = None


@dataclass(slots=True)
class Verification:
    """What was checked and what was found. `root` is the one calculated from the entries, hex.

    `beyond_checkpoint` entries are sealed and in no checkpoint yet: a seal died between its commit and its
    checkpoint, and the next one writes it.
    """

    origin: str
    size: int = 0
    root: str = ""
    segments: int = 0
    entries: int = 0
    entry_bytes: int = 0
    checkpoints: int = 0
    unsealed: int = 0
    beyond_checkpoint: int = 0
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def add(self, finding: Finding) -> None:
        """Note a finding; past `MAX_FINDINGS` they are only counted."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.more_findings += 1


Progress = Callable[[int, int], None]
"""Called with (entries done, entries in all)."""


def verify(ledger: Ledger, progress: Progress = lambda _done, _all: None) -> Verification:
    """Check the whole ledger: every entry, column, segment, checkpoint and unsealed object.

    Re-hashes each entry from its bytes, derives its columns again, rebuilds the Merkle tree and holds it
    against every checkpoint and segment footer. Memory does not grow with the log.

    Raises `NotALedgerError` when there is none; everything else that is wrong is a finding.
    """
    result = Verification(ledger.require())
    layout = ledger.layout
    heads = _read_checkpoints(layout, result)
    _verify_inbox(layout, result)
    try:
        log = load(layout.log)
    except IntegrityError as error:
        result.add(Finding("log", str(error)))
        return result
    result.size = log.size
    frontier = _verify_segments(log, heads, result, progress)
    result.root = frontier.root().hex()
    _verify_heads(log, heads, result)
    if result.ok:
        _verify_positions(log, result)
    return result


def _read_checkpoints(layout: Layout, result: Verification) -> dict[int, Checkpoint]:
    heads = {}
    for path in sorted(layout.checkpoints.iterdir()) if layout.checkpoints.is_dir() else ():
        if not is_checkpoint_name(path.name):
            continue
        where = f"checkpoints/{path.name}"
        result.checkpoints += 1
        try:
            head = parse_checkpoint(path.read_bytes().decode("utf-8", "replace"))
        except IntegrityError as error:
            result.add(Finding(where, str(error)))
            continue
        if head.size != int(path.name):
            result.add(Finding(where, "it is of another size than its name", None, path.name, str(head.size)))
        elif head.origin != result.origin:
            result.add(Finding(where, "it is of another log", None, result.origin, head.origin))
        else:
            heads[head.size] = head
    return heads


def _verify_inbox(layout: Layout, result: Verification) -> None:
    for name in inbox.names(layout) if layout.inbox.is_dir() else ():
        try:
            item = inbox.read(layout, name)
            for entry in item.entries if item else ():
                columns(entry)
                result.unsealed += 1
        except IntegrityError as error:
            result.add(Finding(f"inbox/{name}", str(error)))


def _verify_segments(
    log: Log, heads: Mapping[int, Checkpoint], result: Verification, progress: Progress
) -> Frontier:
    frontier = Frontier.empty()
    waiting = sorted(heads)
    for segment in log.segments:
        where = f"log/{segment.path.name}"
        try:
            for first, leaves in _verified_leaves(segment, where, result):
                while waiting and waiting[0] <= first + len(leaves):
                    _hold_against(heads[waiting[0]], frontier, leaves[: waiting.pop(0) - first], result)
                frontier = frontier.extend(leaves)
                progress(result.entries, log.size)
            stated = read_frontier(segment)
            if frontier.size == segment.end and stated != frontier:
                result.add(
                    Finding(
                        where,
                        "the footer's frontier is not that of the entries",
                        None,
                        frontier.root().hex(),
                        stated.root().hex(),
                    )
                )
        except IntegrityError as error:
            result.add(Finding(where, str(error)))
            return frontier  # without this segment's leaves nothing after it can be held against a root
        result.segments += 1
    return frontier


def _hold_against(head: Checkpoint, before: Frontier, leaves: list[bytes], result: Verification) -> None:
    root = before.extend(leaves).root()
    if root != head.root:
        result.add(
            Finding(
                f"checkpoints/{head.size:016d}",
                f"calculated root {root.hex()}, the checkpoint claims {head.root.hex()}",
                None,
                root.hex(),
                head.root.hex(),
            )
        )


def _verified_leaves(segment: Segment, where: str, result: Verification) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (index of the first, leaf hashes) for each batch, after checking its rows one by one."""
    expected = segment.first_index
    for batch in read_batches(segment):
        entries = batch.column("entry").to_pylist() if "entry" in batch.schema.names else [None] * len(batch)
        leaves = []
        rows: list[Row] = []
        for offset, entry in enumerate(entries):
            try:
                rows.append(columns(entry or b""))
            except IntegrityError as error:
                result.add(Finding(where, str(error), expected + offset))
            leaves.append(leaf_hash(entry or b""))
            result.entry_bytes += len(entry or b"")
        if len(rows) == len(batch):
            _compare_columns(pa.Table.from_batches([batch]), rows_table(rows, expected), where, expected, result)
        result.entries += len(batch)
        yield expected, leaves
        expected += len(batch)
    if expected != segment.end:
        message = "it holds another number of entries than the log says"
        result.add(Finding(where, message, None, str(segment.count), str(expected - segment.first_index)))
        raise IntegrityError("the entries after the missing ones cannot be placed")


def _compare_columns(stored: pa.Table, derived: pa.Table, where: str, first: int, result: Verification) -> None:
    if stored.schema.names != SCHEMA.names:
        result.add(
            Finding(where, "its columns are not a segment's", None, str(SCHEMA.names), str(stored.schema.names))
        )
        return
    for name in SCHEMA.names:
        ours, theirs = derived.column(name), stored.column(name)
        if theirs.type == ours.type and theirs.equals(ours):
            continue
        for offset, (want, have) in enumerate(zip(ours.to_pylist(), theirs.to_pylist(), strict=True)):
            if want != have:
                problem = f"column {name} is not what the entry says"
                result.add(Finding(where, problem, first + offset, str(want), str(have)))
                break
        else:
            result.add(Finding(where, f"column {name} has another type", first, str(ours.type), str(theirs.type)))


def _verify_heads(log: Log, heads: Mapping[int, Checkpoint], result: Verification) -> None:
    for size in heads:
        if size > log.size:
            problem = "the log is shorter than this checkpoint: entries were removed"
            result.add(Finding(f"checkpoints/{size:016d}", problem, None, str(size), str(log.size)))
    result.beyond_checkpoint = max(log.size - max(heads, default=0), 0)


def _verify_positions(log: Log, result: Verification) -> None:
    """Find records of the orchestrator, and events, that the log has twice."""
    if not log.segments:
        return
    with memory_database() as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            sql_text("duplicates"), {"paths": [str(s.path) for s in log.segments]}
        ).fetchall()
    for what, first, second in rows:
        result.add(Finding("log", f"{what} is there twice", second, f"only at entry {first}", f"also at {second}"))
