"""Whatever ends a run of tests, what it started ends too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

KILLED = """
import subprocess, sys, time
from tests.ending import watch_this_process
watch_this_process()
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
print(left.pid, flush=True)
time.sleep(3600)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="reads /proc")
def test_a_killed_test_process_leaves_nothing_running() -> None:
    """Also what it started in a session of its own; without a limit, but that of every test."""
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            left = int(process.stdout.readline())
            os.kill(left, 0)
        finally:
            process.send_signal(signal.SIGKILL)
    while _runs(left):
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
