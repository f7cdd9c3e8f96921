"""What a person has on a terminal alone: a pager, a prompt for SQL, runs that are shown in place."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from run_evidence.ledger import Ledger
from tests.ledger.calling import Call
from tests.ledger.samples import NOON, Clock, record, records

MANY = "SELECT range AS n FROM range(100)"
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger", clock=Clock())
    made.append(records(range(5), "run-a"))
    made.seal()
    return made


def on_terminal(
    ledger: Ledger, words: Sequence[str], typed: str = "", until: str | None = None, **environment: str
) -> tuple[int, str]:
    """Run the command on a terminal of 24 lines; return its exit code and what was shown.

    With `until` it is interrupted as soon as this is.
    """
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "run_evidence.ledger.cli", "--ledger", str(ledger.root), *words]
    home = {"XDG_STATE_HOME": str(ledger.root.parent / "state"), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    child = subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, **home, **environment},
        start_new_session=True,
    )
    os.close(follower)
    try:
        os.write(leader, typed.encode())
        shown = b""
        while True:
            try:
                some = os.read(leader, 65536)
            except OSError:  # nobody has the other end any more
                break
            if not some:
                break
            shown += some
            if until is not None and until in _STEERING.sub("", shown.decode(errors="replace")):
                until = None
                os.kill(child.pid, signal.SIGINT)
        return child.wait(timeout=300), shown.decode()
    finally:
        child.kill()
        child.wait()
        os.close(leader)


def pager(folder: Path, script: str) -> dict[str, str]:
    path = folder / "pager"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PAGER": str(path)}


def test_what_does_not_fit_goes_through_the_pager(ledger: Ledger, tmp_path: Path) -> None:
    """Colours are kept, and LEDGER_PAGER goes before PAGER."""
    environment = pager(tmp_path, 'sed "s/^/paged /"; echo "LESS is $LESS"')
    code, shown = on_terminal(ledger, ["query", MANY], **environment)
    assert code == 0
    assert shown.count("paged ") == 101
    assert "LESS is FRX" in shown
    assert "\x1b[1m" in shown
    assert "paged" not in on_terminal(ledger, ["query", "SELECT 1"], **environment)[1]
    assert "paged" not in on_terminal(ledger, ["query", MANY], LEDGER_PAGER="cat", **environment)[1]


@pytest.mark.parametrize("name", ["", "no-such-pager-anywhere"])
def test_without_a_pager_all_is_printed(ledger: Ledger, name: str) -> None:
    code, shown = on_terminal(ledger, ["query", MANY], PAGER=name)
    assert code == 0
    assert [int(line) for line in shown.splitlines() if line.strip().isdigit()] == list(range(100))


def test_a_pager_that_is_left_early_changes_no_exit_code(ledger: Ledger, tmp_path: Path) -> None:
    assert on_terminal(ledger, ["query", MANY], **pager(tmp_path, "head -1"))[0] == 0


def test_a_pipe_has_no_pager(ledger: Ledger, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in pager(tmp_path, "echo paged").items():
        monkeypatch.setenv(name, value)
    assert "paged" not in call("--ledger", ledger.root, "query", MANY).out


def asked(ledger: Ledger, *lines: str) -> str:
    """Type lines at `ledger sql`, and leave it."""
    code, shown = on_terminal(ledger, ["sql"], "".join(f"{line}\r" for line in (*lines, "\\q")), PAGER="")
    assert code == 0
    return _STEERING.sub("", shown)


def test_a_prompt_answers_one_query_after_another(ledger: Ledger) -> None:
    """Over several lines; an error is printed and the prompt there again; what was asked is remembered."""
    shown = asked(
        ledger, "SELECT count(*) * 100 AS many", "FROM events;", "SELECT nothing FROM runs;", "\\d checks"
    )
    assert "500" in shown
    assert "The query names nothing, which is not there" in shown
    assert "amended_by " in shown
    history = ledger.root.parent / "state" / "run-evidence-ledger" / "shell"
    assert history.stat().st_mode & 0o077 == 0
    assert "count(*) * 100" in (history / "sql_history").read_text(encoding="utf-8")


def test_a_prompt_changes_nothing(ledger: Ledger) -> None:
    shown = asked(
        ledger, "DROP VIEW runs;", "SET VARIABLE runs = ['run-b'];", "SELECT count(*) + 40 AS n FROM runs;"
    )
    assert shown.count("read-only") >= 2
    assert "41" in shown


def test_a_prompt_is_for_a_terminal(call: Call, ledger: Ledger) -> None:
    said = call("--ledger", ledger.root, "sql")
    assert (said.code, said.out) == (2, "")
    assert "ledger query -" in said.err


def test_runs_are_watched_in_place_until_ctrl_c(ledger: Ledger) -> None:
    """The terminal is as it was before, and what was recorded does not steer it."""
    ledger.append([record(1, "run-\x1b[2Jb", occurred_at=NOON, job_name="job")])
    code, shown = on_terminal(ledger, ["watch", "--every", "0.1"], until="unknown")
    assert code == 130
    assert "run-\\x1b" in shown
    assert "\x1b[2J" not in shown
    assert shown.index("\x1b[?1049h") < shown.index("run-") < shown.rindex("\x1b[?1049l")


def test_a_program_that_watches_has_a_line_for_each_verdict(call: Call, ledger: Ledger) -> None:
    said = call("--ledger", ledger.root, "watch", "--once")
    assert said.code == 0
    (line,) = said.out.splitlines()
    assert line.startswith("run-a  ")
    assert "unknown" in line
