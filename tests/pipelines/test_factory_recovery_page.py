"""What docs/factory.md shows of recovery and reconcile is what the commands print, typed in its order."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob

from pipelines import reconcile, recovery
from pipelines.samples import make_deliveries

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
COMMANDS = {"pipelines.recovery": recovery.main, "pipelines.reconcile": reconcile.main}
OTHER_EACH_TIME = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "NOW"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "PLAN_ID"),
    (re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?![0-9a-f-])"), "RUN_ID__"),
)


def alike(text: str) -> list[str]:
    """Return the lines without what no two calls have in common."""
    for pattern, word in OTHER_EACH_TIME:
        text = pattern.sub(word, text)
    return text.rstrip("\n").split("\n")


def shown() -> list[tuple[str, str]]:
    """Return the commands of the page with what it shows of their output; … stands for lines that are left out."""
    page = (ROOT / "docs" / "factory.md").read_text("utf-8")
    return re.findall(r"^```text\n\$ (python -m pipelines\.[^\n]+)\n(.*?)^```$", page, re.M | re.S)


@pytest.mark.soak
def test_the_page_shows_what_the_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the deliveries and settings of pipelines/README.md, in a Dagster home that has no run."""
    monkeypatch.chdir(tmp_path)
    make_deliveries(tmp_path / "deliveries")
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.delenv("LEDGER_URL", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("SEED_MANIFEST_PATH", "deliveries")
    monkeypatch.setenv("DATABASE_URL", "duckdb:///warehouse.duckdb")
    ReconstructableJob.get_definition.cache_clear()
    ReconstructableJob.get_repository_definition.cache_clear()
    assert [command.split()[2] for command, _ in shown()] == [
        *["pipelines.recovery"] * 2,
        "pipelines.reconcile",
    ]
    for command, expected in shown():
        _, _, module, *arguments = shlex.split(command)
        main: Callable[..., int] = COMMANDS[module]
        capsys.readouterr()
        main(arguments, os.environ)
        printed = alike(capsys.readouterr().out)
        wanted = alike(expected)
        if wanted[0] == "…":
            wanted = wanted[1:]
            printed = printed[-len(wanted) :]
        assert printed == wanted
