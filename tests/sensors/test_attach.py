"""`with_ledger` on projects as they are: everything a user defined stays, and every run still works."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from holding import assert_holds, ledger_records, outcomes, rows, sync

import run_evidence.sensors.attach.hook
from run_evidence.ledger import Ledger, UsageError
from run_evidence.sensors import OptionalDependency, with_ledger
from run_evidence.sensors.attach.hook import HOOK_NAME

OURS = {"ledger_complete", "ledger_verdicts", "ledger_on_success", "ledger_on_failure", "ledger_on_cancel"}
DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")
REGIONS = dg.StaticPartitionsDefinition(["eu", "us"])


class Settings(dg.ConfigurableResource[None]):
    """A resource of the user's."""

    name: str = "default"


@dg.success_hook
def of_the_user(_: dg.HookContext) -> None: ...


def everything() -> dg.Definitions:  # noqa: C901 - one of everything
    """Build a project with one of everything that can be attached to."""

    @dg.asset(group_name="raw", tags={"tier": "1"}, owners=["team:data"], kinds={"python"}, description="words")
    def plain(settings: Settings) -> int:
        return len(str(settings.name))

    @dg.asset(hooks={of_the_user})
    def hooked(plain: int) -> int:
        return plain

    @dg.op
    def double(number: int) -> int:
        return 2 * number

    @dg.graph_asset
    def from_graph(plain: int) -> int:
        return double(plain)  # type: ignore[no-any-return]

    @dg.multi_asset(
        specs=[dg.AssetSpec("left", skippable=True), dg.AssetSpec("right", skippable=True)], can_subset=True
    )
    def several(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)

    @dg.asset(partitions_def=DAILY, automation_condition=dg.AutomationCondition.eager())
    def daily() -> None: ...

    @dg.asset(partitions_def=REGIONS)
    def regional() -> None: ...

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="customers"))
    def by_customer() -> None: ...

    @dg.asset(partitions_def=dg.MultiPartitionsDefinition({"day": DAILY, "region": REGIONS}))
    def by_both() -> None: ...

    @dg.observable_source_asset
    def observed() -> dg.DataVersion:
        return dg.DataVersion("1")

    @dg.asset_check(asset=plain, blocking=True)
    def plain_is_positive() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec("one", asset="hooked"), dg.AssetCheckSpec("two", asset="hooked")]
    )
    def several_checks():  # type: ignore[no-untyped-def]
        yield dg.AssetCheckResult(check_name="one", asset_key="hooked", passed=True)
        yield dg.AssetCheckResult(check_name="two", asset_key="hooked", passed=True)

    @dg.op
    def work() -> None: ...

    @dg.job(hooks={of_the_user})
    def op_job() -> None:
        work()

    assets_job = dg.define_asset_job(
        "assets_job", selection=["plain", "hooked", "from_graph", "left", "right"], hooks={of_the_user}
    )
    observe_job = dg.define_asset_job("observe_job", selection=dg.AssetSelection.assets("observed"))

    @dg.sensor(job=assets_job)
    def starting(_: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason("nothing to do")

    @dg.run_failure_sensor
    def alarming(_: dg.RunFailureSensorContext) -> None: ...

    return dg.Definitions(
        assets=[
            *(plain, hooked, from_graph, several, daily, regional, by_customer, by_both, observed),
            dg.AssetSpec("external", description="made elsewhere"),
            dg.SourceAsset("old_source"),
        ],
        asset_checks=[plain_is_positive, several_checks],
        jobs=[op_job, assets_job, observe_job, dg.define_asset_job("daily_job", selection=["daily"])],
        schedules=[
            dg.ScheduleDefinition(job=op_job, cron_schedule="0 1 * * *"),
            dg.ScheduleDefinition(job=assets_job, cron_schedule="0 2 * * *"),
            dg.build_schedule_from_partitioned_job(dg.define_asset_job("daily_scheduled", selection=["daily"])),
        ],
        sensors=[starting, alarming],
        resources={"settings": Settings(name="four")},
        executor=dg.in_process_executor,
        loggers={"plain": dg.colored_console_logger},
        metadata={"team": "data"},
    )


RUNS: dict[str, dict[str, Any]] = {
    "op_job": {},
    "assets_job": {},
    "observe_job": {},
    "daily_job": {"partition_key": "2026-01-03"},
}


def described(defs: dg.Definitions) -> dict[str, Any]:
    """Tell everything about definitions that a user can see, but for what `with_ledger` says it adds."""
    repository = defs.get_repository_def()
    graph = defs.resolve_asset_graph()
    assets = {
        key.to_user_string(): (
            graph.get(key).group_name,
            graph.get(key).description,
            dict(graph.get(key).tags),
            graph.get(key).owners,
            sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            graph.get(key).partitions_def,
            graph.get(key).automation_condition,
            graph.get(key).is_executable,
            graph.get(key).is_observable,
            graph.get(key).execution_type,
        )
        for key in graph.get_all_asset_keys()
    }
    return {
        "assets": assets,
        "checks": sorted(map(str, graph.asset_check_keys)),
        "jobs": {
            job.name: (sorted(node.name for node in job.nodes), sorted(job.resource_defs), dict(job.tags))
            for job in repository.get_all_jobs()
        },
        "schedules": {s.name: (s.cron_schedule, s.job_name) for s in repository.schedule_defs},
        "sensors": {s.name: (type(s), s.default_status) for s in repository.sensor_defs if s.name not in OURS},
        "resources": sorted(defs.resources or {}),
        "loggers": sorted(defs.loggers or {}),
        "executor": defs.executor,
        "metadata": dict(defs.metadata),
    }


@pytest.fixture
def attached(ledger: Ledger) -> dg.Definitions:
    return with_ledger(everything(), ledger=ledger.root, grace_seconds=0)


def test_nothing_a_user_defined_changes(attached: dg.Definitions) -> None:
    """Assets, checks, jobs, schedules, sensors, resources are the same before and after; four sensors are new."""
    assert described(attached) == described(everything())
    repository = attached.get_repository_def()
    new = {s.name for s in repository.sensor_defs} - {s.name for s in everything().get_repository_def().sensor_defs}
    assert new == OURS
    assert all(repository.get_sensor_def(name).default_status == dg.DefaultSensorStatus.RUNNING for name in OURS)


def test_every_asset_that_can_carry_a_hook_carries_ours_beside_the_users(attached: dg.Definitions) -> None:
    """The hook is on all that is materialized, and nothing else; hooks of the user stay."""
    graph = attached.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        names = {hook.name for hook in graph.get(key).assets_def.hook_defs}
        assert (HOOK_NAME in names) == graph.get(key).is_materializable
        assert ("of_the_user" in names) == (key.to_user_string() == "hooked")


@pytest.mark.soak
@pytest.mark.parametrize("job_name", RUNS)
@pytest.mark.parametrize("hook", [True, False])
def test_every_job_runs_and_is_captured(
    instance: dg.DagsterInstance, ledger: Ledger, job_name: str, hook: bool
) -> None:
    """Runs end as they did before; with the hook something is there at once, and `sync` makes it whole."""
    defs = with_ledger(everything(), ledger=ledger.root, grace_seconds=0, hook=hook)
    job = defs.resolve_job_def(job_name)
    result = job.execute_in_process(instance=instance, **RUNS[job_name])
    assert result.success
    # An asset's hook fires in its own step; steps of ops, checks and observations have none.
    assert ledger.exists() == (hook and job_name in {"assets_job", "daily_job"})
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert set(outcomes(ledger, result.run_id).values()) <= {"materialized", "observed", "check_passed"}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("asset", "partition"),
    [
        ("daily", "2026-01-05"),
        ("regional", "eu"),
        ("by_customer", "c1"),
        ("by_both", dg.MultiPartitionKey({"day": "2026-01-05", "region": "us"})),
    ],
)
def test_partitions_of_every_kind_run_and_are_captured(
    instance: dg.DagsterInstance, ledger: Ledger, attached: dg.Definitions, asset: str, partition: str
) -> None:
    """A wrapped partitioned asset is materialized in its partition."""
    instance.add_dynamic_partitions("customers", ["c1"])
    job = attached.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey(asset)})
    run_id = job.execute_in_process(instance=instance, partition_key=partition).run_id
    assert rows(ledger, "SELECT asset_key FROM materializations") == [(asset,)]
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert outcomes(ledger, run_id) == {f"{asset}@{partition}": "materialized"}


