"""The last checkpoint of each log that somebody signed, verified or cosigned, kept outside every ledger.

Whoever can write a ledger can replace all of it, and the replacement agrees with itself. What shows the exchange
is a checkpoint that was kept elsewhere. A signer keeps the last one it signed beside its private key, a verifier
the last one it found good in its own state folder, a witness the last one it cosigned.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.files import locked, make_private_folder, read_regular, replace_atomic
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint, parse_stored
from run_evidence.ledger.tlog.note import MAX_NOTE_BYTES

_SUFFIX: Final = ".checkpoint"
_MAX_NAME: Final = 200
"""Characters of a quoted origin in a file name; file systems allow 255 bytes."""


@dataclass(frozen=True, slots=True)
class CheckpointMemory:
    """One checkpoint for each log in `folder`, in the form in which ledgers store them."""

    folder: Path

    def path(self, origin: str) -> Path:
        """Return the file that holds the checkpoint of this log."""
        name = quote(origin, safe="")
        if len(name) > _MAX_NAME:
            name = f"{name[:100]}-{hashlib.sha256(origin.encode()).hexdigest()}"
        return self.folder / f"{name}{_SUFFIX}"

    def last(self, origin: str) -> StoredCheckpoint | None:
        """Return the checkpoint remembered of a log, `None` where there is none. Its signatures are not verified.

        Raises: IntegrityError when the file holds no checkpoint of this log; OSError as it comes.
        """
        path = self.path(origin)
        try:
            head = parse_stored(read_regular(path, follow=True, max_bytes=MAX_NOTE_BYTES))
        except FileNotFoundError:
            return None
        except IntegrityError as error:
            raise IntegrityError(f"{path}: {error}", next_step="restore the file from a copy") from None
        if head.checkpoint.origin != origin:
            raise IntegrityError(f"{path} is of {head.checkpoint.origin}, expected {origin}")
        return head

    def remember(self, origin: str, message: bytes) -> None:
        """Keep this checkpoint of the log, durably; it takes the place of the one before."""
        self.create()
        replace_atomic(self.path(origin), message)

    def forget(self, origin: str) -> None:
        """Remove what is remembered of a log; fine where there is nothing."""
        self.path(origin).unlink(missing_ok=True)

    def create(self) -> None:
        """Make the folder, for its owner alone; fine when it is there."""
        make_private_folder(self.folder)

    def exists(self) -> bool:
        """Return whether the folder is there: without it the memory is lost, or there never was one."""
        return self.folder.is_dir()

    def is_empty(self) -> bool:
        """Return whether no log is remembered."""
        return not any(path.name.endswith(_SUFFIX) for path in self.folder.iterdir())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes that use `held` out, so that reading and remembering are one step."""
        with locked(self.folder / ".lock"):
            yield
