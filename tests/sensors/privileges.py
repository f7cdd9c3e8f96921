"""Being subject to file permissions, also as root: without the capabilities that override them (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_OVERRIDING = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Let this thread, and threads it starts meanwhile, obey permissions as any user does.

    Source: capset(2). Capabilities are a thread's own; the permitted ones stay, so that they can be taken back.
    """
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION, 0), (_Sets * 2)()
    _call(libc.capget, header, sets)
    before = sets[0].effective
    sets[0].effective = before & ~_OVERRIDING
    _call(libc.capset, header, sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _call(libc.capset, header, sets)


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*(ctypes.byref(argument) for argument in arguments)):  # type: ignore[arg-type]
        raise OSError(ctypes.get_errno(), "capabilities cannot be changed")
