"""What of an error is the machine's fault, and what says that a ledger is damaged."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError, LedgerError

_OF_THE_MACHINE: Final = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT),
        *(errno.EIO, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.EAGAIN, errno.EINTR),
    }
)
_NUMBER: Final = re.compile(r"(?:os error|errno)\s+([0-9]+)", re.IGNORECASE)
_WORDS: Final = {os.strerror(number): number for number in _OF_THE_MACHINE} | {"Out of Memory Error": errno.ENOMEM}


def machine_fault(error: BaseException) -> int | None:
    """Return the errno of an error that the machine made, and not what a file holds; `None` of any other.

    Libraries that are not Python's put the number, or the system's words for it, into their message.
    """
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if number is None and (found := _NUMBER.search(text)):
        number = int(found[1])
    if number is None:
        number = next((each for words, each in _WORDS.items() if words in text), None)
    return number if number in _OF_THE_MACHINE else None


def read_fault(what: str, error: BaseException, next_step: str) -> LedgerError:
    """Return the error for something that cannot be read: the machine's fault, or else a damaged ledger.

    `what` says what cannot be read; `next_step` is the way on where its content is damaged.
    """
    number = machine_fault(error)
    if number is not None:
        return EnvironmentFault(f"{what}: {os.strerror(number)}.", next_step=_WAYS_ON.get(number))
    detail = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return IntegrityError(f"{what}: {detail or repr(error)}", next_step=next_step)


_WAYS_ON: Final = {
    errno.EMFILE: "allow more open files, and do it again: ulimit -n 1024",
    errno.ENFILE: "allow more open files, and do it again",
    errno.EACCES: "give this user access to the ledger's files: docs/operations.md",
    errno.EPERM: "give this user access to the ledger's files: docs/operations.md",
    errno.ENOSPC: "free space on the disk, and do it again",
    errno.EDQUOT: "free space on the disk, and do it again",
    errno.ENOMEM: "give it more memory, and do it again",
    errno.EIO: "the disk cannot be read: look at the system's own log",
}
