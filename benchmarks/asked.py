"""Daily questions to a ledger of a million events: each command in a process of its own, and warm in Python.

A smaller or larger ledger: BENCH_RUNS, of 50 events each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import Row, best_seconds
from run_evidence.ledger import Event, Ledger
from run_evidence.ledger import open as open_reader
from tests.evidence.evidence_runs import START, Story, planned, step_of
from tests.trust.ledgers import signed_ledger

_RUNS = int(os.environ.get("BENCH_RUNS", "20000"))
_ASSETS = 14  # three events each, and six of the run's own
_AT_ONCE = 400
_TRIES = 3
_DAY_US = 86_400_000_000
_KEYS = [f"warehouse/orders/table_{number:02}" for number in range(_ASSETS)]


def run() -> Iterator[Row]:
    """Measure on the clock; the ratio is to the events of one run by `ledger query`."""
    with tempfile.TemporaryDirectory() as scratch:
        ledger = signed_ledger(Path(scratch) / "ledger", [7])
        for first in range(0, _RUNS, _AT_ONCE):
            ledger.append([e for n in range(first, min(first + _AT_ONCE, _RUNS)) for e in _story(n)])
        ledger.seal()
        yield Row("events in the ledger", f"{ledger.log().size:,}")
        yield from _cold(ledger)
        yield from _warm(ledger)


def _run_id(number: int) -> str:
    return f"{number * 2_654_435_761 % 2**32:08x}-6bf0-4bb1-8c78-0e12158f475b"


def _day(number: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(START // 1_000_000 + number // 20 * 86_400))


def _story(number: int) -> list[Event]:
    """Return a run's events: every fortieth run fails at its last asset, every twentieth leaves one out."""
    day = _day(number)
    items = [planned(key, day) for key in _KEYS]
    steps = list(map(step_of, _KEYS))
    after = {step: (before,) for before, step in pairwise(steps)}
    story = Story(_run_id(number), start=START + number * _DAY_US // 20, **{"dagster/partition": day})
    story.plan(items, after)
    for key in _KEYS[:-1]:
        story.made(key, day, row_count=number, path=f"s3://{key}/{day}")
    if number % 40 == 0:
        return story.failed(_KEYS[-1], "the warehouse was not there").end("failed").close().events
    if number % 20 == 7:
        story.left_out(_KEYS[-1], "nothing_to_do", "no orders today")
    else:
        story.made(_KEYS[-1], day, row_count=number)
    return story.end().close().events


def _cold(ledger: Ledger) -> Iterator[Row]:
    some = _run_id(_RUNS // 2)
    commands = {
        "query, one run's events": ("query", f"SELECT * FROM events WHERE run_id = '{some}'", "-f", "json"),  # noqa: S608
        "runs": ("runs",),
        "runs --verdict failed": ("runs", "--verdict", "failed"),
        "show RUN": ("show", some),
        "status": ("status",),
        "gate --run RUN": ("gate", "--run", _run_id(_RUNS - 1)),
        "gate --product --partition": ("gate", "--product", _KEYS[-1], "--partition", _day(_RUNS - 1)),
    }
    one = 0.0
    for name, words in commands.items():
        seconds, megabytes = min(_process(ledger, words) for _ in range(_TRIES))
        one = one or seconds
        yield Row(f"ledger {name}, cold, {megabytes:.0f} MB", f"{seconds * 1e3:,.0f} ms", f"{seconds / one:.1f}")


_MEASURED = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - started, usage.ru_maxrss)
"""
"""In a small process of its own: what a child counts as its memory begins with that of who started it."""


def _process(ledger: Ledger, words: tuple[str, ...]) -> tuple[float, float]:
    """Return a command's seconds and the most memory it had, in MB."""
    command = [sys.executable, "-m", "run_evidence.ledger.cli", "--ledger", str(ledger.root), *words]
    said = subprocess.run([sys.executable, "-c", _MEASURED, *command], check=True, capture_output=True, text=True)
    code, seconds, kilobytes = said.stdout.split()
    if code not in {"0", "1"}:  # 1 is a gate's no
        raise RuntimeError(f"ledger {' '.join(words)} ended with {code}")
    return float(seconds), int(kilobytes) / 1e3


def _warm(ledger: Ledger) -> Iterator[Row]:
    reader = open_reader(ledger.root)
    asked = {"run": _run_id(_RUNS // 3), "since": START + _RUNS // 2 * _DAY_US // 20}
    questions = {
        "one run's events": "SELECT * FROM events WHERE run_id = $run ORDER BY occurred_at",
        "failed steps in 25 days": "SELECT * FROM failures WHERE event_type = 'step.failed.v1' "
        "AND occurred_at BETWEEN make_timestamptz($since) AND make_timestamptz($since) + INTERVAL 25 DAY",
        "latest state of each asset": "SELECT * FROM assets",
        "one run's verdict": "SELECT verdict, reason FROM runs WHERE run_id = $run",
    }
    for what, sql in questions.items():
        params = {name: value for name, value in asked.items() if f"${name}" in sql}
        seconds = best_seconds(lambda sql=sql, params=params: reader.query(sql, params), tries=9)  # type: ignore[misc]
        yield Row(f"Reader.query, warm: {what}", f"{seconds * 1e3:,.1f} ms")
