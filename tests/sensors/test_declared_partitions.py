"""What partitions assets have is recorded as their definitions say it, once, and counted out as Dagster does."""

from datetime import UTC, datetime, timedelta
from typing import cast

import dagster as dg
import pytest
from holding import rows
from hypothesis import given, settings
from hypothesis import strategies as st

from run_evidence.ledger import Ledger
from run_evidence.ledger.model.extent import partition_keys, read_extent
from run_evidence.sensors import declare_partitions, with_ledger
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.attach.cursor_sensor import SensorCursor, tick
from run_evidence.sensors.capture.partitions import extent_data, extent_of, partitions_declared

_ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
_STARTS = st.integers(0, 200 * 24).map(lambda hours: datetime.fromisoformat("2025-09-01") + timedelta(hours=hours))
_ASKED = st.integers(0, 365 * 24 * 60).map(lambda n: datetime(2025, 8, 1, tzinfo=UTC) + timedelta(minutes=n))


@st.composite
def _definitions(draw: st.DrawFn) -> dg.TimeWindowPartitionsDefinition:
    zone, start = draw(_ZONES), draw(_STARTS)
    end = draw(st.none() | st.integers(1, 120).map(lambda days: start + timedelta(days=days)))
    more = {
        "timezone": zone,
        "end_offset": draw(st.integers(0, 3)),
        "minute_offset": draw(st.sampled_from([0, 30])),
    }
    kind = draw(st.sampled_from(["daily", "weekly", "monthly"]))
    more["hour_offset"] = draw(st.sampled_from([0, 5, 23]))
    if kind == "daily":
        return dg.DailyPartitionsDefinition(start, end, **more)
    if kind == "weekly":
        return dg.WeeklyPartitionsDefinition(start, end_date=end, day_offset=draw(st.integers(0, 6)), **more)
    return dg.MonthlyPartitionsDefinition(start, end_date=end, day_offset=draw(st.integers(1, 28)), **more)


NOWHERE = cast("dg.DagsterInstance", None)
"""Nothing is asked of the instance but dynamic keys."""


def same(definition: dg.TimeWindowPartitionsDefinition, at: datetime) -> None:
    extent = read_extent(extent_data(extent_of(definition, NOWHERE)))
    assert extent.known
    found = partition_keys(extent, round(at.timestamp() * 1_000_000))
    assert found == list(definition.get_partition_keys(current_time=at))


@settings(max_examples=40, deadline=None)
@given(_definitions(), _ASKED)
def test_windows_are_those_that_dagster_has(definition: dg.TimeWindowPartitionsDefinition, at: datetime) -> None:
    """Over changes of the clock, in zones of half an hour, with an end or without, before it begins and after."""
    same(definition, at)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_hours_are_those_that_dagster_has(zone: str) -> None:
    hourly = dg.HourlyPartitionsDefinition("2026-03-28-05:00", timezone=zone, minute_offset=15)
    same(hourly, datetime(2026, 3, 30, 7, 20, tzinfo=UTC))


def test_keys_are_those_there_are() -> None:
    static = dg.StaticPartitionsDefinition(["us", "eu"])
    both = dg.MultiPartitionsDefinition({"region": static, "size": dg.StaticPartitionsDefinition(["s"])})
    assert extent_of(static, NOWHERE).keys == ("us", "eu")
    assert set(extent_of(both, NOWHERE).keys or ()) == {"us|s", "eu|s"}
    assert extent_of(None, NOWHERE).kind == "none"


def test_what_cannot_be_counted_out_is_said_to_be_unknown() -> None:
    own = dg.TimeWindowPartitionsDefinition("2026-04-01", fmt="%Y-%m-%d", cron_schedule="0 0 */3 * *")
    many = dg.StaticPartitionsDefinition([str(n) for n in range(10_001)])
    for definition, kind in ((own, "windows"), (many, "static")):
        extent = extent_of(definition, NOWHERE)
        assert (extent.kind, extent.known) == (kind, False)


@dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-04-01"))
def orders() -> None: ...


@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="shops"))
def shops() -> None: ...


@dg.asset
def whole() -> None: ...


PROJECT = dg.Definitions(assets=[orders, shops, whole, dg.AssetSpec("external")])


def declared(ledger: Ledger) -> list[list[str]]:
    asked = "SELECT data->>'$.asset_keys[*]' FROM events WHERE event_type = 'partitions.declared.v1'"
    return sorted(found for (found,) in rows(ledger, asked))


def test_the_cursor_sensor_declares_them_once(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Of assets that a run can make; those of one extent together. What is never made is missing."""
    repository = with_ledger(PROJECT, ledger=ledger.root).get_repository_def()
    for _ in range(2):
        tick(instance, Attachment(ledger, None), SensorCursor(), project=repository)
    assert declared(ledger) == [["orders"], ["shops"], ["whole"]]
    found = rows(ledger, "SELECT DISTINCT asset_key, state, defined FROM partitions ORDER BY asset_key")
    assert found == [("orders", "missing", True), ("whole", "missing", True)]


def test_dynamic_keys_are_recorded_as_of_then(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """All of them again when one comes, so at most once an hour."""
    instance.add_dynamic_partitions("shops", ["berlin"])
    assert declare_partitions(ledger, PROJECT, instance) == 3
    instance.add_dynamic_partitions("shops", ["paris"])
    assert declare_partitions(ledger, PROJECT, instance) == 0
    own = ledger.known([""])[""].own
    later = own[-1].occurred_at + 3_600_000_000
    extent = extent_of(shops.partitions_def, instance)
    (event,) = partitions_declared({"shops": extent}, own, later)
    assert event.data["extent"] == extent_data(extent)
    found = rows(ledger, "SELECT partition, state FROM partitions WHERE asset_key = 'shops'")
    assert found == [("berlin", "missing")]


def test_a_definition_that_cannot_be_read_holds_up_no_capture(
    instance: dg.DagsterInstance, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> list[str]:
        raise RuntimeError("the list of shops does not answer")

    dg.materialize([whole], instance=instance)
    repository = PROJECT.get_repository_def()
    monkeypatch.setattr(dg.DynamicPartitionsDefinition, "get_partition_keys", broken)
    done, _ = tick(instance, Attachment(ledger, None, grace_seconds=0), SensorCursor(), project=repository)
    assert done.appended > 0
    assert declared(ledger) == []
