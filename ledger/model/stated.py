"""What an asset or a check says of itself in metadata: that it was left out, that it failed, and why.

A factory may materialize an asset on a dry run too and put into its metadata that nothing was produced. The words
are those of the hand-over contract and of the verdicts, and what programs write in their place. The list is closed,
because many a project's `status` has nothing to do with outcomes. The view `assets` has it in SQL; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

STATUS_LABEL: Final = "status"
CODES_LABEL: Final = "reason_codes"

ASSET_STATUS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("warning", "warned", "warn", "partial"), "materialized_with_warning"),
    **dict.fromkeys(("skipped", "skip", "upstream_skipped"), "skipped"),
    "not_available": "not_available",
    **dict.fromkeys(
        ("not_evaluated", "not_produced", "not_started", "upstream_failed", "canceled", "cancelled"),
        "not_evaluated",
    ),
    **dict.fromkeys(("unknown", "pending", "lost", "empty"), "unknown"),
    **dict.fromkeys(("failed", "fail", "failure", "error", "errored", "false"), "failed"),
}
"""The outcome of an asset that states one of these, the gravest last.

Any other word says nothing here: "active", "200", "ok".
"""

_GRAVITY: Final = {word: place for place, word in enumerate(dict.fromkeys(ASSET_STATUS.values()), start=1)}

_OF_CHECK: Final[Mapping[str, str]] = {
    "materialized_with_warning": "check_warned",
    "skipped": "check_skipped",
    "not_available": "check_skipped",
    "failed": "check_failed",
}

CHECK_STATUS: Final[Mapping[str, str]] = {
    status: _OF_CHECK.get(outcome, outcome) for status, outcome in ASSET_STATUS.items()
}
"""The outcome of a check that Dagster says passed and that states one of these itself."""

_NO_IDENTIFIER: Final = frozenset({"", "none", "null", "nan", "nat", "<na>"})
_MAX_CODE: Final = 200


def stated_status(data: Mapping[str, Any]) -> str | None:
    """Return the status that an event's metadata states, `None` when it has no such entry or a number.

    In lower case, without what surrounds the word (`**failed**`), `not_available` for "not available"; a boolean is
    `true` or `false`. Of a list or a structure the gravest word in it. A status without a word (no text, null,
    `None`) is `empty`.
    """
    for label, kind, value in _measured(data):
        if label == STATUS_LABEL:
            return max(
                _words(kind, value),
                key=lambda word: (_GRAVITY.get(ASSET_STATUS.get(word, ""), 0), word),
                default=None,
            )
    return None


_AROUND: Final = re.compile(r"^[\W_]+|[\W_]+$", re.ASCII)
_BETWEEN: Final = re.compile(r"[\s-]+", re.ASCII)


def _words(kind: str, value: Any) -> list[str]:
    """Return the words of a value of metadata: of a structure those that are text, at any depth."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["} and (parsed := _parsed(value)) is not None:
        return [_word(text) for text in _texts(parsed) if is_identifier(text)]
    if isinstance(value, str) and kind == "float":
        return [] if is_identifier(value) else ["empty"]
    if isinstance(value, str | bool) or value is None:
        return [] if kind == "int" else [_word("" if value is None else str(value))]
    return []


def _texts(parsed: Any) -> Iterator[str]:
    if isinstance(parsed, str):
        yield parsed
    elif isinstance(parsed, list | dict):
        for each in parsed.values() if isinstance(parsed, dict) else parsed:
            yield from _texts(each)


def _word(text: str) -> str:
    word = text.strip().lower()
    if not is_identifier(word):
        return "empty"
    return _BETWEEN.sub("_", _AROUND.sub("", word)) or word


def stated_codes(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the reason codes that an event's metadata states: a JSON list of text, or one text."""
    for label, kind, value in _measured(data):
        if label == CODES_LABEL and isinstance(value, str):
            codes = _parsed(value) if kind == "json" else value
            listed = codes if isinstance(codes, list) else [codes]
            return tuple(
                code.strip()[:_MAX_CODE] for code in listed if isinstance(code, str) and is_identifier(code)
            )
    return ()


def is_identifier(text: str) -> bool:
    """Tell a text that names something from one that a program writes where it has no value: None, null, nan."""
    return text.strip().lower() not in _NO_IDENTIFIER


def identifier(text: str | None) -> str | None:
    """Return the text where it names something."""
    return text if text is not None and is_identifier(text) else None


def _measured(data: Mapping[str, Any]) -> Sequence[tuple[Any, Any, Any]]:
    metadata = data.get("metadata")
    entries = metadata if isinstance(metadata, list | tuple) else ()
    return [(e.get("label"), e.get("type"), e.get("value")) for e in entries if isinstance(e, Mapping)]


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
