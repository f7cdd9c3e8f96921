"""The port through which a ledger's objects are written and read: every other module knows their names alone.

A ledger is a set of named objects (`ledger.storage.layout` says which) and a Delta Lake table. Whatever keeps them
has these verbs, and passes `tests/ledger/store_contract.py`. Names are relative, with slashes. What is being
written has no name yet, so no reader sees half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from run_evidence.ledger.storage.files import TMP_PREFIX


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there. `modified_us` is when it was written, or a name put into a folder; us since 1970."""

    name: str
    size_bytes: int
    modified_us: int


class Store(Protocol):
    """Where a ledger is. Every verb raises `OSError` as it comes when the machine cannot do it."""

    def create(self, name: str, data: bytes, *, private: bool = False) -> None:
        """Create an object; durable when it returns. With `private`, for its owner to read (and a sharing group).

        Raises: FileExistsError when the name is taken, by whatever; that is left alone.
        """

    def put(self, name: str, data: bytes) -> None:
        """Create an object whose name stands for its content; durable, and fine when the same bytes are there.

        Raises: IntegrityError when other bytes are there; these are left alone.
        """

    def replace(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write an object, taking the place of one that is there: a reader sees the old bytes or the new ones.

        Without `durable`, for what can be made again, a power cut may take it.
        """

    def change(self, name: str, edit: Callable[[bytes | None], bytes | None]) -> None:
        """Replace an object by what `edit` makes of it, as one step among all who use this verb; durable.

        `edit` gets `None` where there is no object, may be called again, and returns `None` to leave things alone.
        """

    def read(self, name: str, *, max_bytes: int = -1, follow: bool = False) -> bytes:
        """Return an object's bytes. `follow` reads through a link, for what a person may have put there.

        Raises: FileNotFoundError or NotADirectoryError when there is none; IntegrityError when something else has
        the name, or it has more than `max_bytes` (where that is not negative).
        """

    def open(self, name: str) -> BufferedReader:
        """Open an object that may be larger than memory. Raises: what `read` raises."""

    def names(self, folder: str = "") -> list[str]:
        """List what is in a folder, sorted, whatever it is; nothing where there is no such folder.

        Raises: NotADirectoryError when something else has the folder's name.
        """

    def objects(self, folder: str = "") -> Iterator[Stored]:
        """Yield all objects below a folder, in no order, also what was begun and left (`is_unfinished`)."""

    def stat(self, name: str) -> Stored | None:
        """Return what is known of an object or a folder, `None` when there is none; a link is what it leads to."""

    def remove(self, names: Sequence[str], *, durable: bool = False) -> None:
        """Remove objects, many at once; fine when one is gone. Not `durable`: a power cut may bring them back."""

    def clear(self, folder: str) -> None:
        """Remove whatever is below a folder, as far as it can be removed."""

    def prepare(self, folders: Sequence[str]) -> None:
        """Make the place ready for objects in these folders; durable, and fine when it is."""

    def path(self, name: str) -> Path:
        """Return a file or a folder for those that read or write files: DuckDB, Arrow and Delta Lake."""

    def problems(self, folders: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Try what the verbs promise; yield what is wrong and what to do about it."""


def is_unfinished(name: str) -> bool:
    """Return whether this is something that was being written and was left."""
    return name.rsplit("/", 1)[-1].startswith(TMP_PREFIX)
