"""Moments as text, the one way they are written wherever a person or a program reads them: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(moment: datetime | int, timespec: Literal["auto", "seconds", "microseconds"] = "auto") -> str:
    """Write a moment, or a number of microseconds since 1970, with a Z at its end. The moment has a zone."""
    if isinstance(moment, int):
        moment = _EPOCH + timedelta(microseconds=moment)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"
