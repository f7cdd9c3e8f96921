"""Child processes of the tests: they append, seal, compact and read, and report in a file what was acknowledged.

They are forked from a server that has everything imported, so that dozens can be started and killed in a
second. A report is written before the child goes on, so that a `kill -9` loses no word of it.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

import run_evidence.ledger.sealing.seal
import run_evidence.ledger.storage.commit
import run_evidence.ledger.storage.folder
import run_evidence.ledger.storage.inbox
from run_evidence.ledger import Ledger
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing.compact import compact
from tests.ledger.samples import record, records

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.ledger.processes"])


class Child:
    """A child process that runs `role(tell, *arguments)`; `tell` adds a line to its report."""

    def __init__(self, report: Path, role: Callable[..., None], *arguments: object) -> None:
        report.parent.mkdir(exist_ok=True)
        self._report = report
        self._process = _CONTEXT.Process(target=_run, args=(report, role, *arguments), daemon=True)
        self._process.start()

    def kill(self) -> list[str]:
        """Kill it as nothing can prevent, and return what it had reported."""
        self._process.kill()
        return self.finish()

    def finish(self) -> list[str]:
        """Wait for it and return what it reported; a line that was cut off is none."""
        self._process.join()
        return self._report.read_text().split("\n")[:-1] if self._report.exists() else []

    def wait_until_it_works(self) -> None:
        """Return when it has reported something, however long the machine takes to start it."""
        give_up = time.monotonic() + 600
        while not (self._report.exists() and self._report.stat().st_size):
            assert time.monotonic() < give_up, f"{self._report.name} did nothing for ten minutes"
            time.sleep(0.005)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """Its exit code; negative when a signal ended it."""
        return self._process.exitcode


def _run(report: Path, role: Callable[..., None], *arguments: object) -> None:
    descriptor = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(*words: object) -> None:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())

    role(tell, *arguments)


Tell = Callable[..., None]
_BREATH_SECONDS = 0.01


def create(tell: Tell, root: Path, number: int, barrier: Any) -> None:
    """Wait for all rivals, append one record to a ledger that is not there, and tell its origin."""
    made = Ledger(root)
    barrier.wait()
    made.append([record(number)])
    tell(made.require())


def write(tell: Tell, root: Path, run_id: str, first: int, appends: int, pause_seconds: float = 0) -> None:
    """Append two records at a time, one of them again with the next, and tell each that was acknowledged."""
    for number in range(first, first + appends):
        Ledger(root).append(records([number, number + 1], run_id))
        tell(run_id, number + 1)
        time.sleep(pause_seconds)


def seal(tell: Tell, root: Path, stop: Path) -> None:
    """Seal until the file `stop` is there, then once more; tell how many events were sealed each time."""
    last = False
    while not last:
        last = stop.exists()
        tell(Ledger(root).seal().sealed)
        time.sleep(_BREATH_SECONDS)


def merge(tell: Tell, root: Path, stop: Path) -> None:
    """Compact until the file `stop` is there; tell how many segments there are each time."""
    while not stop.exists():
        tell(compact(Ledger(root).store, Ledger(root).require()).after)
        time.sleep(_BREATH_SECONDS)


COUNTS = """
    SELECT count(*), count(DISTINCT event_id), count(DISTINCT (run_id, storage_id)),
        count(index), count(DISTINCT index), coalesce(max(index) + 1, 0)
    FROM events
"""


def read(tell: Tell, root: Path, stop: Path) -> None:
    """Open snapshots until the file `stop` is there, then once more; tell what is counted in each."""
    last = False
    while not last:
        last = stop.exists()
        with open_snapshot(Ledger(root)) as snapshot:
            tell(*snapshot.rows(COUNTS)[0], len(snapshot.damaged))


def seal_and_die(_tell: Tell, root: Path, point: str) -> None:
    """Seal once, and end the process without any clean-up at a point between two of its steps."""
    module, name, call = POINTS[point]
    step = getattr(module, name)
    calls = 0

    def die_at_call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os._exit(137)
        return step(*arguments, **options)

    setattr(module, name, die_at_call)
    Ledger(root).seal()


POINTS: dict[str, tuple[Any, str, int]] = {
    "segment written": (run_evidence.ledger.sealing.seal, "commit_append", 1),
    "table made, not flushed": (run_evidence.ledger.storage.commit, "_flush", 1),
    "table made": (DeltaTable, "create_write_transaction", 1),
    "committed, not flushed": (run_evidence.ledger.storage.commit, "_flush", 2),
    "committed": (run_evidence.ledger.sealing.seal, "write_checkpoint", 1),
    "checkpoint written": (run_evidence.ledger.storage.inbox, "discard", 1),
    "inbox half emptied": (run_evidence.ledger.storage.folder, "remove", 3),
}
"""The function before whose so manieth call a first seal dies."""
