"""A real Chromium without a network, for the tests that are marked `browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# As root there is no sandbox, and the flags keep it from asking for anything by itself.
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SETTLED = "#seal[data-state]:not(:has-text('Verifying'))"


def chromium() -> Iterator[Browser]:
    """Start the Chromium that is installed, and stop it afterwards.

    Skips the test with the reason where there is none, and fails it instead when LEDGER_TESTS_REQUIRE_ALL=1.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("LEDGER_TESTS_REQUIRE_ALL") == "1":
            pytest.fail("there is no Chromium; Debian's package is called chromium")
        pytest.skip("there is no Chromium here; Debian's package is called chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, file: Path, *, width: int = 1280, script: bool = True) -> Iterator[Page]:
    """Open a file without a network, and wait until it has said what it found; any error of its script fails."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, java_script_enabled=script
    )
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(file.as_uri())
    if script:
        page.wait_for_selector(SETTLED)
    yield page
    context.close()
    assert errors == []