def test_a_subset_of_a_multi_asset_runs_and_is_captured(
    instance: dg.DagsterInstance, ledger: Ledger, attached: dg.Definitions
) -> None:
    """Only what was selected is planned and made."""
    job = attached.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey("left")})
    run_id = job.execute_in_process(instance=instance).run_id
    sync(instance, ledger)
    assert outcomes(ledger, run_id) == {"left": "materialized"}


def test_a_partition_range_in_one_run_is_captured(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A single-run backfill of a wrapped asset: each partition is an item."""

    @dg.asset(partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    def ranged() -> None: ...

    defs = with_ledger(dg.Definitions(assets=[ranged]), ledger=ledger.root)
    days = [f"2026-01-{day:02}" for day in range(5, 9)]
    tags = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
    run = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, tags=tags)
    assert sorted(rows(ledger, "SELECT partition FROM materializations")) == [(day,) for day in days]
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert outcomes(ledger, run.run_id) == {f"ranged@{day}": "materialized" for day in days}


def resolved_already() -> dg.Definitions:
    """Give definitions that were asked for their assets and jobs before they are wrapped."""
    defs = everything()
    defs.resolve_job_def("assets_job")
    defs.get_repository_def()
    return defs


def specs_changed() -> dg.Definitions:
    """Give definitions whose assets were mapped, which resolves a part of them."""
    parts = everything()
    modern = dg.Definitions(
        assets=[asset for asset in parts.assets or () if not isinstance(asset, dg.SourceAsset)],
        asset_checks=parts.asset_checks,
        jobs=[job for job in parts.jobs or () if job.name != "observe_job"],
        resources=parts.resources,
        executor=parts.executor,
    )
    return modern.map_asset_specs(func=lambda spec: spec.replace_attributes(owners=["team:other"]))


def put_together() -> dg.Definitions:
    """Give definitions that were merged from parts, one of them without assets."""
    parts = everything()
    rest = dg.Definitions(jobs=parts.jobs, schedules=parts.schedules, sensors=parts.sensors, loggers=parts.loggers)
    assets = dg.Definitions(
        assets=parts.assets,
        asset_checks=parts.asset_checks,
        resources=parts.resources,
        executor=parts.executor,
        metadata=dict(parts.metadata),
    )
    return dg.Definitions.merge(assets, rest)


@pytest.mark.soak
@pytest.mark.parametrize("made", [resolved_already, specs_changed, put_together])
def test_definitions_resolved_in_part_are_wrapped_like_any(
    instance: dg.DagsterInstance, ledger: Ledger, made: Callable[[], dg.Definitions]
) -> None:
    """However far the definitions were resolved before: all stays as it was, the hook is there, and jobs run."""
    wrapped = with_ledger(made(), ledger=ledger.root)
    assert described(wrapped) == described(made())
    result = wrapped.resolve_job_def("assets_job").execute_in_process(instance=instance)
    assert result.success
    assert ledger.exists()
    sync(instance, ledger)
    assert_holds(instance, ledger)


def test_what_is_wrapped_twice_is_wrapped_once(attached: dg.Definitions, ledger: Ledger) -> None:
    """Wrapping again changes nothing, also when other definitions were merged in between."""
    assert with_ledger(attached, ledger=ledger.root) is attached

    @dg.asset
    def more() -> None: ...

    merged = dg.Definitions.merge(attached, dg.Definitions(assets=[more]))
    again = with_ledger(merged, ledger=ledger.root)
    names = [sensor.name for sensor in again.get_repository_def().sensor_defs]
    assert sorted(name for name in names if name in OURS) == sorted(OURS)


@dg.definitions
def lazy() -> dg.Definitions:
    return everything()


@dg.definitions
def lazy_with_context(context: dg.ComponentLoadContext) -> dg.Definitions:
    assert context is not None
    return everything()


@pytest.mark.parametrize("load", [lazy, lazy_with_context, everything], ids=["lazy", "with_context", "function"])
def test_lazy_definitions_stay_lazy(load: Any, ledger: Ledger) -> None:
    """What is wrapped is of the same kind as before, and gives the wrapped definitions when it is loaded."""
    wrapped = with_ledger(load, ledger=ledger.root)
    assert type(wrapped) is type(load)
    context = [dg.ComponentLoadContext] if load is lazy_with_context else []
    assert described(wrapped(*context)) == described(everything())
    assert {s.name for s in wrapped(*context).get_repository_def().sensor_defs} >= OURS


def test_nothing_is_loaded_while_it_is_wrapped(ledger: Ledger) -> None:
    """A project that must not be loaded at import is not loaded by being wrapped."""

    @dg.definitions
    def loading() -> dg.Definitions:
        raise RuntimeError("loaded too early")

    wrapped = with_ledger(loading, ledger=ledger.root)
    with pytest.raises(RuntimeError, match="too early"):
        wrapped()


@pytest.mark.soak
def test_a_wrapped_lazy_project_is_loaded_by_dagster(tmp_path: Path, home: Path) -> None:
    """Dagster finds and validates `@definitions` behind `with_ledger` in a file of the user's."""
    (tmp_path / "project.py").write_text(
        "import dagster as dg\nfrom run_evidence.sensors import with_ledger\n\n"
        "@dg.asset\ndef a() -> None: ...\n\n"
        "@with_ledger\n@dg.definitions\ndef defs() -> dg.Definitions:\n    return dg.Definitions(assets=[a])\n"
    )
    program = [sys.executable, "-m", "dagster", "asset", "materialize", "-f", "project.py", "--select", "a"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rows(Ledger(home / "ledger"), "SELECT asset_key FROM materializations") == [("a",)]


def test_the_hook_writes_nothing_for_an_ephemeral_instance(ledger: Ledger, attached: dg.Definitions) -> None:
    """A run that nobody keeps leaves no evidence and no trouble."""
    assert attached.resolve_job_def("assets_job").execute_in_process().success
    assert not ledger.exists()


def test_quick_steps_share_a_look(
    instance: dg.DagsterInstance, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the pause only the run's first step and one that failed are captured; `sync` brings in the rest."""
    monkeypatch.setattr(run_evidence.sensors.attach.hook, "PAUSE_SECONDS", 3_600.0)

    def step(name: str, after: Sequence[str], works: bool = True) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=after)
        def made() -> None:
            if not works:
                raise ValueError("broken")

        return made

    assets = [step("a", []), step("b", ["a"]), step("c", ["b"], works=False), step("d", ["b"])]
    job = with_ledger(dg.Definitions(assets=assets), ledger=ledger.root).resolve_implicit_global_asset_job_def()
    for runs in (1, 2):
        run_id = job.execute_in_process(instance=instance, raise_on_error=False).run_id
        seen = rows(ledger, "SELECT asset_key FROM materializations WHERE run_id = $run", run=run_id)
        assert {asset for (asset,) in seen} >= {"a", "b"}, "the failure brings in what came before it"
        assert len(rows(ledger, "SELECT 1 FROM events WHERE event_type = 'step.failed.v1'")) == runs
        assert len(rows(ledger, "SELECT DISTINCT recorded_at FROM events WHERE run_id = $run", run=run_id)) == 2
    sync(instance, ledger)
    assert_holds(instance, ledger)


@pytest.mark.soak
def test_what_the_hook_says_is_not_said_again(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Seen, planned and skipped are recorded once, although hook and sync name different releases."""
    defs = with_ledger(
        everything(),
        ledger=ledger.root,
        release_id="r1",
        optional=[OptionalDependency("lake/house", "lakehouse_not_there", "Week04 is not set up")],
    )
    for _ in range(2):
        run_id = defs.resolve_job_def("assets_job").execute_in_process(instance=instance).run_id
        sync(instance, ledger)
        sync(instance, ledger)
    own = "SELECT event_type, count(*) FROM events WHERE storage_id IS NULL GROUP BY ALL ORDER BY ALL"
    assert rows(ledger, own) == [
        ("outcomes.derived.v1", 2),
        ("plan.committed.v1", 2),
        ("policy.declared.v1", 1),
        ("run.closed.v1", 2),
        ("run.seen.v1", 2),
    ]
    assert rows(ledger, "SELECT DISTINCT release_id FROM events WHERE run_id = $run", run=run_id) == [("r1",)]
    assert outcomes(ledger, run_id)["lake/house"] == "not_available:lakehouse_not_there"
    assert len(ledger_records(ledger)) == len(set(ledger_records(ledger)))


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: with_ledger(5), "takes Definitions"),  # type: ignore[type-var]
    (lambda: with_ledger(dg.Definitions(), ledger="ftp://somewhere"), "cannot open"),
    (lambda: OptionalDependency("a", "", "why"), "is not a reason code"),
    (lambda: OptionalDependency("a", "With Spaces", "why"), "is not a reason code"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_wrong_use_is_told_at_once(wrong: Callable[[], Any], words: str) -> None:
    """A mistake in the one line shows when the project is loaded, not when a run is lost."""
    with pytest.raises(UsageError, match=words):
        wrong()
