"""Dagster's own processes, as a user starts them: a command, a daemon; ended with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# Launches of queued runs wait for their workers to start: one after the other they would be most of a test.
DAEMON_YAML: Final = """\
telemetry:
  enabled: false
sensors:
  use_threads: true
  num_workers: 4
run_queue:
  max_concurrent_runs: 4
  dequeue_interval_seconds: 1
  dequeue_use_threads: true
  dequeue_num_workers: 4
"""


def command(*words: str, env: Mapping[str, str]) -> None:
    """Run a command of Dagster's and show what it said when it fails."""
    program = [sys.executable, "-m", "dagster", *words]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running(module: str, *words: str, env: Mapping[str, str], log: Path) -> Iterator[None]:
    """Keep `python -m MODULE WORDS` running; ends it, and everything it started, afterwards."""
    program = [sys.executable, "-m", module, *words]
    with log.open("wb") as output:
        process = subprocess.Popen(program, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        finally:
            _end_session(process.pid)  # its code servers, and what it left behind
            process.wait()


def _end_session(group: int) -> None:
    """End what is left of a process group, first asking, after two seconds by force."""
    for each, seconds in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 0.0)):
        try:
            os.killpg(group, each)
            give_up = time.monotonic() + seconds
            while time.monotonic() < give_up:
                os.killpg(group, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def wait_until(holds: Callable[[], bool], what: str, log: Path, seconds: float = 600) -> None:
    """Return when it holds; fails with the end of the process's log when it does not in time."""
    give_up = time.monotonic() + seconds
    while not holds():
        said = log.read_text()[-4_000:] if log.exists() else ""
        assert time.monotonic() < give_up, f"not {what} within {seconds} s\n{said}"
        time.sleep(0.5)
