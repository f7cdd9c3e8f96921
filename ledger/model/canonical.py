"""Canonical JSON: one value, one sequence of bytes.

Sorted ASCII keys, no white space, no floats, integers within ±(2^53 − 1): inside these bounds the output
is byte for byte what RFC 8785 asks for, and orjson makes it in a few microseconds.

Source: RFC 8785 §3; `docs/format.md`, "Canonical JSON".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, Final, TypeAlias

from run_evidence.ledger.model.json_bytes import parse_json, sorted_json

Json: TypeAlias = "None | bool | int | str | list[Json] | dict[str, Json]"

MAX_INT: Final = 2**53 - 1

MAX_DEPTH: Final = 100
"""Levels of lists and objects that stay JSON. orjson writes 254 of them; nobody reads more than a few."""

_MAX_DECIMAL_BITS: Final = 10_000
"""Python refuses the decimal text of integers above 4,300 digits (about 14,280 bits)."""


def canonical(value: Json) -> bytes:
    """Encode a value that is already within bounds (see `bounded`) as canonical JSON."""
    return sorted_json(value)


def bounded(value: Any) -> Json:
    """Bring any JSON-like value within canonical bounds, losing no information a reader needs.

    A float becomes its shortest decimal text, an integer beyond 2^53 − 1 its decimal text (an enormous one
    its hexadecimal text), a key outside ASCII its backslash escapes, a lone surrogate U+FFFD. Anything that is
    not JSON, or lies deeper than `MAX_DEPTH`, becomes its `str()`. Keys of one object that become the same text are
    all kept: one that was that text keeps it, the others get `~` and 16 digits of a digest.
    """
    return _bounded(value, MAX_DEPTH)


def _bounded(value: Any, room: int) -> Json:
    if isinstance(value, str):  # the most frequent kinds first: capture runs this over every value of every record
        return value if value.isascii() else _without_surrogates(value)
    if room and isinstance(value, dict):
        return _bounded_object(value, room - 1)
    if room and isinstance(value, list | tuple):
        return [_bounded(item, room - 1) for item in value]
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return int(value) if -MAX_INT <= value <= MAX_INT else _integer_text(int(value))
    if isinstance(value, float):
        return repr(float(value))
    return _bounded(plain_text(value), 0)


def _bounded_object(value: dict[Any, Any], room: int) -> dict[str, Json]:
    if all(type(key) is str and key.isascii() for key in value):
        return {key: _bounded(item, room) for key, item in value.items()}
    # A key that is within bounds keeps its name; one that becomes such a name gets the digest of what it was.
    names = [_ascii_text(key) for key in value]
    own = {name for name, key in zip(names, value, strict=True) if isinstance(key, str) and key.isascii()}
    times = Counter(names)
    result: dict[str, Json] = {}
    for name, (key, item) in zip(names, value.items(), strict=True):
        kept = isinstance(key, str) and key.isascii()
        written = name if kept or (times[name] == 1 and name not in own) else f"{name}~{_key_digest(key)}"
        while written in result or (written in own and not kept):  # a key that was made to look like another's
            written += "'"
        result[written] = _bounded(item, room)
    return result


def _key_digest(key: object) -> str:
    told = f"{type(key).__name__}:{plain_text(key)}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(told).hexdigest()[:16]


def _without_surrogates(value: str) -> str:
    """Join surrogate pairs, as UTF-16 means them, and replace each lone one."""
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _integer_text(value: int) -> str:
    return str(value) if value.bit_length() <= _MAX_DECIMAL_BITS else hex(value)


def _ascii_text(key: object) -> str:
    return str(key).encode("ascii", "backslashreplace").decode("ascii")


def plain_text(value: object) -> str:
    """Return the text that `bounded` makes of what is not JSON."""
    try:
        return str(value)
    except RecursionError:
        return f"<{type(value).__name__} nested too deeply>"


def parse_canonical(entry: bytes) -> dict[str, Json]:
    """Return the object these bytes encode, if they are its one canonical encoding.

    Raises `ValueError` with the reason otherwise: not UTF-8 or not JSON, not an object, duplicate or
    unsorted keys, white space, floats, integers out of range, keys outside ASCII, nested too deeply.
    """
    try:
        value = parse_json(entry)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")  # noqa: TRY004 - one error type
    try:
        encoded = canonical(value)
    except ValueError:
        raise ValueError("JSON nested too deeply") from None
    if encoded != entry:
        raise ValueError("JSON, but not canonical (key order, duplicate keys, white space or escapes)")
    refuse_unbounded(value, entry.isascii())
    return value


def refuse_unbounded(root: dict[str, Json], all_ascii: bool) -> None:
    """Refuse what `bounded` never leaves in an object; `all_ascii` says that no key can be outside ASCII.

    Flat, and by exact type: this runs over every value of every entry. Raises `ValueError` with the reason.
    """
    waiting: list[Any] = [root]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            if not all_ascii and not all(map(str.isascii, value)):
                raise ValueError(f"an object with a key outside ASCII: {sorted(value)}")
            value = value.values()
        for item in value:
            kind = type(item)
            if kind is str:
                continue
            if kind is dict or kind is list:
                waiting.append(item)
            elif kind is int and not -MAX_INT <= item <= MAX_INT:
                raise ValueError(f"an integer beyond 2^53 - 1: {item}")
            elif kind is float:
                raise ValueError(f"a float: {item!r}")
