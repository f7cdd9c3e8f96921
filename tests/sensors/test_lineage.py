"""What was made from what, as Dagster itself recorded it: with one partition, several, none, and from outside."""

import dagster as dg
from holding import rows, sync

from run_evidence.ledger import Ledger

DAYS = dg.StaticPartitionsDefinition(["d1", "d2"])


@dg.asset
def plain() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("p1"))


@dg.asset(partitions_def=DAYS, deps=[plain])
def daily(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion(f"v-{context.partition_key}"))


@dg.asset(partitions_def=DAYS, deps=[daily])
def by_day(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion(f"b-{context.partition_key}"))


@dg.asset(deps=[daily, dg.AssetKey("outside")])
def total() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("t"))


def test_a_materialization_names_the_versions_and_events_it_was_made_from(
    instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    """An input of one event is that event; of several partitions only the version that stands for all is known."""
    outside = dg.AssetMaterialization("outside", tags={"dagster/data_version": "o1"})
    instance.report_runless_asset_event(outside)
    everything = [plain, daily, by_day, total]
    first = dg.materialize([plain], instance=instance).run_id
    days = {
        day: dg.materialize(everything, selection=[daily, by_day], partition_key=day, instance=instance).run_id
        for day in ("d1", "d2")
    }
    last = dg.materialize(everything, selection=[total], instance=instance).run_id
    sync(instance, ledger)
    ledger.seal()
    found = rows(
        ledger,
        "SELECT run_id, asset_key, partition, input_asset_key, input_partition, input_run_id FROM lineage",
    )
    assert set(found) == {
        *((days[day], "daily", day, "plain", None, first) for day in days),
        *((days[day], "by_day", day, "daily", day, days[day]) for day in days),
        (last, "total", None, "daily", None, None),
        (last, "total", None, "outside", None, ""),
    }
