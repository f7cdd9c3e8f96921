"""The key under which a ledger tells names apart whose secrets it has taken out.

It lies in the ledger, in a file that its owner alone can read, and is made when the first such name is met. Whoever
has it and the ledger can try guesses at a secret; whoever has the ledger alone cannot.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from run_evidence.ledger.errors import EnvironmentFault
from run_evidence.ledger.storage.files import readable_fault
from run_evidence.ledger.storage.layout import NAME_KEY
from run_evidence.ledger.storage.store import Store

_KEY_BYTES: Final = 32
_DIGITS: Final = 16
"""Hexadecimal digits shown: 64 bits."""


class NameKey:
    """The key of the ledger in `store`. Reads or makes it when the first digest is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key: bytes | None = None

    def digest(self, secret: str) -> str:
        """Return 16 hexadecimal digits: HMAC-SHA256, the same for the same secret in the same ledger.

        Raises: EnvironmentFault when the key can neither be read nor made; then nothing is recorded.
        """
        if self._key is None:
            self._key = self._read() or self._made()
        return hmac.digest(self._key, secret.encode("utf-8", "surrogatepass"), "sha256").hex()[:_DIGITS]

    def _made(self) -> bytes:
        try:
            self._store.create(NAME_KEY, secrets.token_hex(_KEY_BYTES).encode() + b"\n", private=True)
        except FileExistsError:
            pass  # a rival made it at the same moment: theirs is the key
        except OSError as error:
            raise readable_fault(error, "The key for names with secrets cannot be made") from None
        made = self._read()
        if made is None:
            raise EnvironmentFault(
                f"{self._store.path(NAME_KEY)} was removed while it was made.", next_step="try again"
            )
        return made

    def _read(self) -> bytes | None:
        try:
            content = self._store.read(NAME_KEY).strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise readable_fault(error, "The key for names with secrets cannot be read") from None
        if len(content) < _KEY_BYTES * 2:
            raise EnvironmentFault(
                f"{self._store.path(NAME_KEY)} holds {len(content)} bytes; a key has {_KEY_BYTES * 2}.",
                next_step="restore it from a copy, or remove it: names with secrets then get new digests",
            )
        return content
