"""A shell completes commands, options, runs, assets and partitions, and is given nothing that it could run."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_evidence.ledger import Ledger
from tests.ledger.calling import Call
from tests.ledger.samples import NOON, Clock, record

HOSTILE = ("$(touch owned)", "a`id`", "b;id", "c'd", 'e"f', "g\nh", "i j", "\x1b[31m", "--out=x", "=id")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger", clock=Clock())
    made.append(
        [
            record(1, "run-1", occurred_at=NOON, asset_key="shop/orders", partition="2026-04-17"),
            record(1, "run-2", occurred_at=NOON + 1, asset_key="shop/items", partition="2026-04-18"),
            *(record(9 + n, "run-1", asset_key=key, partition=key) for n, key in enumerate(HOSTILE)),
        ]
    )
    made.seal()
    return made


def completed(call: Call, monkeypatch: pytest.MonkeyPatch, shell: str, *words: str) -> list[str]:
    line = " ".join(("ledger", *words))
    for name, value in {
        "_LEDGER_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }.items():
        monkeypatch.setenv(name, value)
    said = call()
    assert (said.code, said.err) == (0, "")
    return [word for word in said.out.splitlines() if word]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("run",), ["runs"]),
        (("runs", "--verd"), ["--verdict"]),
        (("show", ""), ["latest", "run-2", "run-1"]),
        (("show", "run-1"), ["run-1"]),
        (("runs", "--asset", "shop/"), ["shop/items", "shop/orders"]),
        (("gate", "--partition", ""), ["2026-04-17", "2026-04-18"]),
        (("partitions", "no"), []),
    ],
)
def test_a_shell_gets_what_begins_so(
    ledger: Ledger, call: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], wanted: list[str]
) -> None:
    """Runs newest first."""
    monkeypatch.setenv("LEDGER_URL", str(ledger.root))
    assert completed(call, monkeypatch, "bash", *words) == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_no_recorded_name_reaches_a_shell_that_it_could_command(
    ledger: Ledger, call: Call, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """Zsh evaluates what it is given."""
    monkeypatch.setenv("LEDGER_URL", str(ledger.root))
    said = "\n".join(completed(call, monkeypatch, shell, "runs", "--asset", ""))
    assert "shop/orders" in said
    assert not any(name in said or name[:2] in said for name in HOSTILE)


def test_where_there_is_no_ledger_there_is_nothing_to_complete(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And no error on the line that somebody is typing."""
    monkeypatch.setenv("LEDGER_URL", str(tmp_path / "none"))
    assert completed(call, monkeypatch, "bash", "runs", "--asset", "") == []
