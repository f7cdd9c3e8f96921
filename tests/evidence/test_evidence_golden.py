"""Golden documents: made from fixed events, they change only when somebody means them to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from evidence_runs import START, Story, Tell, dry_run, failed_run, good_run, open_run, warned_run
from pages import page_of

from pipelines.delivery import WEEK06
from run_evidence.evidence import write_delivery_summary, write_run_documents

GOLDEN = Path(__file__).parent / "golden"
REBUILD = "REBUILD_GOLDEN=1 python -m pytest tests/evidence/test_evidence_golden.py"
HOUR = 3_600_000_000


def settled(text: str) -> str:
    """Take out the digests of the ledger's own views, which are held by another test and change with them."""
    json = re.sub(r'("name": "ledger/sql/[a-z_]+\.sql",\s+"sha256": )"[0-9a-f]{64}"', r'\1"…"', text)
    return re.sub(r"(`ledger/sql/[a-z_]+\.sql`, SHA-256 )`[0-9a-f]{64}`", r"\1`…`", json)


@pytest.mark.parametrize("run", [good_run, failed_run, dry_run, warned_run, open_run], ids=lambda run: run.__name__)
def test_documents_of_a_run_are_as_they_were(told: Tell, tmp_path: Path, run: Callable[[str], Story]) -> None:
    """Hand-over document, report and summary of each kind of run, byte for byte."""
    story = run("0f0f0f0f-0000-4000-8000-000000000001")
    written = write_run_documents(told(story), story.run_id, tmp_path, profile=WEEK06)
    kind = run.__name__
    for name, path in (("evidence", written.evidence[0]), ("report", written.report), ("summary", written.summary)):
        compare(f"{kind}_{name}{path.suffix}", path.read_text(encoding="utf-8"))


def test_the_delivery_summary_is_as_it_was(told: Tell, tmp_path: Path) -> None:
    """A partition that was run twice, byte for byte."""
    ledger = told(failed_run("0f0f0f0f-1"), warned_run("0f0f0f0f-2", start=START + HOUR))
    compare(
        "delivery_summary.md",
        write_delivery_summary(ledger, tmp_path, profile=WEEK06).kept.read_text(encoding="utf-8"),
    )


@pytest.mark.parametrize("run", [good_run, failed_run], ids=lambda run: run.__name__)
def test_the_page_of_a_run_is_as_it_was(told: Tell, run: Callable[[str], Story]) -> None:
    """What is shown, byte for byte; without styles and scripts, which are the same on every page, and the proof."""
    story = run("0f0f0f0f-0000-4000-8000-000000000001")
    html = page_of(told(story), story.run_id).html.decode()
    shown = re.sub(r"(<(style|script)[^>]*>).*?(</\2>)", r"\1…\3", html, flags=re.DOTALL)
    shown = re.sub(r"'sha256-[^']+'", "'sha256-…'", shown)  # of those scripts and styles
    compare(f"{run.__name__}_page.html", shown)


def compare(name: str, text: str) -> None:
    """Hold a text against its golden file, or write that file when a rebuild was asked for."""
    golden = GOLDEN / name
    if os.environ.get("REBUILD_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(settled(text), encoding="utf-8")
    expected = golden.read_text(encoding="utf-8") if golden.is_file() else "(there is no such file)"
    assert settled(text) == expected, f"{golden.name} differs. If that is meant: {REBUILD}"
