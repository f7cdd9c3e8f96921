"""Names that an entry can hold: two different ones never share a text, whatever is in them."""

from __future__ import annotations

import hashlib
import re
from typing import Final

MAX_NAME: Final = 1_000
"""Characters kept of a name that is written as its beginning and its digest."""

_DIGESTED: Final = re.compile(r"…sha256:[0-9a-f]{64}\Z")
_MASKED: Final = re.compile(r"\[redacted(?::[0-9a-f]{16})?\]")


def is_writable(name: str) -> bool:
    """Tell whether a name is text in UTF-8 that cannot be taken for the digest or the mask of another."""
    if name.isascii():
        return "[redacted" not in name or _MASKED.search(name) is None
    return is_utf8(name) and _DIGESTED.search(name) is None and _MASKED.search(name) is None


def is_utf8(name: str) -> bool:
    """Tell whether a text has no half of a surrogate pair in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def digested(name: str) -> str:
    """Return a name's beginning and the digest of the whole, which no other name has."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    shown = name.encode("utf-8", "backslashreplace").decode()
    return f"{shown[: MAX_NAME - 80]}…sha256:{digest}"
