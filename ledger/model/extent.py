"""Which partitions an asset has by its definition, so that what was never planned can be named too.

A time window is recorded as start, end and cadence, and counted out when somebody asks; keys are recorded as a
list. What is neither (a cadence of one's own, more keys than `MAX_KEYS`) is recorded as a definition whose extent
is not known: nothing is guessed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

from run_evidence.ledger.errors import InputError
from run_evidence.ledger.model.canonical import Json, canonical

PARTITIONS_DECLARED: Final = "partitions.declared.v1"
"""The event that says which partitions assets have, of each asset the last one counts."""

MAX_KEYS: Final = 10_000
"""How many keys are recorded of one definition; of more, their number and digest."""

MAX_WINDOWS: Final = 100_000
"""How many windows are counted out: eleven years of hours."""

Kind = Literal["none", "windows", "static", "dynamic", "multi", "other"]
Cadence = Literal["", "hourly", "daily", "weekly", "monthly"]

_FORMAT: Final = re.compile(r"(?:%[A-Za-z%]|[^%]){0,50}")
"""A `strftime` format without widths, by which a short text becomes a long one."""

_DAY: Final = timedelta(days=1)
_NEXT: Final = "read the ledger with the program that wrote it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The partitions of a definition. `none` is of an asset without partitions.

    Of `windows`: `start` and `end` (`None`: it goes on) in microseconds since 1970, the cadence with `minute`,
    `hour` and `day` (of a week, 0 for Sunday; of a month, from 1) at which a window begins in the `timezone`, the
    `strftime` format of a key, and how many windows there are beyond those that have ended (`end_offset`).

    Of all others: `keys`, those there were when it was recorded; without them, or without a cadence, the extent is
    not known, and `count` and `sha256` say how many keys there were and which.
    """

    kind: Kind
    start: int | None = None
    end: int | None = None
    cadence: Cadence = ""
    minute: int = 0
    hour: int = 0
    day: int = 0
    timezone: str = "UTC"
    format: str = ""
    end_offset: int = 0
    keys: tuple[str, ...] | None = None
    count: int | None = None
    sha256: str | None = None

    @property
    def known(self) -> bool:
        """Whether its partitions can be named."""
        return self.kind == "none" or (bool(self.cadence) if self.kind == "windows" else self.keys is not None)


def of_keys(kind: Kind, keys: Sequence[str]) -> Extent:
    """Return the extent of a list of keys; of a long one without them."""
    digest = hashlib.sha256("\n".join(keys).encode("utf-8", "surrogatepass")).hexdigest()
    kept = tuple(keys) if len(keys) <= MAX_KEYS else None
    return Extent(kind=kind, keys=kept, count=len(keys), sha256=digest)


def extent_data(extent: Extent) -> dict[str, Json]:
    """Return an extent as JSON values, without what it does not say."""
    said: dict[str, Json] = {}
    for each in fields(Extent):
        value = getattr(extent, each.name)
        if value != each.default:
            said[each.name] = list(value) if isinstance(value, tuple) else value
    return said


def extent_digest(extent: Extent) -> str:
    """Return the SHA-256 of its canonical JSON, hex."""
    return hashlib.sha256(canonical(extent_data(extent))).hexdigest()


def read_extent(said: Mapping[str, Any]) -> Extent:
    """Read what `extent_data` wrote. Raises: InputError for what is none."""
    keys = said.get("keys")
    try:
        extent = Extent(**{**said, "keys": None if keys is None else tuple(keys)})
        texts = (extent.timezone, extent.format, *(extent.keys or ()))
        numbers = (extent.minute, extent.hour, extent.day, extent.end_offset)
        sound = (
            extent.kind in get_args(Kind)
            and extent.cadence in get_args(Cadence)
            and all(isinstance(text, str) for text in texts)
            and all(type(number) is int and 0 <= number < 1_000 for number in numbers)
            and all(number is None or type(number) is int for number in (extent.start, extent.end))
            and (extent.kind != "windows" or not extent.cadence or extent.start is not None)
            and _FORMAT.fullmatch(extent.format) is not None
        )
    except TypeError:
        sound = False
    if not sound:
        raise InputError("What is declared of an asset's partitions is none.", next_step=_NEXT)
    return extent


