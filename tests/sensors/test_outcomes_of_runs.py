"""What becomes of items whose truth is not in one planned event: graphs, partitions, checks beside the plan."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence

import dagster as dg
import pytest
from holding import assert_holds, outcomes, outcomes_by_run, rows, sync

from run_evidence.evidence.facts import read_runs
from run_evidence.evidence.prefix import open_prefix
from run_evidence.ledger import Ledger
from run_evidence.sensors.dagster_log.translate import Correlation, SourceRecord, Translator

DAYS = dg.DailyPartitionsDefinition(start_date="2026-03-04", end_date="2026-03-14")
RANGE = {
    "dagster/asset_partition_range_start": "2026-03-04",
    "dagster/asset_partition_range_end": "2026-03-06",
}


def _run(instance: dg.DagsterInstance, ledger: Ledger, *assets: object, **more: object) -> str:
    run_id = dg.materialize(list(assets), instance=instance, raise_on_error=False, **more).run_id  # type: ignore[arg-type]
    sync(instance, ledger)
    assert_holds(instance, ledger)
    return run_id


def _run_each(instance: dg.DagsterInstance, ledger: Ledger, assets: Iterable[dg.AssetsDefinition]) -> list[str]:
    """Run each asset by itself, capture all runs together, and return their ids."""
    runs = [dg.materialize([asset], instance=instance, raise_on_error=False).run_id for asset in assets]
    sync(instance, ledger)
    assert_holds(instance, ledger)
    return runs


def _graph(behaviour: str) -> dg.AssetsDefinition:
    """Make an asset of three ops, the first of which does as it is asked."""
    tried: list[int] = []

    @dg.op(out=dg.Out(is_required=False), retry_policy=dg.RetryPolicy(max_retries=1))
    def first() -> Iterator[dg.Output[int]]:
        tried.append(1)
        if behaviour == "fails" or (behaviour == "fails once" and len(tried) == 1):
            raise ValueError("no such file")
        if behaviour != "yields nothing":
            yield dg.Output(1)

    @dg.op
    def middle(number: int) -> int:
        return number

    @dg.op
    def last(number: int) -> int:
        return number

    @dg.graph_asset
    def graph() -> int:
        return last(middle(first()))  # type: ignore[no-any-return]

    return graph


@dg.asset(deps=["graph"])
def after() -> None: ...


@pytest.mark.soak
@pytest.mark.parametrize(
    ("behaviour", "graph", "following", "attempts"),
    [
        ("fails", "failed:step_failed", "upstream_failed:upstream_failed", 2),
        ("fails once", "materialized", "materialized", 2),
        ("yields nothing", "skipped:no_output", "upstream_skipped:upstream_skipped", 1),
        ("works", "materialized", "materialized", 1),
    ],
)
def test_an_op_of_a_graph_backed_asset_speaks_for_the_asset(
    instance: dg.DagsterInstance, ledger: Ledger, behaviour: str, graph: str, following: str, attempts: int
) -> None:
    """The asset has the outcome and the attempts of the op in which it was decided."""
    run_id = _run(instance, ledger, _graph(behaviour), after)
    assert outcomes(ledger, run_id) == {"graph": graph, "after": following}
    assert rows(ledger, "SELECT attempts FROM outcomes WHERE asset_key = 'graph'") == [(attempts,)]


@pytest.mark.soak
@pytest.mark.parametrize("evaluated", [(), ("2026-03-05",), ("2026-03-04", "2026-03-05", "2026-03-06"), (None,)])
def test_each_partition_of_a_check_has_its_outcome(
    instance: dg.DagsterInstance, ledger: Ledger, evaluated: tuple[str | None, ...]
) -> None:
    """A check that Dagster planned for three days is passed in those it was evaluated for; without one, in all."""

    @dg.multi_asset(
        specs=[dg.AssetSpec("daily", partitions_def=DAYS, skippable=True)],
        check_specs=[dg.AssetCheckSpec("whole", asset="daily", partitions_def=DAYS)],
        partitions_def=DAYS,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def daily(context: dg.AssetExecutionContext) -> Iterator[dg.AssetMaterialization]:
        key = dg.AssetKey("daily")
        for day in context.partition_keys:
            context.log_event(dg.AssetMaterialization(key, partition=day))
        for partition in evaluated:
            context.log_event(
                dg.AssetCheckEvaluation(asset_key=key, check_name="whole", passed=True, partition=partition)
            )
        yield from ()

    run_id = _run(instance, ledger, daily, tags=RANGE)
    days = ("2026-03-04", "2026-03-05", "2026-03-06")
    passed = set(days) if None in evaluated else set(evaluated)
    expected = {
        f"daily?whole@{day}": "check_passed" if day in passed else "not_evaluated:no_output" for day in days
    }
    assert outcomes(ledger, run_id) == {**expected, **{f"daily@{day}": "materialized" for day in days}}
    assert rows(ledger, "SELECT partition FROM runs") == [("2026-03-04..2026-03-06 (3)",)]


@pytest.mark.parametrize("tags", [{"dagster/partition": "2026-03-04"}, RANGE])
def test_an_asset_without_partitions_has_none_in_a_partitioned_run(
    instance: dg.DagsterInstance, ledger: Ledger, tags: dict[str, str]
) -> None:
    """Dagster plans it in the partition of the run and makes it without one: it is one item, and produced."""

    @dg.asset
    def gate() -> None: ...

    @dg.asset(partitions_def=DAYS, deps=[gate], backfill_policy=dg.BackfillPolicy.single_run())
    def daily() -> None: ...

    @dg.asset_check(asset=gate)
    def sound() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    whole = dg.define_asset_job("whole", "*")
    defs = dg.Definitions(assets=[gate, daily], asset_checks=[sound], jobs=[whole])
    job = defs.resolve_job_def("whole")
    run_id = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags).run_id
    for _ in range(2):
        sync(instance, ledger)
    found = outcomes(ledger, run_id)
    assert found.pop("gate") == "materialized"
    assert set(found.values()) == {"materialized", "check_passed"}
    assert rows(ledger, "SELECT planned - passed, unplanned FROM runs") == [(0, 0)]
    assert rows(ledger, "SELECT count(*) FROM events WHERE event_type = 'plan.committed.v1'") == [(1,)]


def test_two_keys_that_dagster_shows_alike_are_two_items(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A slash inside a part is another key than a slash between parts, in the plan, the record and the outcome."""

    @dg.multi_asset(outs={"out": dg.AssetOut(key=dg.AssetKey(["lake/orders"]))})
    def flat() -> int:
        return 1

    @dg.asset(key=dg.AssetKey(["lake", "orders"]), output_required=False)
    def nested() -> Iterator[dg.Output[int]]:
        yield from ()

    run_id = _run(instance, ledger, flat, nested)
    assert outcomes(ledger, run_id) == {r"lake\/orders": "materialized", "lake/orders": "skipped:no_output"}


