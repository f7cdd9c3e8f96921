"""How a ledger is doing, and what is wrong with it, each with the next step."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.admin import status as status_module
from run_evidence.ledger.admin.amend import erase
from run_evidence.ledger.admin.status import Diagnosis, diagnose, status
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing.compact import KEEP_SECONDS
from run_evidence.ledger.storage.inbox import names
from tests.ledger.processes import Child, seal, write
from tests.ledger.samples import NOON, Clock, own, record, records
from tests.paths import paths
from tests.trust.ledgers import signed_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two segments, and two appends that wait."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    for start in (0, 3):
        made.append(records(range(start, start + 3)))
        made.seal()
    made.append([record(6), record(7)])
    made.append([record(8)])
    return made


def _problems(ledger: Ledger, level: str = "problem") -> list[Diagnosis]:
    return [found for found in diagnose(ledger) if found.level == level]


def test_a_status_counts_what_is_there(ledger: Ledger) -> None:
    """Sealed and unsealed, and the times of the oldest and the newest that waits."""
    now = status(ledger)
    assert (now.sealed_events, now.segments, now.checkpoint_size) == (6, 2, 6)
    assert (now.unsealed_events, now.unsealed_objects, now.damaged_objects) == (3, 2, 0)
    waiting = [int(name[:16]) for name in names(ledger.store)]
    assert (now.oldest_unsealed_at, now.last_recorded_at) == (min(waiting), max(waiting))
    assert min(waiting) > NOON
    assert now.size_bytes == sum(path.stat().st_size for path in ledger.root.rglob("*") if path.is_file())


def test_the_status_of_a_ledger_that_nothing_was_recorded_in(tmp_path: Path) -> None:
    """Zeros, and times that are absent and not the epoch."""
    ledger = Ledger(tmp_path / "ledger")
    ledger.create()
    now = status(ledger)
    assert (now.sealed_events, now.unsealed_events, now.checkpoint_size) == (0, 0, 0)
    assert (now.oldest_unsealed_at, now.last_recorded_at) == (None, None)


def test_the_last_record_is_dated_by_itself(ledger: Ledger, tmp_path: Path) -> None:
    """A copy of a ledger, whose files are new, says when its newest entry was recorded."""
    ledger.seal()
    now = status(ledger)
    assert now.unsealed_objects == 0
    copy = tmp_path / "copy"
    shutil.copytree(ledger.root, copy, copy_function=shutil.copyfile)
    assert status(Ledger(copy)).last_recorded_at == now.last_recorded_at
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert snapshot.rows("SELECT max(epoch_us(recorded_at)) FROM events") == [(now.last_recorded_at,)]


def test_a_status_can_be_taken_while_others_work(tmp_path: Path) -> None:
    """Files that vanish between a listing and a look are no error."""
    root, stop, reports = tmp_path / "ledger", tmp_path / "stop", tmp_path / "reports"
    Ledger(root).create()
    others = [Child(reports / "writer", write, root, "run", 0, 300), Child(reports / "sealer", seal, root, stop)]
    seen: list[int] = []
    while others[0].alive and len(seen) < 200:
        now = status(Ledger(root))
        seen.append(now.sealed_events)
        assert not [found for found in diagnose(Ledger(root)) if found.level == "problem"]
    stop.touch()
    for child in others:
        child.finish()
        assert child.exit_code == 0
    assert seen == sorted(seen)
    assert status(Ledger(root)).sealed_events == 301


def test_a_sound_ledger_has_no_problem(ledger: Ledger) -> None:
    """The store is tried, and the trial leaves nothing behind."""
    before = sorted(path.name for path in ledger.root.iterdir())
    assert {found.level for found in diagnose(ledger)} == {"ok"}
    assert sorted(path.name for path in ledger.root.iterdir()) == before


def _truncate(ledger: Ledger) -> None:
    path = ledger.log().segments[0].path
    path.write_bytes(path.read_bytes()[:-1])


def _lose_segment(ledger: Ledger) -> None:
    ledger.log().segments[1].path.unlink()


def _damage_inbox(ledger: Ledger) -> None:
    (ledger.root / "inbox" / names(ledger.store)[0]).write_bytes(b"{}\n")


def _lose_folder(ledger: Ledger) -> None:
    (ledger.root / "blobs").rmdir()


def _roll_back(ledger: Ledger) -> None:
    sorted((ledger.root / "log" / "_delta_log").glob("*.json"))[-1].unlink()


def _spoil_a_commit(ledger: Ledger) -> None:
    sorted((ledger.root / "log" / "_delta_log").glob("*.json"))[1].write_text("{}garbage")


@pytest.mark.parametrize(
    ("damage", "said", "next_step"),
    [
        (_truncate, "were written", "restore log/"),
        (_lose_segment, "No such file", "restore log/"),
        (_damage_inbox, "no longer has the digest", "restore the file from a copy"),
        (_lose_folder, "is missing", "mkdir "),
        (_roll_back, "entries were removed", "restore log/"),
        (_spoil_a_commit, "cannot be loaded", "restore log/"),
    ],
)
def test_what_is_wrong_is_named_with_the_next_step(
    ledger: Ledger, damage: Callable[[Ledger], None], said: str, next_step: str
) -> None:
    """And the doctor itself never fails."""
    damage(ledger)
    (problem,) = _problems(ledger)
    assert said in problem.what
    assert problem.next_step is not None
    assert problem.next_step.startswith(next_step)


def test_what_could_be_better_is_advice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appends that wait, many segments, and files that nobody refers to."""
    monkeypatch.setattr(status_module, "MANY_UNSEALED_OBJECTS", 1)
    monkeypatch.setattr(status_module, "MANY_SEGMENTS", 1)
    orphan = ledger.root / "log" / "dead.parquet"
    orphan.write_bytes(b"x")
    os.utime(orphan, (time.time() - 2 * KEEP_SECONDS,) * 2)
    told = [(found.what, found.next_step) for found in _problems(ledger, "advice")]
    assert told == [
        ("2 appends wait to be sealed.", "ledger seal"),
        ("2 small segments slow queries down.", "ledger compact"),
        ("1 files are left of a crash or a compaction; nothing refers to them.", "ledger compact"),
    ]


