"""A declared skip never counts as passed, in whatever form the asset is written, and never fails the run."""

import asyncio
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from holding import assert_holds, outcomes, outcomes_by_run, rows, sync

from run_evidence.ledger import Ledger, UsageError
from run_evidence.sensors import skip

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

WHY = {"reason_code": "not_wanted", "text": "nothing was asked for"}
DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")


def returned(**asset: Any) -> dg.AssetsDefinition:
    @dg.asset(name="a", **asset)
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        return skip(context, **WHY)

    return made


def dropped(**asset: Any) -> dg.AssetsDefinition:
    @dg.asset(name="a", **asset)
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        skip(context, **WHY)

    return made


def dropped_before_a_value(**asset: Any) -> dg.AssetsDefinition:
    @dg.asset(name="a", **asset)
    def made(context: dg.AssetExecutionContext) -> int:
        skip(context, **WHY)
        return 1

    return made


def yielded(**asset: Any) -> dg.AssetsDefinition:
    @dg.asset(name="a", **asset)
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        yield from skip(context, **WHY)

    return made


def dropped_in_a_generator() -> dg.AssetsDefinition:
    @dg.asset(name="a", output_required=False)
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        skip(context, **WHY)
        yield from ()

    return made


def annotated(kind: Any, **asset: Any) -> dg.AssetsDefinition:
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        return skip(context, **WHY)

    made.__annotations__["return"] = kind
    return dg.asset(name="a", **asset)(made)


def awaited(**asset: Any) -> dg.AssetsDefinition:
    @dg.asset(name="a", **asset)
    async def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)
        return skip(context, **WHY)

    return made


def graph(form: str, required: bool) -> dg.AssetsDefinition:
    """Make a graph asset whose first op leaves it out."""

    @dg.op(out=dg.Out(is_required=required))
    def fetch(context: dg.OpExecutionContext):  # type: ignore[no-untyped-def]
        left_out = skip(context, **WHY)
        return left_out if form == "returned" else None

    @dg.op
    def store(found):  # type: ignore[no-untyped-def]
        return found

    @dg.graph_asset(name="a")
    def made():  # type: ignore[no-untyped-def]
        return store(fetch())

    return made


def multi(required: bool) -> dg.AssetsDefinition:
    """Make a multi-asset that leaves one of its assets out and makes the other."""

    @dg.multi_asset(specs=[dg.AssetSpec("a", skippable=not required), dg.AssetSpec("other")])
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        yield from skip(context, asset_key="a", **WHY)
        yield dg.MaterializeResult(asset_key="other")

    return made


def multi_returned() -> dg.AssetsDefinition:
    @dg.multi_asset(specs=[dg.AssetSpec("a", skippable=True)])
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        return skip(context, **WHY)

    return made


OPTIONAL = {"output_required": False}
FORMS: dict[str, Callable[[], dg.AssetsDefinition]] = {
    "returned": lambda: returned(**OPTIONAL),
    "returned, required": returned,
    "dropped": lambda: dropped(**OPTIONAL),
    "dropped, required": dropped,
    "dropped before a value": lambda: dropped_before_a_value(**OPTIONAL),
    "dropped before a value, required": dropped_before_a_value,
    "yielded": lambda: yielded(**OPTIONAL),
    "yielded, required": yielded,
    "dropped in a generator": dropped_in_a_generator,
    "annotated with a result": lambda: annotated(dg.MaterializeResult, **OPTIONAL),
    "annotated with a result, required": lambda: annotated(dg.MaterializeResult),
    "annotated with a number": lambda: annotated(int, **OPTIONAL),
    "annotated with nothing": lambda: annotated(None),
    "awaited": lambda: awaited(**OPTIONAL),
    "awaited, required": awaited,
    "graph, returned": lambda: graph("returned", required=False),
    "graph, returned, required": lambda: graph("returned", required=True),
    "graph, dropped": lambda: graph("dropped", required=False),
    "graph, dropped, required": lambda: graph("dropped", required=True),
    "one of two": lambda: multi(required=False),
    "one of two, required": lambda: multi(required=True),
    "multi-asset, returned": multi_returned,
}


