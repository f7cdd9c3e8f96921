"""Who asks again is answered from the database that is open, and never with what was true before."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from run_evidence.ledger import IntegrityError, Ledger, Reader, UsageError
from run_evidence.ledger.query import kept
from run_evidence.ledger.query.snapshot import VIEWS, Snapshot
from run_evidence.ledger.sealing.compact import compact
from run_evidence.ledger.storage.spill import spill_place
from tests.ledger.samples import NOON, Clock, own, records
from tests.paths import paths

COUNTED = "SELECT count(*) AS events, count(DISTINCT run_id) AS runs, count(index) AS sealed FROM events"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger", clock=Clock())
    made.append(records(range(5), "run-a"))
    made.seal()
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the arguments of every snapshot that a reader opens from now on."""
    calls: list[Any] = []
    open_snapshot = kept.open_snapshot

    @contextmanager
    def counted(*args: Any, **more: Any) -> Iterator[Snapshot]:
        calls.append((args, more))
        with open_snapshot(*args, **more) as snapshot:
            yield snapshot

    monkeypatch.setattr(kept, "open_snapshot", counted)
    return calls


def grow(ledger: Ledger, how: str, number: int) -> None:
    if how == "append":
        ledger.append(records(range(3), f"run-{number}"))
    elif how == "correct":
        ledger.append([own("policy.declared.v1", "", occurred_at=NOON + number, data={"optional": []})])
    elif how == "seal":
        ledger.seal()
    elif how == "compact":
        compact(ledger.store, ledger.require())


@pytest.mark.soak
def test_questions_in_a_row_open_one_database(ledger: Ledger, opened: list[Any]) -> None:
    """With every view there is, in whatever order they come up."""
    reader = Reader(ledger)
    for view in (*reversed(VIEWS), *VIEWS):
        reader.query(f"SELECT count(*) FROM {view}")
    assert reader.run("run-a")["run_id"] == "run-a"
    with pytest.raises(UsageError, match="not there"):
        reader.query("SELECT nothing FROM events")
    reader.runs()
    assert len(opened) == 1


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2))
def test_every_answer_is_the_newest(ledger: Ledger, seed: int) -> None:
    """Whatever happened to the ledger between two questions, or did not."""
    chance = random.Random(seed)  # noqa: S311 - a test's, not a key's
    reader = Reader(ledger)
    for number in range(12):
        grow(ledger, chance.choice(["append", "correct", "seal", "compact", "nothing"]), number)
        views = chance.sample(VIEWS[:12], 2)
        for sql in (COUNTED, *(f"SELECT count(*) AS n FROM {view}" for view in views)):
            assert reader.query(sql).rows() == Reader(ledger).query(sql).rows()
        if number % 4 == 3:
            assert reader.query(COUNTED, as_of=3).rows() == [{"events": 3, "runs": 1, "sealed": 3}]


def test_what_another_process_appends_is_seen(ledger: Ledger, opened: list[Any]) -> None:
    """By the files alone; an object that is repaired in its place too."""
    reader = Reader(ledger)
    assert reader.query(COUNTED).rows()[0]["events"] == 5
    Ledger(ledger.root).append(records(range(2), "run-b"))
    assert reader.query(COUNTED).rows()[0]["events"] == 7
    (waiting,) = paths(ledger).inbox.iterdir()
    good = waiting.read_bytes()
    waiting.write_bytes(good[:-9])
    Ledger(ledger.root).append(records(range(1), "run-c"))
    assert reader.query(COUNTED).rows()[0]["events"] == 6
    waiting.write_bytes(good)
    assert reader.query(COUNTED).rows()[0]["events"] == 8
    assert len(opened) == 4


def test_a_segment_that_goes_is_a_finding_and_one_that_comes_back_is_none(ledger: Ledger) -> None:
    reader = Reader(ledger)
    before = reader.query(COUNTED).rows()
    (segment,) = paths(ledger).log.glob("*.parquet")
    kept_aside = segment.rename(segment.with_suffix(".aside"))
    for sql in (COUNTED, "SELECT * FROM runs", "SELECT * FROM assets"):
        with pytest.raises(IntegrityError, match=r"gone|cannot be read"):
            reader.query(sql)
    kept_aside.rename(segment)
    assert reader.query(COUNTED).rows() == before


def test_what_is_altered_and_restored_in_its_place_is_answered_as_it_is(ledger: Ledger) -> None:
    """An object of the inbox, and a payload beside the log: nothing was added, and the answer is another."""
    sql = "SELECT run_id, length(data::VARCHAR) AS size FROM events ORDER BY ALL"
    ledger.append([own("policy.declared.v1", "", occurred_at=NOON, data={"optional": ["x" * 100_000]})])
    ledger.seal()
    ledger.append(records(range(2), "run-b"))
    (waiting,), (payload,) = paths(ledger).inbox.iterdir(), (ledger.root / "blobs").iterdir()
    reader = Reader(ledger)
    whole = reader.query(sql).rows()
    good = waiting.read_bytes()
    waiting.write_bytes(good.replace(b"run-b", b"run-x"))
    assert len(reader.query(sql)) == len(whole) - 2
    waiting.write_bytes(good)
    assert reader.query(sql).rows() == whole
    kept_aside = payload.rename(ledger.root / "aside")
    for _ in range(2):
        Ledger(ledger.root).seal()
        assert reader.query(sql).rows() != whole
    kept_aside.rename(payload)
    assert {row["size"] for row in reader.query(sql).rows()} == {row["size"] for row in whole}


def test_threads_do_not_wait_for_each_other(ledger: Ledger) -> None:
    """Each has its answer while another one's question is open."""
    reader = Reader(ledger)
    wanted = reader.query(COUNTED).rows()
    found: list[object] = []

    def ask() -> None:
        found.extend(reader.query(COUNTED).rows() == wanted for _ in range(3))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12


FORKS = """
import os, sys
from run_evidence.ledger import open
reader, sql = open(sys.argv[1]), sys.argv[2]
reader.query(sql)
child = os.fork()
if not child:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(reader.query(sql)))
"""


def test_a_process_that_forks_has_closed_it_before(ledger: Ledger) -> None:
    """The database's threads are not in the child, which would crash at its end."""
    command = [sys.executable, "-c", FORKS, str(ledger.root), COUNTED]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert said.stdout.split() == ["7", "1"]


FORKS_WITHIN = """
import os, sys
from run_evidence.ledger.storage.spill import spill_folder
with spill_folder() as folder:
    child = os.fork()
    if not child:
        sys.exit(0)
    os.waitpid(child, 0)
    print(folder.exists())
print(folder.exists())
"""


def test_a_child_leaves_the_folder_of_a_query_to_its_parent() -> None:
    """One that was forked while another thread asked: what does not fit into memory is still there."""
    said = subprocess.run(
        [sys.executable, "-c", FORKS_WITHIN], capture_output=True, text=True, timeout=300, check=True
    )
    assert said.stdout.split() == ["True", "False"]


def test_nothing_is_left_open(
    ledger: Ledger, opened: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the reader is no longer used, nor of what it opened before the newest."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reader = Reader(ledger)
    for number in range(3):
        reader.query(COUNTED)
        grow(ledger, "append", number)
    assert len(opened) == 3
    assert spill_place() == str(tmp_path)
    assert len(list(tmp_path.glob("ledger-query-*"))) == 1
    del reader
    gc.collect()
    assert not list(tmp_path.glob("ledger-query-*"))
