"""Names as the ledger writes them: two different ones never share a text, whatever has to be shortened.

Nearly every name is written as it stands. One that an entry cannot hold, because it is too long or has half a
surrogate pair in it, becomes its beginning and the digest of the whole; so does one that looks like such a text, or
like one that redaction made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from run_evidence.ledger import MAX_NAME, digested, is_writable


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
    if name is None or (len(name) <= MAX_NAME and is_writable(name)):
        return name
    return digested(name)


def distinct_label(label: str) -> str:
    """Return a label of metadata, of any length, as it can be written."""
    return label if is_writable(label) else digested(label)
