"""Ends what tests started and left running, whatever ended the tests: a failure, a time limit, SIGKILL.

A test process marks its environment, and all that it starts inherits the mark, in sessions of their own too. A
watcher outlives the test process and then ends every process with the mark. Linux only: it reads /proc.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import uuid
from pathlib import Path

MARK = "RUN_EVIDENCE_TESTS"


def watch_this_process() -> None:
    """Mark this process's environment, and start the watcher of it."""
    if not hasattr(os, "pidfd_open"):
        return
    os.environ[MARK] = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), os.environ[MARK]]
    nothing = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    os.posix_spawn(sys.executable, command, {}, file_actions=nothing, setsid=True)


def end_marked(mark: str) -> None:
    """Kill every process whose environment has the mark, until there is none."""
    named = f"{MARK}={mark}".encode()
    while True:
        left = [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if named in _environment(path)]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        select.select([], [], [], 0.05)


def _environment(path: Path) -> list[bytes]:
    """Return a process's environment; none of one that has ended or is another user's."""
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []


if __name__ == "__main__":
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        select.select([os.pidfd_open(int(sys.argv[1]))], [], [])
    end_marked(sys.argv[2])
