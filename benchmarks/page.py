"""Pages: of a run of 10,000 events, its time to make, its size and its check; an index of many runs, drawn."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.drawing import draw
from run_evidence.evidence.page.making import make_page
from run_evidence.ledger import check_file, read_trust
from tests.browser import SETTLED
from tests.evidence.evidence_runs import Story, planned, step_of
from tests.evidence.large_index import large
from tests.trust.ledgers import VKEY, signed_ledger

_ASSETS = 3_300  # three events each, so that the run has about 10,000
_WIDTH = 25
_RUN = "6a07bad4-6bf0-4bb1-8c78-0e12158f475b"


def run() -> Iterator[Row]:
    """Measure in the processor's time; what a browser does, until its verdict, on the clock."""
    with tempfile.TemporaryDirectory() as scratch:
        ledger = signed_ledger(Path(scratch) / "ledger", [7])
        ledger.append(_large().events)
        ledger.seal()
        asked = Asked(run_id=_RUN)
        seconds, made = _processor(lambda: make_page(ledger, asked))
        events = made.document["runs"][0]["events"]
        yield Row(
            f"make the page of a run of {events:,} events", f"{seconds:.2f} s", f"{len(made.html) / 1e6:.2f} MB"
        )
        again, _ = _processor(lambda: make_page(ledger, asked))
        yield Row("make it again, which records nothing", f"{again:.2f} s")
        drawn, _ = _processor(lambda: draw(made.document))
        yield Row("of that, drawing", f"{drawn:.2f} s")
        checked, _ = _processor(lambda: check_file(made.html, read_trust([VKEY], [])))
        yield Row("check it without its script", f"{checked:.2f} s")
        file = Path(scratch) / "page.html"
        file.write_bytes(made.html)
        yield Row("open it in Chromium until it is verified", f"{_in_browser(file):.2f} s on the clock")
        index, html = _processor(lambda: draw(large(50, 365, 5_000)))
        yield Row(
            "draw an index of 50 assets × 365 days, 5,000 runs", f"{index:.2f} s", f"{len(html) / 1e6:.2f} MB"
        )


def _processor(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def _in_browser(file: Path) -> float:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        started = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector(SETTLED)
        seconds = time.perf_counter() - started
        browser.close()
    return seconds


def _large() -> Story:
    items = [planned(f"big/layer{number % _WIDTH}/asset_{number}") for number in range(_ASSETS)]
    steps = [step_of(item.asset_key) for item in items]
    after = {step: (steps[n - _WIDTH],) if n >= _WIDTH else () for n, step in enumerate(steps)}
    story = Story(_RUN).plan(items, after)
    for item in items:
        story.made(item.asset_key, row_count=1_000, path="s3://bucket/some/where")
    return story.end().close()
