"""A process that dies at any point loses nothing it acknowledged, and the next seal clears up after it."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from run_evidence.ledger import IntegrityError, Ledger
from run_evidence.ledger.admin.status import diagnose
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.storage import commit
from run_evidence.ledger.storage.inbox import names
from run_evidence.ledger.verification.verify import verify
from tests.ledger.processes import POINTS, Child, merge, seal, seal_and_die, write
from tests.ledger.samples import RUN, Clock, record, records

ROUNDS = 12


@pytest.mark.soak
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Writers, rival sealers and a compactor die at random; nothing is lost, nothing is there twice."""
    root, never = tmp_path / "ledger", tmp_path / "never"
    ledger = Ledger(root)
    ledger.create()
    chance = random.Random(20260417)  # noqa: S311 - the moments of death need no secrecy
    acknowledged: set[tuple[str, int]] = set()
    for number in range(ROUNDS):
        run, reports = f"run-{number}", tmp_path / f"reports-{number}"
        children = [
            Child(reports / "writer", write, root, run, 0, 10_000),
            Child(reports / "same records", write, root, run, 5, 10_000),
            Child(reports / "sealer", seal, root, never),
            Child(reports / "rival", seal, root, never),
            Child(reports / "compactor", merge, root, never),
        ]
        children[0].wait_until_it_works()
        time.sleep(chance.uniform(0.05, 0.25))
        chance.shuffle(children)
        for child in children:
            time.sleep(chance.uniform(0, 0.03))
            told = (line.split() for line in child.kill())
            acknowledged |= {(words[0], int(words[1])) for words in told if len(words) == 2}
            assert child.exit_code == -signal.SIGKILL
    ledger.seal()
    assert names(ledger.store) == []
    known = ledger.known([f"run-{number}" for number in range(ROUNDS)])
    assert len(acknowledged) > ROUNDS
    assert all(("store-1", last) in known[run].records for run, last in acknowledged)
    assert ledger.log().size == sum(len(run.records) for run in known.values())
    checked = verify(ledger)
    assert checked.ok, checked.findings


LATER = [point for point in POINTS if point not in {"table made, not flushed", "committed, not flushed"}]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("point", "already_sealed"), [*((point, False) for point in POINTS), *((point, True) for point in LATER)]
)
def test_a_seal_that_died_between_two_steps_is_completed_by_the_next(
    tmp_path: Path, point: str, already_sealed: bool
) -> None:
    """At every point readers see each event once, and the next seal ends where the first would have."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append([record(100)])
    if already_sealed:
        ledger.seal()
    for number in range(4):
        ledger.append(records(range(number * 2, number * 2 + 3)))
    child = Child(tmp_path / "reports" / "dies", seal_and_die, ledger.root, point)
    child.finish()
    assert child.exit_code == 137
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert snapshot.rows("SELECT count(*), count(DISTINCT storage_id) FROM events") == [(10, 10)]
    assert len(ledger.known([RUN])[RUN].records) == 10
    assert verify(ledger).ok
    assert ledger.seal().size == 10
    assert names(ledger.store) == []
    assert (ledger.root / "checkpoints" / f"{10:016d}").exists()
    checked = verify(ledger)
    assert (checked.ok, checked.beyond_checkpoint) == (True, 0)


def _commits(ledger: Ledger) -> list[Path]:
    return sorted((ledger.root / "log" / "_delta_log").glob("*.json"))


def _follow(next_step: str, ledger: Ledger) -> None:
    """Do what the message says, as a person would type it with the environment of this Python active."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "LEDGER_URL": str(ledger.root), "PATH": path}
    subprocess.run(["bash", "-ec", next_step], check=True, env=environment, capture_output=True)


