"""A ledger in a folder: objects are files, durable by flushing them and the folder that has their name."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from run_evidence.ledger.storage.files import (
    TMP_PREFIX,
    changing,
    create_exclusive,
    create_idempotent,
    create_private,
    make_folder,
    open_regular,
    read_regular,
    remove,
    replace_atomic,
    replace_cached,
    sync_folder,
)
from run_evidence.ledger.storage.store import Stored

_REMOVING_THREADS: Final = 8
_WORTH_THREADS: Final = 64
_NOTHING_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class FolderStore:
    """The store in the folder `root`; what each verb promises stands in `ledger.storage.store.Store`."""

    root: Path

    def create(self, name: str, data: bytes, *, private: bool = False) -> None:
        """Create a file under a temporary name, flush it, and link it to its own."""
        make = create_private if private else create_exclusive
        self._made(name, lambda path: make(path, data))

    def put(self, name: str, data: bytes) -> None:
        """Create a file, or compare the one that is there."""
        self._made(name, lambda path: create_idempotent(path, data))

    def replace(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Rename a temporary file over the one that is there."""
        write = replace_atomic if durable else replace_cached
        self._made(name, lambda path: write(path, data))

    def change(self, name: str, edit: Callable[[bytes | None], bytes | None]) -> None:
        """Read, edit and replace under a lock of the file's folder."""
        path = self.path(name)
        make_folder(path.parent)
        with changing(path.parent):
            try:
                old: bytes | None = read_regular(path)
            except FileNotFoundError:
                old = None
            new = edit(old)
            if new is not None:
                replace_atomic(path, new)

    def _made(self, name: str, write: Callable[[Path], None]) -> None:
        path = self.path(name)
        try:
            write(path)
        except FileNotFoundError:  # the folder is made when it is missed: most objects have theirs
            make_folder(path.parent)
            write(path)

    def read(self, name: str, *, max_bytes: int = -1, follow: bool = False) -> bytes:
        """Read a regular file."""
        return read_regular(self.path(name), follow=follow, max_bytes=max_bytes)

    def open(self, name: str) -> BufferedReader:
        """Open a regular file."""
        return open_regular(self.path(name))

    def names(self, folder: str = "") -> list[str]:
        """List a folder."""
        try:
            with os.scandir(self.path(folder)) as found:
                return sorted(item.name for item in found if not item.name.startswith(TMP_PREFIX))
        except FileNotFoundError:
            return []

    def objects(self, folder: str = "") -> Iterator[Stored]:
        """Walk the files below a folder; links are neither objects nor walked through."""
        try:
            with os.scandir(self.path(folder)) as listed:
                found = list(listed)
        except FileNotFoundError:
            return
        for item in found:
            name = f"{folder}/{item.name}" if folder else item.name
            try:
                if item.is_dir(follow_symlinks=False):
                    yield from self.objects(name)
                elif item.is_file(follow_symlinks=False):
                    yield _stored(name, item.stat(follow_symlinks=False))
            except FileNotFoundError:  # it was removed, or renamed, since it was listed
                continue

    def stat(self, name: str) -> Stored | None:
        """Ask the file system about a file or folder."""
        try:
            return _stored(name, self.path(name).stat())
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return None
            raise

    def remove(self, names: Sequence[str], *, durable: bool = False) -> None:
        """Unlink files.

        Each removal waits for the disk's journal where others append and flush at the same time; waiting together,
        eight threads remove five times as many as one (`benchmarks/sealer`): a sealer keeps up with its writers.
        """
        paths = [self.path(name) for name in names]
        if len(paths) < _WORTH_THREADS:
            _unlink(paths)
        else:
            with ThreadPoolExecutor(_REMOVING_THREADS) as beside:
                list(beside.map(_unlink, (paths[i::_REMOVING_THREADS] for i in range(_REMOVING_THREADS))))
        if durable:
            for folder in {path.parent for path in paths}:
                sync_folder(folder)

    def clear(self, folder: str) -> None:
        """Remove a folder and what is in it."""
        shutil.rmtree(self.path(folder), ignore_errors=True)

    def prepare(self, folders: Sequence[str]) -> None:
        """Make the folders that are missing."""
        for path in (self.root, *map(self.path, folders)):
            if not path.is_dir():
                make_folder(path)

    def path(self, name: str) -> Path:
        """Return the path of a file or folder; "" is the ledger itself."""
        return self.root / name if name else self.root

    def problems(self, folders: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Look at the folders, and try the one thing an append needs."""
        missing = False
        for folder in (self.root, *map(self.path, folders)):
            if not folder.is_dir():
                missing = True
                yield f"The folder {folder} is missing.", f"mkdir {shlex.quote(str(folder))}"
            elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                missing = True
                yield (
                    f"{folder} cannot be read and written by this user.",
                    f"give the user that runs Dagster read and write access to {folder}",
                )
        if not missing:
            yield from self._creation_problems()

    def _creation_problems(self) -> Iterator[tuple[str, str]]:
        """Try to create a file, and that it refuses to take the place of another."""
        probe = self.root / f"{TMP_PREFIX}probe-{os.getpid()}"
        try:
            create_exclusive(probe, b"probe")
            with contextlib.suppress(FileExistsError):
                create_exclusive(probe, b"other")
                yield (
                    "The store let a second writer replace a file that was there; two appends could lose one.",
                    "move the ledger to a file system with exclusive creation",
                )
        except OSError as error:
            yield f"Nothing can be written: {error.strerror}.", "free space, or mount the folder read-write"
        finally:
            _unlink([probe])


def _stored(name: str, found: os.stat_result) -> Stored:
    return Stored(name, found.st_size, found.st_mtime_ns // 1000)


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        remove(path)
