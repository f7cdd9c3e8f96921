"""A second store for tests: objects in a dictionary, and a folder for Delta's table and for copies handed out."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.folder import FolderStore
from run_evidence.ledger.storage.layout import LOG
from run_evidence.ledger.storage.store import Stored


class MemoryStore:
    """Nothing is on disk but the table: whatever goes past the port does not find what it looks for."""

    def __init__(self, scratch: Path) -> None:
        self.objects_there: dict[str, tuple[bytes, int]] = {}
        self._scratch = FolderStore(scratch)
        self._lock = threading.RLock()
        self._ticks = itertools.count(1_000_000_000_000_000)

    def create(self, name: str, data: bytes, *, private: bool = False) -> None:  # noqa: ARG002
        with self._lock:
            if name in self.objects_there:
                raise FileExistsError(name)
            self.replace(name, data)

    def put(self, name: str, data: bytes) -> None:
        with self._lock:
            if self.objects_there.get(name, (data, 0))[0] != data:
                raise IntegrityError(f"{name} holds other bytes")
            self.replace(name, data)

    def replace(self, name: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        self.objects_there[name] = bytes(data), next(self._ticks)

    def change(self, name: str, edit: Callable[[bytes | None], bytes | None]) -> None:
        with self._lock:
            new = edit(self.objects_there[name][0] if name in self.objects_there else None)
            if new is not None:
                self.replace(name, new)

    def read(self, name: str, *, max_bytes: int = -1, follow: bool = False) -> bytes:  # noqa: ARG002
        if name not in self.objects_there:
            raise FileNotFoundError(name)
        data = self.objects_there[name][0]
        if 0 <= max_bytes < len(data):
            raise IntegrityError(f"{name} has more than {max_bytes} bytes")
        return data

    def open(self, name: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.read(name)))  # type: ignore[arg-type]

    def names(self, folder: str = "") -> list[str]:
        if folder in self.objects_there:
            raise NotADirectoryError(folder)
        start = f"{folder}/" if folder else ""
        found = {name[len(start) :].split("/")[0] for name in self.objects_there if name.startswith(start)}
        return sorted(found)

    def objects(self, folder: str = "") -> Iterator[Stored]:
        start = f"{folder}/" if folder else ""
        for name, (data, moment) in list(self.objects_there.items()):
            if name.startswith(start):
                yield Stored(name, len(data), moment)

    def stat(self, name: str) -> Stored | None:
        if name in self.objects_there:
            data, moment = self.objects_there[name]
            return Stored(name, len(data), moment)
        below = list(self.objects(name))
        return Stored(name, 0, max(each.modified_us for each in below)) if below else None

    def remove(self, names: Sequence[str], *, durable: bool = False) -> None:  # noqa: ARG002
        for name in names:
            self.objects_there.pop(name, None)

    def clear(self, folder: str) -> None:
        self.remove([stored.name for stored in self.objects(folder)])

    def prepare(self, folders: Sequence[str]) -> None:
        pass

    def path(self, name: str) -> Path:
        """Hand out the table itself, and a copy of an object."""
        if name in self.objects_there:
            self._scratch.replace(name, self.read(name), durable=False)
        elif name == LOG:
            self._scratch.prepare([LOG])
        return self._scratch.path(name)

    def problems(self, folders: Sequence[str]) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        return iter(())