@pytest.mark.soak
def test_a_skip_is_skipped_in_every_form(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """The run succeeds, the outcome is the declared one, and what Dagster recorded all the same is reported."""
    runs = {form: dg.materialize([make()], instance=instance).run_id for form, make in FORMS.items()}
    sync(instance, ledger)
    assert_holds(instance, ledger)
    found = outcomes_by_run(ledger)
    reasons = dict(rows(ledger, "SELECT run_id, reason FROM outcomes WHERE asset_key = 'a'"))
    recorded = {run_id for (run_id,) in rows(ledger, "SELECT run_id FROM materializations WHERE asset_key = 'a'")}
    for form, run_id in runs.items():
        assert found[run_id].pop("a") == "skipped:not_wanted", form
        assert set(found[run_id].values()) <= {"materialized"}, form
        made = run_id in recorded
        assert reasons[run_id].startswith(WHY["text"]), form
        assert ("recorded all the same" in reasons[run_id]) == made, form
        if "dropped" not in form:
            assert made == ("required" in form or form == "annotated with nothing"), form


def test_a_required_output_says_in_dagster_what_it_is(instance: dg.DagsterInstance) -> None:
    """Where Dagster has to record something, its metadata says that it was left out."""
    run = dg.materialize([returned()], instance=instance)
    (made,) = run.asset_materializations_for_node("a")
    assert {label: made.metadata[label].value for label in ("status", "reason_codes")} == {
        "status": "skipped",
        "reason_codes": ["not_wanted"],
    }


@pytest.mark.parametrize("then", ["made", "skipped again"])
def test_the_last_attempt_counts(instance: dg.DagsterInstance, ledger: Ledger, then: str) -> None:
    """What a later attempt makes is made; what it leaves out is left out."""

    @dg.asset(name="a", retry_policy=dg.RetryPolicy(max_retries=1))
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        left_out = skip(context, **WHY)
        if context.retry_number == 0:
            raise dg.RetryRequested(max_retries=1)
        return left_out if then == "skipped again" else None

    @dg.asset(name="a")
    def fine(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        if context.retry_number == 0:
            skip(context, **WHY)
            raise dg.RetryRequested(max_retries=1)

    run = dg.materialize([fine if then == "made" else made], instance=instance)
    sync(instance, ledger)
    assert outcomes(ledger, run.run_id) == {"a": "materialized" if then == "made" else "skipped:not_wanted"}


def test_what_was_made_before_a_later_attempt_left_it_out_does_not_count(
    instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    """The declaration of the last attempt is the last word about the asset."""

    @dg.asset(name="a", output_required=False)
    def made(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        if context.retry_number == 0:
            context.log_event(dg.AssetMaterialization("a"))
            raise dg.RetryRequested(max_retries=1)
        return skip(context, **WHY)

    run = dg.materialize([made], instance=instance)
    sync(instance, ledger)
    assert outcomes(ledger, run.run_id) == {"a": "skipped:not_wanted"}


def test_a_skip_in_a_partition_is_of_that_partition(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Other runs of other partitions are not touched by it."""
    asset = dropped(partitions_def=DAILY)
    run = dg.materialize([asset], instance=instance, partition_key="2026-01-03")
    sync(instance, ledger)
    assert outcomes(ledger, run.run_id) == {"a@2026-01-03": "skipped:not_wanted"}


@pytest.mark.parametrize("named", [None, "2026-01-06"])
def test_a_run_of_many_partitions_names_the_one_or_means_all(
    instance: dg.DagsterInstance, ledger: Ledger, named: str | None
) -> None:
    """A skip that names no partition speaks for all of them; one that does leaves the others as they are."""

    @dg.asset(name="a", partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    def ranged(context: dg.AssetExecutionContext) -> None:
        skip(context, partition_key=named, **WHY)

    days = [f"2026-01-{day:02}" for day in range(5, 8)]
    tags = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
    run = dg.materialize([ranged], instance=instance, tags=tags)
    sync(instance, ledger)
    assert outcomes(ledger, run.run_id) == {
        f"a@{day}": "skipped:not_wanted" if named in {None, day} else "materialized" for day in days
    }


def test_an_op_leaves_out_the_asset_it_names(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """An op of no asset's has to say what it leaves out; then it is recorded, and the job goes on."""

    @dg.op
    def working(context: dg.OpExecutionContext):  # type: ignore[no-untyped-def]
        with pytest.raises(UsageError, match="no assets"):
            skip(context, **WHY)
        return skip(context, asset_key=["lake", "orders"], **WHY)

    @dg.job
    def a_job() -> None:
        working()

    assert a_job.execute_in_process(instance=instance).success
    sync(instance, ledger)
    assert rows(ledger, "SELECT asset_key, outcome FROM skips") == [("lake/orders", "skipped")]


def test_a_function_that_skips_can_be_called_by_a_test_of_the_users() -> None:
    """Called directly there is no run to declare anything in, and nothing fails."""
    assert list(returned(**OPTIONAL)(dg.build_asset_context())) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"reason_code": ""}, "is not a reason code"), ({"outcome": "passed"}, "no way to skip")],
)
def test_a_skip_without_a_reason_is_refused(wrong: dict[str, Any], words: str) -> None:
    """The step fails with our words, at the first time it runs."""
    with pytest.raises(UsageError, match=words):
        skip(dg.build_asset_context(), **{**WHY, **wrong})
