"""One call of the command line: which ledger is meant."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.ledger.settings import open_ledger
from run_evidence.ledger.terminal import say, styled

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.sealing.seal import Sealed

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line. `address` is what --ledger said."""

    address: str | None

    def ledger(self) -> Ledger:
        """Return the ledger that --ledger or the environment names; it need not exist."""
        return open_ledger(self.address)


def say_problems(done: Sealed) -> None:
    """Tell a person what a seal could not do, and the way on."""
    for word, problem in done.problems:
        style = "yellow" if word in {"not signed", "not cosigned"} else "red"
        say(f"{styled(word, style, sys.stderr)}: {problem}")
    if done.next_step:
        say(f"{styled('next', 'bold', sys.stderr)}:  {done.next_step}")
