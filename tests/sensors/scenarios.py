"""What can happen to a run: each scenario plays on a real, persistent instance and says what must come of it.

A scenario returns {run_id: {item: outcome}}, an item being `asset`, `asset@partition` or `asset?check`, an
outcome `outcome` or `outcome:reason_code`.
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from run_evidence.sensors import skip

Expected = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Stage:
    """Where a scenario plays: an instance, and a folder for its own files."""

    instance: dg.DagsterInstance
    folder: Path

    def materialize(self, assets: Sequence[Any], **options: Any) -> str:
        """Run assets and checks in this process and return the run's id."""
        return dg.materialize(assets, instance=self.instance, raise_on_error=False, **options).run_id

    def job(self, assets: Sequence[Any], **options: Any) -> str:
        """Run all of these as a job, which observable sources need."""
        keys = [key for each in assets if not isinstance(each, dg.AssetChecksDefinition) for key in _keys(each)]
        job = dg.define_asset_job("everything", selection=dg.AssetSelection.assets(*keys))
        defs = dg.Definitions(assets=assets, jobs=[job])
        resolved = defs.resolve_job_def("everything")
        return resolved.execute_in_process(instance=self.instance, raise_on_error=False, **options).run_id


def _keys(asset: Any) -> list[dg.AssetKey]:
    return list(asset.keys) if isinstance(asset, dg.AssetsDefinition) else [asset.key]


@dataclass(frozen=True)
class Scenario:
    """One of them; `stores` are the kinds of storage it must play on."""

    name: str
    play: Callable[[Stage], Expected]
    stores: tuple[str, ...]


SCENARIOS: dict[str, Scenario] = {}

EVERYWHERE = ("sqlite", "postgres")


def scenario(*stores: str) -> Callable[[Callable[[Stage], Expected]], Callable[[Stage], Expected]]:
    """Add a function to `SCENARIOS` under its name."""

    def register(play: Callable[[Stage], Expected]) -> Callable[[Stage], Expected]:
        SCENARIOS[play.__name__] = Scenario(play.__name__, play, stores or ("sqlite",))
        return play

    return register


@dg.asset
def first(context: dg.AssetExecutionContext) -> None:
    context.log.info("one log line")


@dg.asset(deps=[first])
def second() -> None: ...


@dg.asset(deps=[second])
def third() -> None: ...


@scenario(*EVERYWHERE)
def success(stage: Stage) -> Expected:
    """Play two assets, both materialized."""
    return {stage.materialize([first, second]): {"first": "materialized", "second": "materialized"}}


@scenario()
def result_with_metadata_and_versions(stage: Stage) -> Expected:
    """Play a result that carries metadata and a data version, of an asset with a code version."""

    @dg.asset(code_version="7", key=["schema", "table"])
    def versioned() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": 3}, data_version=dg.DataVersion("abc"), tags={"kind": "test"})

    return {stage.materialize([versioned]): {"schema/table": "materialized"}}


@scenario()
def logged_observation(stage: Stage) -> Expected:
    """Play an asset that also logs observations, of itself and of another: neither is planned, both are records."""

    @dg.asset
    def observing(context: dg.AssetExecutionContext) -> None:
        context.log_event(dg.AssetObservation("observing", metadata={"seen": 1}))
        context.log_event(dg.AssetObservation("elsewhere", partition="p"))

    return {stage.materialize([observing]): {"observing": "materialized"}}


@scenario()
def observable_source_job(stage: Stage) -> Expected:
    """Play a job that only observes: its planned materialization is no broken promise."""

    @dg.observable_source_asset
    def source() -> dg.DataVersion:
        return dg.DataVersion("1")

    @dg.observable_source_asset
    def unreachable() -> dg.DataVersion:
        raise ValueError("no such place")

    return {
        stage.job([source]): {"source": "observed"},
        stage.job([unreachable]): {"unreachable": "failed:step_failed"},
    }


@scenario()
def optional_output_not_yielded(stage: Stage) -> Expected:
    """Play an optional output that is not yielded leaves no event; what needs it is skipped, two deep."""

    @dg.asset(output_required=False, name="first")
    def quiet():  # type: ignore[no-untyped-def]
        if stage.folder.name == "never":
            yield dg.Output(1)

    return {
        stage.materialize([quiet, second, third]): {
            "first": "skipped:no_output",
            "second": "upstream_skipped:upstream_skipped",
            "third": "upstream_skipped:upstream_skipped",
        }
    }


