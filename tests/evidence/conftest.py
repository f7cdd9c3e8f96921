"""Ledgers for the tests of evidence."""

from __future__ import annotations

from pathlib import Path

import pytest
from evidence_runs import Story, Tell, fixed_ledger

from ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Make an empty ledger with a fixed origin and clock."""
    return fixed_ledger(tmp_path / "ledger")


@pytest.fixture
def told(ledger: Ledger) -> Tell:
    """Append the stories of runs to the ledger and seal them, unless told not to."""

    def tell(*stories: Story, seal: bool = True) -> Ledger:
        for story in stories:
            ledger.append(story.events)
        if seal:
            ledger.seal()
        return ledger

    return tell
