"""Accepting a hand-over, as its recipient feels it: a process of its own, from its start to its end."""

from __future__ import annotations

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
            nothing = best_seconds(lambda: _process("pass"), tries=5)
            for command, code in (("ledger", _ITSELF), ("ledger-check", _CHECKER.format(str(root / "checker")))):
                words = ["accept", str(root / name), "--key", VKEY, "--no-memory"]
                cold = best_seconds(lambda code=code, words=words: _process(code, *words), tries=5)  # type: ignore[misc]
                yield Row(f"{command} accept, cold, {name}", f"{cold * 1e3:.0f} ms", f"{cold / nothing:.1f}")


def _process(code: str, *words: str) -> None:
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)


def _large(run_id: str) -> Story:
    checks = [planned_check(f"check_{number}", FACT) for number in range(_CHECKS)]
    story = Story(run_id).plan((*FACTORY[:3], *checks), AFTER)
    for item in FACTORY[:3]:
        story.made(item.asset_key, output_row_count=119)
    for each in checks:
        story.checked(str(each.check_name), FACT)
    return story.end().close()
