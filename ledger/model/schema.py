"""The versions of the schema: which members an event can have, and so which columns a segment has.

A version adds members at the end and never takes one away or changes what one means. An entry says the version it
needs in its member `schema_version`, and is of version 1 where it has none: so the same event has the same bytes
whichever program records it, and a program that does not know a member can tell a newer entry from an altered one.
Source: docs/adr/0013-a-schema-that-grows.md.
"""

from __future__ import annotations

from typing import Any, Final

VERSIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        *("event_id", "event_type", "occurred_at", "recorded_at", "store_id", "run_id", "storage_id", "job_name"),
        *("step_key", "attempt", "asset_key", "partition", "check_name", "trace_id", "release_id", "batch_id"),
        *("outcome", "reason_code", "data", "source_digest"),
    ),
)
"""The members that each version adds, the first version's first. A version that was released never changes."""

VERSION: Final = len(VERSIONS)
"""The version that this program writes, and the newest that it reads."""

STATED: Final = "schema_version"
"""The member by which an entry says its version; a column of every segment from version 2 on."""


def columns_of(version: int) -> tuple[str, ...]:
    """Return the columns of a segment of a version, without `index` and `entry`, in their order."""
    first, *later = VERSIONS[:version]
    return (*first, *((STATED,) if later else ()), *(name for added in later for name in added))


COLUMNS: Final = columns_of(VERSION)
"""The columns derived from an entry, in the order of a segment (which has `index` before, `entry` after)."""

ADDED_IN: Final = {name: number for number, added in enumerate(VERSIONS, start=1) for name in added if number > 1}
"""{member: the version that added it}, for those that version 1 does not have."""


def needed(members: Any) -> int:
    """Return the lowest version that has all of these members."""
    return max((ADDED_IN[name] for name in ADDED_IN.keys() & members), default=1)
