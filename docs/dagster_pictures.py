"""Dagster's own UI over what the demo made: its webserver, a real browser, and pictures of what it shows."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Page

_ROOT: Final = Path(__file__).parents[1]
_PATIENCE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class View:
    """A page of Dagster's: its address, texts that are on it when all of it is loaded, and how large its window is.

    `press` is the name of a button that has to be pressed before.
    """

    path: str
    shows: tuple[str, ...]
    width: int = 1180
    height: int = 640
    press: str | None = None


def views(failed_run: str) -> dict[str, View]:
    """Return what is photographed, by file name. `failed_run` is the id of a run of the demo that failed."""
    report, raw = "week06/ops/run_evidence_report", "week06/ingestion/raw_ticket_events_partitioned"
    return {
        "dagster-runs.png": View(
            "/runs", ("ledger/verdict: warned", "ledger/verdict: passed", "ledger/verdict: skipped"), 1440, 980
        ),
        "dagster-failed-run.png": View(
            f"/runs/{failed_run}",
            ("RUN_FAILURE", "ledger/verdict: failed", "ledger/decision: hold_downstream"),
            press="View tags and config",
        ),
        "dagster-evidence.png": View(f"/assets/{report}?view=checks", ("ledger_verdict", "NOT MET: run")),
        "dagster-report.png": View(
            f"/assets/{report}?view=events", ("final evidence: warned", "Show Markdown"), 1440
        ),
        "dagster-skipped.png": View(
            f"/assets/{raw}?view=events", ("skipped: dry_run_no_db_write", "nothing was written")
        ),
    }


def environment(demo: Path) -> dict[str, str]:
    """Return the environment of the example project over a demo in the folder `demo`, as `make dev` has it."""
    settings = {
        "DAGSTER_HOME": str(demo.absolute() / "dagster"),
        "LEDGER_URL": str(demo / "ledger"),
        "SEED_MANIFEST_PATH": str(demo / "deliveries"),
        "WEEK06_REPORT_DIR": str(demo / "reports" / "week06"),
        "PYTHONPATH": str(_ROOT),
    }
    return {**os.environ, **settings}


@contextmanager
def webserver(demo: Path) -> Iterator[str]:
    """Run Dagster's webserver over a demo, and end it; gives its address."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "dagster_webserver", "-m", "pipelines.definitions", "-h", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, *words],
        cwd=demo.absolute().parent,
        env=environment(demo.absolute()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit("Dagster's webserver does not start")
            time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def show(page: Page, address: str, view: View) -> None:
    """Open a page of Dagster's and wait until it shows what it is opened for. Raises playwright's error if not."""
    page.set_viewport_size({"width": view.width, "height": view.height})
    page.goto(f"{address}{view.path}")
    if view.press:
        page.get_by_role("button", name=view.press).click()
    for text in view.shows:
        page.get_by_text(text).first.wait_for(timeout=_PATIENCE_SECONDS * 1_000)


def photograph_dagster(demo: Path, wanted: Mapping[str, View], folder: Path) -> None:
    """Write a picture of each view, by its file name."""
    from playwright.sync_api import sync_playwright

    with webserver(demo) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        for name, view in wanted.items():
            show(page, address, view)
            page.screenshot(path=folder / name)
        browser.close()
