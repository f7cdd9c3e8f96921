"""Names as the ledger writes them: two different ones never share a text, whatever has to be shortened.

Nearly every name is written as it stands. One that an entry cannot hold, because it is too long or has half a
surrogate pair in it, becomes its beginning and the digest of the whole; so does one that looks like such a text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final, overload

_MAX_NAME: Final = 1_000  # characters kept of a key or name, so that an entry always has room for all of them
_DIGESTED: Final = re.compile(r"…sha256:[0-9a-f]{64}\Z")


def asset_key_text(path: Sequence[str]) -> str:
    r"""Write an asset key as Dagster shows it: its parts joined by slashes.

    A slash inside a part is written `\/` and a backslash `\\`, so that no two keys have one text.
    Source: Dagster's `AssetKey.to_escaped_user_string`.
    """
    return "/".join(part.replace("\\", "\\\\").replace("/", "\\/") for part in path)


@overload
def short_name(name: str) -> str: ...
@overload
def short_name(name: str | None) -> str | None: ...
def short_name(name: str | None) -> str | None:
    """Return a key or name that fits an entry: as it stands, or its beginning and its digest."""
    if name is None or (len(name) <= _MAX_NAME and is_writable(name)):
        return name
    return _digested(name)


def distinct_label(label: str) -> str:
    """Return a label of metadata, of any length, as it can be written."""
    return label if is_writable(label) else _digested(label)


def is_writable(name: str) -> bool:
    """Tell whether a name is text in UTF-8 that cannot be taken for the digest of another."""
    return name.isascii() or (_is_utf8(name) and _DIGESTED.search(name) is None)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _digested(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    shown = name.encode("utf-8", "backslashreplace").decode()
    return f"{shown[: _MAX_NAME - 80]}…sha256:{digest}"
