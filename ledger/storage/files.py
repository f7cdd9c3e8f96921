"""File-system primitives. Each write verb says what it does when the name is taken, and is durable.

Durable means: the bytes are flushed before the name appears, and the folder is flushed after, so that a
power cut leaves the old state or the new one. A file that was being written has a name starting with
`.tmp-`, which every reader ignores.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError

TMP_PREFIX = ".tmp-"
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_PRIVATE_MODE = 0o700
_SHARED = stat.S_IWGRP | stat.S_ISGID
_PRIVATE_FILE_MODE = 0o600
MAX_SETTINGS_BYTES = 1 << 24
"""Of what people write or a key is: a policy, a query, settings."""
MAX_DOCUMENT_BYTES = 1 << 30
"""Of a document or a proof that is handed over; a proof has every entry of a run."""
_VKEY = re.compile(r"\+[0-9a-f]{8}\+")
_NOT_A_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably; fine when it is there."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        share_as_parent(folder)
        sync_folder(folder.parent)


def share_as_parent(folder: Path) -> None:
    """Let the group write in a folder if it may write in the one around it, whatever the umask.

    Nothing is changed that another user owns: whoever made it has shared it.
    """
    shared = folder.parent.stat().st_mode & _SHARED
    mode = folder.stat().st_mode
    if shared & stat.S_IWGRP and mode & shared != shared:
        with contextlib.suppress(PermissionError):
            folder.chmod(stat.S_IMODE(mode) | shared | stat.S_IRWXG)


def make_private_folder(path: Path) -> None:
    """Create a folder and its parents, durably, the folder for its owner alone; fine when it is there."""
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=_PRIVATE_MODE)
        sync_folder(path.parent)


def read_regular(path: Path, *, follow: bool = False, max_bytes: int = -1) -> bytes:
    """Read a file that has to be a regular one, of at most `max_bytes` where that is not negative.

    Raises: what `open_regular` raises; IntegrityError when there is more.
    """
    with open_regular(path, follow=follow) as file:
        if max_bytes < 0:
            return file.read()
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise IntegrityError(
            f"{path} has more than {max_bytes} bytes.", next_step="move it away, then: ledger doctor"
        )
    return content


def read_named(path: Path, *, max_bytes: int = MAX_SETTINGS_BYTES, next_step: str = "name another file") -> bytes:
    """Read a regular file that a user names, through links, of at most `max_bytes`.

    Raises: EnvironmentFault for anything else: a pipe may never end, and a device has no end.
    """
    try:
        return read_regular(path, follow=True, max_bytes=max_bytes)
    except IntegrityError as error:
        raise EnvironmentFault(str(error), next_step=next_step) from None
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}.", next_step=next_step) from None


def read_key_texts(keys: Sequence[str]) -> list[str]:
    """Return verifier keys, each given as itself or as a file that holds nothing else. Raises as `read_named`."""
    return [key if _VKEY.search(key) else read_named(Path(key)).decode("utf-8", "replace").strip() for key in keys]


def open_regular(path: Path, *, follow: bool = False) -> BufferedReader:
    """Open a file that has to be a regular one: a pipe would be waited for without end, a link may lead anywhere.

    `follow` opens through a symbolic link, for files that a user names.

    Raises: IntegrityError when something else than a file has the name; OSError as it comes.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise _not_a_file(path, follow=follow) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_a_file(path, follow=follow)
    return os.fdopen(descriptor, "rb")


def _not_a_file(path: Path, *, follow: bool) -> IntegrityError:
    try:
        mode = path.stat(follow_symlinks=follow).st_mode
    except OSError:
        mode = 0
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
    }
    kind = kinds.get(stat.S_IFMT(mode), "no regular file")
    return IntegrityError(f"{path} is {kind}, expected a file.", next_step="move it away, then: ledger doctor")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out that lock the same file, which is made if it is not there: they wait."""
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def lock_for_life(path: Path) -> None:
    """Lock a file until this process ends. Raises: BlockingIOError when another one has it."""
    _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the descriptor stays open


def _lock(path: Path, how: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE_MODE)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_file(path: Path) -> bool:
    """Return whether a user's path is a file, or a link to one; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_own(path: Path) -> bool:
    """Return whether a file is this user's or the administrator's. Raises: OSError."""
    return path.stat().st_uid in {os.geteuid(), 0}


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Keep other processes that change files of `folder` under this lock out: read, change, replace as one step."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's names to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush a file that another library wrote."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_everything() -> None:
    """Flush what every process of this machine has written: cheaper than a flush for each of many files."""
    os.sync()


def create_exclusive(path: Path, data: bytes) -> None:
    """Create a file; raise `FileExistsError` when the name is taken, and leave that file alone."""
    _link_new(_write_temporary(path, data), path)


def create_private(path: Path, data: bytes) -> None:
    """Create a file for its owner alone, or for the group to read where one shares the folder.

    Raise `FileExistsError` when the name is taken, and leave that file alone.
    """
    shared = path.parent.stat().st_mode & stat.S_IWGRP
    _link_new(_write_temporary(path, data, _FILE_MODE if shared else _PRIVATE_FILE_MODE), path)


def _link_new(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def create_idempotent(path: Path, data: bytes) -> None:
    """Create a file whose name stands for its content; fine when the same bytes are there already.

    Raises `IntegrityError` when other bytes are there.
    """
    try:
        create_exclusive(path, data)
    except FileExistsError:
        if read_regular(path) != data:
            raise IntegrityError(
                f"{path} holds other bytes than this write ({len(data)} bytes); nothing was changed.",
                next_step="ledger verify",
            ) from None
        sync_folder(path.parent)  # whoever made it may have died before doing so


def replace_atomic(path: Path, data: bytes) -> None:
    """Write a file, taking the place of one that is there: a reader sees the old bytes or the new ones."""
    _write_temporary(path, data).replace(path)
    sync_folder(path.parent)


def replace_cached(path: Path, data: bytes) -> None:
    """Write a file that can be made again, whole or not at all; not flushed, so a power cut may empty it."""
    temporary = path.parent / f"{TMP_PREFIX}{secrets.token_hex(8)}"
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_temporary(path: Path, data: bytes, mode: int = _FILE_MODE) -> Path:
    temporary = path.parent / f"{TMP_PREFIX}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def remove(path: Path) -> None:
    """Remove a file; fine when a rival was faster."""
    path.unlink(missing_ok=True)


def readable_fault(error: OSError, what: str) -> EnvironmentFault:
    """Turn an `OSError` into the sentence a person can act on."""
    where = f" ({error.filename})" if error.filename else ""
    return EnvironmentFault(f"{what}: {error.strerror or error}{where}.", next_step="ledger doctor")
