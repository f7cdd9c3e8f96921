"""The start of a run's id for the whole of it, the same wherever a command takes a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.storage.search import sql_text

if TYPE_CHECKING:
    from run_evidence.ledger.query.snapshot import Snapshot

LATEST: Final = "latest"


def runs_starting_with(snapshot: Snapshot, asked: str) -> list[str]:
    """Return the ids of a snapshot's runs that start with a text, in order; none for the empty text.

    `latest` stands for the run that started last.
    """
    if not asked:
        return []
    if asked == LATEST:
        return [str(run_id) for (run_id,) in snapshot.rows(sql_text("latest_run"))]
    return [str(run_id) for (run_id,) in snapshot.rows(sql_text("run_ids"), {"prefix": asked})]


def one_run(asked: str, found: Sequence[str]) -> str | None:
    """Return the run that is meant: the one with just this id, else the only one that starts with it.

    `found` are the ids that start with it. Returns `None` when there is none. Raises: UsageError when there are
    several.
    """
    if asked in found:
        return asked
    if len(found) > 1:
        some = ", ".join(found[:5])
        raise UsageError(
            f"{asked!r} is the start of {len(found)} run ids: {some}.", next_step="give more of the id"
        )
    return found[0] if found else None
