"""Accepting a hand-over in a process of its own, from its start to its end, in the processor's time."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, best_seconds
from checker.__main__ import write_sources
from pipelines.delivery import WEEK06
from run_evidence.evidence import accept, hand_over
from tests.evidence.evidence_runs import AFTER, DAY, FACT, FACTORY, Story, good_run, planned_check
from tests.trust.ledgers import VKEY, signed_ledger

_CHECKS = 2_000
_TRIES = 5
_ITSELF = "from run_evidence.ledger.cli import main; main()"
_CHECKER = "import sys; sys.path.insert(0, {!r}); from run_evidence_check.main import main; sys.exit(main())"


def run() -> Iterator[Row]:
    """Measure a small hand-over and one of a run with thousands of checks; the ratio is to Python doing nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_sources(root / "checker")
        for name, story in (("a run of 20 events", good_run("small")), (f"{_CHECKS:,} checks", _large("large"))):
            ledger = signed_ledger(root / f"{name} ledger", [7])
            ledger.append(story.events)
            started = time.perf_counter()
            hand_over(ledger, WEEK06, DAY, root / name)
            yield Row(f"hand over, {name}", f"{time.perf_counter() - started:.2f} s")
            seconds = best_seconds(lambda name=name: accept(root / name, VKEY))  # type: ignore[misc]
            proof = (root / name / "handover.proof").stat().st_size
            yield Row(f"accept in Python, {name}, proof of {proof / 1e3:,.0f} kB", f"{seconds * 1e3:.0f} ms")
            nothing = min(_processor_seconds("pass") for _ in range(_TRIES))
            for command, code in (("ledger", _ITSELF), ("ledger-check", _CHECKER.format(str(root / "checker")))):
                words = ["accept", str(root / name), "--key", VKEY, "--no-memory"]
                cold = min(_processor_seconds(code, *words) for _ in range(_TRIES))
                yield Row(f"{command} accept, cold, {name}", f"{cold * 1e3:.0f} ms", f"{cold / nothing:.1f}")


def _processor_seconds(code: str, *words: str) -> float:
    """Return the processor's time that a process takes from its start to its end, which no neighbour prolongs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _large(run_id: str) -> Story:
    checks = [planned_check(f"check_{number}", FACT) for number in range(_CHECKS)]
    story = Story(run_id).plan((*FACTORY[:3], *checks), AFTER)
    for item in FACTORY[:3]:
        story.made(item.asset_key, output_row_count=119)
    for each in checks:
        story.checked(str(each.check_name), FACT)
    return story.end().close()
