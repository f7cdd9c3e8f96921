"""Partition membership is decided by the instant, in a half-open UTC day, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.partitions import daily_window, day_distance, format_instant, parse_instant, partition_of
from run_evidence.ledger.errors import InputError

# away from the ends of the calendar, where an offset leads out of it
_naive = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1))  # noqa: DTZ001
_offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_instants = st.builds(lambda naive, offset: naive.replace(tzinfo=offset), _naive, _offsets)


@given(_instants)
def test_every_instant_is_in_its_own_partition_and_in_no_neighbour(instant: datetime) -> None:
    """An instant belongs to exactly one day, whatever offset it is written in."""
    window = daily_window(partition_of(instant))
    assert window.holds(instant)
    assert not daily_window(partition_of(instant - timedelta(days=1))).holds(instant)
    assert not daily_window(partition_of(instant + timedelta(days=1))).holds(instant)


@given(_instants, _offsets)
def test_writing_an_instant_with_another_offset_does_not_move_it(instant: datetime, other: timezone) -> None:
    """The text of a timestamp may name another day than the partition it belongs to."""
    read = parse_instant(instant.astimezone(other).isoformat())
    assert read == instant
    assert partition_of(read) == partition_of(instant)


@given(_instants)
def test_format_and_parse_are_a_pair(instant: datetime) -> None:
    """What is written is read back as the same instant."""
    assert parse_instant(format_instant(instant)) == instant


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("2026-04-17T00:00:00Z", "2026-04-17"),
        ("2026-04-17T23:59:59.999999999Z", "2026-04-17"),
        ("2026-04-18T00:00:00Z", "2026-04-18"),
        ("2026-04-18T01:30:00+08:00", "2026-04-17"),
        ("2026-04-16T20:00:00-05:00", "2026-04-17"),
        ("2026-04-17t08:00:00z", "2026-04-17"),
    ],
)
def test_the_edges_of_a_day(text: str, partition: str) -> None:
    """Midnight opens a day and does not close one; digits beyond a microsecond never round up into the next."""
    instant = parse_instant(text)
    assert instant is not None
    assert partition_of(instant) == partition


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-04-17",
        "2026-04-17T10:00:00",
        "2026-04-17T10:00Z",
        "20260417T100000Z",
        "2026-W16-5T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-04-17T24:00:01Z",
        "2026-04-17T10:00:60Z",
        "2026-04-17T10:00:00+24:00",
        "0001-01-01T00:00:00+08:00",
        "２026-04-17T10:00:00Z",
        "2026-04-17T10:00:00Z\n",
    ],
)
def test_what_is_no_rfc_3339_instant_is_none(text: str) -> None:
    """A time without an offset, or one no clock shows, names no instant."""
    assert parse_instant(text) is None


@pytest.mark.parametrize("key", ["", "2026-4-17", "20260417", "2026-02-30", "2026-04-17T00:00:00Z", "9999-12-31"])
def test_a_key_that_is_no_day_is_refused(key: str) -> None:
    """The message shows the key and what was expected."""
    with pytest.raises(InputError, match="expected a calendar day as YYYY-MM-DD"):
        daily_window(key)


def test_a_window_is_one_utc_day() -> None:
    """A window spans 24 hours from midnight UTC."""
    window = daily_window("2026-04-17")
    assert window.start == datetime(2026, 4, 17, tzinfo=UTC)
    assert window.end - window.start == timedelta(days=1)
    assert day_distance("2026-05-01", "2026-04-29") == 2
    assert day_distance("2026-04-29", "2026-05-01") == -2
