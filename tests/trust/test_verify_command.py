"""`ledger verify` tells people and programs what it checked, at what rate, and every finding; it needs no key."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from run_evidence.ledger.tlog.keys import Signer, format_vkey
from run_evidence.ledger.verification.verify import verify
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY, head_of, signed_ledger
from tests.trust.test_signing import cli


def test_it_says_what_was_checked_how_much_and_at_what_rate(tmp_path: Path) -> None:
    """On one processor or on all, the same result."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 30])
    for options in ((), ("--parallel",)):
        said = cli(tmp_path, "verify", *options, "--key", VKEY)
        assert (said.returncode, said.stderr) == (0, "")
        first = said.stdout.splitlines()[0]
        assert re.fullmatch(
            r"checked 30 entries \(\d[\d.]* (B|KiB)\) in 2 segments, 2 checkpoints, 1 tiles?, 0 payloads, "
            r"0 unsealed events in \d+\.\d s \([\d,]+ entries/s\)",
            first,
        ), first
        assert f"signed by {VKEY} (the key you gave)" in said.stdout
        assert f"ok: nothing was altered; root {head_of(ledger, 30).checkpoint.root.hex()}" in said.stdout


def test_a_key_counts_as_given_only_if_it_was(tmp_path: Path) -> None:
    """A signature by another of the ledger's keys is the ledger's own word, also where some key was given."""
    signed_ledger(tmp_path / "ledger", [5, 30])
    said = cli(tmp_path, "verify", "--key", format_vkey(OTHER_KEY.verifier()))
    assert said.returncode == 3
    assert f"signed by {VKEY} (the ledger's own word for it" in said.stdout
    assert "the key you gave" not in said.stdout


def test_every_finding_is_told_with_what_was_expected_and_found(tmp_path: Path) -> None:
    """Exit code 3, each place with both values, in words and as JSON."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 30])
    path = paths(ledger).checkpoint(5)
    path.write_text(head_of(ledger, 5).text)
    next(paths(ledger).tiles.glob("0/000.p/*")).write_bytes(b"\0" * 30 * 32)
    said = cli(tmp_path, "verify")
    assert said.returncode == 3
    for part in (f"altered checkpoints/{path.name}: its signature is missing", "altered tile/0/000.p/30 entry 0:"):
        assert part in said.stdout
    (key,) = paths(ledger).keys.iterdir()  # its note says that it signed from 5 on
    told = json.loads(cli(tmp_path, "verify", "--json").stdout)
    places = [f"checkpoints/{path.name}", f"keys/{key.name}", "tile/0/000.p/30"]
    assert (told["ok"], [finding["where"] for finding in told["findings"]]) == (False, places)
    assert told["findings"][2]["got"] == "00" * 32
    assert said.stdout.count("expected ") == said.stdout.count("got      ") == len(places)
    assert "3 findings; the ledger was altered" in said.stderr


def test_it_shows_its_progress_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    signed_ledger(tmp_path / "ledger", [30])
    command = [
        sys.executable,
        "-c",
        "from run_evidence.ledger.cli import main; main()",
        "--ledger",
        str(tmp_path / "ledger"),
    ]
    screen, terminal = pty.openpty()
    with os.fdopen(terminal, "wb") as theirs:
        done = subprocess.run([*command, "verify"], stdout=subprocess.PIPE, stderr=theirs, check=True)
    shown = os.read(screen, 10_000).decode()
    os.close(screen)
    assert re.search(r"\[#{30}\] 30 of 30 entries", shown), shown
    assert shown.endswith("\r\x1b[K"), "and takes it away when it is done"
    assert b"[#" not in done.stdout
    assert "[#" not in cli(tmp_path, "verify").stderr


def test_it_needs_neither_a_private_key_nor_dagster(tmp_path: Path) -> None:
    """On a machine that has the ledger's folder and the verifier key, and nothing else."""
    signed_ledger(tmp_path / "ledger", [30])
    for path in tmp_path.glob("*.key"):
        path.unlink()
    program = "import sys; sys.modules['dagster'] = None; from run_evidence.ledger.cli import main; main()"
    command = [sys.executable, "-c", program, "--ledger", str(tmp_path / "ledger"), "verify", "--key", VKEY]
    home = {**os.environ, "HOME": str(tmp_path / "nobody"), "XDG_CONFIG_HOME": str(tmp_path / "nothing")}
    done = subprocess.run(command, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing was altered" in done.stdout


@pytest.mark.parametrize("signer", [LOG_KEY, None])
def test_nothing_is_waited_for_whose_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signer: Signer | None
) -> None:
    """Right after a seal too: a verification waits only for a checkpoint that the seal may be about to write."""
    ledger = signed_ledger(tmp_path / "ledger", [3, 5], signer=signer)

    def waited(seconds: float) -> None:
        pytest.fail(f"waited {seconds} s")

    monkeypatch.setattr("run_evidence.ledger.verification.checkpoints.time.sleep", waited)
    assert verify(ledger).ok
    newest = paths(ledger).checkpoint(5)
    newest.write_bytes(newest.read_bytes().replace(b"5", b"x", 1))
    assert not verify(ledger).ok
