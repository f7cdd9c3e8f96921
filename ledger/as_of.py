"""Which prefix of the ledger is meant: all of it, the first N entries, or what was recorded by a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ledger.errors import UsageError


@dataclass(frozen=True, slots=True)
class AsOf:
    """`size`: the first so many entries. `recorded_by`: entries recorded at or before (microseconds)."""

    size: int | None = None
    recorded_by: int | None = None

    def condition(self) -> str:
        """Return the SQL condition on an entry; built from integers alone."""
        if self.size is not None:
            return f"index < {self.size:d}"
        if self.recorded_by is not None:
            return f"recorded_at <= make_timestamptz({self.recorded_by:d})"
        return "true"


NOW = AsOf()


def parse_as_of(text: str | None) -> AsOf:
    """Read `--as-of`: a number of entries, or an ISO 8601 time (UTC where it names no offset).

    Raises `UsageError` for anything else.
    """
    if text is None:
        return NOW
    if text.isascii() and text.isdigit():
        return AsOf(size=int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--as-of {text!r} is neither a number of entries nor a time.",
            next_step="for example --as-of 1200 or --as-of 2026-04-17T12:00:00Z",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return AsOf(recorded_by=round(moment.timestamp() * 1_000_000))
