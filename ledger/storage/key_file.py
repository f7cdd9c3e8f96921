"""Private keys in files: one line, mode 0600, outside every ledger. Nothing here prints or logs one.

The line is the text form of `golang.org/x/mod/sumdb/note`, so that the same file serves its tools.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from urllib.parse import quote

from run_evidence.ledger.errors import EnvironmentFault, UsageError
from run_evidence.ledger.storage.files import sync_folder
from run_evidence.ledger.tlog.keys import ED25519, Signer, format_skey, parse_skey

_MODE = 0o600
_FOLDER_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_BYTES = 4096


def generate_signer(name: str, algorithm: int = ED25519) -> Signer:
    """Make a new private key: 32 random bytes from the operating system. Source: RFC 8032 section 5.1.5."""
    return Signer(name, algorithm, secrets.token_bytes(32))


def key_file_name(name: str) -> str:
    """Return the file name of the key called `name`; a slash in it does not become a folder."""
    return quote(name, safe="@ ,=~") + ".key"


def write_key_file(path: Path, signer: Signer, ledger: Path | None = None) -> None:
    """Write a new private key durably, readable by its owner alone. It takes the place of nothing.

    Raises: UsageError when the file exists or lies inside `ledger`; EnvironmentFault when it cannot be made.
    """
    if ledger is not None and path.resolve().is_relative_to(ledger.resolve()):
        raise UsageError(
            f"{path} lies inside the ledger; a private key in it would travel with every copy.",
            next_step="name a file elsewhere with --out",
        )
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        # Created with its final mode: there is no moment at which others could open it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, _MODE)
                file.write(f"{format_skey(signer)}\n".encode())
                file.flush()
                os.fsync(descriptor)
            sync_folder(path.parent)
        except BaseException:
            path.unlink(missing_ok=True)  # half a key would be in the way of the next try
            raise
    except FileExistsError:
        raise UsageError(
            f"{path} exists; a key is never overwritten, because what it signed could not be signed again.",
            next_step="use that key, or name another file with --out",
        ) from None
    except OSError as error:
        raise EnvironmentFault(f"The key file {path} cannot be written: {error.strerror}.") from None


def read_key_file(path: Path) -> Signer:
    """Read a private key.

    Raises: EnvironmentFault when it is not there, not a regular file, or anybody but its owner can read or
    write it; UsageError when it is not a private key. No message quotes the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise EnvironmentFault(
            f"The key file {path} cannot be read: {error.strerror}.",
            next_step="name it with --key or LEDGER_KEY, or make one: ledger key new --name NAME",
        ) from None
    try:
        # The open file is checked, not the name: another file can get the name in between.
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise EnvironmentFault(f"The key file {path} is not a regular file.")
        if found.st_mode & _OTHERS:
            raise EnvironmentFault(
                f"The key file {path} has mode {stat.S_IMODE(found.st_mode):04o}: not its owner alone can use it.",
                next_step=f"chmod 600 {path}, and make a new key if somebody may have read this one",
            )
        content = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    try:
        return parse_skey(content.decode("utf-8", "replace").removesuffix("\n"))
    except UsageError as error:
        raise UsageError(f"{path} is {error}.") from None
