"""Compaction makes few files of many; no entry's index or bytes change, and nobody is disturbed."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_evidence.ledger import IntegrityError, Ledger
from run_evidence.ledger.query.as_of import AsOf
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing.compact import KEEP_SECONDS, compact
from run_evidence.ledger.storage.commit import commit_compaction
from run_evidence.ledger.storage.log import Segment
from run_evidence.ledger.storage.segment import ROW_GROUP_ROWS, read_batches, row_groups, write
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import Clock, record, records


def _ledger(tmp_path: Path, *sizes: int) -> Ledger:
    """Return a ledger with a segment of each of these sizes."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    start = 0
    for size in sizes:
        ledger.append(records(range(start, start + size)))
        ledger.seal()
        start += size
    return ledger


def _rows(ledger: Ledger) -> list[tuple[int, bytes]]:
    return [
        (row["index"], row["entry"])
        for segment in ledger.log().segments
        for batch in read_batches(segment)
        for row in batch.select(["index", "entry"]).to_pylist()
    ]


def _age(ledger: Ledger, seconds: float) -> None:
    """Make every file look as old as that."""
    moment = time.time() - seconds
    for path in ledger.root.rglob("*"):
        os.utime(path, (moment, moment))


@pytest.mark.soak
@settings(max_examples=12)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 20))
def test_indexes_bytes_and_root_stay(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], target: int
) -> None:
    """For any sizes of segments and any target: the same rows in the same order, in as few files as fit."""
    ledger = _ledger(tmp_path_factory.mktemp("sizes"), *sizes)
    before, root = _rows(ledger), verify(ledger).root
    done = compact(ledger.store, ledger.require(), target_rows=target)
    assert _rows(ledger) == before
    counts = [segment.count for segment in ledger.log().segments]
    assert (done.before, done.after) == (len(sizes), len(counts))
    assert all(one + next_one > target for one, next_one in itertools.pairwise(counts))
    assert all(count <= target for count in counts if count not in sizes)
    checked = verify(ledger)
    assert (checked.ok, checked.root) == (True, root), checked.findings
    again = compact(ledger.store, ledger.require(), target_rows=target)
    assert again.after == again.before == done.after


def test_sealing_goes_on_behind_a_compaction(tmp_path: Path) -> None:
    """The merged file's footer carries the tree on, and earlier sizes still verify."""
    ledger = _ledger(tmp_path, 3, 4, 5)
    compact(ledger.store, ledger.require())
    ledger.append(records(range(10, 15)))
    done = ledger.seal()
    assert (done.sealed, done.duplicates, done.size) == (3, 2, 15)
    checked = verify(ledger)
    assert (checked.ok, checked.checkpoints, checked.segments) == (True, 4, 2)
    for size in (3, 7, 12, 15):
        with open_snapshot(ledger, AsOf(size=size), ("events",)) as snapshot:
            assert snapshot.rows("SELECT count(*), max(index) FROM events") == [(size, size - 1)]


def test_small_row_groups_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand segments of five rows do not become a thousand row groups of five rows."""
    monkeypatch.setattr("run_evidence.ledger.storage.segment.ROW_GROUP_ROWS", 10)
    ledger = _ledger(tmp_path, 3, 4, 5, 25, 2)
    before = _rows(ledger)
    compact(ledger.store, ledger.require())
    (segment,) = ledger.log().segments
    assert row_groups(segment) == [10, 10, 10, 9]
    assert _rows(ledger) == before
    assert verify(ledger).ok
    assert ROW_GROUP_ROWS == 20_000


def test_a_seal_that_lands_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction that finds the log longer commits the same merged file behind it, without merging again."""
    ledger = _ledger(tmp_path, 2, 2, 2)
    merges: list[str] = []

    def commit_after_seals(*arguments: object) -> None:
        if len(merges) == 1:
            for number in (100, 101):
                ledger.append([record(number)])
                ledger.seal()
            merges.append("sealed meanwhile")
        commit_compaction(*arguments)  # type: ignore[arg-type]

    def counted(*arguments: object) -> Segment:
        merges.append("merge")
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("run_evidence.ledger.sealing.compact.commit_compaction", commit_after_seals)
    monkeypatch.setattr("run_evidence.ledger.sealing.compact.write", counted)
    compact(ledger.store, ledger.require(), target_rows=6)
    assert [segment.count for segment in ledger.log().segments] == [6, 2]
    assert merges[:2] == ["merge", "sealed meanwhile"]
    assert len(merges) == 3  # the second merge joins what was sealed meanwhile
    assert verify(ledger).ok


def test_two_compactions_at_once_end_in_one_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second finds its parts merged, leaves no file behind, and is done."""
    ledger = _ledger(tmp_path, 2, 2, 2)
    rivals: list[object] = []

    def commit_after_the_rival(*arguments: object) -> None:
        if not rivals:
            rivals.append(1)
            rivals.append(compact(ledger.store, ledger.require()))
        commit_compaction(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("run_evidence.ledger.sealing.compact.commit_compaction", commit_after_the_rival)
    assert compact(ledger.store, ledger.require()).after == 1
    (segment,) = ledger.log().segments
    assert segment.count == 6
    assert len(list((ledger.root / "log").glob("*.parquet"))) == 4  # three parts that readers may have open
    assert verify(ledger).ok


def test_a_reader_under_way_is_not_disturbed(tmp_path: Path) -> None:
    """What a snapshot refers to stays readable, however old those segments are."""
    ledger = _ledger(tmp_path, 2, 2, 2)
    _age(ledger, 100 * KEEP_SECONDS)
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert compact(ledger.store, ledger.require()).removed_files == 0
        assert compact(ledger.store, ledger.require()).removed_files == 0
        assert snapshot.rows("SELECT count(*), max(index) FROM events") == [(6, 5)]


def test_what_nobody_refers_to_is_removed_when_it_is_old(tmp_path: Path) -> None:
    """Merged parts, segments of a seal that died and half-written files; live and young files stay."""
    ledger = _ledger(tmp_path, 2, 2)
    ledger.append([record(9)])
    compact(ledger.store, ledger.require())
    live = {segment.path.name for segment in ledger.log().segments}
    for path in ("log/.tmp-0123456789abcdef", "inbox/.tmp-0123456789abcdef", "log/dead.parquet"):
        (ledger.root / path).write_bytes(b"half")
    assert compact(ledger.store, ledger.require()).removed_files == 0
    _age(ledger, KEEP_SECONDS + 60)
    (ledger.root / "log" / ".tmp-young").write_bytes(b"being written")
    assert compact(ledger.store, ledger.require()).removed_files == 5
    kept = {path.name for path in (ledger.root / "log").iterdir()}
    assert kept == {"_delta_log", ".tmp-young", *live}
    assert verify(ledger).ok
    assert ledger.seal().size == 5


@pytest.mark.parametrize("damage", ["entry", "truncated"])
def test_damaged_segments_are_not_merged(tmp_path: Path, damage: str) -> None:
    """A compaction does not carry damage on: it says what it found and leaves everything as it was."""
    ledger = _ledger(tmp_path, 2, 2, 2)
    first, second, _ = ledger.log().segments
    content = first.path.read_bytes() if damage == "entry" else second.path.read_bytes()[:-10]
    second.path.write_bytes(content)
    before = sorted(path.name for path in (ledger.root / "log").iterdir())
    with pytest.raises(IntegrityError) as caught:
        compact(ledger.store, ledger.require())
    assert caught.value.next_step
    assert len(ledger.log().segments) == 3
    assert sorted(path.name for path in (ledger.root / "log").iterdir()) == before
