"""Whether a sealer keeps up with its writers: sixteen processes append single events, one seals once a second.

On an ext4 without a journal this measures the file system: there a new file's inode is searched past all that were
removed in the last minutes, so removing what was sealed slows appends, whoever removes it.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.core import events
from benchmarks.measure import Row
from run_evidence.ledger import Ledger
from run_evidence.ledger.storage import inbox

_WRITERS = 16
_PAUSE = 1.0  # seconds between two seals; a sensor's tick takes 30
_SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))


def run() -> Iterator[Row]:
    """Yield what is appended alone and beside a sealer, what is sealed, and what is left waiting."""
    with tempfile.TemporaryDirectory() as folder:
        alone, latency_alone, _ = _together(Path(folder) / "alone", sealing=False)
        beside, latency, sealer = _together(Path(folder) / "beside", sealing=True)
    seconds = f"{_SECONDS:.0f} s"
    yield Row(
        f"{_WRITERS} writers alone, {seconds}", f"{alone / _SECONDS:,.0f} appends/s", f"p50 {latency_alone:.1f} ms"
    )
    yield Row(
        "the same beside a sealer",
        f"{beside / _SECONDS:,.0f} appends/s, p50 {latency:.1f} ms",
        f"{beside / alone:.2f} of alone",
    )
    yield Row(
        "sealed meanwhile", f"{sealer['sealed'] / _SECONDS:,.0f}/s", f"{sealer['sealed'] / beside:.2f} of appended"
    )
    yield Row(
        "waiting, at most",
        f"{sealer['waiting']:,} objects",
        f"{sealer['waiting'] * _SECONDS / beside:.1f} s of appends",
    )
    yield Row("waiting at the end", f"{sealer['left']:,} objects", f"{sealer['seals']} seals")


def _together(root: Path, *, sealing: bool) -> tuple[int, float, dict[str, int]]:
    """Return events appended, the median append in ms, and what the sealer did."""
    Ledger(root).create()
    methods = multiprocessing.get_context("spawn")
    ready, stop = methods.Barrier(_WRITERS + 1), methods.Event()
    told: Any = methods.Queue()
    writers = [methods.Process(target=_write, args=(root, number, ready, stop, told)) for number in range(_WRITERS)]
    for writer in writers:
        writer.start()
    ready.wait()
    sealer = _seal_until(root, time.monotonic() + _SECONDS, sealing=sealing)
    stop.set()
    counts = [told.get() for _ in writers]
    for writer in writers:
        writer.join()
    sealer["left"] = len(inbox.names(Ledger(root).store))
    return sum(done for done, _ in counts), statistics.median(each for _, each in counts), sealer


def _seal_until(root: Path, end: float, *, sealing: bool) -> dict[str, int]:
    ledger, found = Ledger(root), {"sealed": 0, "seals": 0, "waiting": 0}
    while time.monotonic() < end:
        if not sealing:
            time.sleep(0.1)
            continue
        found["waiting"] = max(found["waiting"], len(inbox.names(ledger.store)))
        found["sealed"] += ledger.seal().sealed
        found["seals"] += 1
        time.sleep(max(0.0, min(_PAUSE, end - time.monotonic())))
    return found


def _write(root: Path, number: int, ready: Any, stop: Any, told: Any) -> None:
    ledger = Ledger(root)
    lasted = []
    made = count(number * 10_000_000)
    ready.wait()
    while not stop.is_set():
        (event,) = events(next(made), 1)
        started = time.monotonic()
        ledger.append([event])
        lasted.append((time.monotonic() - started) * 1e3)
    told.put((len(lasted), statistics.median(lasted)))
