"""docs/factory.md is typed in its order, from an empty folder, and shows what is printed."""

from __future__ import annotations

import os
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster._cli import create_dagster_cli
from dagster._core.definitions.reconstruct import ReconstructableJob

from tests.docs.test_blocks import ROOT, home, shell  # noqa: F401 - `home` is a fixture
from tests.here import ledger_here

PAGE = ROOT / "docs" / "factory.md"
ENDS_WITH = re.compile(r" +# exit code (\d)$")
OTHER_EACH_TIME = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "NOW"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d UTC)?"), "NOW"),
    (re.compile(r"\d\d:\d\d:\d\d +\+\d+\.\d\d s"), "TIME"),
    (re.compile(r"took [^\n]+"), "TOOK"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"), "LONG_ID"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "PLAN_ID"),
    (re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?![0-9a-f-])"), "RUN_ID__"),
    (re.compile(r"_final_\d+_unsigned"), "_final_SIZE_unsigned"),
    (re.compile(r"\b(checkpoint|index) \d+"), r"\1 N"),
    (re.compile(r"\d+ events appended"), "N events appended"),
    (re.compile(r"  +"), "  "),  # a column of ids has its head at the right when none of them has a letter
)
"""What no two walks have in common."""


def steps() -> list[tuple[str, str]]:
    """Return the page's blocks of commands, each with the output that stands behind it, if any does."""
    text = PAGE.read_text("utf-8")
    return re.findall(r"^```console\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", text, re.M | re.S)


def alike(text: str) -> list[str]:
    for pattern, word in OTHER_EACH_TIME:
        text = pattern.sub(word, text)
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def assert_shows(printed: str, shown: str) -> None:
    """Each run of lines that is shown was printed as it stands, in this order; … stands for any lines."""
    left = alike(printed)
    parts = [part.strip("\n").split("\n") for part in re.split(r"^…$", "\n".join(alike(shown)), flags=re.M)]
    for number, part in enumerate(part for part in parts if part != [""]):
        at = next((at for at in range(len(left)) if left[at : at + len(part)] == part), None)
        assert at is not None, "\n".join(["shown:", *part, "printed:", *left])
        assert at == 0 or number > 0 or shown.startswith("…"), left
        left = left[at + len(part) :]
    assert not left or shown.rstrip().endswith("…"), left


class Reader:
    """Somebody who types the page's lines into one shell; what is Python is called in this process."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.patch, self.capsys, self.folder = patch, capsys, folder

    def type(self, line: str) -> str:
        """Run one line, require the exit code that the page states, and return what it prints on stdout."""
        stated = ENDS_WITH.search(line)
        words = [
            found
            for word in shlex.split(os.path.expandvars(line.partition("  #")[0]))
            for found in (map(str, Path().glob(word)) if "*" in word else [word])
        ]
        if words[0] == "export":
            for word in words[1:]:
                self.patch.setenv(*word.split("=", 1))
            return ""
        with self.patch.context() as patch:
            while "=" in words[0]:
                patch.setenv(*words.pop(0).split("=", 1))
            code, printed = self._call(words, line)
        assert code == (int(stated[1]) if stated else 0), f"{line}\n{code}\n{printed}"
        return printed

    def _call(self, words: list[str], line: str) -> tuple[int, str]:
        if ">" in words:
            return 0, shell(line, self.folder)
        if words[0] == "ledger":
            done = ledger_here(*words[1:], env=os.environ)
            return done.returncode, done.stdout
        if words[:2] == ["python", "-m"]:
            self._load_anew()
            self.capsys.readouterr()
            code = import_module(words[2]).main(words[3:], os.environ)
            return code, self.capsys.readouterr().out
        if words[0] == "dagster":
            self._load_anew()
            result = CliRunner().invoke(create_dagster_cli(), words[1:])
            return result.exit_code, result.stdout  # its log goes to stderr
        return 0, shell(line, self.folder)

    def _load_anew(self) -> None:
        """Have Dagster read the settings as they are now, as a process of its own does."""
        self.patch.delitem(sys.modules, "pipelines.definitions", raising=False)
        ReconstructableJob.get_definition.cache_clear()
        ReconstructableJob.get_repository_definition.cache_clear()


@pytest.mark.soak
def test_the_factory_is_followed_word_for_word(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Path,  # noqa: F811
) -> None:
    """From the delivery to the recipient's run, in an empty folder of somebody who has set nothing."""
    folder = tmp_path / "checkout"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()  # the environment is active: this process is in it
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    for name in [name for name in os.environ if name.startswith(("WEEK0", "MINIO_", "SEED_", "DATABASE_"))]:
        monkeypatch.delenv(name)
    reader = Reader(monkeypatch, capsys, folder)
    for commands, shown in steps():
        printed = [reader.type(line) for line in commands.splitlines() if not line.startswith("#")]
        if shown:
            assert_shows("".join(printed), shown)
