"""A ledger's own patterns of what is taken out: RE2's syntax, and what to change in one that is Python's."""

from __future__ import annotations

import re
from typing import Final

import re2

from run_evidence.ledger.redaction.find import Pattern

_NOT_RE2: Final = (
    (re.compile(r"\(\?<?[=!]"), "look-around, of which RE2 has none: match more; all that is matched is taken out"),
    (re.compile(r"\\[1-9]|\(\?P="), "a reference back to a group, of which RE2 has none: repeat the pattern"),
    (re.compile(r"\{,[0-9]"), "{,n}, which RE2 takes as it stands: write {0,n}"),
    (re.compile(r"\(\?>|[*+?}]\+"), "an atomic or possessive part, of which RE2 has none: leave the sign out"),
)
"""What Python's patterns have and RE2's have not."""

_EMPTY_IN: Final = (b"", b"a", b" ", b"a b")
_PYTHONS_END: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\Z")


def compiled(name: str, text: str) -> Pattern:
    """Compile one of a ledger's own patterns with RE2, which takes time in proportion to the text for any.

    Raises: ValueError with what is wrong with it and what to write instead.
    """
    pattern = _PYTHONS_END.sub(r"\1\\z", text)
    has = next((f"it has {what}" for sign, what in _NOT_RE2 if sign.search(pattern.replace(r"\\", ""))), None)
    options = re2.Options()
    options.log_errors = False
    try:
        pattern_of = re2.compile(pattern.encode(), options)
    except re2.error as error:
        told = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"the pattern {name!r}, {text!r}: {has or told}") from None
    if has:
        raise ValueError(f"the pattern {name!r}, {text!r}: {has}")
    if any(each.end() == each.start() for probe in _EMPTY_IN for each in pattern_of.finditer(probe)):
        raise ValueError(f"the pattern {name!r}, {text!r}, matches an empty text, so it would redact everything")
    return pattern_of