def test_a_store_without_exclusive_creation_is_refused(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a second writer can replace a file, two appends could lose one."""
    monkeypatch.setattr(
        "run_evidence.ledger.storage.folder.create_exclusive", lambda path, data: path.write_bytes(data)
    )
    (problem,) = _problems(ledger)
    assert "let a second writer replace" in problem.what


def _delete_checkpoints(ledger: Ledger) -> None:
    for path in paths(ledger).checkpoints.iterdir():
        path.unlink()


def _lose_the_memory(ledger: Ledger) -> None:
    shutil.rmtree(f"{ledger.root}.memory")


def _cut_the_log(ledger: Ledger) -> None:
    for folder in (paths(ledger).log, paths(ledger).checkpoints):
        shutil.rmtree(folder)
        folder.mkdir()


@pytest.mark.parametrize(
    ("damage", "says", "step"),
    [
        (_delete_checkpoints, "this checkpoint is missing", "ledger seal"),
        (_delete_checkpoints, "lie under no checkpoint signed by", "ledger seal"),
        (_lose_the_memory, "was not used", "ledger key add"),
        (_cut_the_log, "entries were removed", "copy"),
        (lambda ledger: (paths(ledger).blobs / ("0" * 64)).mkdir(), "no regular file", "move"),
        (lambda ledger: paths(ledger).checkpoint(5).write_text("nonsense"), "a checkpoint is", "ledger verify"),
        (lambda ledger: next(paths(ledger).keys.iterdir()).write_text("{}"), "keys", "ledger verify"),
    ],
)
def test_doctor_sees_what_seal_and_verify_stumble_over(
    tmp_path: Path, damage: Callable[[Ledger], object], says: str, step: str
) -> None:
    """Of a signed ledger: its checkpoints, keys, payloads, and the memory of the key."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 9])
    assert all(each.level != "problem" for each in diagnose(ledger))
    damage(ledger)
    problems = [each for each in diagnose(ledger) if each.level == "problem"]
    assert any(says in each.what and step in str(each.next_step) for each in problems), problems


def test_doctor_sees_an_erased_payload_that_is_there(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    ledger.append(records([100]), personal=True)
    (blob,) = paths(ledger).blobs.iterdir()
    content = blob.read_bytes()
    with open_snapshot(ledger, views=("payloads",)) as snapshot:
        ((event_id,),) = snapshot.rows("SELECT event_id FROM payloads")
    erase(ledger, str(event_id), reason="asked", actor="me")
    assert all(each.level != "problem" for each in diagnose(ledger))
    blob.write_bytes(content)
    assert any("erased on record" in each.what for each in diagnose(ledger))


@pytest.mark.parametrize(("ahead", "said"), [(0, 0), (59, 0), (120, 2), (-86_400, 0)])
def test_doctor_sees_a_clock_that_runs_ahead(tmp_path: Path, ahead: int, said: int) -> None:
    """Runs are closed by this machine's clock: what comes from its future may never be."""
    then, now = NOON + ahead * 1_000_000, NOON + 1_000
    Ledger(tmp_path, clock=Clock(then)).append([replace(own("run.seen.v1"), occurred_at=then)])
    found = [each for each in diagnose(Ledger(tmp_path, clock=lambda: now)) if "machine's time" in each.what]
    assert len(found) == said
