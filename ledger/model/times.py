"""Moments as text: how they are written wherever a person or a program reads them, and how people name them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from run_evidence.ledger.errors import UsageError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(moment: datetime | int, timespec: Literal["auto", "seconds", "microseconds"] = "auto") -> str:
    """Write a moment, or a number of microseconds since 1970, with a Z at its end. The moment has a zone."""
    if isinstance(moment, int):
        moment = _EPOCH + timedelta(microseconds=moment)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


_AGO: Final = re.compile(r"([0-9]{1,6})(m|h|d|w)")
_MINUTES: Final = {"m": 1, "h": 60, "d": 1_440, "w": 10_080}


def parse_moment(option: str, text: str, now: int) -> int:
    """Read a time: so long before `now` (`30m`, `12h`, `1d`, `2w`), or ISO 8601, UTC where it names no offset.

    Returns microseconds since 1970, 0 for what was before. Raises: UsageError for anything else.
    """
    if ago := _AGO.fullmatch(text):
        return max(now - int(ago[1]) * _MINUTES[ago[2]] * 60_000_000, 0)
    try:
        moment = datetime.fromisoformat(text)
        return max(round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000), 0)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r:.100} is neither a time nor an age.",
            next_step="for example 2026-04-17 or 12h or 30d",
        ) from None
