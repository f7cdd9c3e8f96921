"""The run-evidence ledger: append-only, provable evidence of what every run did and did not do."""

from run_evidence.ledger.errors import (
    EnvironmentFault,
    InputError,
    IntegrityError,
    LedgerError,
    NotALedgerError,
    UsageError,
)
from run_evidence.ledger.ledger import Ledger
from run_evidence.ledger.model.event import OUTCOMES, Event

__all__ = [
    "OUTCOMES",
    "EnvironmentFault",
    "Event",
    "InputError",
    "IntegrityError",
    "Ledger",
    "LedgerError",
    "NotALedgerError",
    "UsageError",
]
