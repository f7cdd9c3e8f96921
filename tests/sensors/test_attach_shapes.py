"""Whatever shape a project has: what Dagster loads it loads when attached, runs it, and the runs are captured."""

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from holding import assert_holds, rows, sync

from run_evidence.ledger import Ledger, UsageError
from run_evidence.sensors import with_ledger
from run_evidence.sensors.attach.cursor_sensor import SENSOR_NAME
from run_evidence.sensors.attach.hook import HOOK_NAME
from run_evidence.sensors.attach.status_sensors import STATUSES
from run_evidence.sensors.attach.verdict_sensor import VERDICT_SENSOR

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::DeprecationWarning")

OURS = (SENSOR_NAME, VERDICT_SENSOR, *STATUSES)
DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")
NIGHTLY = "0 1 * * *"


@dg.asset
def a() -> None: ...


@dg.asset(deps=[a])
def b() -> None: ...


@dg.asset(partitions_def=DAILY)
def daily() -> None: ...


@dg.op
def one() -> int:
    return 1


@dg.graph_asset
def from_graph() -> int:
    return one()  # type: ignore[no-any-return]


@dg.multi_asset(specs=[dg.AssetSpec("left"), dg.AssetSpec("right")], can_subset=True)
def several(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)


@dg.multi_asset(specs=[dg.AssetSpec("m")], check_specs=[dg.AssetCheckSpec("inner", asset="m")])
def checked() -> Iterator[dg.MaterializeResult[Any]]:
    yield dg.MaterializeResult(asset_key="m", check_results=[dg.AssetCheckResult(passed=True, check_name="inner")])


@dg.observable_source_asset
def observed() -> dg.DataVersion:
    return dg.DataVersion("1")


@dg.asset_check(asset=a)
def a_is_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.job
def op_job() -> None:
    one()


a_job = dg.define_asset_job("a_job", selection=[a])


@dg.repository
def repository() -> list[Any]:
    return [a, b, a_job, op_job, dg.ScheduleDefinition("nightly", job=a_job, cron_schedule=NIGHTLY)]


@dg.repository
def lazy_repository() -> dict[str, Any]:
    return {"jobs": {"op_job": lambda: op_job}, "schedules": {}, "sensors": {}}


@dg.definitions
def lazy() -> dg.Definitions:
    return dg.Definitions(assets=[a, b, a])


def quiet(name: str) -> dg.SensorDefinition:
    """Make a sensor of the user's, under any name."""
    return dg.SensorDefinition(name=name, evaluation_fn=lambda _: dg.SkipReason("no"), target=[a])


def from_module() -> dg.Definitions:
    module = types.ModuleType("a_module")
    for name, value in {"a": a, "again": a, "b": b, "a_is_there": a_is_there, "a_job": a_job}.items():
        setattr(module, name, value)
    return dg.load_definitions_from_module(module)


def cacheable() -> dg.Definitions:
    from dagster._core.definitions.assets.definition.cacheable_assets_definition import (
        AssetsDefinitionCacheableData,
        CacheableAssetsDefinition,
    )

    class Listed(CacheableAssetsDefinition):
        def compute_cacheable_data(self) -> list[AssetsDefinitionCacheableData]:
            return [AssetsDefinitionCacheableData(keys_by_output_name={"result": dg.AssetKey("c")})]

        def build_definitions(self, _: Any) -> list[dg.AssetsDefinition]:
            @dg.asset(name="c")
            def c() -> None: ...

            return [c]

    return dg.Definitions(assets=[Listed("listed"), a])


def components(folder: Path) -> dg.Definitions:
    """Load a project of components: its definitions come with their tree."""
    (folder / "src" / "some_project" / "defs").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "some_project"\n'
    )
    for package in ("some_project", "some_project/defs"):
        (folder / "src" / package / "__init__.py").write_text("")
    asset = "import dagster as dg\n\n@dg.asset\ndef in_a_folder() -> None: ...\n"
    (folder / "src" / "some_project" / "defs" / "mine.py").write_text(asset)
    sys.path.insert(0, str(folder / "src"))
    try:
        return dg.load_from_defs_folder(project_root=folder)
    finally:
        sys.path.remove(str(folder / "src"))
        for name in [name for name in sys.modules if name.startswith("some_project")]:
            del sys.modules[name]


def scheduled(**more: Any) -> dg.Definitions:
    return dg.Definitions(assets=[a, b], schedules=[dg.ScheduleDefinition("s", cron_schedule=NIGHTLY, **more)])


