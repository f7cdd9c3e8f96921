"""Signed ledgers for the tests of pages, and the pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from evidence_runs import FACT, GATE, RAW, START, Story

from pipelines.delivery import WEEK06
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.making import Page, make_page
from run_evidence.evidence.profile_history import profiles_of
from run_evidence.ledger import Ledger
from tests.trust.ledgers import own_signing_setup

OF_WEEK06 = profiles_of(WEEK06)
RUN = "6a07bad4-6bf0-4bb1-8c78-0e12158f475b"


def ledger_of(folder: Path, *stories: Story, signed: bool = True) -> Ledger:
    """Return a ledger with these runs, sealed one after the other."""
    setup = own_signing_setup(folder) if signed else None
    ledger = Ledger(folder, clock=lambda: START + 3_600_000_000, signing_setup=setup)
    ledger.create()
    for story in stories:
        ledger.append(story.events)
        ledger.seal()
    return ledger


def good(run_id: str = RUN, start: int = START, **measured: Any) -> Story:
    """Return a run in which everything that is required passed."""
    story = Story(run_id, start=start).plan().made(GATE)
    story.made(RAW, input_row_count=120, **measured).made(FACT, output_row_count=119, **measured)
    return _released(story.checked("row_count_output_count", FACT).end().close())


def bad(run_id: str, start: int = START) -> Story:
    """Return a run that failed at its second asset."""
    story = Story(run_id, start=start).plan().made(GATE)
    return _released(story.failed(RAW, "the file has 90325 bytes, expected 150543").end("failed").close())


def _released(story: Story) -> Story:
    """Let a run be of the release r1."""
    story.events = [replace(event, release_id="r1") for event in story.events]
    return story


def page_of(ledger: Ledger, run_id: str = RUN) -> Page:
    """Make the page of a run, as Week06's project does."""
    return make_page(ledger, Asked(run_id=run_id), OF_WEEK06)
