"""What an asset or a check says of itself in metadata: that it was left out, that it failed, and why.

A factory may materialize an asset on a dry run too and put into its metadata that nothing was produced. The words
are those of the hand-over contract and of the verdicts, and what programs write in their place. The list is closed,
because many a project's `status` has nothing to do with outcomes. The view `assets` has it in SQL; a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

STATUS_LABEL: Final = "status"
CODES_LABEL: Final = "reason_codes"

ASSET_STATUS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("warning", "warned", "warn", "partial"), "materialized_with_warning"),
    "skipped": "skipped",
    "not_available": "not_available",
    "not_evaluated": "not_evaluated",
    **dict.fromkeys(("unknown", "pending", "empty"), "unknown"),
    **dict.fromkeys(("failed", "fail", "failure", "error"), "failed"),
}
"""The outcome of an asset that states one of these. Any other text says nothing here: "active", "200", "ok"."""

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
    """Return the status that an event's metadata states as text, `None` when it has no such entry.

    In lower case and without spaces around it. A status without a word (no text, null, `None`) is `empty`.
    """
    for label, kind, value in _measured(data):
        if label == STATUS_LABEL and kind in {"text", "null"}:
            word = str(value or "").strip().lower()
            return word if is_identifier(word) else "empty"
    return None


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
