"""Daily partitions: half-open UTC days, and the instants that fall into them.

Membership is decided by the instant, never by the text of a timestamp: `2026-04-18T01:30:00+08:00` belongs
to 2026-04-17.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from run_evidence.ledger import InputError

# RFC 3339 section 5.6. `datetime.fromisoformat` alone takes far more: week dates, basic format, no offset.
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """The instants of one daily partition: `start <= instant < end`, both aware UTC."""

    key: str
    start: datetime
    end: datetime

    def holds(self, instant: datetime) -> bool:
        """Tell whether the aware `instant` lies in this day, whatever offset it is written in."""
        return self.start <= instant < self.end


def daily_window(partition_key: str) -> DailyWindow:
    """Return the window of a `YYYY-MM-DD` partition key.

    Raises: InputError when the key is no calendar day.
    """
    # fromisoformat also takes 20260417 and 2026-W16-5, which would be second names for one partition
    start = parse_instant(f"{partition_key}T00:00:00Z")
    if start is None or start.date() == date.max:
        raise InputError(
            f"{partition_key!r} is not a daily partition: expected a calendar day as YYYY-MM-DD",
            next_step="pass a day such as 2026-04-17",
        )
    return DailyWindow(key=partition_key, start=start, end=start + timedelta(days=1))


def partition_of(instant: datetime) -> str:
    """Return the key of the UTC day an aware `instant` lies in."""
    return instant.astimezone(UTC).date().isoformat()


def day_distance(later_key: str, earlier_key: str) -> int:
    """Count whole days from one partition key to another; negative when `later_key` comes first."""
    return (date.fromisoformat(later_key) - date.fromisoformat(earlier_key)).days


def parse_instant(text: str) -> datetime | None:
    """Return the aware UTC instant an RFC 3339 timestamp names, or None when the text is not one.

    Digits beyond the microsecond are cut off, which never moves an instant into another day.

    Source: RFC 3339 section 5.6 (leap seconds are refused: no clock here can express them).
    """
    if not _RFC3339.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text.upper())
        return found if found.tzinfo is UTC else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the 31st of February; an offset that leads before year 1
        return None


def format_instant(instant: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC with a `Z`; microseconds only where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
