"""The run-evidence ledger: append-only, provable evidence of what every run did and did not do."""

from ledger.errors import (
    EnvironmentFault,
    InputError,
    IntegrityError,
    LedgerError,
    NotALedgerError,
    UsageError,
)
from ledger.event import OUTCOMES, Event
from ledger.handle import Ledger

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
