"""A closed run has its verdict in Dagster; a second call adds nothing, and nothing of it is evidence."""

import sqlite3
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from history import write_engine_events
from holding import assert_holds, outcomes, rows, sync
from stores import StorageConfig

from run_evidence.evidence import DeliveryProfile, write_run_documents
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.profile_history import declared_profiles
from run_evidence.evidence.sign_off import sign_off
from run_evidence.ledger import Ledger, read_plan
from run_evidence.ledger.admin.amend import amend, void
from run_evidence.sensors import OptionalDependency, report_evidence, skip, verdict_check, with_ledger
from run_evidence.sensors.show_verdicts import show_verdicts

DAY = "2026-01-02"
DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")
OURS = {"ledger/verdict", "ledger/decision", ".dagster/ledger_row"}
SHOP = DeliveryProfile(
    name="shop",
    title="The shop",
    contract="shop_v1",
    product="shop/orders",
    key_prefix="shop/",
    proceed="ready",
    optional=("shop/weather",),
)


@dg.asset(key=["shop", "weather"], partitions_def=DAILY, output_required=False)
def weather(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
    if "no_weather" in context.run.tags:
        yield from skip(
            context, reason_code="no_forecast", text="<b>no</b> [forecast](x) | today", outcome="skipped"
        )
        return
    yield dg.Output(None)


@dg.asset(key=["shop", "orders"], partitions_def=DAILY, output_required=False)
def orders(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
    if context.run.tags.get("orders") == "fails":
        raise dg.Failure("no orders")
    if context.run.tags.get("orders") == "skipped":
        yield from skip(context, reason_code="shop_closed", text="it was Sunday")
        return
    yield dg.Output(None)


@dg.asset(key=["shop", "report"], partitions_def=DAILY, deps=[orders])
def report() -> None: ...


class Project:
    """A project with a ledger attached, whose two sensors are ticked by hand as the daemon does."""

    def __init__(
        self, instance: dg.DagsterInstance, ledger: Ledger, *, profile: Any = SHOP, **settings: Any
    ) -> None:
        self.instance, self.ledger = instance, ledger
        job = dg.define_asset_job("shop", selection=dg.AssetSelection.all().without_checks())
        plain = dg.Definitions(
            assets=[weather, orders, report],
            asset_checks=[verdict_check(report, profile=SHOP, ledger=ledger.root)],
            jobs=[job, dg.define_asset_job("look", dg.AssetSelection.checks_for_assets(report))],
        )
        optional = [OptionalDependency("shop/weather", "no_forecast", "there is no forecast")]
        settings = {"optional": optional, "grace_seconds": 0.0, "status_sensors": False, **settings}
        self.defs = with_ledger(plain, ledger=ledger.root, profile=profile, **settings)
        self._cursors: dict[str, str | None] = {}

    def run(self, **tags: str) -> str:
        """Run the job; what the assets do is in its tags."""
        done = self.defs.resolve_job_def("shop").execute_in_process(
            instance=self.instance, partition_key=DAY, tags=tags, raise_on_error=False
        )
        return done.run_id

    def tick(self) -> str:
        """Tick the sensors once; return what the one that shows verdicts said."""
        said = ""
        for name in ("ledger_complete", "ledger_verdicts"):
            sensor = self.defs.get_sensor_def(name)
            context = dg.build_sensor_context(
                instance=self.instance, cursor=self._cursors.get(name), definitions=self.defs
            )
            result = sensor(context)
            assert isinstance(result, dg.SkipReason)
            said = str(result.skip_message)
            self._cursors[name] = context.cursor
        return said

    def tags(self, run_id: str) -> dict[str, str]:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return {name: value for name, value in run.tags.items() if name in OURS and not name.startswith(".")}


POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture
def project(instance: dg.DagsterInstance, ledger: Ledger) -> Project:
    return Project(instance, ledger)


def observations(instance: dg.DagsterInstance, asset: dg.AssetsDefinition) -> list[dg.AssetObservation]:
    found = instance.fetch_observations(asset.key, limit=100).records
    return [o for each in found if (o := each.event_log_entry.asset_observation)]


def entries(ledger: Ledger) -> int:
    ledger.seal()
    ((count,),) = rows(ledger, "SELECT count(*) FROM events")
    return int(count)


def test_a_filter_finds_which_of_the_green_runs_is_fit(project: Project) -> None:
    """Dagster says SUCCESS of all but one; the tags say which passed, and what may be done with it."""
    fit, without, empty = project.run(), project.run(no_weather="1"), project.run(orders="skipped")
    failed = project.run(orders="fails")
    assert project.tick() == "4 runs tagged"
    told = [
        (tags["ledger/verdict"], tags["ledger/decision"])
        for tags in map(project.tags, (fit, without, empty, failed))
    ]
    assert told == [
        ("passed", "ready"),
        ("passed", "ready"),
        ("skipped", "manual_review_required"),
        ("failed", "hold_downstream"),
    ]
    found = project.instance.get_runs(dg.RunsFilter(tags={"ledger/verdict": "passed"}))
    assert {run.run_id for run in found} == {fit, without}


def test_a_second_look_changes_nothing(project: Project) -> None:
    """Neither in Dagster nor in the ledger, and the run counts as unchanged although its row is another."""
    run_id = project.run(no_weather="1")
    project.tick()
    project.tick()  # which captures that Dagster has a note of ours
    seen, size = project.instance.get_run_record_by_id(run_id), entries(project.ledger)
    for _ in range(3):
        assert project.tick() == "0 runs tagged"
    again = project.instance.get_run_record_by_id(run_id)
    assert seen == again
    assert entries(project.ledger) == size
    assert sync(project.instance, project.ledger).unchanged == 1
    assert rows(project.ledger, "SELECT count(*) FROM events WHERE event_type = 'run.tags_changed.v1'") == [(0,)]
    assert len(observations(project.instance, weather)) == 1
    assert_holds(project.instance, project.ledger)


def test_own_tags_are_no_evidence_and_others_are(project: Project) -> None:
    """A tag that somebody adds later is recorded once, without ours; ours stand, and nothing more is written."""
    run_id = project.run()
    project.tick()
    project.instance.add_run_tags(run_id, {"owner": "shop"})
    for _ in range(3):
        project.tick()
    size = entries(project.ledger)
    told = rows(project.ledger, "SELECT data->>'$.tags' FROM events WHERE event_type = 'run.tags_changed.v1'")
    assert ['"owner":"shop"' in tags for (tags,) in told] == [True]
    every = rows(project.ledger, "SELECT data->>'$.tags' FROM events WHERE event_type LIKE 'run.%'")
    assert not any(name in (tags or "") for (tags,) in every for name in OURS)
    project.tick()
    assert entries(project.ledger) == size
    assert project.tags(run_id) == {"ledger/verdict": "passed", "ledger/decision": "ready"}


def test_a_hold_is_a_decision_too(project: Project) -> None:
    """Until it is withdrawn; the verdict is the evidence's all the same."""
    run_id = project.run()
    project.tick()
    about = Asked(product="shop/orders", partition=DAY)
    profiles = declared_profiles(project.ledger)
    held, _ = sign_off(project.ledger, about, actor="ana", decision="hold", reason="a recount", profiles=profiles)
    project.ledger.seal()
    assert project.tick() == "1 runs tagged"
    assert project.tags(run_id) == {"ledger/verdict": "passed", "ledger/decision": "hold"}
    void(project.ledger, held, actor="ana", reason="counted")
    project.ledger.seal()
    assert project.tick() == "1 runs tagged"
    assert project.tags(run_id) == {"ledger/verdict": "passed", "ledger/decision": "ready"}
    assert project.tick() == "0 runs tagged"


def evaluate_late(instance: dg.DagsterInstance, run_id: str) -> None:
    """Write into a run's log that a check failed, as a step does that lived longer than its run."""
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
        job_name="shop",
        step_key="late",
        event_specific_data=dg.AssetCheckEvaluation(
            asset_key=orders.key,
            check_name="late",
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
        ),
    )
    instance.report_dagster_event(event, run_id)


@pytest.mark.soak
def test_the_tags_follow_what_comes_late(project: Project) -> None:
    """A record after the closing, and a correction of what the verdict rests on."""
    run_id = project.run(orders="skipped")
    project.tick()
    assert project.tags(run_id)["ledger/verdict"] == "skipped"
    write_engine_events(project.instance, run_id, ["noise"])
    project.tick()
    assert project.tags(run_id)["ledger/verdict"] == "skipped"
    fit = project.run()
    project.tick()
    assert project.tags(fit) == {"ledger/verdict": "passed", "ledger/decision": "ready"}
    sql = "SELECT event_id FROM events WHERE event_type = 'asset.materialized.v1' AND run_id = $r LIMIT 1"
    ((made,),) = rows(project.ledger, sql, r=fit)
    amend(project.ledger, made, reason="recounted", actor="ada")
    project.tick()
    assert project.tags(fit) == {"ledger/verdict": "passed", "ledger/decision": "manual_review_required"}
    evaluate_late(project.instance, fit)
    project.tick()
    assert project.tags(fit) == {"ledger/verdict": "failed", "ledger/decision": "hold_downstream"}


@pytest.mark.soak
def test_what_a_run_inherits_or_brings_along_is_not_its_own(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Dagster gives a run that is executed again its tags; until it is closed nothing is known of it."""
    project = Project(instance, ledger, grace_seconds=3_600.0)
    brought = {"ledger/verdict": "passed", "ledger/decision": "ready", "ours": "no"}
    run_id = project.run(**brought)
    project.tick()
    assert project.tags(run_id) == {"ledger/verdict": "unknown", "ledger/decision": "hold_downstream"}
    assert project.tick() == "0 runs tagged"
    assert rows(ledger, "SELECT count(*) FROM events WHERE event_type = 'run.tags_changed.v1'") == [(0,)]
    going_on = instance.create_run_for_job(project.defs.resolve_job_def("shop"), tags=brought)
    before = instance.get_run_record_by_id(going_on.run_id)
    assert project.tick() == "0 runs tagged"
    after = instance.get_run_record_by_id(going_on.run_id)
    assert before == after, "it is Dagster's alone while it goes on"
    instance.report_run_canceled(going_on)
    assert project.tick() == "1 runs tagged", "it was waiting for its end"
    assert project.tags(going_on.run_id)["ledger/verdict"] == "unknown"


def test_a_project_without_a_profile_gets_the_verdict_alone(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    project = Project(instance, ledger, profile=())
    run_id = project.run(no_weather="1", orders="skipped")
    project.tick()
    assert project.tags(run_id) == {"ledger/verdict": "skipped"}
    assert observations(instance, weather) == observations(instance, orders) == []


def test_it_can_be_switched_off(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    project = Project(instance, ledger, show_verdicts=False)
    assert {sensor.name for sensor in project.defs.sensors or ()} == {"ledger_complete"}
    assert not project.defs.get_repository_def().has_sensor_def("ledger_verdicts")


def test_what_dagster_refuses_is_warned_of_and_tried_again(project: Project, home: Path) -> None:
    """Here its database does; the tick goes on, the run is as it was, and capture knows nothing of it."""
    run_id, database = project.run(), home / "history" / "runs.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TRIGGER full BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'no room'); END")
    said = project.tick()
    assert said.startswith("0 runs tagged; not shown, tried again later: " + run_id)
    assert "no room" in said
    assert rows(project.ledger, "SELECT closed FROM runs") == [(True,)]
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER full")
    assert project.tick() == "1 runs tagged"
    assert project.tags(run_id)["ledger/verdict"] == "passed"


def test_an_asset_that_was_left_out_says_why(project: Project) -> None:
    """Where one looks for it, once a run; it makes nothing of the asset, and capture knows whose it is."""
    run_id = project.run(no_weather="1")
    before = outcomes(project.ledger, run_id) if project.tick() else {}
    again = project.run(no_weather="1")
    project.tick()
    project.tick()
    noted = observations(project.instance, weather)
    assert [(o.partition, o.description) for o in noted] == [(DAY, "skipped: no_forecast")] * 2
    said = [{label: value.value for label, value in o.metadata.items()} for o in noted]
    words = {"outcome": "skipped", "reason_code": "no_forecast", "reason": "<b>no</b> [forecast](x) | today"}
    assert said == [{"ledger/run": run, **words} for run in (again, run_id)]
    sql = "SELECT run_id, outcome FROM events WHERE event_type = 'ledger.reported.v1'"
    assert rows(project.ledger, sql) == [("", None)] * 2
    assert rows(project.ledger, "SELECT count(*) FROM events WHERE event_type = 'asset.observed.v1'") == [(0,)]
    assert outcomes(project.ledger, run_id) == before
    assert_holds(project.instance, project.ledger)


def reported(project: Project, run_id: str, folder: Path, **settings: Any) -> bool:
    """Do what a project's own sensor does with a run that was closed."""
    written = write_run_documents(project.ledger, run_id, folder, profile=SHOP)
    return report_evidence(project.instance, project.ledger, written, report, profile=SHOP, **settings)


def evaluations(instance: dg.DagsterInstance) -> list[tuple[str, str, str]]:
    """Return what Dagster shows of the check, the last first: its status, severity and what it is about."""
    key = dg.AssetCheckKey(report.key, "ledger_verdict")
    found = []
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=10):
        evaluation = record.evaluation
        assert evaluation
        about = str(evaluation.metadata["partitions"].value)
        found.append((record.status.value, evaluation.severity.value, about))
    return found


@pytest.mark.soak
def test_the_evidence_asset_has_the_final_report_and_a_check_that_is_green_only_if_it_passed(
    project: Project, tmp_path: Path
) -> None:
    """Once for each run, also for one that never started that asset; the last run's verdict is the check's."""
    runs = [project.run(), project.run(orders="skipped"), project.run(orders="fails")]
    project.tick()
    for _ in range(2):
        told = [reported(project, run_id, tmp_path / "out") for run_id in runs]
        assert told == [_ == 0] * 3
        project.tick()
    assert evaluations(project.instance) == [
        ("FAILED", "ERROR", DAY),
        ("FAILED", "WARN", DAY),
        ("SUCCEEDED", "WARN", DAY),
    ]
    noted = observations(project.instance, report)
    failed, skipped, fit = (o for o in noted if "summary" in o.metadata)
    assert [o.description for o in noted if "summary" not in o.metadata] == ["upstream skipped"]
    assert (fit.partition, fit.description) == (DAY, "final evidence: passed, ready")
    for observation, run_id in zip((fit, skipped, failed), runs, strict=True):
        assert observation.metadata["ledger/run"] == dg.MetadataValue.dagster_run(run_id)
        assert f"# Run `{run_id}`" in str(observation.metadata["summary"].value)
        for name in ("page", "report", "evidence"):
            link = observation.metadata[name]
            assert isinstance(link, dg.PathMetadataValue)
            assert Path(str(link.value)).is_file()
    size = entries(project.ledger)
    project.tick()
    assert entries(project.ledger) == size
    assert [project.tags(run_id)["ledger/verdict"] for run_id in runs] == ["passed", "skipped", "failed"]
    assert_holds(project.instance, project.ledger)


@pytest.mark.soak
@pytest.mark.parametrize("kind", [POSTGRES])
def test_it_is_the_same_on_a_shared_database(
    kind: str, storage_config: StorageConfig, tmp_path: Path, ledger: Ledger
) -> None:
    """Two runs of one partition: each is tagged, noted and reported once, and a second look finds nothing to do."""
    (tmp_path / "dagster.yaml").write_text(storage_config(kind, tmp_path))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        project = Project(instance, ledger)
        runs = [project.run(no_weather="1"), project.run(orders="fails")]
        for again in (False, True):
            project.tick()
            assert [reported(project, run_id, tmp_path / "out") for run_id in runs] == [not again] * 2
        project.tick()
        size = entries(ledger)
        assert project.tick() == "0 runs tagged"
        assert entries(ledger) == size
        assert [project.tags(run_id)["ledger/verdict"] for run_id in runs] == ["passed", "failed"]
        assert evaluations(instance) == [("FAILED", "ERROR", DAY), ("SUCCEEDED", "WARN", DAY)]
        assert len(observations(instance, weather)) == 1
        assert sync(instance, ledger).unchanged == 2
        assert_holds(instance, ledger)


@pytest.mark.soak
def test_where_the_documents_are_served_the_page_is_an_address(project: Project, tmp_path: Path) -> None:
    run_id = project.run()
    project.tick()
    assert reported(project, run_id, tmp_path, pages_at="https://reports.example.com/shop/")
    (observation,) = observations(project.instance, report)
    page = observation.metadata["page"]
    assert isinstance(page, dg.UrlMetadataValue)
    assert str(page.value).startswith(f"https://reports.example.com/shop/pages/{run_id}_final_")
    assert (tmp_path / str(page.value).removeprefix("https://reports.example.com/shop/")).is_file()


@pytest.mark.soak
def test_text_of_the_users_is_shown_as_it_is(project: Project, tmp_path: Path) -> None:
    """A reason is somebody's text: in the summary, which is Markdown, it makes neither markup nor a link."""
    run_id = project.run(no_weather="1")
    project.tick()
    reported(project, run_id, tmp_path)
    (observation,) = observations(project.instance, report)
    assert isinstance(observation.metadata["summary"], dg.MarkdownMetadataValue)
    summary = str(observation.metadata["summary"].value)
    assert r"\<b>no\</b> \[forecast\](x) \| today" in summary
    assert "<b>no" not in summary.replace(r"\<b>", "")
    (note,) = observations(project.instance, weather)
    assert isinstance(note.metadata["reason"], dg.TextMetadataValue)


@pytest.mark.soak
def test_nothing_is_reported_of_what_is_not_final_or_long_ago(
    instance: dg.DagsterInstance, ledger: Ledger, tmp_path: Path
) -> None:
    """History that is captured today is no news of today; it gets its tags."""
    project = Project(instance, ledger, grace_seconds=3_600.0)
    run_id = project.run(no_weather="1")
    project.tick()
    assert not reported(project, run_id, tmp_path)
    two_days = 2 * 86_400_000_000
    later = Ledger(ledger.root, clock=lambda: ledger.clock() + two_days)
    sync(instance, later)
    assert show_verdicts(instance, later).tagged == 1
    written = write_run_documents(later, run_id, tmp_path, profile=SHOP)
    assert written.final
    assert not report_evidence(instance, later, written, report, profile=SHOP)
    assert observations(instance, report) == observations(instance, weather) == []
    assert project.tags(run_id) == {"ledger/verdict": "passed", "ledger/decision": "ready"}


def test_a_run_that_only_looks_at_the_verdict_changes_none(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """Dagster's own button runs the check; it says what was closed last, and no plan and no verdict has it."""
    project = Project(instance, ledger, optional=())
    everything = project.defs.resolve_implicit_global_asset_job_def()
    first = everything.execute_in_process(instance=project.instance, partition_key=DAY)
    assert first.get_asset_check_evaluations()[0].passed is False, "nothing is closed yet"
    project.tick()
    assert project.tags(first.run_id) == {"ledger/verdict": "passed", "ledger/decision": "ready"}
    looking = project.defs.resolve_job_def("look").execute_in_process(instance=project.instance)
    assert looking.get_asset_check_evaluations()[0].passed is True
    project.tick()
    assert project.tags(looking.run_id) == {"ledger/verdict": "unknown"}
    assert not any(item.check_name for item in _planned(project.ledger, first.run_id))


def _planned(ledger: Ledger, run_id: str) -> tuple[Any, ...]:
    own = ledger.known([run_id])[run_id].own
    return read_plan(event.data for event in own if event.event_type == "plan.committed.v1").items


def test_a_check_of_the_users_that_has_the_name_counts(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """It is theirs, and that it failed is evidence, whatever it is called."""

    @dg.asset_check(asset=weather, name="ledger_verdict")
    def mine() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    defs = dg.Definitions(
        assets=[weather], asset_checks=[mine], jobs=[dg.define_asset_job("own", dg.AssetSelection.all())]
    )
    run_id = defs.resolve_job_def("own").execute_in_process(instance=instance, partition_key=DAY).run_id
    sync(instance, ledger)
    found = rows(ledger, f"SELECT verdict, reason FROM runs WHERE run_id = '{run_id}'")
    assert found == [("failed", "check ledger_verdict of shop/weather: did not pass")]
