"""Retry, rerun, replay and backfill: a plan first, real runs on a disk, and the result held to the plan."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.backfill import BulkActionStatus

from pipelines import recovery
from pipelines.data_factory import recovery_story
from pipelines.data_factory.recovery_plan import Basis, LedgerFound, Planner, Question
from pipelines.data_factory.recovery_runs import Project, carry_out
from pipelines.data_factory.recovery_saved import PlanChange, read_recovery_plan, write_recovery_plan
from pipelines.data_factory.recovery_story import RunOfPlan, read_story
from pipelines.definitions import DATA_FACTORY_JOB, factory_definitions
from pipelines.ingestion.settings import warehouse_of
from pipelines.ingestion.warehouse import BatchStamp
from pipelines.manifests import SourceSettings
from pipelines.partitions import daily_window
from run_evidence.ledger import EnvironmentFault, InputError, Ledger, UsageError, open_snapshot
from run_evidence.sensors.capture.capture import CaptureContext, capture_run

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST, SECOND, THIRD = "2026-04-15", "2026-04-16", "2026-04-17"
WINDOW = ("--from", FIRST, "--to", THIRD)


def name(day: str, number: int) -> str:
    return f"TKT-{day.replace('-', '')}-{number:06d}"


@dataclass(frozen=True)
class Shop:
    """The factory as an operator has it: deliveries, a warehouse, a ledger and a Dagster home on disk."""

    root: Path
    deliver: Callable[..., Path]
    ticket: Callable[..., dict[str, Any]]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root / "ledger")

    @property
    def plans(self) -> list[Path]:
        return sorted((self.root / "reports" / "backfill").glob("recovery-*.json"))

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.root / "dagster"))

    def runs(self) -> list[dg.DagsterRun]:
        """Return Dagster's runs, oldest first."""
        with self.instance() as instance:
            return list(reversed(instance.get_runs()))

    def day(self, day: str, *numbers: int, more: tuple[Any, ...] = (), **changes: Any) -> None:
        """Deliver a day's tickets of these numbers, and more lines."""
        rows = [self.row(day, number) for number in numbers]
        self.deliver(self.root / "deliveries", day, [*rows, *more], **changes)

    def row(self, day: str, number: int, **changes: Any) -> dict[str, Any]:
        batch_id = f"batch-{day.replace('-', '')}-001"
        return self.ticket(
            ticket_id=name(day, number), created_at=f"{day}T08:15:00Z", ingest_batch_id=batch_id, **changes
        )

    def run(self, day: str, **tags: str) -> str:
        """Run the whole job for a day as somebody would, and capture it."""
        with self.instance() as instance:
            job = factory_definitions().resolve_job_def(DATA_FACTORY_JOB)
            run = job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False, tags=tags)
            capture_run(instance, run.run_id, CaptureContext(self.ledger, grace_seconds=0.0))
        return run.run_id

    def tickets(self, day: str) -> int:
        return warehouse_of(os.environ).partition_state(daily_window(day)).ticket_count

    def snapshot(self, day: str) -> str:
        return warehouse_of(os.environ).partition_state(daily_window(day)).snapshot_id

    def planner(self) -> Planner:
        keys = [FIRST, SECOND, THIRD]
        settings = SourceSettings(self.root / "deliveries")
        basis = Basis("week06_data_factory", "3 days", ("step",), "deliveries", "warehouse.duckdb", None)
        now = datetime(2026, 4, 20, tzinfo=UTC)
        return Planner(settings, warehouse_of(os.environ), keys, "ada", now, Question("replay"), basis)


@pytest.fixture
def shop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_environment: None,
    deliver: Callable[..., Path],
    ticket: Callable[..., dict[str, Any]],
) -> Shop:
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    for variable, value in {
        "DAGSTER_HOME": tmp_path / "dagster",
        "LEDGER_URL": tmp_path / "ledger",
        "SEED_MANIFEST_PATH": tmp_path / "deliveries",
        "WEEK06_REPORT_DIR": tmp_path / "reports",
        "DATABASE_URL": f"duckdb:///{tmp_path / 'warehouse.duckdb'}",
        "WEEK06_OPERATOR": "ada",
    }.items():
        monkeypatch.setenv(variable, str(value))
    # A command loads the project once; here many tests do, each with an environment of its own.
    ReconstructableJob.get_definition.cache_clear()
    ReconstructableJob.get_repository_definition.cache_clear()
    return Shop(tmp_path, deliver, ticket)


