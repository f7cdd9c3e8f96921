"""Canonical JSON: one value, one sequence of bytes.

Sorted ASCII keys, no white space, no floats, integers within ±(2^53 − 1): inside these bounds the output
is byte for byte what RFC 8785 asks for, and orjson makes it in a few microseconds.

Source: RFC 8785 §3; `docs/format.md`, "Canonical JSON".
"""

from __future__ import annotations

from typing import Any, TypeAlias

import orjson

Json: TypeAlias = "None | bool | int | str | list[Json] | dict[str, Json]"

MAX_INT = 2**53 - 1


def canonical(value: Json) -> bytes:
    """Encode a value that is already within bounds (see `bounded`) as canonical JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def bounded(value: Any) -> Json:
    """Bring any JSON-like value within canonical bounds, losing no information a reader needs.

    A float becomes its shortest decimal text, an integer beyond 2^53 − 1 its decimal text, a key outside
    ASCII its backslash escapes, a lone surrogate U+FFFD. Anything that is not JSON becomes its `str()`.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, int):
        return int(value) if -MAX_INT <= value <= MAX_INT else str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, dict):
        return {_ascii_key(key): bounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bounded(item) for item in value]
    return bounded(str(value))


def _ascii_key(key: object) -> str:
    return str(key).encode("ascii", "backslashreplace").decode("ascii")


def parse_canonical(entry: bytes) -> dict[str, Json]:
    """Return the object these bytes encode, if they are its one canonical encoding.

    Raises `ValueError` with the reason otherwise: not UTF-8 or not JSON, not an object, duplicate or
    unsorted keys, white space, floats, integers out of range, keys outside ASCII.
    """
    try:
        value = orjson.loads(entry)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")  # noqa: TRY004 - one error type
    if canonical(value) != entry:
        raise ValueError("JSON, but not canonical (key order, duplicate keys, white space or escapes)")
    _refuse_unbounded(value)
    return value


def _refuse_unbounded(value: object) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.isascii():
                raise ValueError(f"a key outside ASCII: {key!r}")
            _refuse_unbounded(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_unbounded(item)
    elif isinstance(value, float):
        raise ValueError(f"a float: {value!r}")  # noqa: TRY004
    elif isinstance(value, int) and not -MAX_INT <= value <= MAX_INT:
        raise ValueError(f"an integer beyond 2^53 - 1: {value}")
