"""The `ledger` command, called in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from run_evidence.ledger.cli import main
from tests.ledger.calling import Call, Said


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Call the command in this process, in an empty folder, with nothing in the environment that it reads."""
    for name in ("LEDGER_URL", "DAGSTER_HOME", "LEDGER_KEY", "LEDGER_WITNESSES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["ledger", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
