"""Where the secrets lie in one text: by their form, by their name, by a ledger's own patterns.

Every search is RE2's, which needs time in proportion to the text for any pattern. A text in which one pattern is
found more than `MAX_FOUND` times is a secret from there to its end, so that many finds that each read on to the end
of the text cannot take longer either.
"""

from __future__ import annotations

import functools
import re
import sys
from bisect import bisect
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import re2

from run_evidence.ledger.redaction.forms import FORMS, KEY_PATTERN, KEYS, SIGN, Form

Pattern: TypeAlias = Any
"""A compiled pattern of RE2 (`re2.compile`), which names no type of its own."""

Found: TypeAlias = tuple[int, int, str]
"""First character, the one after the last, and the kind."""

MAX_FOUND: Final = 1_000

MASKED: Final = re.compile(r"\[redacted(?::[0-9a-f]{16})?\]")
_LOOK_ALIKE: Final = {0x17F: "s", 0x212A: "k", 0x131: "i", 0x130: "i"}
"""Letters outside ASCII that are the same as ASCII ones where case does not count."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_SUSPECT: Final = re2.compile(SIGN.encode())
_ADDRESS: Final = re2.compile(rb"([A-Za-z][A-Za-z0-9+.-]{0,30})://[^\s/:@\"'`<>\\?#\[]{0,256}:")
_ADDRESS_END: Final = re2.compile(rb"[\s\"'`<>\\]|[a-zA-Z][a-zA-Z0-9+]{1,20}://")
_PORT: Final = re2.compile(rb"^[0-9]{1,5}(?:[/?#,]|$)")
_NO_PASSWORD: Final = re2.compile(rb"^(?:\*{3,}|\$?\{[\w.:-]{0,80}\}|\$[A-Z_]{1,80}|%\([\w]{1,80}\)s|)$")
_LETTERS: Final = tuple(chr(letter).encode() for letter in _LOOK_ALIKE)


def suspicious(text: bytes) -> bool:
    """Tell whether there may be a secret in this text in UTF-8, or in this JSON.

    False is a promise: `find_secrets` finds nothing in it. Cost: about 2 ns a byte.
    """
    return _SUSPECT.search(text) is not None or (not text.isascii() and any(one in text for one in _LETTERS))


def plain_letters(text: str) -> str:
    """Return the text in letters that patterns know, of the same length."""
    if text.isascii():
        return text
    return _SURROGATE.sub("\ufffd", text.translate(_LOOK_ALIKE))


def find_secrets(text: str, declared: Sequence[tuple[str, Pattern]] = ()) -> list[Found]:
    """Return the secrets in a text, in order and apart; what was taken out before is none.

    `declared` are further patterns by their kind.
    """
    plain = plain_letters(text)
    data = plain.encode()
    found = list(found_unasked(data)) if suspicious(data) else []
    for kind, pattern in declared:
        found.extend((*each, kind) for each in _limited(pattern, data, 0))
    if not found:
        return []
    found.sort()
    masks = [each.span() for each in re.finditer(MASKED.pattern.encode(), data)]
    return _in_characters(plain, data, _apart(found, masks))


@functools.cache
def _compiled() -> tuple[Pattern, tuple[tuple[Form, Pattern, Pattern, Pattern | None], ...]]:
    """Return the pattern of all keys, and every form with its sign, its pattern and what has to be before it.

    Compiled when a text is suspicious, which few processes ever see.
    """
    forms = tuple(
        (
            form,
            re2.compile(form.sign.encode()),
            re2.compile(form.pattern.encode()),
            re2.compile(form.after.encode()) if form.after else None,
        )
        for form in FORMS
    )
    return re2.compile(KEY_PATTERN.encode()), forms


def found_unasked(data: bytes) -> Iterator[Found]:
    """Yield what is found in a text in UTF-8, positions in bytes, without asking first whether it is suspicious."""
    from run_evidence.ledger.redaction.assignments import assigned_secrets

    any_key, forms = _compiled()
    for first, last, index in _keys(any_key, data):
        yield first, last, KEYS[index - 1]
    for form, sign, pattern, after in forms:
        if sign.search(data):
            for first, last in _limited(pattern, data, 1 if pattern.groups else 0):
                if _stands(form, after, data, first, last):
                    yield first, last, form.kind
    for first, last in _passwords(data):
        yield first, last, "url_password"
    for number, (first, last) in enumerate(assigned_secrets(data)):
        if number == MAX_FOUND:
            yield first, len(data), "assignment"
            return
        yield first, last, "assignment"


def _keys(any_key: Pattern, data: bytes) -> Iterator[tuple[int, int, int]]:
    for number, each in enumerate(any_key.finditer(data)):
        index = next(index for index in range(1, len(KEYS) + 1) if each.start(index) >= 0)
        first, last = each.span(index)
        if number == MAX_FOUND:
            yield first, len(data), index
            return
        yield first, last, index


def _limited(pattern: Pattern, data: bytes, group: int) -> Iterator[tuple[int, int]]:
    for number, each in enumerate(pattern.finditer(data)):
        first, last = each.span(group)
        if number == MAX_FOUND:
            yield first, len(data)
            return
        if first < last:
            yield first, last


def _stands(form: Form, after: Pattern | None, data: bytes, first: int, last: int) -> bool:
    if form.accept is not None and not form.accept(data[first:last]):
        return False
    return after is None or after.search(data[max(0, first - 200) : first].rpartition(b"\n")[2]) is not None


def _passwords(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the passwords in addresses: from the colon after the user to the last `@` of the address."""
    if b"@" not in data:
        return
    for each in _ADDRESS.finditer(data):
        first = each.end()
        stop = _ADDRESS_END.search(data, first)
        run = data[first : stop.start() if stop else len(data)]
        last = run.rfind(b"@")
        if last > 0 and not _PORT.match(run) and not _NO_PASSWORD.match(run[:last]):
            yield first, first + last


def _apart(found: list[Found], masks: list[tuple[int, int]]) -> list[Found]:
    """Join what overlaps, in order; leave out what lies inside a mask, or is masks and nothing else."""
    joined: list[Found] = []
    for first, last, kind in found:
        if joined and first < joined[-1][1]:
            before = joined[-1]
            joined[-1] = (before[0], max(before[1], last), before[2])
        else:
            joined.append((first, last, kind))
    return [each for each in joined if not _masked(each, masks)]


def _masked(found: Found, masks: list[tuple[int, int]]) -> bool:
    """Tell whether all that was found lies in masks, which are in order and apart."""
    covered, last = found[0], found[1]
    for index in range(max(0, bisect(masks, (covered, sys.maxsize)) - 1), len(masks)):
        if not masks[index][0] <= covered < masks[index][1]:
            break
        covered = masks[index][1]
    return covered >= last


def _in_characters(text: str, data: bytes, found: list[Found]) -> list[Found]:
    if len(text) == len(data):
        return found
    counted: list[Found] = []
    character = byte = 0
    for first, last, kind in found:
        start = character + len(data[byte:first].decode("utf-8", "ignore"))
        end = start + len(data[first:last].decode("utf-8", "ignore"))
        counted.append((start, end, kind))
        character, byte = end, last
    return counted
