"""The gate as a blocking asset check, in real runs: what is downstream runs only behind a delivery that is fit.

No annotations are postponed here: Dagster reads the ones on asset functions when it builds them.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.delivery import WEEK06
from run_evidence.ledger import Ledger, UsageError
from run_evidence.sensors import gate_check
from run_evidence.sensors.capture.capture import CaptureContext, capture_run

DAY, OTHER = "2026-04-17", "2026-04-18"
DAILY = dg.DailyPartitionsDefinition("2026-04-01")
ORDERS = dg.AssetKey(["shop", "orders"])


@dg.asset(key=ORDERS, partitions_def=DAILY)
def orders() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset(key=ORDERS, partitions_def=DAILY)
def broken_orders() -> None:
    raise ValueError("no orders")


@dg.asset(key=["finance", "books"], deps=[ORDERS], partitions_def=DAILY)
def books() -> None: ...


class World:
    """A Dagster instance, and a ledger that has what was delivered in it."""

    def __init__(self, home: Path) -> None:
        self.instance = dg.DagsterInstance.ephemeral(str(home / "dagster"))
        self.ledger = Ledger(home / "ledger")

    def deliver(self, asset: dg.AssetsDefinition, partition: str = DAY, *, closed: bool = True) -> str:
        """Materialize the product, and capture the run."""
        run = dg.materialize([asset], instance=self.instance, partition_key=partition, raise_on_error=False)
        how = CaptureContext(self.ledger, grace_seconds=0 if closed else 3600)
        capture_run(self.instance, run.run_id, how)
        return run.run_id

    def build(self, day: str = DAY, upstream: Any = None, **more: Any) -> dg.ExecuteInProcessResult:
        """Run the consumer's job: the gate's check and what is downstream of it."""
        check = gate_check(ORDERS, ledger=self.ledger.root, **more)
        defs = dg.Definitions(
            assets=[upstream or dg.AssetSpec(ORDERS, partitions_def=DAILY), books],
            asset_checks=[check],
            jobs=[
                dg.define_asset_job(
                    "consume",
                    dg.AssetSelection.assets(books) | dg.AssetSelection.checks(check),
                    partitions_def=DAILY,
                )
            ],
        )
        job = defs.resolve_job_def("consume")
        return job.execute_in_process(instance=self.instance, partition_key=day, raise_on_error=False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "dagster").mkdir()
    return World(tmp_path)


def ran(result: dg.ExecuteInProcessResult) -> bool:
    """Tell whether what is downstream was made."""
    return bool(result.asset_materializations_for_node("finance__books")) if result.success else False


def evaluation(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = result.get_asset_check_evaluations()
    return found


@pytest.mark.parametrize("upstream", [None, orders], ids=["external", "of the same project"])
def test_behind_a_fit_delivery_what_is_downstream_runs(world: World, upstream: Any) -> None:
    """The check says by which rules."""
    world.deliver(orders)
    result = world.build(upstream=upstream)
    assert ran(result)
    found = evaluation(result)
    assert found.passed
    assert (found.description or "").startswith("MET: shop/orders [2026-04-17]")
    assert found.metadata["decision"].value == "met: proceed"


@pytest.mark.soak
def test_behind_any_other_it_does_not(world: World) -> None:
    """Nothing delivered, a failed run, another partition's delivery, a run that is not closed."""
    world.ledger.create()
    blocked = [world.build()]
    world.deliver(broken_orders)
    blocked.append(world.build())
    world.deliver(orders)
    assert ran(world.build())
    blocked.append(world.build(OTHER))
    world.deliver(orders, closed=False)
    blocked.append(world.build())
    for result in blocked:
        assert not result.success
        assert not ran(result)
        assert not evaluation(result).passed
        assert "finance__books" not in {e.step_key for e in result.all_events if e.event_type_value == "STEP_START"}


def test_another_partition_can_be_asked_for(world: World) -> None:
    """Yesterday's, where today's run builds on it."""
    world.deliver(orders)
    assert ran(world.build(OTHER, partition=DAY))


def test_where_the_gate_cannot_be_asked_nothing_runs(world: World, tmp_path: Path) -> None:
    """A policy with a typo, a policy that is not there: never a gate that asks for less."""
    world.deliver(orders)
    policy = tmp_path / "policy.toml"
    policy.write_text('off = ["newst"]')
    for path in (policy, tmp_path / "nowhere.toml"):
        result = world.build(policy=path)
        assert not result.success
        assert not ran(result)
        assert result.get_asset_check_evaluations() == []


def test_a_policy_is_read_anew_each_time(world: World, tmp_path: Path) -> None:
    world.deliver(orders)
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    assert ran(world.build(policy=policy))
    policy.write_text('trust = "witness w example.com/w+00000000+AA==\\nquorum w"')
    assert not ran(world.build(policy=policy))


def test_a_profile_of_another_product_is_refused_when_it_is_declared() -> None:
    with pytest.raises(UsageError, match="delivers week06"):
        gate_check(ORDERS, profile=WEEK06)


def test_an_asset_is_named_in_any_of_dagsters_ways() -> None:
    """By key, text, path, spec or definition."""
    for asset in (ORDERS, "shop/orders", ["shop", "orders"], dg.AssetSpec(ORDERS), orders):
        (spec,) = gate_check(asset).check_specs
        assert spec.asset_key == ORDERS
