"""The bytes of a document: JSON with sorted keys, so that the same facts give the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Document = Mapping[str, Any]


def encode_document(document: Document) -> bytes:
    """Return the document as indented JSON with sorted keys and a newline at the end."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def timestamp(microseconds: int) -> str:
    """Write a time as RFC 3339 in UTC, always with microseconds and Z."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
