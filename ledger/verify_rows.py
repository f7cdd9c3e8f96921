"""Verifying the rows of segments: every entry hashed, every column derived again from its bytes.

The work on one row group knows nothing of the others, so it can be done in any process; the tree is built by
whoever puts the results in order.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ledger.derive import Derived, derive, of_rows
from ledger.errors import IntegrityError
from ledger.event import blob_name, columns
from ledger.findings import Finding
from ledger.log import Log, Segment
from ledger.merkle import HASH_BYTES, leaf_hash
from ledger.segment import SCHEMA, file_problem, footer_problems, read_batches, row_groups, table

_ERASURE: Final = "payload.erased.v1"
_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class Group:
    """A row group of a segment: its number in the file, and the index of its first entry.

    `file_problem` says why the file is not the one that was written; its footer is then not looked into.
    """

    segment: Segment
    number: int
    first: int
    last_of_segment: bool
    file_problem: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What a row group came to. `leaves` are its leaf hashes, joined; `payloads` the blobs its entries name.

    `erased` are the blobs it records as erased, `low` and `high` the smallest and largest event id.
    `unreadable` says that entries after these cannot be had from this segment.
    """

    group: Group
    count: int
    entry_bytes: int
    leaves: bytes
    payloads: tuple[str, ...]
    erased: tuple[str, ...]
    low: str
    high: str
    findings: tuple[Finding, ...]
    unreadable: bool = False

    def leaf_hashes(self) -> list[bytes]:
        """Return the leaf hashes, one for each entry."""
        return [self.leaves[i : i + HASH_BYTES] for i in range(0, len(self.leaves), HASH_BYTES)]


def groups(log: Log) -> Iterator[Group | Finding]:
    """Yield the row groups of the log in index order; a segment that cannot be opened is a finding."""
    for segment in log.segments:
        try:
            counts = row_groups(segment)
            problem = file_problem(segment)
        except IntegrityError as error:
            yield Finding(f"log/{segment.path.name}", str(error))
            return
        first = segment.first_index
        for number, count in enumerate(counts):
            yield Group(segment, number, first, number == len(counts) - 1, problem)
            first += count


def check_all(log: Log, workers: int) -> Iterator[Checked | Finding]:
    """Check every row group, in index order, on this process or on `workers` others; constant memory."""
    if workers <= 1:
        for group in groups(log):
            yield check_group(group) if isinstance(group, Group) else group
        return
    yield from _on_processes(log, workers)


def _on_processes(log: Log, workers: int) -> Iterator[Checked | Finding]:
    # Not forked: Arrow's threads would not be in the copy, and it would wait for them for ever.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        under_way: deque[tuple[Group, Future[Checked]] | Finding] = deque()
        try:
            for group in groups(log):
                under_way.append((group, pool.submit(check_group, group)) if isinstance(group, Group) else group)
                if len(under_way) > workers * _AHEAD:
                    yield _result(under_way.popleft())
            while under_way:
                yield _result(under_way.popleft())
        finally:
            pool.shutdown(cancel_futures=True)  # nobody may want the rest


def _result(item: tuple[Group, Future[Checked]] | Finding) -> Checked | Finding:
    if isinstance(item, Finding):
        return item
    group, checked = item
    try:
        return checked.result()
    except BrokenExecutor:
        where = f"log/{group.segment.path.name}"
        return Finding(where, "the process that read it was ended from outside, or by what it read", group.first)


