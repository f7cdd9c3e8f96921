"""`ledger tail`: every sealed entry once, in the order of the log, for as long as somebody reads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.sealing.compact import compact
from tests.here import ledger_here
from tests.ledger.samples import Clock, record, records


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three segments with 12 entries in all, and two that wait."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    for first, last in ((0, 5), (5, 6), (6, 12)):
        made.append(records(range(first, last)))
        made.seal()
    made.append([record(90), record(91)])
    return made


def lines(ledger: Ledger, *arguments: str) -> list[str]:
    done = ledger_here("--ledger", str(ledger.root), "tail", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), range(2, 12)),
        (("-n", "3"), range(9, 12)),
        (("-n", "0"), range(0)),
        (("-n", "100"), range(12)),
        (("--from", "0"), range(12)),
        (("--from", "5"), range(5, 12)),
        (("--from", "12"), range(0)),
        (("--from", "1000"), range(0)),
    ],
)
def test_entries_come_in_order_each_once(ledger: Ledger, arguments: tuple[str, ...], expected: range) -> None:
    found = [json.loads(line) for line in lines(ledger, *arguments, "-f", "ndjson")]
    assert [event["index"] for event in found] == list(expected)
    assert [event["storage_id"] for event in found] == list(expected)
    assert [int(line.split()[0]) for line in lines(ledger, *arguments)] == list(expected)


def test_a_line_is_the_entry_itself(ledger: Ledger) -> None:
    """Nothing is added but the index, so what a collector keeps can be held against the log."""
    (line,) = lines(ledger, "--from", "11", "-f", "ndjson")
    event = json.loads(line)
    assert event.pop("index") == 11
    (entry,) = (json.loads(row) for row in _entries(ledger)[11:])
    assert event == entry


def _entries(ledger: Ledger) -> list[bytes]:
    from run_evidence.ledger.query.snapshot import open_snapshot

    with open_snapshot(ledger, views=("entries",)) as snapshot:
        return [e for (e,) in snapshot.rows("SELECT entry FROM entries WHERE index IS NOT NULL ORDER BY index")]


def test_what_steers_a_terminal_is_shown(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append([record(1, partition="\x1b[2J\n")])
    ledger.seal()
    assert "partition=\\x1b[2J\\n" in lines(ledger)[0]


def test_another_format_is_refused(ledger: Ledger) -> None:
    done = ledger_here("--ledger", str(ledger.root), "tail", "-f", "csv")
    assert done.returncode == 2
    assert "text, ndjson" in done.stderr


@pytest.fixture
def following(ledger: Ledger) -> Callable[[], subprocess.Popen[bytes]]:
    def start() -> subprocess.Popen[bytes]:
        command = ("--ledger", str(ledger.root), "tail", "-F", "-f", "ndjson", "--from", "10", "--every", "0.05")
        return subprocess.Popen(
            [sys.executable, "-m", "run_evidence.ledger.cli", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


def test_what_is_sealed_meanwhile_follows(ledger: Ledger, following: Callable[[], subprocess.Popen[bytes]]) -> None:
    """Also past a compaction, which gives entries to other files."""
    with following() as process:
        assert process.stdout is not None
        indexes = [json.loads(process.stdout.readline())["index"] for _ in range(2)]
        ledger.seal()
        indexes += [json.loads(process.stdout.readline())["index"] for _ in range(2)]
        compact(ledger.store, ledger.require())
        ledger.append([record(99)])
        ledger.seal()
        indexes.append(json.loads(process.stdout.readline())["index"])
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert indexes == [10, 11, 12, 13, 14]


def test_it_ends_when_nobody_reads(following: Callable[[], subprocess.Popen[bytes]]) -> None:
    with following() as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
