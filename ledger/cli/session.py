"""One call of the command line: which ledger is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.ledger.settings import open_ledger

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line. `address` is what --ledger said."""

    address: str | None

    def ledger(self) -> Ledger:
        """Return the ledger that --ledger or the environment names; it need not exist."""
        return open_ledger(self.address)
