"""The bytes of a document: JSON with sorted keys, so that the same facts give the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from run_evidence.ledger import rfc3339

Document = Mapping[str, Any]


def encode_document(document: Document) -> bytes:
    """Return the document as indented JSON with sorted keys and a newline at the end."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def timestamp(microseconds: int) -> str:
    """Write a time as RFC 3339 in UTC, always with microseconds and Z."""
    return rfc3339(microseconds, "microseconds")