Wrap = Callable[[Any], Any]
SHAPES: dict[str, Callable[[Wrap], Any]] = {
    "nothing": lambda wrap: wrap(dg.Definitions()),
    "listed twice": lambda wrap: wrap(dg.Definitions(assets=[a, b, a])),
    "merged": lambda wrap: wrap(dg.Definitions.merge(dg.Definitions(assets=[a]), dg.Definitions(assets=[a, b]))),
    "attached, then merged": lambda wrap: dg.Definitions.merge(
        wrap(dg.Definitions(assets=[a])), wrap(dg.Definitions(assets=[a, b]))
    ),
    "merged with attached": lambda wrap: wrap(
        dg.Definitions.merge(wrap(dg.Definitions(assets=[a])), dg.Definitions(assets=[a, b]))
    ),
    "attached twice": lambda wrap: wrap(wrap(dg.Definitions(assets=[a, b]))),
    "given as tuples": lambda wrap: wrap(dg.Definitions(assets=(a, b), sensors=(quiet("mine"),), jobs=(a_job,))),
    "from a module": lambda wrap: wrap(from_module()),
    "graph asset": lambda wrap: wrap(dg.Definitions(assets=[from_graph, from_graph])),
    "multi asset": lambda wrap: wrap(dg.Definitions(assets=[several], jobs=[dg.define_asset_job("j", ["left"])])),
    "check inside": lambda wrap: wrap(dg.Definitions(assets=[checked, checked])),
    "asset among the checks": lambda wrap: wrap(dg.Definitions(asset_checks=[checked])),
    "checks": lambda wrap: wrap(dg.Definitions(assets=[a], asset_checks=[a_is_there, a_is_there])),
    "check among the assets": lambda wrap: wrap(dg.Definitions(assets=[a, a_is_there])),
    "specs": lambda wrap: wrap(dg.Definitions(assets=[dg.AssetSpec("x"), dg.AssetSpec("y", deps=["x"]), a])),
    "source asset": lambda wrap: wrap(dg.Definitions(assets=[dg.SourceAsset("x"), a])),
    "external": lambda wrap: wrap(dg.Definitions(assets=[dg.AssetsDefinition(specs=[dg.AssetSpec("x")]), a])),
    "observable": lambda wrap: wrap(dg.Definitions(assets=[observed, observed])),
    "cacheable": lambda wrap: wrap(cacheable()),
    "partitioned": lambda wrap: wrap(
        dg.Definitions(
            assets=[daily],
            schedules=[dg.build_schedule_from_partitioned_job(dg.define_asset_job("d", selection=[daily]))],
        )
    ),
    "op job": lambda wrap: wrap(dg.Definitions(jobs=[op_job, op_job])),
    "unresolved job, also scheduled": lambda wrap: wrap(
        dg.Definitions(
            assets=[a], jobs=[a_job], schedules=[dg.ScheduleDefinition(job=a_job, cron_schedule=NIGHTLY)]
        )
    ),
    "schedule of assets": lambda wrap: wrap(scheduled(target=[a])),
    "schedule of one asset": lambda wrap: wrap(scheduled(target=a)),
    "assets of a schedule alone": lambda wrap: wrap(
        dg.Definitions(schedules=[dg.ScheduleDefinition("s", cron_schedule=NIGHTLY, target=[a])])
    ),
    "sensor of assets": lambda wrap: wrap(dg.Definitions(assets=[a, b], sensors=[quiet("mine")])),
    "automation sensor": lambda wrap: wrap(
        dg.Definitions(assets=[a], sensors=[dg.AutomationConditionSensorDefinition("auto", target=[a])])
    ),
    "resources, executor, loggers": lambda wrap: wrap(
        dg.Definitions(
            assets=[a],
            resources={"r": 1},
            executor=dg.in_process_executor,
            loggers={"plain": dg.colored_console_logger},
        )
    ),
    **{
        f"a sensor called {name}": lambda wrap, name=name: wrap(  # type: ignore[misc]
            dg.Definitions(assets=[a], sensors=[quiet(name)])
        )
        for name in OURS
    },
    "a schedule with our name": lambda wrap: wrap(
        dg.Definitions(
            jobs=[a_job], assets=[a], schedules=[dg.ScheduleDefinition(OURS[0], job=a_job, cron_schedule=NIGHTLY)]
        )
    ),
    "repository": lambda wrap: wrap(repository),
    "lazy repository": lambda wrap: wrap(lazy_repository),
    "repository attached twice": lambda wrap: wrap(wrap(repository)),
    "function that gives a repository": lambda wrap: wrap(lambda: repository)(),
    "lazy": lambda wrap: wrap(lazy)(),
    "lazy attached twice": lambda wrap: wrap(wrap(lazy))(),
    "function": lambda wrap: wrap(lambda: dg.Definitions(assets=[a, a]))(),
}


def repository_of(defs: dg.Definitions | dg.RepositoryDefinition) -> dg.RepositoryDefinition:
    return defs if isinstance(defs, dg.RepositoryDefinition) else defs.get_repository_def()


