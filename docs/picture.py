"""Draws the pictures of docs/ from the real thing: runs the demo, and keeps what it shows. `make picture`.

The demo runs on a terminal of its own. The pages are of a copy of its ledger that has a key, in a real Chromium,
and Dagster's are its own webserver's.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import orjson
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

from docs.dagster_pictures import photograph_dagster, views
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.making import make_page
from run_evidence.evidence.profile_choice import find_profiles
from run_evidence.ledger import Ledger, Signer
from run_evidence.ledger.storage.key_file import write_key_file
from run_evidence.ledger.storage.keyring import SigningSetup, memory_of
from run_evidence.ledger.tlog.keys import ED25519

_COLUMNS = 152
_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # a picture should not ask another server for a font


def record() -> str:
    """Run `make demo`'s program on a pseudo-terminal and return what it printed, colours included."""
    os.environ.update(COLUMNS=str(_COLUMNS), TERM="xterm-256color")
    shown = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        shown.extend(data)
        return data

    status = pty.spawn([sys.executable, "-m", "pipelines.demo"], read)
    if status:
        raise SystemExit(os.waitstatus_to_exitcode(status))
    return shown.decode("utf-8").replace("\r\n", "\n")


def draw(text: str, path: Path) -> None:
    """Write the text as SVG."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo\n") + Text.from_ansi(text), soft_wrap=False)
    path.write_text(_WEB_FONT.sub("", console.export_svg(title="make demo")), encoding="utf-8")


def photograph(demo: Path, pictures: Mapping[str, tuple[Asked, int]], folder: Path) -> None:
    """Write a picture of each page, by its file name: what it is of, and how wide the window is."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        copy = Path(scratch) / "ledger"
        shutil.copytree(demo, copy)
        origin = orjson.loads((copy / "ledger.json").read_bytes())["origin"]
        key = Path(scratch) / "signing.key"
        write_key_file(key, Signer(origin, ED25519, bytes(32)))
        memory_of(key, Signer(origin, ED25519, bytes(32)).verifier(), Path(scratch) / "memory").create()
        ledger = Ledger(copy, signing_setup=SigningSetup(key, memory=Path(scratch) / "memory"))
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (asked, width) in pictures.items():
            file = Path(scratch) / f"{name}.html"
            file.write_bytes(make_page(ledger, asked, find_profiles(ledger)).html)
            page = browser.new_page(viewport={"width": width, "height": 860 if width > 600 else 780})
            page.goto(file.as_uri())
            page.wait_for_selector("#seal.good")
            page.screenshot(path=folder / name)
        browser.close()


if __name__ == "__main__":
    here = Path(__file__).parent
    draw(record(), here / "demo.svg")
    product = "week06/silver/ticket_fact_partitioned"
    held, cleared = (Asked(product=product, partition=f"2026-04-{day}") for day in (15, 17))
    photograph(Path(".demo/ledger"), {"page.png": (held, 1280), "page-phone.png": (cleared, 390)}, here)
    shown = {name: view for name, view in views("").items() if name in {"dagster-runs.png", "dagster-skipped.png"}}
    photograph_dagster(Path(".demo"), shown, here)
