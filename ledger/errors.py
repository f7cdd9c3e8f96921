"""The one error tree. Every message says what is wrong, where, and what to do next.

The command line maps each class to an exit code (see `docs/cli.md`): usage 2, integrity 3, environment 4.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Anything this product raises on purpose.

    `next_step` is the command or action that gets the user on; it is printed on its own line.
    """

    exit_code = 4

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.next_step = next_step


class UsageError(LedgerError):
    """The caller asked for something that is not on offer: a wrong option, query, name or value."""

    exit_code = 2


class IntegrityError(LedgerError):
    """What is stored is not what was recorded."""

    exit_code = 3


class EnvironmentFault(LedgerError):
    """A path, an instance or a store is missing, unreachable or not permitted."""

    exit_code = 4


class NotALedgerError(EnvironmentFault):
    """The path holds no ledger, or one written by a newer version of the format."""


class NewerSchemaError(EnvironmentFault):
    """Something was written under a schema version that this program does not know: it is not read, nor altered."""

    def __init__(self, where: str, stated: object, known: int) -> None:
        super().__init__(
            f"{where} is of schema version {stated}; this program reads versions up to {known}.",
            next_step="upgrade run-evidence-ledger, and do it again",
        )
        self.stated = stated


class InputError(LedgerError):
    """An input (a file, a line, an event) breaks its contract. The message names file and line."""

    exit_code = 2