def partition_keys(extent: Extent, now: int) -> list[str | None] | None:
    """Return the keys of an extent at a time (microseconds since 1970); `[None]` without partitions.

    `None` where it is not known, or where there are more than `MAX_WINDOWS`.

    Raises: InputError for a time zone or a time that there is none of.
    """
    if not extent.known:
        return None
    if extent.kind == "none":
        return [None]
    if extent.kind != "windows":
        return list(extent.keys or ())
    try:
        return _counted_out(extent, now)
    except (ValueError, OverflowError, OSError, LookupError) as error:
        raise InputError(f"The windows of partitions cannot be counted out: {error}", next_step=_NEXT) from None


def _counted_out(extent: Extent, now: int) -> list[str | None] | None:
    last = now if extent.end is None else min(now, extent.end)
    if (last - (extent.start or 0)) / _SHORTEST[extent.cadence] > MAX_WINDOWS:
        return None
    zone = ZoneInfo(extent.timezone)
    until = _moment(now)  # a window counts that has ended by then, or is one of those that follow
    if extent.end_offset:
        following = _begins(extent, until + timedelta(microseconds=1), zone)
        until = next(islice(following, extent.end_offset - 1, None))
    if extent.end is not None:
        until = min(until, _moment(extent.end))
    keys: list[str | None] = []
    begins = _begins(extent, _moment(extent.start or 0), zone)
    window = next(begins)
    for after in begins:
        if after > until and (keys or not _is_begun(extent, after, now, zone)):
            break
        keys.append(window.astimezone(zone).strftime(extent.format))
        window = after
    return keys


def _is_begun(extent: Extent, first_ends: datetime, now: int, zone: ZoneInfo) -> bool:
    """Tell whether Dagster has the first window already, which it then gives whatever the end says.

    With windows ahead that is one window earlier than it gives any other.
    """
    if extent.end is not None and extent.end <= (extent.start or 0):
        return False
    if not extent.end_offset:
        return first_ends <= _moment(now)
    return first_ends <= next(islice(_begins(extent, _moment(now), zone), extent.end_offset, None))


_HOUR_US: Final = 3_600_000_000
_SHORTEST: Final[Mapping[str, int]] = {
    "hourly": _HOUR_US,
    "daily": 23 * _HOUR_US,
    "weekly": 6 * 24 * _HOUR_US,
    "monthly": 27 * 24 * _HOUR_US,
}
"""How short a window can be, in microseconds."""


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _begins(extent: Extent, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when windows begin, from the first that does not begin before `start`, without end."""
    if extent.cadence == "hourly":
        local = start.astimezone(zone).replace(minute=extent.minute, second=0, microsecond=0)
        moment = local.astimezone(UTC)
        moment += timedelta(hours=1) if moment < start else timedelta(0)
        while True:
            yield moment
            moment += timedelta(hours=1)
    for day in _days(extent, start.astimezone(zone).date()):
        at = datetime(day.year, day.month, day.day, extent.hour, extent.minute, tzinfo=zone).astimezone(UTC)
        if at >= start:
            yield at


def _days(extent: Extent, first: date) -> Iterator[date]:
    """Yield the days on which windows begin, from a day on."""
    day = first
    if extent.cadence == "weekly":
        day += timedelta(days=(extent.day - day.isoweekday()) % 7)
    elif extent.cadence == "monthly":
        day = first.replace(day=1)
    while True:
        if extent.cadence == "monthly":
            begins = day.replace(day=extent.day)
            if begins >= first:
                yield begins
            day = (day + 31 * _DAY).replace(day=1)
        else:
            yield day
            day += 7 * _DAY if extent.cadence == "weekly" else _DAY
