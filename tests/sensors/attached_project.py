"""A small project as a user has it, with the one line that attaches the ledger. The daemon tests load it."""

import os

import dagster as dg

from run_evidence.sensors import OptionalDependency, with_ledger

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11")


@dg.asset
def orders() -> None: ...


@dg.asset(deps=[orders], automation_condition=dg.AutomationCondition.eager())
def totals() -> None: ...


@dg.asset_check(asset=orders)
def orders_are_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset
def broken() -> None:
    raise ValueError("broken")


@dg.asset(partitions_def=DAYS)
def daily() -> None: ...


@dg.op
def work() -> None: ...


@dg.job
def op_job() -> None:
    work()


def project() -> dg.Definitions:
    """Build what the user had before."""
    return dg.Definitions(
        assets=[orders, totals, broken, daily],
        asset_checks=[orders_are_there],
        jobs=[
            op_job,
            dg.define_asset_job("orders_job", selection=dg.AssetSelection.assets("orders")),
            dg.define_asset_job("broken_job", selection=["broken"]),
            dg.define_asset_job("daily_job", selection=["daily"]),
        ],
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "automation",
                target=dg.AssetSelection.assets("totals"),
                default_status=dg.DefaultSensorStatus.RUNNING,
                minimum_interval_seconds=1,
            )
        ],
        executor=dg.in_process_executor,
    )


defs = with_ledger(
    project(),
    optional=[OptionalDependency("lake/house", "lakehouse_not_there", "there is none here")],
    hook=os.environ.get("ATTACH") == "hook",
    status_sensors=os.environ.get("ATTACH") != "hook",
    hook_timeout_seconds=600,
    grace_seconds=2,
    tick_seconds=1,
)