def check_group(group: Group) -> Checked:
    """Hash and derive again every entry of a row group, and compare."""
    where = f"log/{group.segment.path.name}"
    findings: list[Finding] = []
    if group.file_problem and group.number == 0:
        findings.append(Finding(where, group.file_problem))
    named: list[str] = []
    erased: list[str] = []
    ids: list[str] = []
    leaves: list[bytes] = []
    held: list[pa.Table] = []
    size = count = 0
    unreadable = False
    try:
        for batch in read_batches(group.segment, groups=[group.number]):
            entries = [entry or b"" for entry in batch.column("entry").to_pylist()]
            first = group.first + count
            derived = _derived(entries, where, first, findings)
            if len(derived) == len(entries):
                held.append(table(derived, first))
                _compare_columns(pa.Table.from_batches([batch]), held[-1], where, first, findings)
            named += payloads(derived)
            erased += erasures(derived)
            ids += derived.columns["event_id"]
            leaves += map(leaf_hash, entries)
            size += sum(map(len, entries))
            count += len(entries)
        if len(ids) == count and not group.file_problem:
            findings += [
                Finding(where, problem, group.first, expected, got)
                for problem, expected, got in footer_problems(
                    group.segment, group.number, pa.concat_tables([SCHEMA.empty_table(), *held])
                )
            ]
    except IntegrityError as error:
        findings.append(Finding(where, str(error)))
        unreadable = True
    whole = ids if len(ids) == count else []
    return Checked(
        group,
        count,
        size,
        b"".join(leaves),
        tuple(named),
        tuple(erased),
        min(whole, default=""),
        max(whole, default=""),
        tuple(findings),
        unreadable,
    )


def check_some(group: Group, indexes: Sequence[int], findings: list[Finding]) -> Iterator[tuple[int, bytes]]:
    """Yield (index, exact bytes) of these entries of a row group, their columns derived again and compared.

    What is wrong is added to `findings`; an entry that cannot be read is not yielded.
    """
    where = f"log/{group.segment.path.name}"
    if group.file_problem:
        findings.append(Finding(where, group.file_problem))
    first = group.first
    try:
        for batch in read_batches(group.segment, groups=[group.number]):
            for index in (i for i in indexes if first <= i < first + len(batch)):
                row = batch.slice(index - first, 1)
                entry = row.column("entry")[0].as_py() or b""
                derived = _derived([entry], where, index, findings)
                if len(derived):
                    stored = pa.Table.from_batches([row])
                    _compare_columns(stored, table(derived, index), where, index, findings)
                yield index, entry
            first += len(batch)
    except IntegrityError as error:
        findings.append(Finding(where, str(error)))


def payloads(rows: Derived) -> Iterator[str]:
    """Yield the blobs that entries name."""
    return filter(None, map(blob_name, rows.columns["data"]))


def erasures(rows: Derived) -> Iterator[str]:
    """Yield the blobs that entries record as erased."""
    import orjson

    for event_type, data in zip(rows.columns["event_type"], rows.columns["data"], strict=True):
        if event_type == _ERASURE:
            name = orjson.loads(data).get("erased_sha256")
            if isinstance(name, str):
                yield name


def _derived(entries: Sequence[bytes], where: str, first: int, findings: list[Finding]) -> Derived:
    """Derive the columns of entries; those that are wrong are left out, each with a finding."""
    derived = derive(entries)
    if derived is not None:
        return derived
    rows = []
    for index, entry in enumerate(entries, start=first):
        try:
            rows.append(columns(entry))
        except IntegrityError as error:
            findings.append(Finding(where, str(error), index))
    return of_rows(rows)


def _compare_columns(stored: pa.Table, derived: pa.Table, where: str, first: int, findings: list[Finding]) -> None:
    for name in SCHEMA.names:
        ours, theirs = derived.column(name), stored.column(name)
        if theirs.equals(ours):
            continue
        pairs = enumerate(zip(_plain(ours), _plain(theirs), strict=True), start=first)
        index, want, have = next((index, want, have) for index, (want, have) in pairs if want != have)
        problem = f"column {name} is not what the entry says"
        findings.append(Finding(where, problem, index, _told(want), _told(have)))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return values that compare, whatever was put into the column: a year 300000 or text that is not UTF-8."""
    kinds = pa.types
    if kinds.is_timestamp(column.type):
        return list(column.cast(pa.int64()).to_pylist())
    return list((column.cast(pa.binary()) if kinds.is_string(column.type) else column).to_pylist())


def _told(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text[:500]