@scenario()
def declared_skip(stage: Stage) -> Expected:
    """Play an asset that says why it leaves itself out; the reason is its own."""

    @dg.asset(output_required=False, name="first")
    def dry(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        skip(context, reason_code="dry_run", text="nothing is written in a dry run")
        if stage.folder.name == "never":
            yield dg.Output(1)

    @dg.asset(output_required=False)
    def wanted(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        skip(context, reason_code="mart_not_there", text="no mart", outcome="not_available")
        if stage.folder.name == "never":
            yield dg.Output(1)

    return {
        stage.materialize([dry, wanted, second]): {
            "first": "skipped:dry_run",
            "wanted": "not_available:mart_not_there",
            "second": "upstream_skipped:upstream_skipped",
        }
    }


@scenario()
def upstream_failure(stage: Stage) -> Expected:
    """Play a failure, and what waits for it two deep; what does not wait for it is materialized."""

    @dg.asset(name="first")
    def broken() -> None:
        raise ValueError("broken")

    @dg.asset
    def aside() -> None: ...

    return {
        stage.materialize([broken, second, third, aside]): {
            "first": "failed:step_failed",
            "second": "upstream_failed:upstream_failed",
            "third": "upstream_failed:upstream_failed",
            "aside": "materialized",
        }
    }


@scenario()
def failure_with_metadata(stage: Stage) -> Expected:
    """Play `dg.Failure` with a description and metadata, which the record keeps."""

    @dg.asset
    def refusing() -> None:
        raise dg.Failure("bad input", metadata={"path": dg.MetadataValue.path("/in/tickets")}, allow_retries=False)

    return {stage.materialize([refusing]): {"refusing": "failed:step_failed"}}


@scenario(*EVERYWHERE)
def retries(stage: Stage) -> Expected:
    """Play one that succeeds at the second attempt, one that gives up after the third."""
    tried: list[int] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0))
    def recovering() -> None:
        tried.append(1)
        if len(tried) < 2:
            raise ValueError("not yet")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0))
    def hopeless() -> None:
        raise ValueError("never")

    return {
        stage.materialize([recovering, hopeless]): {"recovering": "materialized", "hopeless": "failed:step_failed"}
    }


@dg.asset_check(asset=first)
def good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"rows": 1})


@dg.asset_check(asset=first)
def bad() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="too few rows")


@dg.asset_check(asset=first)
def doubtful() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=first)
def crashing() -> dg.AssetCheckResult:
    raise ValueError("the check is broken")


@scenario()
def checks(stage: Stage) -> Expected:
    """Play a check that passed, one that failed, one that warned, one that crashed: four different things."""
    return {
        stage.materialize([first, second, good, bad, doubtful, crashing]): {
            "first": "materialized",
            "second": "materialized",
            "first?good": "check_passed",
            "first?bad": "check_failed:check_failed",
            "first?doubtful": "check_warned:check_warned",
            "first?crashing": "not_evaluated:check_crashed",
        }
    }


@scenario()
def blocking_check(stage: Stage) -> Expected:
    """Play a blocking check that fails holds up what comes after its asset."""

    @dg.asset_check(asset=first, blocking=True)
    def gate() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    return {
        stage.materialize([first, second, gate]): {
            "first": "materialized",
            "first?gate": "check_failed:check_failed",
            "second": "upstream_failed:upstream_failed",
        }
    }


@scenario()
def check_not_reached(stage: Stage) -> Expected:
    """Play a check of an asset that failed was planned and is not evaluated; it is never passed."""

    @dg.asset(name="first")
    def broken() -> None:
        raise ValueError("broken")

    return {
        stage.materialize([broken, good]): {
            "first": "failed:step_failed",
            "first?good": "not_evaluated:upstream_failed",
        }
    }


@scenario()
def checks_within_the_step(stage: Stage) -> Expected:
    """Play checks that the asset evaluates itself: one given, one left out; what was written stays written."""

    @dg.asset(
        check_specs=[dg.AssetCheckSpec("given", asset="own"), dg.AssetCheckSpec("left_out", asset="own")],
    )
    def own():  # type: ignore[no-untyped-def]
        yield dg.AssetCheckResult(check_name="given", passed=True)
        yield dg.Output(None)

    return {
        stage.materialize([own]): {
            "own": "materialized",
            "own?given": "check_passed",
            "own?left_out": "not_evaluated:check_crashed",
        }
    }


@scenario()
def failed_before_the_first_step(stage: Stage) -> Expected:
    """Play a resource that cannot be made fails the run before anything starts."""

    @dg.resource
    def unreachable(_: dg.InitResourceContext) -> None:
        raise ConnectionError("no route to host")

    @dg.asset(required_resource_keys={"db"})
    def needing() -> None: ...

    return {
        stage.materialize([needing, first], resources={"db": unreachable}): {
            "needing": "not_started:run_failed_before_step",
            "first": "not_started:run_failed_before_step",
        }
    }


