"""The event by which a log records the digests of documents that were derived from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from run_evidence.ledger.model.json_bytes import parse_json

RECORDED: Final = "document.derived.v1"


def recorded_documents(data: Mapping[str, Any] | str) -> dict[str, str]:
    """Return {SHA-256: name} of every document that the data of such an event names; none where it is malformed."""
    try:
        body = parse_json(data) if isinstance(data, str) else data
    except ValueError:
        return {}
    documents = body.get("documents") if isinstance(body, Mapping) else None
    if not isinstance(documents, list):
        return {}
    named = ((each.get("sha256"), each.get("name")) for each in documents if isinstance(each, Mapping))
    return {digest: str(name) for digest, name in named if isinstance(digest, str)}
