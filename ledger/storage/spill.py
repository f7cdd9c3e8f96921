"""A folder of its own for what a database cannot hold in memory, removed also where its process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "ledger-query-"


def spill_place() -> str:
    """Return where such folders are made."""
    return tempfile.gettempdir()


@contextlib.contextmanager
def spill_folder() -> Iterator[Path | None]:
    """Make a folder for this process alone; `None` where none can be made. It is removed afterwards.

    A child that was forked meanwhile leaves it to its parent, in which a query may need it still.
    """
    maker = os.getpid()
    try:
        _sweep(Path(tempfile.gettempdir()))
        folder, lock = _locked_folder()
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        if os.getpid() == maker:
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """Make a folder for this user alone and lock it, so that no other process takes it for one left behind."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            lock = _lock(folder)
        except FileNotFoundError:
            continue  # swept before it was locked
        if lock is not None and folder.exists():
            return folder, lock
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder, and return the descriptor that holds the lock; `None` when another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(parent: Path) -> None:
    """Remove this user's folders that no process has locked: theirs were killed."""
    with os.scandir(parent) as found:
        left = [each.path for each in found if each.name.startswith(_PREFIX)]
    for path in left:
        with contextlib.suppress(OSError):
            if os.lstat(path).st_uid != os.geteuid() or (lock := _lock(Path(path))) is None:
                continue
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
