"""The ledger's own tags on a run in Dagster. They state a verdict, so they are no evidence themselves.

Capture leaves them out of what it records, and a row that changed by them alone counts as unchanged: the tag
`STAMP` says when the row changed before, and has a digest of everything else in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from run_evidence.ledger import bounded, canonical

VERDICT: Final = "ledger/verdict"
DECISION: Final = "ledger/decision"
STAMP: Final = ".dagster/ledger_row"
"""Under the prefix of tags that Dagster shows to nobody."""

OWN_TAGS: Final = frozenset({VERDICT, DECISION, STAMP})


def without_own(tags: Mapping[str, str]) -> dict[str, str]:
    """Return a run's tags without the ledger's own."""
    return {name: value for name, value in tags.items() if name not in OWN_TAGS}


def format_stamp(run_id: str, status: str, tags: Mapping[str, str], changed_at: int) -> str:
    """Return the stamp of a row that changed last at `changed_at` (microseconds), but for the ledger's own tags.

    A run that executes another again inherits its tags; the run's id makes the stamp that of one run alone.
    """
    row = canonical(bounded({"run_id": run_id, "status": status, "tags": without_own(tags)}))
    return f"{changed_at}-{hashlib.sha256(row).hexdigest()[:32]}"


def read_stamp(run_id: str, status: str, tags: Mapping[str, str]) -> int | None:
    """Return when the row changed last, by its stamp; `None` without one, or where more changed than own tags."""
    stamp = tags.get(STAMP, "")
    stated = stamp.partition("-")[0]
    if not (stated.isascii() and stated.isdigit() and len(stated) <= 16):
        return None
    changed_at = int(stated)
    return changed_at if stamp == format_stamp(run_id, status, tags, changed_at) else None
