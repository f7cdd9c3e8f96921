"""JSON by orjson, or where that is not installed by the standard library: the same values, the same bytes.

Proofs and hand-overs are checked where `cryptography` is all that is installed. What a ledger itself does needs
orjson for its speed.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

try:
    import orjson
except ModuleNotFoundError:
    _FAST = False
else:
    _FAST = True

_DEEPEST: Final = 254
"""Levels of lists and objects that orjson writes."""


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text in UTF-8. Raises: ValueError for anything else."""
    return orjson.loads(text) if _FAST else parse_plainly(text)


def sorted_json(value: Any) -> bytes:
    """Write a value without white space, keys sorted. Raises: ValueError where it lies too deep, or is no JSON."""
    if not _FAST:
        return sort_plainly(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def parse_plainly(text: bytes | str) -> Any:
    """Do what `parse_json` does, by the standard library."""
    read = text.decode() if isinstance(text, bytes) else text
    try:
        value = json.loads(read, parse_constant=_refuse)
        if "\\u" in read:  # half of a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def sort_plainly(value: Any) -> bytes:
    """Do what `sorted_json` does, by the standard library."""
    if _is_deep(value):
        raise ValueError("nested too deeply")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _is_deep(value: Any) -> bool:
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > _DEEPEST:
            return True
        level = [each for item in level for each in (item.values() if isinstance(item, dict) else item)]
    return False
