"""What an asset or a check says of itself in metadata: that it was left out, that it failed, and why.

A factory may materialize an asset on a dry run too and put into its metadata that nothing was produced. The words
are those of the hand-over contract; they stand here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

STATUS_LABEL: Final = "status"
CODES_LABEL: Final = "reason_codes"

ASSET_STATUS: Final[Mapping[str, str]] = {
    "warning": "materialized_with_warning",
    "skipped": "skipped",
    "not_available": "not_available",
    "failed": "failed",
}
"""The outcome of an asset that states one of these. Any other text says nothing here: "active", "200", "ok"."""

CHECK_STATUS: Final[Mapping[str, str]] = {
    "warning": "check_warned",
    "skipped": "check_skipped",
    "not_available": "check_skipped",
    "failed": "check_failed",
}
"""The outcome of a check that Dagster says passed and that states one of these itself."""

_NO_IDENTIFIER: Final = frozenset({"", "none", "null", "nan", "nat", "<na>"})
_MAX_CODE: Final = 200


def stated_status(data: Mapping[str, Any]) -> str | None:
    """Return the status that an event's metadata states as text, `None` when it states none."""
    return next((value for label, kind, value in _measured(data) if (label, kind) == (STATUS_LABEL, "text")), None)


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
