"""How a benchmark is measured and told: rows of numbers, the best of several tries, and the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: what, how much, and, where it means more, as a ratio to something in the same run."""

    what: str
    value: str
    ratio: str = ""


def best_seconds(work: Callable[[], object], tries: int = 3) -> float:
    """Return the shortest time, in seconds, of several tries: noise only ever adds."""
    times = []
    for _ in range(tries):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def machine() -> str:
    """Name the machine a number was measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
        model = named[0] if named else model
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"