def _power_cut_before_the_inbox_was_emptied(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what a power cut may: the newest commit's name is there, its inbox objects too, no checkpoint."""

    def cut(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("run_evidence.ledger.sealing.seal.write_checkpoint", cut)
        with pytest.raises(SystemExit):
            ledger.seal()


@pytest.mark.soak
@pytest.mark.parametrize("first", [True, False], ids=["first commit", "later commit"])
@pytest.mark.parametrize("torn", [b"", b'{"add":{"pa', b"\0" * 200], ids=["empty", "half", "zeros"])
def test_a_commit_torn_by_a_power_cut_is_sealed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes, first: bool
) -> None:
    """It loads as an empty version, or `doctor` names what to move away; either way nothing is lost."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    if not first:
        ledger.append([record(100)])
        ledger.seal()
    ledger.append(records(range(5)))
    _power_cut_before_the_inbox_was_emptied(ledger, monkeypatch)
    _commits(ledger)[-1].write_bytes(torn)
    if torn:
        with pytest.raises(IntegrityError) as caught:
            ledger.seal()
        assert caught.value.next_step == "ledger doctor"
        (problem,) = (found for found in diagnose(ledger) if found.level == "problem")
        assert problem.next_step is not None
        _follow(problem.next_step, ledger)
    assert ledger.seal().size == 5 + (not first)
    assert names(ledger.store) == []
    assert verify(ledger).ok
    assert [found.level for found in diagnose(ledger)] == ["ok", "ok", "ok"]


@pytest.mark.soak
@pytest.mark.parametrize("torn", [b"", b'{"protocol":'], ids=["empty", "half"])
def test_a_table_torn_at_its_creation_is_made_again(tmp_path: Path, torn: bytes) -> None:
    """The very first commit of the log can be torn too; there is nothing sealed to lose yet."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append(records(range(5)))
    Child(tmp_path / "reports" / "dies", seal_and_die, ledger.root, "table made, not flushed").finish()
    (made,) = _commits(ledger)
    made.write_bytes(torn)
    with pytest.raises(IntegrityError):
        ledger.seal()
    (problem,) = (found for found in diagnose(ledger) if found.level == "problem")
    assert problem.next_step is not None
    _follow(problem.next_step, ledger)
    assert ledger.seal().size == 5
    assert verify(ledger).ok


@pytest.mark.soak
@pytest.mark.parametrize("torn", [b"", b"PAR1 and no more"], ids=["empty", "half"])
def test_a_torn_delta_checkpoint_is_named_and_nothing_but_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    """delta-rs cannot load it; `doctor` says what to move away, and all commits are still there."""
    monkeypatch.setattr(commit, "_CONFIGURATION", {**commit._CONFIGURATION, "delta.checkpointInterval": "3"})
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    for number in range(4):
        ledger.append([record(number)])
        ledger.seal()
    (checkpoint,) = (ledger.root / "log" / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(torn)
    with pytest.raises(IntegrityError):
        ledger.log()
    (problem,) = (found for found in diagnose(ledger) if found.level == "problem")
    assert problem.next_step is not None
    assert str(checkpoint) in problem.next_step
    _follow(problem.next_step, ledger)
    assert ledger.log().size == 4
    assert verify(ledger).ok


class Recorder:
    """The order in which things reach the disk, as the process asks for it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.steps: list[str] = []
        for name in ("link", "unlink", "mkdir", "replace", "rename"):
            monkeypatch.setattr(os, name, self._around(name, getattr(os, name)))
        monkeypatch.setattr(os, "fsync", self._fsync)
        create = DeltaTable.create_write_transaction

        def committed(*arguments: Any, **options: Any) -> Any:
            self.steps.append("commit")
            return create(*arguments, **options)

        monkeypatch.setattr(DeltaTable, "create_write_transaction", committed)

    def _short(self, path: Path | str) -> str:
        return str(path).removeprefix(str(self.root))

    def _fsync(self, descriptor: int) -> None:
        self.steps.append(f"fsync {self._short(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        os.fdatasync(descriptor)

    def _around(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*paths: Any, **options: Any) -> Any:
            told = paths[-1] if name in {"link", "replace", "rename"} else paths[0]
            self.steps.append(f"{name} {self._short(told)}")
            return step(*paths, **options)

        return noted

    def index(self, step: str, after: int = -1) -> int:
        """Return the place of the first such step behind `after`; a star at its end stands for anything."""
        for position, taken in enumerate(self.steps):
            if position > after and (taken == step or (step[-1] == "*" and taken.startswith(step[:-1]))):
                return position
        raise AssertionError(f"no step {step!r} behind {after} in {json.dumps(self.steps, indent=1)}")

    def in_order(self, *steps: str) -> None:
        """Assert that such steps come one behind the other."""
        position = -1
        for step in steps:
            position = self.index(step, position)


def test_an_append_is_flushed_before_it_is_visible_and_its_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, then the name, then the folder's own list of names; a payload before the entry that names it."""
    ledger = Ledger(tmp_path / "parent" / "ledger", clock=Clock())
    recorder = Recorder(ledger.root, monkeypatch)
    ledger.append([record(1, data={"text": "x" * 40_000})])
    recorder.in_order(f"mkdir {ledger.root.parent}", f"fsync {tmp_path}", "mkdir ", f"fsync {ledger.root.parent}")
    recorder.in_order("mkdir /inbox", "fsync /.tmp-*", "link /ledger.json", "fsync ", "fsync /blobs/.tmp-*")
    recorder.in_order(
        "fsync /blobs/.tmp-*",
        "link /blobs/*",
        "fsync /blobs",
        "fsync /inbox/.tmp-*",
        "link /inbox/*",
        "fsync /inbox",
    )
    assert recorder.steps[-1] == "fsync /inbox"


def test_what_a_rival_made_is_flushed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have died before doing so, and an append that counts on its payload is about to be acknowledged."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    large = record(1, data={"text": "x" * 40_000})
    ledger.append([large])
    recorder = Recorder(ledger.root, monkeypatch)
    ledger.append([large])
    recorder.in_order("link /blobs/*", "fsync /blobs", "fsync /inbox/.tmp-*", "link /inbox/*", "fsync /inbox")


@pytest.mark.parametrize("later", [False, True], ids=["first seal", "later seal"])
def test_a_seal_flushes_each_step_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    """Segment, folder, commit, its folder, checkpoint: all on disk before anything leaves the inbox."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    if later:
        ledger.append([record(0)])
        ledger.seal()
    ledger.append([record(1)])
    recorder = Recorder(ledger.root, monkeypatch)
    ledger.seal()
    version = 2 if later else 1
    if not later:
        recorder.in_order(f"fsync /log/_delta_log/{0:020d}.json", "fsync /log/_delta_log", "fsync /log", "commit")
    recorder.in_order(
        "fsync /log/.tmp-*",
        "rename /log/0*",
        "fsync /log",
        "commit",
        f"fsync /log/_delta_log/{version:020d}.json",
        "fsync /log/_delta_log",
        "fsync /checkpoints/.tmp-*",
        "link /checkpoints/*",
        "fsync /checkpoints",
        "unlink /inbox/*",
    )
    emptied = recorder.index("unlink /inbox/*")
    assert not [step for step in recorder.steps[emptied:] if step.startswith("fsync")]


def test_a_delta_checkpoint_is_flushed_with_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it torn, the table would not load: it is on disk before the inbox is emptied."""
    monkeypatch.setattr(commit, "_CONFIGURATION", {**commit._CONFIGURATION, "delta.checkpointInterval": "3"})
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    recorder = Recorder(ledger.root, monkeypatch)
    ledger.append([record(0)])
    ledger.seal()
    recorder.steps.clear()
    ledger.append([record(1)])
    ledger.seal()
    (checkpoint,) = (ledger.root / "log" / "_delta_log").glob("*.checkpoint.parquet")
    delta = "fsync /log/_delta_log"
    recorder.in_order("commit", f"{delta}/{checkpoint.name}", f"{delta}/_last_checkpoint", delta, "unlink /inbox/*")


def test_commands_in_messages_can_be_pasted(tmp_path: Path) -> None:
    """A path with spaces and quotes is quoted for the shell."""
    root = tmp_path / "it's a folder"
    ledger = Ledger(root)
    ledger.create()
    (root / "blobs").rmdir()
    (problem,) = (found for found in diagnose(ledger) if found.level == "problem")
    assert problem.next_step == f"mkdir {shlex.quote(str(root / 'blobs'))}"
