"""The event by which a log records the digests of documents that were derived from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

RECORDED: Final = "document.derived.v1"


def recorded_documents(data: Mapping[str, Any] | str) -> frozenset[str]:
    """Return the SHA-256 of every document that the data of such an event names; none where it is malformed."""
    try:
        body = orjson.loads(data) if isinstance(data, str) else data
    except orjson.JSONDecodeError:
        return frozenset()
    documents = body.get("documents") if isinstance(body, Mapping) else None
    if not isinstance(documents, list):
        return frozenset()
    digests = (document.get("sha256") for document in documents if isinstance(document, Mapping))
    return frozenset(digest for digest in digests if isinstance(digest, str))
