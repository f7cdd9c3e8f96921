"""Long lists in parts, each small enough that the payload stays inside its entry.

A payload above `MAX_DATA_BYTES` is moved beside the log, where SQL does not see it; a plan and its outcomes
have to be seen, so they travel in as many events as they need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.model.canonical import Json, bounded, canonical
from run_evidence.ledger.model.event import MAX_DATA_BYTES

_ROOM_BYTES: Final = MAX_DATA_BYTES - 256
"""What the records of one part may take; the rest is for the members around them."""


def in_parts(records: Iterable[Json]) -> Iterator[list[Json]]:
    """Split records, in order, into lists whose canonical JSON takes at most `_ROOM_BYTES` each.

    Raises `UsageError` when one record alone is larger.
    """
    part: list[Json] = []
    size = 0
    for record in map(bounded, records):
        text = canonical(record)
        if len(text) + 1 > _ROOM_BYTES:
            raise UsageError(
                f"A record of {len(text)} bytes does not fit an event's data: {text[:120]!r}…",
                next_step="shorten the asset key, partition key or step key it is about",
            )
        if part and size + len(text) + 1 > _ROOM_BYTES:
            yield part
            part, size = [], 0
        part.append(record)
        size += len(text) + 1
    if part:
        yield part
