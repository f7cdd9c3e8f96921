"""Putting recorded text into Markdown so that it is shown as it is and changes nothing around it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ALWAYS = r"[\\`*\[\]<|~]"
_UNDERSCORE = r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # inside a word it is only an underscore
_ENTITY = r"&(?=[A-Za-z#])"
_LINK = r":(?=//)|@|(?<=www)\."  # GitHub makes links of bare addresses
_LINE_START = r"\A[-+=#>:]"  # a list, a heading, a quotation
_SPECIAL = re.compile("|".join((_ALWAYS, _UNDERSCORE, _ENTITY, _LINK, _LINE_START)))
_NUMBERED = re.compile(r"\A([0-9]{1,9})([.)])")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@+=-]*")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
# Marks of direction reorder what stands after them on the line. Source: Unicode Standard Annex #9, section 2.
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def text(value: object) -> str:
    r"""Escape text for a line or a table cell: line breaks and control characters as one space.

    Marks of direction are written as `\u202e`: a name with one would turn the words after it round.
    """
    flat = _DIRECTION.sub(lambda mark: f"\\u{ord(mark[0]):04x}", _SPACE.sub(" ", str(value)).strip())
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", flat))


def code(value: object) -> str:
    """Show an id or a key as code where its characters allow it, else as escaped text."""
    flat = str(value)
    return f"`{flat}`" if _KEY.fullmatch(flat) else text(flat)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; cells are Markdown already."""
    lines = [headers, ["---"] * len(headers), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
