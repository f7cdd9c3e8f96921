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

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError
from run_evidence.ledger.model.event import BLOB_START, blob_name, decode_entry
from run_evidence.ledger.storage.log import Log, Segment
from run_evidence.ledger.storage.rows import SCHEMA, indexed, table, texts_of, views
from run_evidence.ledger.storage.segment import UNSTATED, file_problem, footer_problems, read_batches, row_groups
from run_evidence.ledger.storage.sound import are_sound
from run_evidence.ledger.tlog.merkle import HASH_BYTES, leaf_hashes
from run_evidence.ledger.verification.findings import Finding

_ERASURE: Final = "payload.erased.v1"
_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class RowGroup:
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
    """The result for a row group. `leaves` are its leaf hashes, joined; `payloads` the blobs its entries name.

    `erased` are the blobs it records as erased, `low` and `high` the smallest and largest event id.
    `unreadable` says that entries after these cannot be had from this segment.
    """

    group: RowGroup
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


def groups(log: Log) -> Iterator[RowGroup | Finding]:
    """Yield the row groups of the log in index order; a segment that cannot be opened is a finding."""
    for segment in log.segments:
        try:
            counts = row_groups(segment)
            problem = file_problem(segment)
        except IntegrityError as error:
            yield Finding(f"log/{segment.name}", str(error))
            return
        first = segment.first_index
        for number, count in enumerate(counts):
            yield RowGroup(segment, number, first, number == len(counts) - 1, problem)
            first += count


def check_all(log: Log, workers: int) -> Iterator[Checked | Finding]:
    """Check every row group, in index order, on this process or on `workers` others; constant memory."""
    if workers <= 1:
        for group in groups(log):
            yield check_group(group) if isinstance(group, RowGroup) else group
        return
    yield from _on_processes(log, workers)


def _on_processes(log: Log, workers: int) -> Iterator[Checked | Finding]:
    # Not forked: Arrow's threads would not be in the copy, and it would wait for them for ever.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        under_way: deque[tuple[RowGroup, Future[Checked]] | Finding] = deque()
        try:
            for group in groups(log):
                under_way.append((group, pool.submit(check_group, group)) if isinstance(group, RowGroup) else group)
                if len(under_way) > workers * _AHEAD:
                    yield _result(under_way.popleft())
            while under_way:
                yield _result(under_way.popleft())
        finally:
            pool.shutdown(cancel_futures=True)  # nobody may want the rest


def _result(item: tuple[RowGroup, Future[Checked]] | Finding) -> Checked | Finding:
    if isinstance(item, Finding):
        return item
    group, checked = item
    try:
        return checked.result()
    except BrokenExecutor:
        where = f"log/{group.segment.name}"
        return Finding(where, "the process that read it was ended from outside, or by what it read", group.first)


def check_group(group: RowGroup) -> Checked:
    """Hash every entry of a row group again, derive its columns again, and compare."""
    where = f"log/{group.segment.name}"
    findings: list[Finding] = []
    if group.file_problem and group.number == 0:
        findings.append(Finding(where, group.file_problem))
    named: list[str] = []
    erased: list[str] = []
    leaves: list[bytes] = []
    derived = [SCHEMA.empty_table().drop_columns(UNSTATED)]
    size = count = 0
    unreadable = False
    try:
        for batch in read_batches(group.segment, groups=[group.number]):
            rows = _derived(batch, where, group.first + count, findings)
            named += payloads(rows)
            erased += erasures(rows)
            derived.append(rows.drop_columns(UNSTATED))
            leaves += leaf_hashes(views(batch.column("entry")))
            size += len(texts_of(batch.column("entry")))
            count += len(batch)
        stated = pa.concat_tables(derived)
        if len(stated) == count and not group.file_problem:
            findings += [
                Finding(where, problem, group.first, expected, got)
                for problem, expected, got in footer_problems(group.segment, group.number, stated)
            ]
    except IntegrityError as error:
        findings.append(Finding(where, str(error)))
        unreadable = True
    low, high = _ends(pa.concat_tables(derived), count)
    return Checked(
        group, count, size, b"".join(leaves), tuple(named), tuple(erased), low, high, tuple(findings), unreadable
    )


def _ends(derived: pa.Table, count: int) -> tuple[str, str]:
    """Return the smallest and the largest event id; empty texts unless all `count` entries have one."""
    if not count or len(derived) != count:
        return "", ""
    low, high = pc.min_max(derived.column("event_id")).as_py().values()
    return str(low), str(high)


def check_some(group: RowGroup, indexes: Sequence[int], findings: list[Finding]) -> Iterator[tuple[int, bytes]]:
    """Yield (index, exact bytes) of these entries of a row group, their columns derived again and compared.

    What is wrong is added to `findings`; an entry that cannot be read is not yielded.
    """
    where = f"log/{group.segment.name}"
    if group.file_problem:
        findings.append(Finding(where, group.file_problem))
    first = group.first
    try:
        for batch in read_batches(group.segment, groups=[group.number]):
            for index in (i for i in indexes if first <= i < first + len(batch)):
                row = batch.slice(index - first, 1)
                entry = row.column("entry")[0].as_py() or b""
                _derived(row, where, index, findings)
                yield index, entry
            first += len(batch)
    except IntegrityError as error:
        findings.append(Finding(where, str(error)))


def payloads(rows: pa.Table) -> Iterator[str]:
    """Yield the blobs that entries name."""
    named = rows.filter(pc.starts_with(rows.column("data"), BLOB_START))
    return filter(None, map(blob_name, named.column("data").to_pylist()))


def erasures(rows: pa.Table) -> Iterator[str]:
    """Yield the blobs that entries record as erased."""
    for data in rows.filter(pc.equal(rows.column("event_type"), _ERASURE)).column("data").to_pylist():
        name = orjson.loads(data).get("erased_sha256")
        if isinstance(name, str):
            yield name


def _derived(stored: pa.RecordBatch, where: str, first: int, findings: list[Finding]) -> pa.Table:
    """Return the rows that follow from entries, compared with what is stored; wrong entries are left out."""
    whole = pa.Table.from_batches([stored])
    if are_sound(stored):
        rows = indexed(whole, first)
    else:
        found = []
        for index, entry in enumerate(views(stored.column("entry")), start=first):
            try:
                found.append(decode_entry(bytes(entry)))
            except (IntegrityError, NewerSchemaError) as error:  # the segment says a version that is known
                findings.append(Finding(where, str(error), index))
        rows = table(found, first)
    if len(rows) == len(stored):
        _compare_columns(whole, rows, where, first, findings)
    return rows


def _compare_columns(stored: pa.Table, derived: pa.Table, where: str, first: int, findings: list[Finding]) -> None:
    for name in SCHEMA.names:
        ours, theirs = derived.column(name), stored.column(name)
        if theirs.equals(ours):
            continue
        pairs = enumerate(zip(_plain(ours), _plain(theirs), strict=True), start=first)
        index, want, have = next((index, want, have) for index, (want, have) in pairs if want != have)
        problem = f"column {name} is not what the entry says"
        findings.append(Finding(where, problem, index, _shown(want), _shown(have)))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return values that compare, whatever was put into the column: a year 300000 or text that is not UTF-8."""
    kinds = pa.types
    if kinds.is_timestamp(column.type):
        return list(column.cast(pa.int64()).to_pylist())
    return list((column.cast(pa.binary()) if kinds.is_string(column.type) else column).to_pylist())


def _shown(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text[:500]
