"""docs/capture.md says who hears of a run: each cell of its table is tried."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from history import write_materialization
from holding import rows, sync

from run_evidence.ledger import Ledger
from run_evidence.sensors import with_ledger
from run_evidence.sensors.attach.cursor_sensor import SENSOR_NAME
from run_evidence.sensors.attach.status_sensors import STATUSES

PAGE = Path(__file__).parents[2] / "docs" / "capture.md"
PATHS = ("hook", "status sensors", "cursor sensor", "`ledger sync`")


def table() -> dict[str, dict[str, str]]:
    """Read the page's table: {how a run comes about: {path: yes or no}}."""
    section = PAGE.read_text(encoding="utf-8").split("## Who hears of a run")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(cells[0][1:]) == PATHS
    return {row[0]: dict(zip(PATHS, row[1:], strict=True)) for row in cells[1:]}


@dg.asset
def made() -> None: ...


@dg.asset_check(asset=made)
def checked() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.observable_source_asset
def observed() -> dg.DataVersion:
    return dg.DataVersion("1")


@dg.op
def work() -> None: ...


@dg.job
def op_job() -> None:
    work()


@dg.resource
def unreachable(_: dg.InitResourceContext) -> None:
    raise ConnectionError("no route to host")


@dg.asset(required_resource_keys={"db"})
def needing() -> None: ...


def project() -> dg.Definitions:
    """Build a project that can be started in every way of the table."""
    return dg.Definitions(
        assets=[made, observed, needing],
        asset_checks=[checked],
        resources={"db": unreachable},
        jobs=[
            op_job,
            dg.define_asset_job("made_job", selection=dg.AssetSelection.assets("made")),
            dg.define_asset_job("needing_job", selection=["needing"]),
            dg.define_asset_job("observe_job", selection=dg.AssetSelection.assets("observed")),
            dg.define_asset_job("check_job", selection=dg.AssetSelection.checks(checked)),
        ],
    )


Start = Callable[[dg.Definitions, dg.DagsterInstance], None]


def job(name: str) -> Start:
    """Start a job in this process."""

    def start(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
        defs.resolve_job_def(name).execute_in_process(instance=instance, raise_on_error=False)

    return start


def implicit(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Run an asset as the UI, a backfill or an automation does: a part of the implicit job of all assets."""
    everything = defs.resolve_implicit_global_asset_job_def()
    everything.get_subset(asset_selection={dg.AssetKey("made")}).execute_in_process(instance=instance)


def outside(_: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Report a materialization without a run."""
    instance.report_runless_asset_event(dg.AssetMaterialization("outside"))


def ephemeral(defs: dg.Definitions, _: dg.DagsterInstance) -> None:
    """Run on an instance that nobody keeps."""
    defs.resolve_job_def("made_job").execute_in_process()


def unwrapped(_: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Run an asset that the ledger was not attached to, on the instance where it is."""
    dg.materialize([made], instance=instance)


def cancelled(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Cancel a run while it waits to be started."""
    run = instance.create_run_for_job(defs.resolve_job_def("made_job"))
    instance.report_run_canceling(run)
    instance.report_run_canceled(run)


def deleted(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Run something that nobody attached, and delete it."""
    implicit(project(), instance)
    instance.delete_run(instance.get_runs(limit=1)[0].run_id)


def late(_: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Write a record into the run that was there before."""
    write_materialization(instance, instance.get_runs()[-1].run_id, "late", "made")


def earlier(_: dg.Definitions, __: dg.DagsterInstance) -> None:
    """Do nothing: the run was there before."""


STARTS: dict[str, Start] = {
    "assets, from the UI": implicit,
    "assets, by": job("made_job"),
    "assets that are not wrapped": unwrapped,
    "op job": job("op_job"),
    "job of observable sources": job("observe_job"),
    "asset checks alone": job("check_job"),
    "run that fails before its first step": job("needing_job"),
    "run that is cancelled before it starts": cancelled,
    "run that ended before the ledger was attached": earlier,
    "late record of a run that was closed": late,
    "no run": outside,
    "ephemeral instance": ephemeral,
    "run deleted from Dagster before anybody captured it": deleted,
}


def test_every_way_of_the_table_is_tried() -> None:
    """A row that is added to the page is added here."""
    assert [key for line in table() for key in STARTS if line.startswith(key)] == list(STARTS)
    assert len(table()) == len(STARTS)
    assert {cell for line in table().values() for cell in line.values()} == {"yes", "no"}


@pytest.fixture(scope="module")
def run_before(new_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a DAGSTER_HOME with a run from before the ledger, to be copied."""
    folder = tmp_path_factory.mktemp("before") / "dagster"
    shutil.copytree(new_home, folder)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        project().resolve_job_def("made_job").execute_in_process(instance=instance)
    return folder


@pytest.fixture
def watched(run_before: Path, home: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(run_before, home, dirs_exist_ok=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def evaluate(defs: dg.Definitions, names: set[str], instance: dg.DagsterInstance, cursors: dict[str, Any]) -> None:
    """Let Dagster evaluate sensors of ours, each with the cursor it had."""
    repository = defs.get_repository_def()
    for name in names:
        sensor = repository.get_sensor_def(name)
        with dg.build_sensor_context(
            instance=instance, cursor=cursors.get(name), repository_def=repository, sensor_name=name
        ) as context:
            cursors[name] = sensor.evaluate_tick(context).cursor


@pytest.mark.soak
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("start", STARTS)
def test_who_hears_of_a_run(watched: dg.DagsterInstance, ledger: Ledger, start: str, path: str) -> None:
    """What the page says of this way and this path is so: its records get into the ledger by it, or not."""
    defs = with_ledger(project(), ledger=ledger.root, grace_seconds=0, hook=path == "hook")
    cursors: dict[str, Any] = {}
    if start.startswith("late"):
        sync(watched, ledger)
    if path == "status sensors":
        evaluate(defs, set(STATUSES), watched, cursors)  # where Dagster starts them: at "now"
    before = _held(ledger)
    STARTS[start](defs, watched)
    if path == "status sensors":
        evaluate(defs, set(STATUSES), watched, cursors)
    elif path == "cursor sensor":
        _tick_until_idle(defs, watched, cursors)
    elif path == "`ledger sync`":
        sync(watched, ledger)
    run_ids = {run.run_id for run in watched.get_runs()} if start != "no run" else {""}
    if not start.startswith(("run that ended", "late")):
        run_ids -= {watched.get_runs()[-1].run_id}
    heard = {run_id for run_id, _ in _held(ledger) - before} & run_ids
    (line,) = [cells for way, cells in table().items() if way.startswith(start)]
    assert line[path] == ("yes" if heard else "no")


def _tick_until_idle(defs: dg.Definitions, instance: dg.DagsterInstance, cursors: dict[str, Any]) -> None:
    for _ in range(2):
        evaluate(defs, {SENSOR_NAME}, instance, cursors)
    assert re.search(r'"behind":false', cursors[SENSOR_NAME])


def _held(ledger: Ledger) -> set[tuple[str, int]]:
    if not ledger.exists():
        return set()
    return {(r, s) for r, s in rows(ledger, "SELECT run_id, storage_id FROM events WHERE storage_id IS NOT NULL")}