def test_a_check_that_no_plan_names_is_an_outcome(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """An asset logs an evaluation itself, as dbt does for tests nobody selected, and a table beside its own."""

    @dg.asset
    def orders(context: dg.AssetExecutionContext) -> None:
        context.log_event(
            dg.AssetCheckEvaluation(asset_key=dg.AssetKey("orders"), check_name="not_null", passed=False)
        )
        context.log_event(dg.AssetMaterialization("orders_log"))

    run_id = _run(instance, ledger, orders)
    assert outcomes(ledger, run_id) == {
        "orders": "materialized",
        "orders?not_null": "check_failed:check_failed",
        "orders_log": "materialized",
    }
    assert rows(ledger, "SELECT planned, unplanned, not_passed FROM runs") == [(1, 2, 1)]


@pytest.mark.soak
def test_an_expectation_that_failed_is_a_failed_check(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """The step succeeds all the same, of an asset and of an op of a graph-backed one; the run is not passed."""

    @dg.asset
    def orders(context: dg.AssetExecutionContext) -> None:
        context.log_event(dg.ExpectationResult(success=False, label="rows", description="no rows"))

    @dg.op
    def fetched():  # type: ignore[no-untyped-def]
        yield dg.ExpectationResult(success=True, label="reached")
        yield dg.ExpectationResult(success=False)
        yield dg.Output(1)

    @dg.graph_asset
    def graph() -> int:
        return fetched()  # type: ignore[no-any-return]

    run_id = _run(instance, ledger, orders, graph)
    assert outcomes(ledger, run_id) == {
        "orders": "materialized",
        "orders?expectation:rows": "check_failed:expectation_failed",
        "graph": "materialized",
        "graph?expectation:reached": "check_passed",
        "graph?expectation:result": "check_failed:expectation_failed",
    }
    assert ("no rows",) in rows(ledger, "SELECT reason FROM outcomes")
    assert _verdict(ledger, run_id) == "failed"


def test_an_expectation_of_an_op_without_assets_is_named(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A job that plans no asset is not judged where all went well, and fails where something did not."""

    @dg.op
    def loads():  # type: ignore[no-untyped-def]
        yield dg.ExpectationResult(success=True, label="rows")
        yield dg.Output(1)

    @dg.op
    def sends():  # type: ignore[no-untyped-def]
        yield dg.ExpectationResult(success=False, label="rows")
        yield dg.Output(1)

    found = {}
    for op in (loads, sends):
        job = dg.JobDefinition(graph_def=dg.GraphDefinition("job", node_defs=[op]))
        run_id = job.execute_in_process(instance=instance).run_id
        sync(instance, ledger)
        found[op.name] = outcomes(ledger, run_id), _verdict(ledger, run_id)
    assert found == {
        "loads": ({"?expectation:loads:rows": "check_passed"}, "unknown"),
        "sends": ({"?expectation:sends:rows": "check_failed:expectation_failed"}, "failed"),
    }


@pytest.mark.parametrize("raises", [False, True])
def test_a_hook_that_raises_warns(instance: dg.DagsterInstance, ledger: Ledger, raises: bool) -> None:
    """Dagster lets the run succeed; what the hook was there for was not done, and the run is not passed."""

    @dg.success_hook
    def announce(_: dg.HookContext) -> None:
        if raises:
            raise ValueError("nobody was told")

    @dg.asset(hooks={announce})
    def orders() -> None: ...

    run_id = _run(instance, ledger, orders)
    raised = {"orders?hook": "check_warned:hook_errored"} if raises else {}
    assert outcomes(ledger, run_id) == {"orders": "materialized", **raised}
    assert _verdict(ledger, run_id) == ("warned" if raises else "passed")
    assert rows(ledger, "SELECT reason FROM outcomes WHERE check_name = 'hook'") == [("nobody was told",)] * raises


def test_the_gravest_evaluation_of_an_attempt_counts(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A check that failed and then passed in one attempt of its step failed, planned or not."""

    def evaluated(words: tuple[bool, ...], planned: bool) -> dg.AssetsDefinition:
        key = dg.AssetKey("orders")

        @dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="orders")] if planned else None)
        def orders(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
            for passed in words[: -1 if planned else None]:
                context.log_event(dg.AssetCheckEvaluation(asset_key=key, check_name="whole", passed=passed))
            results = [dg.AssetCheckResult(passed=words[-1])] if planned else []
            return dg.MaterializeResult(check_results=results)

        return orders

    cases = list(itertools.product([(False, True), (True, False, True), (True, True)], [False, True]))
    runs = _run_each(instance, ledger, itertools.starmap(evaluated, cases))
    found, verdicts = outcomes_by_run(ledger), _verdicts(ledger, runs)
    for (words, planned), run_id in zip(cases, runs, strict=True):
        word, verdict = ("check_passed", "passed") if all(words) else ("check_failed:check_failed", "failed")
        assert (found[run_id]["orders?whole"], verdicts[run_id]) == (word, verdict), (words, planned)


@pytest.mark.parametrize("yields", [[True, False], [False, True], [True, True]])
def test_what_only_a_failed_attempt_made_is_not_passed(
    instance: dg.DagsterInstance, ledger: Ledger, yields: list[bool]
) -> None:
    """The attempt that ends a step decides: what it did not yield or evaluate, an earlier one did not either."""
    tried: list[bool] = []

    @dg.asset(
        output_required=False,
        retry_policy=dg.RetryPolicy(max_retries=1),
        check_specs=[dg.AssetCheckSpec("whole", asset="orders")],
    )
    def orders() -> Iterator[dg.Output[int] | dg.AssetCheckResult]:
        tried.append(True)
        if yields[len(tried) - 1]:
            yield dg.Output(1)
        yield dg.AssetCheckResult(passed=True)
        if len(tried) == 1:
            raise ValueError("once more")

    run_id = _run(instance, ledger, orders)
    word = "materialized" if yields[1] else "materialized_with_warning:only_in_earlier_attempt"
    assert outcomes(ledger, run_id) == {"orders": word, "orders?whole": "check_passed"}
    assert (_verdict(ledger, run_id) == "passed") == yields[1]


@pytest.mark.parametrize("left_out", ["", "b", "abc"])
def test_a_mapped_op_that_yields_nothing_is_not_passed(
    instance: dg.DagsterInstance, ledger: Ledger, left_out: str
) -> None:
    """Dagster collects what the others yielded and makes the asset of it; the ledger says what is not in it."""

    @dg.op(out=dg.DynamicOut(str))
    def split() -> Iterator[dg.DynamicOutput[str]]:
        for key in "abc" if left_out != "abc" else "":
            yield dg.DynamicOutput(key, mapping_key=key)

    @dg.op(out=dg.Out(str, is_required=False))
    def each(part: str) -> Iterator[dg.Output[str]]:
        if part not in left_out:
            yield dg.Output(part)

    @dg.op
    def joined(parts: list[str]) -> str:
        return "".join(parts)

    @dg.graph_asset
    def graph() -> str:
        return joined(split().map(each).collect())  # type: ignore[no-any-return]

    run_id = _run(instance, ledger, graph)
    word = "materialized_with_warning:no_output" if left_out == "b" else "materialized"
    assert outcomes(ledger, run_id) == {"graph": word}
    named = [("step graph.each[b], which is part of it, yielded nothing",)] if left_out == "b" else [(None,)]
    assert rows(ledger, "SELECT reason FROM outcomes") == named


def test_of_two_branches_one_is_taken(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """An op that yields one of two optional outputs has chosen: what it did not choose is not missing."""

    @dg.op(out={"left": dg.Out(is_required=False), "right": dg.Out(is_required=False)})
    def choose() -> Iterator[dg.Output[int]]:
        yield dg.Output(1, "left")

    @dg.op
    def walk(number: int) -> int:
        return number

    @dg.op
    def arrive(numbers: list[int]) -> int:
        return len(numbers)

    @dg.graph_asset
    def graph() -> int:
        left, right = choose()
        return arrive([walk(left), walk.alias("walk_right")(right)])  # type: ignore[no-any-return]

    run_id = _run(instance, ledger, graph)
    assert outcomes(ledger, run_id) == {"graph": "materialized"}


STATED: Sequence[tuple[object, str]] = (
    (False, "failed:status_false"),
    (True, "materialized"),
    (dg.MetadataValue.md("*failed*"), "failed:status_failed"),
    (["ok", "skipped"], "skipped:status_skipped"),
    ({"orders": {"state": "failed"}}, "failed:status_failed"),
    (dg.MetadataValue.json(None), "unknown:status_empty"),
    (float("nan"), "unknown:status_empty"),
    (dg.MetadataValue.path("failed"), "failed:status_failed"),
    (200, "materialized"),
    ({"failed": 0}, "materialized"),
)


def test_an_asset_may_state_its_status_as_any_kind_of_metadata(
    instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    """A word that says failed says so in whatever Dagster makes of it; a number has no word."""

    def stating(number: int, status: object) -> dg.AssetsDefinition:
        @dg.asset(name=f"orders_{number}")
        def orders() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(metadata={"status": status})

        return orders

    run_id = _run(instance, ledger, *(stating(number, status) for number, (status, _) in enumerate(STATED)))
    assert outcomes(ledger, run_id) == {f"orders_{number}": word for number, (_, word) in enumerate(STATED)}


def test_an_inner_op_of_a_graph_speaks_with_its_output(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """What it states as its status, no asset event has; the asset's outcome has it all the same."""

    @dg.op
    def fetched():  # type: ignore[no-untyped-def]
        yield dg.Output(1, metadata={"status": "failed"})

    @dg.op
    def joined(number: int) -> int:
        return number

    @dg.graph_asset
    def graph() -> int:
        return joined(fetched())  # type: ignore[no-any-return]

    assert outcomes(ledger, _run(instance, ledger, graph)) == {"graph": "failed:status_failed"}


def _verdict(ledger: Ledger, run_id: str) -> str:
    return _verdicts(ledger, [run_id])[run_id]


def _verdicts(ledger: Ledger, run_ids: list[str]) -> dict[str, str]:
    with open_prefix(ledger) as prefix:
        return {run.row.run_id: run.verdict.verdict for run in read_runs(prefix, run_ids)}


LOGGED: Sequence[tuple[type, str | None, str]] = (
    (dg.AssetMaterialization, "failed", "failed"),
    (dg.AssetMaterialization, "not_evaluated", "not_evaluated"),
    (dg.AssetMaterialization, "unknown", "unknown"),
    (dg.AssetMaterialization, None, "unknown"),
    (dg.AssetObservation, "skipped", "skipped"),
    (dg.AssetObservation, "active", "materialized"),
)


def test_what_an_asset_logs_of_itself_weighs_beside_the_materialization_of_dagster(
    instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    """The worst word of the last attempt counts, whatever Dagster adds to it; a retry that is sound replaces it."""

    def logging(event: type, status: str | None, retried: bool) -> dg.AssetsDefinition:
        @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
        def orders(context: dg.AssetExecutionContext) -> None:
            if not context.retry_number:
                context.log_event(event("orders", metadata={"status": status}))
                if retried:
                    raise ValueError("once more")

        return orders

    cases = [(*logged, retried) for logged in LOGGED for retried in (False, True)]
    runs = _run_each(instance, ledger, (logging(event, status, retried) for event, status, _, retried in cases))
    found, verdicts = outcomes_by_run(ledger), _verdicts(ledger, runs)
    for case, run_id in zip(cases, runs, strict=True):
        *_, word, retried = case
        assert found[run_id]["orders"].split(":")[0] == ("materialized" if retried else word), case
        assert (verdicts[run_id] == "passed") == (retried or word == "materialized"), case


@pytest.mark.parametrize("change", ["wiped", "reported"])
def test_what_happens_to_an_asset_outside_any_run_is_its_state(
    instance: dg.DagsterInstance, ledger: Ledger, change: str
) -> None:
    """A wipe and a report are captured with the runless records and change the latest state."""

    @dg.asset
    def orders() -> None: ...

    _run(instance, ledger, orders)
    if change == "wiped":
        instance.wipe_assets([dg.AssetKey("orders")])
    else:
        instance.report_runless_asset_event(dg.AssetMaterialization("orders"))
    sync(instance, ledger)
    verdict = {"wiped": "not_available", "reported": "passed"}[change]
    assert rows(ledger, "SELECT outcome, verdict FROM assets") == [(change, verdict)]


DBT_MESSAGE = """dagster_dbt.errors.DagsterDbtCliRuntimeError: The dbt CLI process with command

`dbt build --select fqn:*`

failed with exit code `1`. Check the stdout in the Dagster compute logs for the full information about the error.

Errors parsed from dbt logs:

5 of 7 ERROR creating sql view model main.bad .................................. [\x1b[31mERROR\x1b[0m in 0.04s]

\x1b[31mFailure in model bad (models/bad.sql)\x1b[0m

  Runtime Error in model bad (models/bad.sql)
  Binder Error: Referenced column "nope" not found in FROM clause!

\x1b[31mFailure in test not_null_id (models/schema.yml)\x1b[0m

  Got 1 result, configured to fail if != 0
"""


@pytest.mark.parametrize(
    ("class_name", "names"), [("DagsterDbtCliRuntimeError", ["bad", "not_null_id"]), ("ValueError", None)]
)
def test_a_failed_dbt_command_is_recorded_with_what_dbt_names(class_name: str, names: list[str] | None) -> None:
    """The models and tests that went wrong stand in dbt's own lines, however much of the message is kept."""
    error = {"cls_name": class_name, "message": DBT_MESSAGE + "x" * 3_000, "cause": None}
    entry = {
        "timestamp": 1.0,
        "dagster_event": {
            "event_type_value": "STEP_FAILURE",
            "step_key": "dbt",
            "event_specific_data": {"error": error},
        },
    }
    event = Translator("store", "run", Correlation()).translate(SourceRecord(1, json.dumps(entry)))
    assert event is not None
    recorded = event.data["error"]
    assert isinstance(recorded, dict)
    assert recorded.get("names") == names
    assert len(str(recorded["message"])) == 2_000
