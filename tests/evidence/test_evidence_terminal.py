"""Nothing that was recorded or received reaches a terminal as anything but text, whatever the command."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from evidence_runs import START, Story, planned

from run_evidence.ledger import Ledger
from run_evidence.ledger.cli import main
from run_evidence.ledger.terminal import _escape, out, printable, styled

REPOSITORY = Path(__file__).parents[2]
OURS = re.compile(r"\x1b\[(?:0|1|2|3[0-9])m")
HOSTILE = (
    "x\x1b[31mred\x1b[8mhid\x1b[0m\x1b]52;c;aGk=\x07\x9b31m\u202egnp\u2066\u200b\x08\r\ty\nok: nothing was altered"
)
SHOWN = "aGk="  # what is left to read of it
RUN = "11111111-aaaa"


@pytest.fixture
def hostile(tmp_path: Path) -> Ledger:
    """Make a ledger in which every text that a run can bring is hostile."""
    ledger = Ledger(tmp_path / "ledger", clock=lambda: START + 60_000_000)
    text = HOSTILE
    items = [planned(f"a/{text}", text), planned("b", None), planned("c", None, required=False)]
    story = Story(RUN, job=f"job {text}").plan(items, {}).made(f"a/{text}", text)
    story.failed("b", f"broke {text}")
    ledger.append(story.end("failed").close().events)
    ledger.seal()
    return ledger


def _on_a_terminal(*arguments: object, env: dict[str, str] | None = None) -> str:
    """Run the command in a process with a terminal for stdout and stderr; return what the terminal got."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "run_evidence.ledger.cli", *map(str, arguments)],
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "", "PYTHONPATH": str(REPOSITORY), **(env or {})},
    ) as child:
        try:
            os.close(follower)
            return _shown(leader)
        finally:
            child.kill()  # it has ended, unless the test was ended before


def _shown(leader: int) -> str:
    """Return what a terminal shows until its other end is closed."""
    got = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while more := os.read(leader, 65_536):
            got += more
    os.close(leader)
    return got.decode()


def _on_a_terminal_here(*arguments: object) -> str:
    """Run the command in this process with a terminal for stdout and stderr; return what the terminal got."""
    leader, follower = pty.openpty()
    with (
        ThreadPoolExecutor(1) as reader,
        mock.patch.dict(os.environ, {"TERM": "xterm", "NO_COLOR": ""}),
        mock.patch.object(sys, "argv", ["ledger", *map(str, arguments)]),
    ):
        shown = reader.submit(_shown, leader)  # meanwhile: a terminal takes a few kilobytes and then waits
        with (
            os.fdopen(follower, "w", encoding="utf-8") as terminal,
            contextlib.redirect_stdout(terminal),
            contextlib.redirect_stderr(terminal),
            pytest.raises(SystemExit),
        ):
            main()
        return shown.result()


def _only_text(shown: str) -> bool:
    rest = OURS.sub("", shown).replace("\r\n", "").replace("\r[", "").replace("\x1b[K", "")
    return all(c.isprintable() for c in rest.replace("\r", ""))


COMMANDS = [
    (["runs"], True),
    (["show", RUN], True),
    (["status"], False),
    (["doctor"], False),
    (["verify"], False),
    (["seal"], False),
    (["runs", "--json"], True),
    (["show", RUN, "--json"], True),
    (["query", "SELECT * FROM events"], True),
    *((["query", "SELECT * FROM events", "-f", name], True) for name in ("csv", "json", "ndjson", "markdown")),
    (["query", "SELECT * FROM events", "-f", "spreadsheet"], True),
    (["query", f"SELECT {HOSTILE[1:9]!r}"], False),
    (["show", HOSTILE], True),
    (["report", HOSTILE], True),
    (["amend", HOSTILE, "--reason", "x", "--actor", "y"], True),
    (["--nosuch" + HOSTILE], False),
    ([HOSTILE], True),
    (["prove", HOSTILE], True),
]


@pytest.mark.soak
@pytest.mark.parametrize(("command", "has_text"), COMMANDS, ids=range(len(COMMANDS)))
def test_a_terminal_gets_text_and_our_colours(hostile: Ledger, command: list[str], has_text: bool) -> None:
    """No colour, title, clipboard, or direction of writing is anybody's but ours; the text itself is there."""
    shown = _on_a_terminal_here("--ledger", hostile.root, *command)
    assert _only_text(shown), repr(shown)
    assert (SHOWN in shown) >= has_text, repr(shown)
    if command[-1] not in {"csv", "spreadsheet"}:  # there a line end is inside its quotes
        assert "\nok: nothing was altered" not in shown.replace("\r", ""), "a recorded line end made a line of ours"


@pytest.mark.soak
def test_what_a_pipe_gets_is_exact(hostile: Ledger) -> None:
    """Programs read what was recorded, and JSON on a terminal is the same JSON."""
    sql = "SELECT asset_key, reason FROM outcomes WHERE asset_key LIKE 'a/%' OR reason IS NOT NULL ORDER BY 1"
    command = ["--ledger", str(hostile.root), "query", sql, "-f", "json"]
    piped = subprocess.run(
        [sys.executable, "-m", "run_evidence.ledger.cli", *command], capture_output=True, check=True
    )
    assert "\u202e" in piped.stdout.decode()
    assert json.loads(_on_a_terminal(*command)) == json.loads(piped.stdout)
    assert _on_a_terminal_here("--ledger", hostile.root, "runs") == _on_a_terminal("--ledger", hostile.root, "runs")
    assert json.loads(_on_a_terminal(*command, env={"PYTHONIOENCODING": "ascii"})) == json.loads(piped.stdout)


def test_styles_are_ours_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that holds what a style is written as is shown, and a line end inside a line is an escape."""
    monkeypatch.setattr("run_evidence.ledger.terminal.colours", lambda _: True)
    forged = "a\x1b[31mb"
    out(f"{styled(forged, 'red')} \x1b[1mc\nd")
    assert capsys.readouterr().out == "\x1b[31ma\\x1b[31mb\x1b[0m \\x1b[1mc\\nd\n"
    assert printable("\x1b\u202e\ud800") == "".join(map(_escape, "\x1b\u202e\ud800")) == "\\x1b\\u202e\\ud800"
