"""Ledgers for the tests of evidence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from calling import Ask, Call, Said
from evidence_runs import Story, Tell, fixed_ledger

from run_evidence.ledger import Ledger
from run_evidence.ledger.cli import main


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


@pytest.fixture
def call(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line on the test's ledger, as Week06's project has it set."""
    monkeypatch.setenv("LEDGER_PROFILE", "pipelines.delivery:WEEK06")

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ledger", "--ledger", str(ledger.root), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def ask(call: Call) -> Ask:
    """Run a command that has to end with `code`, and return what it printed: its answer, or what is wrong."""

    def run(*arguments: str, code: int = 0) -> str:
        said = call(*arguments)
        assert said.code == code, said.err
        return said.err if code else said.out

    return run
