"""One call of the command line: which ledger is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from run_evidence.ledger.settings import open_ledger

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line. `address` is what --ledger said."""

    address: str | None

    def ledger(self) -> Ledger:
        """Return the ledger that --ledger or the environment names; whether it exists is not looked at."""
        return open_ledger(self.address)