@pytest.fixture
def recover(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Call the command, and return its exit code and the JSON that it printed."""

    def call(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = recovery.main([*arguments, "--json"], os.environ)
        return code, json.loads(capsys.readouterr().out)

    return call


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.soak
def test_a_plan_writes_nothing_but_itself(shop: Shop, recover: Callable[..., tuple[int, Any]]) -> None:
    """Neither Dagster, nor the ledger, nor the warehouse; it has the contract's fields for every target."""
    shop.day(FIRST, 1, 2)
    shop.run(FIRST)
    shop.day(SECOND, 1, 2)
    before = {part: everything(shop.root / part) for part in ("dagster", "ledger")}
    warehouse = (shop.root / "warehouse.duckdb").read_bytes()
    code, told = recover("--mode", "backfill", *WINDOW)
    assert {part: everything(shop.root / part) for part in before} == before
    assert (shop.root / "warehouse.duckdb").read_bytes() == warehouse
    (path,) = shop.plans
    assert (code, told["path"]) == (0, str(path))
    assert json.loads(path.read_text()) == told["plan"]
    assert read_recovery_plan(path).plan.plan_id == told["plan_id"]
    second, third = told["plan"]["targets"]
    assert second == {
        "partition_key": SECOND,
        "window_start": f"{SECOND}T00:00:00Z",
        "window_end": f"{THIRD}T00:00:00Z",
        "upstream_manifest_id": "manifest-tickets-test-20260416-001",
        "expected_input_count": 2,
        "current_output_count": 0,
        "gap_reason": "partition_not_produced",
        "proposed_action": "backfill",
        "idempotency_guard": second["idempotency_guard"],
        "downstream_impact": "2 tickets of this partition are missing downstream",
        "operator": "ada",
        "timestamp": second["timestamp"],
        "mode": "backfill",
        "why": "missing",
        "run_id": None,
        "expected_new_event_count": 2,
        "held": None,
        "input_snapshot_id": second["input_snapshot_id"],
    }
    assert (third["partition_key"], third["held"], third["expected_input_count"]) == (THIRD, "no_delivery", None)


@pytest.mark.soak
def test_a_backfill_fills_exactly_the_gaps_and_a_second_finds_none(
    shop: Shop, recover: Callable[..., tuple[int, Any]]
) -> None:
    """One day is there, one was never run, one failed: two runs, one Dagster backfill, one story."""
    shop.day(FIRST, 1, 2)
    shop.run(FIRST)
    shop.day(THIRD, 1, more=(b"{\n",))
    failed = shop.run(THIRD)
    shop.day(THIRD, 1, 2, 3)
    shop.day(SECOND, 1)
    code, story = recover("--mode", "backfill", *WINDOW, "--execute")
    assert (code, story["as_planned"], story["findings"]) == (0, True, [])
    whys = [target["why"] for target in story["plan"]["targets"]]
    assert whys[0] == "missing"
    assert whys[1].startswith(f"failed in run {failed[:8]}")
    runs = shop.runs()[2:]
    assert [run.tags["dagster/partition"] for run in runs] == [SECOND, THIRD]
    assert [run["run_id"] for run in story["runs"]] == [run.run_id for run in runs]
    assert [(run["inserted"], run["output_row_count"], run["verdict"]) for run in story["runs"]] == [
        (1, 1, "passed"),
        (3, 3, "passed"),
    ]
    assert [shop.tickets(day) for day in (FIRST, SECOND, THIRD)] == [2, 1, 3]
    with shop.instance() as instance:
        backfill = instance.get_backfill(story["plan_id"])
        assert backfill is not None
        assert backfill.status is BulkActionStatus.COMPLETED_SUCCESS
        assert {
            run.run_id for run in instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": story["plan_id"]}))
        } == {run.run_id for run in runs}
    with open_snapshot(shop.ledger, views=("runs",)) as snapshot:
        rows = snapshot.rows("SELECT DISTINCT trigger, trigger_name FROM runs WHERE trigger_name IS NOT NULL")
    assert rows == [("backfill", story["plan_id"])]

    code, again = recover("--mode", "backfill", *WINDOW, "--execute")
    assert (code, again["plan"]["targets"], again["runs"]) == (0, [], [])
    assert len(shop.runs()) == 4
    assert recover("--show", story["plan_id"]) == (0, story)
    assert recover("--show", "latest")[0] == 1  # nothing was planned, so nothing went as planned


@pytest.mark.soak
def test_what_would_only_fail_again_is_held_with_its_reason(
    shop: Shop, recover: Callable[..., tuple[int, Any]]
) -> None:
    """A refused delivery, and a day that nobody delivered: no run, and the exit code says that a gap is left."""
    shop.day(FIRST, 1, source={"checksum_sha256": "0" * 64})
    shop.day(SECOND, 1)
    code, story = recover("--mode", "backfill", *WINDOW, "--execute")
    held = {target["partition_key"]: target["held"] for target in story["plan"]["targets"] if target["held"]}
    assert held == {FIRST: "manifest_rejected", THIRD: "no_delivery"}
    assert [run["partition"] for run in story["runs"]] == [SECOND]
    assert (code, story["as_planned"]) == (1, True)


@pytest.mark.soak
def test_a_run_that_nobody_read_to_its_end_is_held_and_not_run_twice(
    shop: Shop, recover: Callable[..., tuple[int, Any]]
) -> None:
    """As a process leaves it that was killed: the hook recorded the steps, and nobody closed the run."""
    shop.day(FIRST, 1)
    with shop.instance() as instance:
        job = factory_definitions().resolve_job_def(DATA_FACTORY_JOB)
        run = job.execute_in_process(instance=instance, partition_key=FIRST, raise_on_error=False)
        code, told = recover("--mode", "backfill", "--partition", FIRST, "--execute")
        (target,) = told["plan"]["targets"]
        assert (code, target["held"], len(shop.runs())) == (1, "pending", 1)
        assert target["why"] == f"pending in run {run.run_id[:8]}"
        capture_run(instance, run.run_id, CaptureContext(shop.ledger, grace_seconds=0.0))
    code, told = recover("--mode", "backfill", "--partition", FIRST, "--execute")
    assert (code, told["plan"]["targets"], len(shop.runs())) == (0, [], 1)


@pytest.mark.soak
def test_a_retry_goes_on_with_the_run_that_failed(shop: Shop, recover: Callable[..., tuple[int, Any]]) -> None:
    """Dagster's re-execution from failure: what succeeded is not done again, and parent and root are named."""
    shop.day(FIRST, 1, more=(b"{\n",))
    failed = shop.run(FIRST, release_id="r-1")
    code, told = recover("--mode", "retry", "--run", failed[:8], "--execute")
    assert (code, told["plan"]["targets"][0]["held"], len(shop.runs())) == (1, "input_not_readable", 1)
    shop.day(FIRST, 1, 2)
    code, story = recover("--mode", "retry", "--run", failed[:8], "--execute")
    assert (code, story["as_planned"]) == (0, True)
    assert "week06__ingestion__raw_ticket_events_partitioned" in story["plan"]["targets"][0]["why"]
    run = shop.runs()[-1]
    assert (run.parent_run_id, run.root_run_id, story["runs"][0]["parent_run_id"]) == (failed, failed, failed)
    assert "week06__factory__manifest_gate" not in (run.step_keys_to_execute or ())
    assert "week06__silver__ticket_fact_partitioned" in (run.step_keys_to_execute or ())
    tags = {key: run.tags[key] for key in ("release_id", "recovery/mode", "recovery/operator", "recovery/plan")}
    assert tags == {
        "release_id": "r-1",
        "recovery/mode": "retry",
        "recovery/operator": "ada",
        "recovery/plan": story["plan_id"],
    }
    with pytest.raises(UsageError, match="did not fail") as caught:
        recover("--mode", "retry", "--partition", FIRST)
    assert f"--mode rerun --run {run.run_id}" in str(caught.value.next_step)


@pytest.mark.soak
def test_a_rerun_repeats_the_whole_batch_job(shop: Shop, recover: Callable[..., tuple[int, Any]]) -> None:
    """All its steps, of the run named or the newest of its day or batch; late rows come in with it."""
    shop.day(FIRST, 1)
    first = shop.run(FIRST)
    shop.day(SECOND, 1, more=(shop.row(FIRST, 2),))
    code, story = recover("--mode", "rerun", "--batch", "batch-20260415-001", "--execute")
    assert (code, story["as_planned"]) == (0, True)
    (target,) = story["plan"]["targets"]
    assert (target["run_id"], target["gap_reason"], target["proposed_action"]) == (
        first,
        "late_rows_arrived",
        "rerun",
    )
    assert (target["expected_new_event_count"], story["runs"][0]["inserted"]) == (1, 1)
    run = shop.runs()[-1]
    assert (run.parent_run_id, run.root_run_id) == (first, first)
    assert {"week06__factory__manifest_gate", "week06__ops__run_evidence_report"} <= set(
        run.step_keys_to_execute or ()
    )
    _, again = recover("--mode", "rerun", "--partition", FIRST)
    assert again["plan"]["targets"][0]["run_id"] == run.run_id


@pytest.mark.soak
def test_a_replay_changes_nothing_the_second_time(shop: Shop, recover: Callable[..., tuple[int, Any]]) -> None:
    """A batch is consumed again in every day that it has tickets of; the counts of both times add up."""
    shop.day(SECOND, 1, 2, more=(shop.row(FIRST, 7), shop.row(SECOND, 2)))
    shop.day(FIRST, 1)
    outcomes = []
    for _ in range(2):
        code, story = recover("--mode", "replay", "--batch", "batch-20260416-001", "--execute")
        assert (code, story["as_planned"], story["findings"]) == (0, True, [])
        outcomes.append([(run["partition"], run["inserted"], run["output_row_count"]) for run in story["runs"]])
        outcomes.append([shop.snapshot(day) for day in (FIRST, SECOND)])
    assert outcomes[0] == [(FIRST, 2, 2), (SECOND, 2, 2)]
    assert outcomes[2] == [(FIRST, 0, 2), (SECOND, 0, 2)]
    assert outcomes[1] == outcomes[3]
    with open_snapshot(shop.ledger, views=("materializations",)) as snapshot:
        counts = [
            json.loads(text)
            for (text,) in snapshot.rows(
                "SELECT metadata['counts'] FROM materializations WHERE asset_key LIKE '%raw_ticket_events%'"
            )
        ]
    assert len(counts) == 4
    assert all(each["in_partition"] == each["inserted"] + each["duplicates"] for each in counts)
    made = {key.to_user_string() for key in shop.runs()[-1].asset_selection or ()}
    assert made == {
        "week06/factory/manifest_gate",
        "week06/ingestion/raw_ticket_events_partitioned",
        "week06/silver/ticket_fact_partitioned",
    }


def test_a_replay_of_a_window_takes_the_days_that_it_touches(
    shop: Shop, recover: Callable[..., tuple[int, Any]]
) -> None:
    """A time is the window's end without itself, a day whole; what a batch brought too late is held."""
    for day in (FIRST, SECOND, THIRD):
        shop.day(day, 1)

    def days(*window: str) -> list[str]:
        return [t["partition_key"] for t in recover("--mode", "replay", *window)[1]["plan"]["targets"]]

    assert days("--from", f"{FIRST}T23:59:59Z", "--to", f"{THIRD}T00:00:00Z") == [FIRST, SECOND]
    assert days("--from", SECOND, "--to", SECOND) == [SECOND]
    shop.day("2026-04-25", 1, more=(shop.row(FIRST, 9), shop.row("2026-02-01", 9)))
    targets = recover("--mode", "replay", "--batch", "batch-20260425-001")[1]["plan"]["targets"]
    assert [(t["partition_key"], t["held"]) for t in targets] == [
        ("2026-02-01", "no_partition"),
        (FIRST, "delivered_outside_window"),
        ("2026-04-25", None),
    ]


@pytest.mark.soak
def test_where_the_result_is_not_the_plan_is_a_finding(shop: Shop) -> None:
    """One day gains a ticket after it was planned, another breaks; each is named, and a plan that was changed."""
    shop.day(FIRST, 1)
    shop.day(SECOND, 1)
    plan = shop.planner().backfill(LedgerFound({}, 0), [FIRST, SECOND], "both")
    path = write_recovery_plan(plan, shop.root / "reports")
    shop.day(FIRST, 1, 2)
    shop.day(SECOND, 1, source={"checksum_sha256": "0" * 64})
    project = Project("pipelines.definitions", "factory_definitions", DATA_FACTORY_JOB)
    with shop.instance() as instance:
        how = CaptureContext(shop.ledger, grace_seconds=0.0)
        carry_out(plan, project, instance, "ben", lambda _, run_id, __: capture_run(instance, run_id, how) and None)
        backfill = instance.get_backfill(plan.plan_id)
        assert backfill is not None
        assert backfill.status is BulkActionStatus.COMPLETED_FAILED
        data = backfill.asset_backfill_data
        assert data is not None
        graph = project.repository.asset_graph
        counts = {
            str(status.asset_key.path[-1]): {
                key.value: number for key, number in status.partitions_counts_by_status.items()
            }
            for status in data.get_backfill_status_per_asset_key(graph)
        }
        assert counts["manifest_gate"] == {"MATERIALIZED": 1, "FAILED": 1, "IN_PROGRESS": 0}
        assert counts["ticket_fact_partitioned"] == {"MATERIALIZED": 1, "FAILED": 1, "IN_PROGRESS": 0}
    story = read_story(read_recovery_plan(path), shop.ledger)
    found = [(finding.code, finding.partition) for finding in story.findings]
    assert found == [("output_differs", FIRST), ("inserted_differs", FIRST), ("run_not_succeeded", SECOND)]
    assert not story.as_planned
    path.write_text(path.read_text().replace('"expected_input_count": 1', '"expected_input_count": 2'))
    changed = read_story(read_recovery_plan(path), shop.ledger)
    assert changed.findings[0].code == "plan_changed"


@pytest.mark.parametrize(
    ("told", "codes"),
    [
        ({}, []),
        ({"verdict": "warned"}, []),
        *(({"verdict": word}, ["run_not_passed"]) for word in ("failed", "skipped", "not_evaluated", "unknown")),
        ({"output_row_count": None}, ["output_differs"]),
        ({"inserted": None}, ["inserted_differs"]),
        ({"inserted": 0}, ["inserted_differs"]),
    ],
)
def test_green_in_dagster_is_not_as_planned(shop: Shop, told: dict[str, Any], codes: list[str]) -> None:
    """A run that succeeded went as planned when its outcomes are the planned ones, recorded as such."""
    shop.day(FIRST, 1, 2)
    plan = shop.planner().backfill(LedgerFound({}, 0), [FIRST], "one")
    stored = read_recovery_plan(write_recovery_plan(plan, shop.root / "reports"))
    run = RunOfPlan("r-1", FIRST, "succeeded", "passed", True, None, stored.sha256, 2, 2, "ben")
    assert [each.code for each in recovery_story._findings(stored, [replace(run, **told)])] == codes


@pytest.mark.soak
def test_a_plan_that_was_not_carried_out_has_not_come_to_anything(
    shop: Shop, recover: Callable[..., tuple[int, Any]]
) -> None:
    shop.day(FIRST, 1)
    shop.run(FIRST)
    shop.day(SECOND, 1)
    _, told = recover("--mode", "backfill", "--partition", SECOND)
    code, story = recover("--show", told["plan_id"][:6])
    assert (code, [finding["code"] for finding in story["findings"]]) == (1, ["not_run"])
    (path,) = shop.plans
    path.write_text(path.read_text().replace('"ada"', '"eve"'))
    _, story = recover("--show", "latest")
    assert [finding["code"] for finding in story["findings"]] == ["plan_changed", "not_run"]


@pytest.mark.parametrize(
    ("arguments", "said", "next_step"),
    [
        ([], "--mode is not given", "--mode"),
        (["--mode", "retry"], "takes one of --partition, --run; it got none", "--mode retry --run RUN_ID"),
        (["--mode", "backfill", "--run", "x"], "it got --run", "--mode backfill --from"),
        (["--mode", "retry", "--run", "ffffffff"], "has no such run", "ledger runs"),
        (["--mode", "rerun", "--partition", FIRST], "never ran for", "--mode backfill"),
        (["--mode", "replay", "--batch", "nope"], "named by no manifest", "seed_loader"),
        (
            ["--mode", "backfill", "--partition", "2025-01-01"],
            "no partition of the factory: it has 2026",
            "--mode backfill",
        ),
        (
            ["--mode", "replay", "--from", "2025-01-01", "--to", "2025-01-02"],
            "no partition of the factory",
            "backfill",
        ),
        (["--mode", "backfill", "--from", "May"], "expected a day", "--from 2026-04-17"),
        (["--mode", "backfill", "--from", THIRD, "--to", FIRST, "--execute"], "is not before", "--mode backfill"),
        (["--plan", "ffff", "--mode", "backfill"], "has its own question", "--plan ffff --execute"),
        (["--plan", "ffff", "--execute"], "there is no such plan", "--show latest"),
        (["--mode", "backfill", "--asset", "nope"], "knows no asset", "--asset week06/silver"),
        (["--show", "ffff"], "there is no such plan", "--show latest"),
    ],
)
def test_what_cannot_be_planned_says_how_to_get_on(
    shop: Shop, recover: Callable[..., tuple[int, Any]], arguments: list[str], said: str, next_step: str
) -> None:
    shop.day(FIRST, 1)
    with pytest.raises(UsageError, match=said) as caught:
        recover(*arguments)
    assert next_step in str(caught.value.next_step)
    assert shop.plans == []


def test_what_has_no_partition_is_not_said_to_miss_none(
    shop: Shop, recover: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backfill that was asked of no partition has found nothing to be complete."""
    monkeypatch.setenv("WEEK06_PARTITION_START_DATE", "2999-01-01")
    with pytest.raises(UsageError, match="no partition yet"):
        recover("--mode", "backfill", "--execute")
    assert shop.plans == []


@pytest.mark.soak
def test_the_plan_that_was_reviewed_is_carried_out_once(
    shop: Shop, recover: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    """One plans, another carries it out: both are named by the run, and plan, runs and result are one story."""
    shop.day(FIRST, 1, 2)
    shop.day(SECOND, 1)
    _, told = recover("--mode", "backfill", "--from", FIRST, "--to", SECOND)
    assert recover("--plan", told["plan_id"]) == (0, told)
    code, story = recover("--plan", told["path"], "--operator", "ben", "--execute")
    assert (code, story["as_planned"], story["plan_id"], story["plan"]) == (0, True, told["plan_id"], told["plan"])
    assert [(run["partition"], run["executed_by"]) for run in story["runs"]] == [(FIRST, "ben"), (SECOND, "ben")]
    assert shop.runs()[0].tags["recovery/operator"] == "ada"
    assert recover("--show", told["plan_id"]) == (0, story)
    copy = tmp_path / Path(told["path"]).name
    copy.write_bytes(Path(told["path"]).read_bytes())
    with pytest.raises(UsageError, match="was carried out already, by ben: 2 runs") as caught:
        recover("--plan", str(copy), "--execute")
    assert str(caught.value.next_step).endswith(f"--show {told['plan_id']}")
    assert len(shop.runs()) == 2


def test_a_plan_whose_ground_has_moved_is_not_carried_out(
    shop: Shop, recover: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing that changed is named, with how to plan again; what is as it was before holds once more."""
    shop.day(FIRST, 1, 2)
    _, told = recover("--mode", "backfill", "--partition", FIRST)

    def refused() -> list[str]:
        code, answer = recover("--plan", told["path"], "--execute")
        assert (code, answer["as_planned"], answer["next_step"]) == (
            1,
            False,
            f"python -m pipelines.recovery --mode backfill --partition {FIRST}",
        )
        return [str(PlanChange(**change)) for change in answer["changed"]]

    shop.day(FIRST, 1, 3)
    (snapshot,) = refused()
    assert snapshot.startswith(f"{FIRST}: input_snapshot_id was ")
    shop.day(FIRST, 1, 2, 3)
    assert {f"{FIRST}: expected_input_count was 2, is 3", f"{FIRST}: expected_new_event_count was 2, is 3"} <= set(
        refused()
    )
    shop.day(FIRST, 1, source={"checksum_sha256": "0" * 64})
    assert f"{FIRST}: held was none, is manifest_rejected" in refused()
    shop.day(FIRST, 1, 2)
    assert recover("--plan", told["path"]) == (0, told)
    with monkeypatch.context() as patch:
        patch.setenv("DATABASE_URL", f"duckdb:///{shop.root / 'other.duckdb'}")
        assert refused() == [f"warehouse was {shop.root / 'warehouse.duckdb'}, is {shop.root / 'other.duckdb'}"]
    warehouse_of(os.environ).write_batch([], BatchStamp("r", None, datetime(2026, 4, 20, tzinfo=UTC)))
    assert f"{FIRST}: current_output_count was ?, is 0" in refused()
    assert shop.runs() == []


@pytest.mark.parametrize(
    ("damage", "said", "next_step"),
    [
        (lambda text: text.replace('"ada"', '"eve"', 1), "was changed after the plan was made", "plan again"),
        (lambda text: text[:-1], "was changed after the plan was made", "plan again"),
        (lambda text: text[: len(text) // 2], "this is no recovery plan", "plan again"),
        (lambda text: text.replace("recovery_plan_v1", "recovery_plan_v2"), "reads formats up to", "made it"),
        (lambda text: text.replace("recovery_plan_v1", "other_v1"), "its format is 'other_v1'", "plan again"),
        (lambda _: '{"partition_key": "2026-04-17", "mode": "dry-run"}', "this is no recovery plan", "plan again"),
    ],
)
def test_only_a_plan_as_it_was_written_is_carried_out(
    shop: Shop,
    recover: Callable[..., tuple[int, Any]],
    damage: Callable[[str], str],
    said: str,
    next_step: str,
) -> None:
    """Refused before anything is asked of warehouse or ledger, with the file's name."""
    path = write_recovery_plan(shop.planner().replay_days([FIRST], "one"), shop.root / "reports")
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=said) as caught:
        recover("--plan", str(path), "--execute")
    assert str(path) in str(caught.value)
    assert next_step in str(caught.value.next_step)


@pytest.mark.parametrize("member", ["format", "question", "basis", "targets", "asked_partition_count"])
def test_a_plan_that_lacks_something_is_none(
    shop: Shop, recover: Callable[..., tuple[int, Any]], member: str
) -> None:
    """Also where it is named by its own digest, so that nothing shows that it was changed."""
    document = shop.planner().replay_days([FIRST], "one").to_document()
    del document[member]
    text = json.dumps(document, indent=2) + "\n"
    path = shop.root / f"recovery-replay-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"this is no recovery plan.*{member}") as caught:
        recover("--plan", str(path), "--execute")
    assert "plan again" in str(caught.value.next_step)


def test_nobody_recovers_without_a_name(
    shop: Shop, recover: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command to type is named; a blank is no name."""
    monkeypatch.setenv("WEEK06_OPERATOR", " ")
    with pytest.raises(UsageError, match="no operator") as caught:
        recover("--mode", "backfill", *WINDOW)
    assert str(caught.value.next_step).endswith("--operator NAME")


@pytest.mark.soak
def test_what_is_not_known_is_not_missing(
    shop: Shop, recover: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With runs in Dagster and no ledger nobody knows what they made; without an instance neither."""
    shop.day(FIRST, 1)
    shop.run(FIRST)
    monkeypatch.setenv("LEDGER_URL", str(shop.root / "no-ledger"))
    with pytest.raises(EnvironmentFault, match="Dagster has runs") as caught:
        recover("--mode", "backfill", *WINDOW)
    assert caught.value.next_step == "ledger sync"
    monkeypatch.delenv("DAGSTER_HOME")
    with pytest.raises(EnvironmentFault, match="DAGSTER_HOME is not set"):
        recover("--mode", "rerun", "--partition", FIRST)


@pytest.mark.parametrize("text", ['{"mode": "undo"}', "null", "[" * 100_000])
def test_a_file_that_is_no_plan_is_named(shop: Shop, recover: Callable[..., tuple[int, Any]], text: str) -> None:
    folder = shop.root / "reports" / "backfill"
    folder.mkdir(parents=True)
    (folder / "recovery-backfill-abc.json").write_text(text)
    with pytest.raises(InputError, match=r"recovery-backfill-abc\.json: this is no recovery plan"):
        recover("--show", "abc")


@pytest.mark.soak
def test_a_hostile_name_reaches_no_terminal(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither with the plan nor with the story."""
    shop.day(FIRST, 1)
    hostile = "a\x1b[2J\nda"
    assert (
        recovery.main(["--mode", "backfill", "--partition", FIRST, "--operator", hostile, "--execute"], os.environ)
        == 0
    )
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "a\\x1b[2J\\nda" in printed.out
    assert "as planned: 1 runs for 1 partitions, 0 held, 0 findings" in printed.out
