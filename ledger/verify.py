"""Verification: nothing that is stored is believed, everything is computed again from the bytes on disk.

It needs no private key, no Dagster and no cache. Each finding says where, what was expected and what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ledger import inbox
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import IntegrityError
from ledger.event import COLUMNS, Row, blob_name, columns
from ledger.layout import Layout, is_checkpoint_name
from ledger.log import Log, Segment, load
from ledger.lookup import memory_database, sql_text
from ledger.merkle import Frontier, leaf_hash
from ledger.segment import SCHEMA, read_batches, read_frontier, rows_table
from ledger.store import TMP_PREFIX

if TYPE_CHECKING:
    from ledger.handle import Ledger

_DATA: Final = COLUMNS.index("data")

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
    blobs: int = 0
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
    payloads = _verify_inbox(layout, result)
    try:
        log = load(layout.log)
    except IntegrityError as error:
        result.add(Finding("log", str(error)))
        return result
    result.size = log.size
    frontier = _verify_segments(log, heads, payloads, result, progress)
    result.root = frontier.root().hex()
    _verify_heads(log, heads, result)
    _verify_blobs(layout, payloads, result)
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


def _verify_inbox(layout: Layout, result: Verification) -> set[str]:
    """Check what waits to be sealed; return the payloads it names."""
    named: set[str] = set()
    for name in inbox.names(layout):
        try:
            rows = inbox.read_rows(layout, name) or []
        except IntegrityError as error:
            result.add(Finding(f"inbox/{name}", str(error)))
            continue
        result.unsealed += len(rows)
        named.update(_payloads(rows))
    return named


def _payloads(rows: Sequence[Row]) -> Iterator[str]:
    return filter(None, (blob_name(str(row.values[_DATA])) for row in rows))


def _verify_blobs(layout: Layout, named: set[str], result: Verification) -> None:
    """Hash every payload that lies beside the log, and see that none that an entry names is missing."""
    found = set()
    for path in sorted(layout.blobs.iterdir()) if layout.blobs.is_dir() else ():
        if path.name.startswith(TMP_PREFIX):
            continue
        found.add(path.name)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != path.name:
            result.add(
                Finding(f"blobs/{path.name}", "the payload is not what was recorded", None, path.name, digest)
            )
    result.blobs = len(found)
    for name in sorted(named - found):
        result.add(Finding(f"blobs/{name}", "an entry names this payload, and it is not there", None, name))


def _verify_segments(
    log: Log, heads: Mapping[int, Checkpoint], payloads: set[str], result: Verification, progress: Progress
) -> Frontier:
    """Check every segment, noting the payloads its entries name; return the tree of all entries."""
    frontier = Frontier.empty()
    waiting = sorted(heads)
    for segment in log.segments:
        where = f"log/{segment.path.name}"
        try:
            for first, leaves in _verified_leaves(segment, where, payloads, result):
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


def _verified_leaves(
    segment: Segment, where: str, payloads: set[str], result: Verification
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (index of the first, leaf hashes) for each batch, after checking its rows one by one."""
    expected = segment.first_index
    ids: list[str] = []
    for batch in read_batches(segment):
        entries = [entry or b"" for entry in batch.column("entry").to_pylist()]
        rows = _derived(entries, where, expected, result)
        if len(rows) == len(batch):
            _compare_columns(pa.Table.from_batches([batch]), rows_table(rows, expected), where, expected, result)
            ids = [min([*ids, *(row.event_id for row in rows)]), max([*ids, *(row.event_id for row in rows)])]
        payloads.update(_payloads(rows))
        result.entry_bytes += sum(map(len, entries))
        result.entries += len(batch)
        yield expected, list(map(leaf_hash, entries))
        expected += len(batch)
    _compare_statement(segment, where, expected - segment.first_index, ids, result)


def _derived(entries: Sequence[bytes], where: str, first: int, result: Verification) -> list[Row]:
    rows = []
    for index, entry in enumerate(entries, start=first):
        try:
            rows.append(columns(entry))
        except IntegrityError as error:
            result.add(Finding(where, str(error), index))
    return rows


def _compare_statement(segment: Segment, where: str, count: int, ids: list[str], result: Verification) -> None:
    """Hold what Delta's log states about a segment, which look-ups rely on, against what is in it."""
    size = segment.path.stat().st_size
    if size != segment.size_bytes:
        problem = "the file has another size than the log says"
        result.add(Finding(where, problem, None, str(segment.size_bytes), str(size)))
    stated = [segment.min_event_id, segment.max_event_id]
    if ids and ids != stated:
        problem = "it has other first and last event ids than the log says"
        result.add(Finding(where, problem, None, " to ".join(stated), " to ".join(ids)))
    if count != segment.count:
        message = "it holds another number of entries than the log says"
        result.add(Finding(where, message, None, str(segment.count), str(count)))
        raise IntegrityError("the entries after the missing ones cannot be placed")


def _compare_columns(stored: pa.Table, derived: pa.Table, where: str, first: int, result: Verification) -> None:
    for name in SCHEMA.names:
        ours, theirs = derived.column(name), stored.column(name)
        if theirs.equals(ours):
            continue
        pairs = enumerate(zip(_plain(ours), _plain(theirs), strict=True), start=first)
        index, want, have = next((index, want, have) for index, (want, have) in pairs if want != have)
        result.add(Finding(where, f"column {name} is not what the entry says", index, _told(want), _told(have)))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return values that compare, whatever was put into the column: a year 300000 or text that is not UTF-8."""
    kinds = pa.types
    if kinds.is_timestamp(column.type):
        return list(column.cast(pa.int64()).to_pylist())
    return list((column.cast(pa.binary()) if kinds.is_string(column.type) else column).to_pylist())


def _told(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text[:500]


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