def loaded(defs: dg.Definitions | dg.RepositoryDefinition) -> dg.RepositoryDefinition:
    """Load all of it, as Dagster's code server does."""
    found = repository_of(defs)
    found.load_all_definitions()
    found.validate_loadable()
    return found


def described(found: dg.RepositoryDefinition) -> dict[str, Any]:
    return {
        "assets": sorted(map(str, found.asset_graph.get_all_asset_keys())),
        "checks": sorted(map(str, found.asset_graph.asset_check_keys)),
        "jobs": sorted(job.name for job in found.get_all_jobs()),
        "schedules": sorted((s.name, s.job_name) for s in found.schedule_defs),
        "resources": sorted(found.get_top_level_resources()),
    }


def run_all(instance: dg.DagsterInstance, found: dg.RepositoryDefinition) -> int:
    """Run every job that there is, and return how many."""
    jobs = [job for job in found.get_all_jobs() if job.nodes]
    for job in jobs:
        parts = {found.asset_graph.get(key).partitions_def for key in job.asset_layer.executable_asset_keys}
        key = "2026-01-03" if DAILY in parts else None
        assert job.execute_in_process(instance=instance, partition_key=key).success
    return len(jobs)


@pytest.mark.soak
def test_what_loads_before_loads_attached_and_its_runs_are_captured(
    instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    """The same assets, checks, jobs, schedules and sensors; four sensors more, once; every job runs."""
    sync(instance, ledger)
    assert not ledger.exists()
    runs = 0
    for shape, make in SHAPES.items():
        before = loaded(make(lambda defs: defs))
        after = loaded(make(lambda defs: with_ledger(defs, ledger=ledger.root)))
        assert described(after) == described(before), shape
        mine = {sensor.name for sensor in before.sensor_defs}
        added = [sensor.name for sensor in after.sensor_defs if sensor.name not in mine]
        assert len(added) == len(OURS), shape
        assert all(any(name in {each, f"{each}_2"} for name in added) for each in OURS), shape
        runs += run_all(instance, after)
    sync(instance, ledger)
    assert_holds(instance, ledger)
    assert runs >= len(SHAPES)
    assert rows(ledger, "SELECT count(*) FROM runs WHERE closed AND status = 'succeeded'") == [(runs,)]


def test_a_project_of_components_loads_attached(
    tmp_path: Path, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    """Its definitions keep their tree, and its assets get the hook."""
    defs = components(tmp_path / "project")
    assert defs.component_tree is not None
    wrapped = with_ledger(defs, ledger=ledger.root)
    assert wrapped.component_tree is defs.component_tree
    run_all(instance, loaded(wrapped))
    assert rows(ledger, "SELECT asset_key FROM materializations") == [("in_a_folder",)]


def test_an_asset_merged_in_later_gets_the_hook_when_attached_again(ledger: Ledger) -> None:
    """The settings of the first time hold, and every asset carries one hook."""
    first = with_ledger(dg.Definitions(assets=[a]), ledger=ledger.root)
    again = with_ledger(dg.Definitions.merge(first, dg.Definitions(assets=[a, b])), ledger="elsewhere")
    graph = again.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert [hook.name for hook in graph.get(key).assets_def.hook_defs] == [HOOK_NAME]


class OfTheUser(dg.AssetsDefinition):
    """An asset class whose objects cannot be copied."""

    def with_attributes(self, **_: Any) -> Any:
        raise TypeError("made once")


def test_an_asset_that_cannot_carry_the_hook_is_left_as_it_is(
    instance: dg.DagsterInstance, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """The project loads, the log says which asset has no hook, and `sync` captures its runs."""
    mine = OfTheUser(**a.get_attributes_dict())
    defs = with_ledger(dg.Definitions(assets=[mine, b]), ledger=ledger.root)
    assert "made once" in caplog.text
    assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    sync(instance, ledger)
    assert_holds(instance, ledger)


NO_DEFINITIONS: dict[str, Callable[[], Any]] = {
    "an asset": lambda: with_ledger(a),
    "a list": lambda: with_ledger([a, b]),  # type: ignore[type-var]
    "a job": lambda: with_ledger(op_job),
    "an unresolved job": lambda: with_ledger(a_job),  # type: ignore[type-var]
    "a class": lambda: with_ledger(dg.Definitions),
    "nothing": lambda: with_ledger(None),  # type: ignore[type-var]
    "a function that gives a list": with_ledger(lambda: [a, b]),  # type: ignore[type-var,return-value]
    "a function that gives nothing": with_ledger(lambda: None),  # type: ignore[type-var,return-value]
}


@pytest.mark.parametrize("shape", NO_DEFINITIONS)
def test_what_is_no_project_is_refused_in_our_words(shape: str) -> None:
    """The error says what was expected and how to write it."""
    with pytest.raises(UsageError, match="Definitions, a repository, or a function") as refused:
        NO_DEFINITIONS[shape]()
    assert refused.value.next_step
