"""Writing what leaves a ledger: to a file that is not there yet, and never into a ledger.

A file is written whole or not at all: under a temporary name in its folder, and then under its own.
"""

from __future__ import annotations

import stat
from pathlib import Path

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError, UsageError
from run_evidence.ledger.storage.files import create_idempotent, open_regular, replace_atomic
from run_evidence.ledger.storage.layout import INBOX, LOG, MARKER


def require_outside(path: Path, *ledgers: Path) -> Path:
    """Return a path with every link on its way resolved; what it is the name of is not resolved, if it is a link.

    Raises: UsageError when that, or what it links to, is in one of these ledgers or in any other.
    """
    try:
        found = path.parent.resolve() / path.name
        ends = {found, path.resolve()}
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise EnvironmentFault(f"{path} cannot be written: {error}.", next_step="name another file") from None
    known = {ledger.resolve() for ledger in ledgers}
    for folder in (folder for end in ends for folder in (end, *end.parents)):
        if folder in known or _is_ledger(folder):
            raise UsageError(
                f"{path} is inside the ledger at {folder}, where nothing but the ledger writes.",
                next_step="name a place outside of it",
            )
    return found


def _is_ledger(folder: Path) -> bool:
    """Return whether a folder is a ledger, damaged or not; a `ledger.json` alone may be another program's."""
    try:
        if not (folder / MARKER).is_file():
            return False
        if (folder / INBOX).is_dir() or (folder / LOG).is_dir():
            return True
        with open_regular(folder / MARKER, follow=True) as file:
            return b'"format"' in file.read(4096)
    except OSError:  # what cannot be seen is no reason to let a write through
        return True


def write_outside(path: Path, data: bytes, *ledgers: Path, force: bool = False) -> None:
    """Write a file outside of every ledger; fine when it has the same bytes. Into a pipe or a device they are put.

    With `force`, a file that is there is replaced; a link is replaced too, what it links to stays as it is.

    Raises: UsageError when the path is inside a ledger, or other bytes are there; EnvironmentFault when it cannot
    be written.
    """
    target = require_outside(path, *ledgers)
    try:
        if _is_stream(path):
            path.write_bytes(data)
        elif force:
            replace_atomic(target, data)
        else:
            create_idempotent(target, data)
    except IntegrityError:
        raise UsageError(
            f"{path} is there already, with other content; it was left as it is.",
            next_step="name another file, or replace it with --force",
        ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"{path} cannot be written: {error.strerror or error}.", next_step="name another file"
        ) from None


def _is_stream(path: Path) -> bool:
    """Return whether this is a pipe or a device, such as /dev/stdout: bytes go into it, it has none of its own."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