@scenario()
def multi_asset_subset(stage: Stage) -> Expected:
    """Of three assets of one step, two are selected and one of these is not yielded."""

    @dg.multi_asset(specs=[dg.AssetSpec(name, skippable=True) for name in ("a", "b", "c")], can_subset=True)
    def several(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        yield dg.MaterializeResult(asset_key="a")

    return {stage.materialize([several], selection=["a", "b"]): {"a": "materialized", "b": "skipped:no_output"}}


DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-03-01")

PARTITIONED_CHECKS = "partitions_def" in inspect.signature(dg.AssetCheckSpec.__new__).parameters
"""Whether Dagster plans a check for each partition, as it does from 1.13 on."""


@scenario()
def partition_range_in_one_run(stage: Stage) -> Expected:
    """Play a single-run backfill: each partition is an item, and the one left out is not materialized."""

    @dg.asset(partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    def ranged(context: dg.AssetExecutionContext) -> None: ...

    @dg.asset(partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run(), output_required=False)
    def partly(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        for key in context.partition_keys[:2]:
            context.log_event(dg.AssetMaterialization("partly", partition=key))
        if stage.folder.name == "never":
            yield dg.Output(None)

    @dg.asset_check(asset=ranged)
    def whole() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    days = ("2026-01-02", "2026-01-03", "2026-01-04")
    checked = [f"ranged?whole@{day}" for day in days] if PARTITIONED_CHECKS else ["ranged?whole"]
    tags = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
    return {
        stage.job([ranged, partly, whole], tags=tags): {
            **{f"ranged@{day}": "materialized" for day in days},
            **{f"partly@{day}": "materialized" for day in days[:2]},
            f"partly@{days[2]}": "skipped:no_output",
            **dict.fromkeys(checked, "check_passed"),
        }
    }


@scenario()
def backfill_of_ten_partitions(stage: Stage) -> Expected:
    """Play the ten runs of a backfill, one of which fails: each is judged by its own partition."""

    @dg.asset(partitions_def=DAILY)
    def daily(context: dg.AssetExecutionContext) -> None:
        if context.partition_key == "2026-01-07":
            raise ValueError("a bad day")

    days = [f"2026-01-{day:02}" for day in range(1, 11)]
    runs = {
        day: stage.materialize([daily], partition_key=day, tags={"dagster/backfill": "tenfold"}) for day in days
    }
    told = {"2026-01-07": "failed:step_failed"}
    return {run_id: {f"daily@{day}": told.get(day, "materialized")} for day, run_id in runs.items()}


def partitioned_check(stage: Stage) -> Expected:
    """Play a check that is partitioned like its asset is an item of its partition."""

    @dg.asset(partitions_def=DAILY)
    def daily() -> None: ...

    @dg.asset_check(asset=daily, partitions_def=DAILY)
    def fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return {
        stage.materialize([daily, fresh], partition_key="2026-01-05"): {
            "daily@2026-01-05": "materialized",
            "daily?fresh@2026-01-05": "check_passed",
        }
    }


if "partitions_def" in inspect.signature(dg.asset_check).parameters:  # Dagster 1.12.0 has no such checks
    scenario()(partitioned_check)


@scenario()
def dynamic_and_multi_partitions(stage: Stage) -> Expected:
    """Play partitions that are made at run time, and partitions of two dimensions."""
    by_customer = dg.DynamicPartitionsDefinition(name="customers")
    by_both = dg.MultiPartitionsDefinition({"day": DAILY, "region": dg.StaticPartitionsDefinition(["eu", "us"])})
    stage.instance.add_dynamic_partitions("customers", ["客户/1", "c2"])

    @dg.asset(partitions_def=by_customer)
    def customer() -> None: ...

    @dg.asset(partitions_def=by_both)
    def regional() -> None: ...

    key = dg.MultiPartitionKey({"day": "2026-01-05", "region": "eu"})
    return {
        stage.materialize([customer], partition_key="客户/1"): {"customer@客户/1": "materialized"},
        stage.materialize([regional], partition_key=key): {"regional@2026-01-05|eu": "materialized"},
    }


@scenario()
def op_job(stage: Stage) -> Expected:
    """Play a job without assets plans no item; its steps are records all the same, dynamic ones included."""

    @dg.op(out=dg.DynamicOut())
    def spread():  # type: ignore[no-untyped-def]
        for number in range(3):
            yield dg.DynamicOutput(number, mapping_key=str(number))

    @dg.op
    def work(number: int) -> int:
        return number

    @dg.job
    def fan_out() -> None:
        spread().map(work)

    return {fan_out.execute_in_process(instance=stage.instance).run_id: {}}


@scenario()
def asset_behind_dynamic_steps(stage: Stage) -> Expected:
    """Play an asset that collects what dynamic steps give, one of which fails."""

    @dg.op(out=dg.DynamicOut())
    def spread():  # type: ignore[no-untyped-def]
        for number in range(3):
            yield dg.DynamicOutput(number, mapping_key=str(number))

    @dg.op
    def halve(number: int) -> float:
        return 1 / (number - 1)

    @dg.op
    def gather(numbers: list[float]) -> float:
        return sum(numbers)

    @dg.graph_asset
    def gathered():  # type: ignore[no-untyped-def]
        return gather(spread().map(halve).collect())

    return {stage.materialize([gathered]): {"gathered": "failed:step_failed"}}


@scenario()
def graph_asset(stage: Stage) -> Expected:
    """Play an asset made by several ops: it fails with the op that fails."""

    @dg.op
    def fetch() -> int:
        return 1

    @dg.op
    def explode(number: int) -> int:
        raise ValueError(str(number))

    @dg.graph_asset
    def made():  # type: ignore[no-untyped-def]
        return explode(fetch())

    return {stage.materialize([made]): {"made": "failed:step_failed"}}


@scenario()
def hooks_expectations_and_values(stage: Stage) -> Expected:
    """Play steps that pass values, state expectations and have hooks of the user's, one of which raises."""

    @dg.success_hook
    def content(_: dg.HookContext) -> None: ...

    @dg.success_hook
    def discontent(_: dg.HookContext) -> None:
        raise ValueError("the hook is broken")

    @dg.failure_hook
    def never(_: dg.HookContext) -> None: ...

    @dg.op(out=dg.Out(int))
    def number():  # type: ignore[no-untyped-def]
        yield dg.ExpectationResult(success=True, label="positive", metadata={"n": 1})
        yield dg.Output(1)

    @dg.op
    def shown(number: int) -> int:
        return number + 1

    @dg.job(hooks={content, discontent, never})
    def hooked() -> None:
        shown(number())

    @dg.asset
    def valued() -> int:
        return 1

    @dg.asset
    def using(valued: int) -> int:
        return valued + 1

    return {
        hooked.execute_in_process(instance=stage.instance).run_id: {
            "?expectation:number:positive": "check_passed",
            "?hook:number": "check_warned:hook_errored",
            "?hook:shown": "check_warned:hook_errored",
        },
        stage.materialize([valued, using]): {"valued": "materialized", "using": "materialized"},
    }


@scenario()
def every_kind_of_metadata(stage: Stage) -> Expected:
    """Play metadata of every kind, with values that JSON or a column would rather not hold."""

    @dg.asset
    def annotated() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata=METADATA)

    return {stage.materialize([annotated]): {"annotated": "materialized"}}


METADATA: Mapping[str, Any] = {
    "text": "plain",
    "chinese": "数据工厂",
    "surrogate": "lone \ud800 half",
    "long": "x" * 50_000,
    "url": dg.MetadataValue.url("https://example.org/a?b=c"),
    "path": dg.MetadataValue.path("/data/in"),
    "notebook": dg.MetadataValue.notebook("/n.ipynb"),
    "json": dg.MetadataValue.json({"b": [1, 2.5, None], "a": {"ü": True}}),
    "json_text": dg.MetadataValue.json("only text"),
    "md": dg.MetadataValue.md("# head"),
    "python_artifact": dg.MetadataValue.python_artifact(json.dumps),
    "float": 0.1,
    "nan": float("nan"),
    "inf": float("inf"),
    "minus_inf": float("-inf"),
    "int": 2**53 + 1,
    "huge": 10**30,
    "negative": -5,
    "bool": True,
    "null": None,
    "timestamp": dg.MetadataValue.timestamp(1_776_400_000.25),
    "run": dg.MetadataValue.dagster_run("5e3c1f60-0000-0000-0000-000000000000"),
    "job": dg.MetadataValue.job("nightly", "somewhere"),
    "asset": dg.MetadataValue.asset(dg.AssetKey(["schema", "table"])),
    "table": dg.MetadataValue.table([dg.TableRecord({"n": 1})]),
    "table_schema": dg.MetadataValue.table_schema(dg.TableSchema([dg.TableColumn("n", "int")])),
    "column_lineage": dg.MetadataValue.column_lineage(
        dg.TableColumnLineage({"n": [dg.TableColumnDep(asset_key="up", column_name="m")]})
    ),
}
