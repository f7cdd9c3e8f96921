"""JSON as the factory's inputs have it: one object, read the same whether it is a ticket or a manifest.

UTF-8 alone; a byte order mark is of the file, and the caller takes it off. What readers of JSON read differently is
a fault with its place, never a guess: a name that is given more than once in an object, however deep, NaN and the
infinities, half of a surrogate pair, a NUL.

Source: RFC 8259, sections 4, 6, 8.1 and 8.2; RFC 7493 (I-JSON), section 2.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
REPEATED: Final = "given more than once"
_LONGEST_NAME: Final = 60


class NotAnObjectError(ValueError):
    """The bytes are no JSON object; the text says what they are."""


class NotJsonError(NotAnObjectError):
    """The bytes are not even JSON; the text says where."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value, the member of the object it is in, and the path to it: `assets[0].size_bytes`.

    Names are shortened and escaped.
    """

    field: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


@dataclass(frozen=True, slots=True)
class StrictObject:
    """An object and its faults. Of a name that is given more than once, `values` has the last value."""

    values: dict[str, Any]
    faults: tuple[Fault, ...]


class _Repeated(dict[str, Any]):
    """An object in which these names are given more than once."""

    names: tuple[str, ...] = ()


class _Constant(str):
    """NaN, Infinity or -Infinity, as it was written."""

    __slots__ = ()


def read_object(raw: bytes) -> StrictObject:
    """Read one JSON object. Raises: NotAnObjectError when it is none, with line and column of what is wrong."""
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_to_object,
            parse_constant=_Constant,
        )
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise NotJsonError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise NotAnObjectError(f"expected a JSON object, got a {_kind(value)}")
    return StrictObject(value, tuple(_faults(value)))


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeated = _Repeated(pairs)
    repeated.names = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return repeated


def _kind(value: object) -> str:
    return "number" if isinstance(value, _Constant) else type(value).__name__


def _faults(record: dict[str, Any]) -> Iterator[Fault]:
    """Walk an object in order; deep ones too, so without recursion."""
    waiting: list[tuple[str, str, object]] = [("", "", record)]
    while waiting:
        field, path, value = waiting.pop()
        if isinstance(value, dict):
            members = [(field or printable(name), _below(path, name), name, item) for name, item in value.items()]
            repeated = value.names if isinstance(value, _Repeated) else ()
            for top, below, name, _ in members:
                if name in repeated:
                    yield Fault(top, below, REPEATED)
                if text := _text_fault(name):
                    yield Fault(top, below, text)
            waiting += reversed([(top, below, item) for top, below, _, item in members])
        elif isinstance(value, list):
            waiting += reversed([(field, f"{path}[{number}]", item) for number, item in enumerate(value)])
        elif isinstance(value, _Constant):
            yield Fault(field, path, f"{value} is no JSON number")
        elif isinstance(value, str) and (text := _text_fault(value)):
            yield Fault(field, path, text)


def _below(path: str, name: str) -> str:
    return f"{path}.{printable(name)}" if path else printable(name)


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character, which PostgreSQL cannot store"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no character"
    return None


def printable(name: str) -> str:
    """Shorten and escape a name nobody vouches for, so that it can be shown and stored."""
    return ascii(name[:_LONGEST_NAME])[1:-1]
