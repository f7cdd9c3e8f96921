"""Real runs of the job on an instance in memory: what Dagster's log says happened, and what the files hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipelines.definitions import OBSERVE_JOB, base_definitions
from pipelines.partitions import daily_window
from pipelines.samples import (
    BAD_DAY,
    CLEAN_DAY,
    EMPTY_DAY,
    INVALID_DAY,
    ORDINARY_DAY,
    make_deliveries,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Factory, FinishedRun

    from pipelines.ingestion.databases import PostgresDatabase

EVENT = dg.DagsterEventType
GATE = "week06__factory__manifest_gate"
RAW = "week06__ingestion__raw_ticket_events_partitioned"
CORE = {"manifest_gate", "raw_ticket_events_partitioned", "ticket_fact_partitioned", "backfill_plan"}
CHECKS = {
    *("manifest_consistency", "duplicate_idempotency", "partition_completeness"),
    *("row_count_output_count", "required_field_null_rate", "source_to_silver_reconcile"),
}


def _skipped_steps(run: FinishedRun) -> set[str]:
    return {str(event.step_key) for event in run.events(EVENT.STEP_SKIPPED)}


def test_a_clean_partition_succeeds(factory: Factory) -> None:
    """Every core asset materializes, every check passes, and the numbers agree with the warehouse."""
    run = factory.run(CLEAN_DAY)
    assert run.success
    assert run.materialized() == CORE
    assert run.check_reasons() == {name: [] for name in CHECKS}
    assert {check.description for check in run.checks().values()} == {None}
    raw, fact = run.metadata("raw_ticket_events_partitioned"), run.metadata("ticket_fact_partitioned")
    state = factory.warehouse.partition_state(daily_window(CLEAN_DAY))
    assert raw["output_row_count"] == state.event_count == raw["counts"]["inserted"]
    assert (
        raw["input_row_count"] == raw["counts"]["in_partition"] == state.event_count + raw["counts"]["duplicates"]
    )
    assert (fact["input_row_count"], fact["output_row_count"]) == (state.event_ticket_count, state.ticket_count)
    assert fact["output_snapshot_id"] == raw["output_snapshot_id"] == state.snapshot_id
    assert (
        fact["source_snapshot_id"]
        == raw["source_snapshot_id"]
        == run.metadata("manifest_gate")["source_snapshot_id"]
    )


@pytest.mark.soak
def test_the_gate_names_batch_and_manifest_and_tags_the_run(factory: Factory) -> None:
    """A tag that is already there is the operator's and stays."""
    run = factory.run(CLEAN_DAY)
    gate = run.metadata("manifest_gate")
    assert (gate["batch_id"], gate["manifest_id"]) == ("batch-20260417-001", "manifest-tickets-daily-20260417-001")
    assert factory.tags(run)["batch_id"] == "batch-20260417-001"
    tagged = factory.run(CLEAN_DAY, tags={"batch_id": "batch-of-mine"})
    assert factory.tags(tagged)["batch_id"] == "batch-of-mine"


def test_the_plan_is_written_to_a_file_of_the_run(factory: Factory) -> None:
    """Its metadata names the file, and the file says what the metadata says."""
    run = factory.run(CLEAN_DAY)
    metadata = run.metadata("backfill_plan")
    path = factory.root / "reports" / "backfill" / f"backfill_plan-{CLEAN_DAY}-{run.run_id}.json"
    assert metadata.pop("report_path") == str(path)
    plan = json.loads(path.read_text())
    assert metadata == {name: value for name, value in plan.items() if value is not None}
    assert (plan["partition_key"], plan["mode"]) == (CLEAN_DAY, "dry-run")
    assert plan["expected_input_count"] == run.metadata("ticket_fact_partitioned")["output_row_count"]


def test_a_dry_run_explains_and_writes_nothing(factory: Factory) -> None:
    """No materialization, no warehouse; the skip says why, an observation has the counts, Silver is skipped."""
    run = factory.run(ORDINARY_DAY, dry_run=True)
    assert run.success
    assert run.materialized() == {"manifest_gate", "backfill_plan"}
    assert run.skips()["raw_ticket_events_partitioned"]["reason_code"] == "dry_run_no_db_write"
    observed = run.observations()["raw_ticket_events_partitioned"]
    assert observed["dry_run"] is True
    assert observed["counts"]["in_partition"] > 0
    assert observed["counts"]["inserted"] is None
    assert not (factory.root / "warehouse.duckdb").exists()
    assert "week06__silver__ticket_fact_partitioned" in _skipped_steps(run)
    assert set(run.checks()) == {"manifest_consistency"}
    assert "current_output_count" not in run.metadata("backfill_plan")


@pytest.mark.soak
def test_a_dry_run_can_be_configured_for_the_deployment_and_undone_for_a_run(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run config has the last word."""
    monkeypatch.setenv("WEEK06_INGEST_DRY_RUN", "true")
    assert "raw_ticket_events_partitioned" not in factory.run(CLEAN_DAY).materialized()
    assert factory.run(CLEAN_DAY, dry_run=False).materialized() == CORE


def test_a_rejected_manifest_fails_the_run(factory: Factory) -> None:
    """The gate is red, with reasons; nothing downstream ran, nothing was written, and the batch is known."""
    run = factory.run(BAD_DAY)
    assert not run.success
    description, metadata = run.failure(GATE)
    assert f"the manifest gate rejects partition {BAD_DAY}" in description
    assert "Next step: have the delivery corrected" in description
    assert metadata["reason_codes"] == ["checksum_mismatch", "size_mismatch"]
    assert metadata["judgement"] == "reject"
    assert metadata["batch_id"] == factory.tags(run)["batch_id"] == "batch-20260415-001"
    assert run.materialized() == set()
    assert not (factory.root / "warehouse.duckdb").exists()


def test_a_rejected_manifest_leaves_the_optional_neighbours_explained(factory: Factory) -> None:
    """They are read first, so that a failed run still has their outcomes."""
    assert set(factory.run(BAD_DAY).skips()) == {"lakehouse_state", "support_kpi_mart"}


def test_a_partition_without_rows_is_materialized_empty_and_warned_about(factory: Factory) -> None:
    """0 rows are a product; that there were none to ingest is for a person to look at."""
    run = factory.run(EMPTY_DAY)
    assert run.success
    assert run.materialized() == CORE
    for asset in ("raw_ticket_events_partitioned", "ticket_fact_partitioned"):
        assert (run.metadata(asset)["input_row_count"], run.metadata(asset)["output_row_count"]) == (0, 0)
    completeness = run.checks()["partition_completeness"]
    assert (completeness.passed, completeness.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert run.check_reasons()["partition_completeness"] == ["partition_has_no_seed_rows"]
    assert run.check_reasons()["required_field_null_rate"] == ["no_valid_input_rows"]
    assert run.check_reasons()["source_to_silver_reconcile"] == ["nothing_compared"]
    assert run.checks()["row_count_output_count"].passed


def test_invalid_rows_are_refused_counted_and_warned_about(factory: Factory) -> None:
    """The partition is handed over without them, and two checks ask a person to look."""
    run = factory.run(INVALID_DAY)
    raw = run.metadata("raw_ticket_events_partitioned")
    assert raw["counts"]["invalid_in_partition"] == sum(raw["violations"].values()) == len(raw["examples"]) == 7
    with factory.warehouse.database.reading() as read:
        assert read("SELECT count(*), count(DISTINCT ingest_run_id) FROM ticket_quarantine") == [(7, 1)]
    description = run.checks()["partition_completeness"].description
    assert description.startswith(f"tickets refused: 7, first {raw['examples'][0]}. Next step: have the delivery")
    assert f"{factory.deliveries / INVALID_DAY / 'tickets.jsonl'}:" in description
    assert run.checks()["required_field_null_rate"].description.startswith(
        "refused tickets lack required fields: customer_id:missing (1), owner:null (1). Next step:"
    )
    reasons = run.check_reasons()
    assert reasons["partition_completeness"] == ["invalid_rows_rejected"]
    assert reasons["required_field_null_rate"] == ["required_field_nulls_detected"]
    assert {name for name, check in run.checks().items() if not check.passed} == {
        "partition_completeness",
        "required_field_null_rate",
    }


def test_running_twice_changes_nothing(factory: Factory) -> None:
    """The second run inserts 0 and updates 0, and Silver has the same digest."""
    first, second = (factory.run(INVALID_DAY).metadata("raw_ticket_events_partitioned") for _ in range(2))
    assert first["counts"]["inserted"] > 0
    assert (second["counts"]["inserted"], second["counts"]["updated"]) == (0, 0)
    assert second["counts"]["duplicates"] == second["counts"]["in_partition"]
    for name in ("output_row_count", "output_snapshot_id", "source_snapshot_id"):
        assert first[name] == second[name]


@pytest.mark.soak
def test_late_rows_arrive_with_the_second_run(factory: Factory) -> None:
    """The world before and after the later deliveries: the run after them inserts exactly the late rows."""
    for later in (ORDINARY_DAY, EMPTY_DAY):
        for path in (factory.deliveries / later).iterdir():
            path.unlink()
    first = factory.run(CLEAN_DAY).metadata("raw_ticket_events_partitioned")
    make_deliveries(factory.deliveries, tickets_per_day=40)
    run = factory.run(CLEAN_DAY)
    second = run.metadata("raw_ticket_events_partitioned")
    assert (first["counts"]["late"], second["counts"]["late"] > 0) == (0, True)
    assert second["counts"]["inserted"] == second["output_row_count"] - first["output_row_count"] > 0
    assert second["output_snapshot_id"] != first["output_snapshot_id"]
    assert run.check_reasons() == {name: [] for name in CHECKS}


@pytest.mark.soak
def test_a_malformed_line_fails_with_file_and_line(
    factory: Factory, deliver: Callable[..., Path], ticket: Callable[..., Any]
) -> None:
    """Nothing of the delivery is ingested, the good lines neither, and the counts are in the failure."""
    path = deliver(factory.deliveries, "2026-04-10", [ticket(created_at="2026-04-10T00:00:00Z"), b"{oops\n"])
    run = factory.run("2026-04-10")
    assert not run.success
    description, metadata = run.failure(RAW)
    assert f"{path.with_name('tickets.jsonl')}:2: not JSON" in description
    assert metadata["reason_codes"] == ["ticket_ingest_errors"]
    assert (metadata["counts"]["errors"], metadata["counts"]["valid"]) == (1, 1)
    assert run.materialized() == {"manifest_gate", "backfill_plan"}
    state = factory.run(CLEAN_DAY).metadata("raw_ticket_events_partitioned")
    assert state["counts"]["duplicates"] == state["input_row_count"] - state["output_row_count"]
    assert factory.warehouse.partition_state(daily_window("2026-04-10")).event_count == 0


def test_an_unreadable_manifest_fails_the_gate_by_name(factory: Factory) -> None:
    """The file, what was expected and the next step."""
    (factory.deliveries / CLEAN_DAY / "manifest.json").write_text("{")
    run = factory.run(CLEAN_DAY)
    description, metadata = run.failure(GATE)
    assert f"{factory.deliveries / CLEAN_DAY / 'manifest.json'}: expected a JSON object" in description
    assert "Next step:" in description
    assert metadata["reason_codes"] == ["manifest_invalid"]


def test_a_missing_input_folder_fails_the_gate_by_name(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is not there is not an empty delivery."""
    monkeypatch.setenv("SEED_MANIFEST_PATH", str(factory.root / "nowhere"))
    description, metadata = factory.run(CLEAN_DAY).failure(GATE)
    assert f"{factory.root / 'nowhere'}: no such manifest file or folder" in description
    assert "SEED_MANIFEST_PATH" in description
    assert metadata["reason_codes"] == ["input_invalid"]


def test_a_limit_leaves_rows_out_and_the_checks_find_it(factory: Factory) -> None:
    """What was cut off is missing, and missing rows are an error, not a small success."""
    run = factory.run(CLEAN_DAY, limit=5)
    assert run.metadata("raw_ticket_events_partitioned")["limit_reached"] is True
    assert run.check_reasons()["partition_completeness"] == ["rows_missing"]
    assert run.check_reasons()["row_count_output_count"] == ["row_count_mismatch"]
    assert run.check_reasons()["source_to_silver_reconcile"] == ["not_in_bronze"]
    assert run.checks()["row_count_output_count"].severity is dg.AssetCheckSeverity.ERROR


def test_absent_neighbours_are_not_available_and_block_nothing(factory: Factory) -> None:
    """Each says why, as a declaration of its own; neither materializes and neither is an observation."""
    run = factory.run(CLEAN_DAY)
    skips = run.skips()
    assert {name: (skip["outcome"], skip["reason_code"]) for name, skip in skips.items()} == {
        "lakehouse_state": ("not_available", "week04_lakehouse_not_available"),
        "support_kpi_mart": ("not_available", "week05_analytics_not_available"),
    }
    assert run.observations() == {}


def test_neighbours_switched_off_are_skipped(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's choice has its own outcome."""
    monkeypatch.setenv("LAKEHOUSE_ENABLED", "false")
    monkeypatch.setenv("ANALYTICS_ENABLED", "false")
    skips = factory.run(CLEAN_DAY).skips()
    assert {name: skip["outcome"] for name, skip in skips.items()} == {
        "lakehouse_state": "skipped",
        "support_kpi_mart": "skipped",
    }


def test_present_neighbours_are_observed_not_produced(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their state is in an observation; this job made none of it, so there is no materialization."""
    report, results, registry = (factory.root / name for name in ("w4.json", "w5.json", "metrics.yml"))
    report.write_text(json.dumps({"tables": {"silver.ticket_fact": {"snapshot_id": 4711}}}))
    results.write_text(json.dumps({"metadata": {"invocation_id": "inv-1"}, "results": [{"status": "success"}]}))
    registry.write_text("metrics: [{name: backlog}]\n")
    monkeypatch.setenv("WEEK06_WEEK04_REPORT_PATH", str(report))
    monkeypatch.setenv("WEEK06_WEEK05_RUN_RESULTS_PATH", str(results))
    monkeypatch.setenv("METRIC_REGISTRY_PATH", str(registry))
    run = factory.run(CLEAN_DAY)
    assert run.success
    assert run.materialized() == CORE
    assert run.skips() == {}
    observed = run.observations()
    assert observed["lakehouse_state"]["lakehouse_snapshot_id"] == 4711
    mart = observed["support_kpi_mart"]
    assert (mart["dbt_invocation_id"], mart["semantic_metric_count"], mart["failed_node_count"]) == ("inv-1", 1, 0)


def test_neighbours_from_before_the_partition_are_not_observed(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day that counts is the run's, though the two assets have no partitions; the main line goes on."""
    report, results, registry = (factory.root / name for name in ("w4.json", "w5.json", "metrics.yml"))
    made = {"generated_at": f"{CLEAN_DAY}T12:00:00Z"}
    report.write_text(json.dumps({"tables": {"silver.ticket_fact": {"snapshot_id": 4711}}, **made}))
    results.write_text(json.dumps({"metadata": {"invocation_id": "inv-1", **made}}))
    registry.write_text("metrics: []")
    monkeypatch.setenv("WEEK06_WEEK04_REPORT_PATH", str(report))
    monkeypatch.setenv("WEEK06_WEEK05_RUN_RESULTS_PATH", str(results))
    monkeypatch.setenv("METRIC_REGISTRY_PATH", str(registry))
    run = factory.run(CLEAN_DAY)
    assert run.success
    assert {asset: (skip["outcome"], skip["reason_code"]) for asset, skip in run.skips().items()} == {
        "lakehouse_state": ("not_available", "week04_lakehouse_older_than_partition"),
        "support_kpi_mart": ("not_available", "week05_analytics_older_than_partition"),
    }
    assert not {"lakehouse_state", "support_kpi_mart"} & run.observations().keys()


def test_a_newer_ticket_takes_the_release_of_the_run(factory: Factory) -> None:
    """The run's tag says which release wrote a fact."""
    factory.run(CLEAN_DAY, tags={"release_id": "release-7"})
    with factory.warehouse.database.reading() as run:
        assert run("SELECT DISTINCT release_id FROM ticket_fact") == [("release-7",)]


def test_a_run_without_a_partition_fails_and_says_how_to_name_one(factory: Factory) -> None:
    """No day is guessed."""
    run = factory.run(None)
    assert not run.success
    description, metadata = run.failure(GATE)
    assert "this run has no partition" in description
    assert "WEEK06_DEFAULT_PARTITION" in description
    assert metadata["reason_codes"] == ["input_invalid"]
    assert run.materialized() == set()


@pytest.mark.soak
def test_the_default_partition_is_that_of_runs_that_name_none(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on the run and on all it makes, as if it had been named; who names one gets that one."""
    monkeypatch.setenv("WEEK06_DEFAULT_PARTITION", CLEAN_DAY)
    for named, expected in ((None, CLEAN_DAY), (EMPTY_DAY, EMPTY_DAY)):
        run = factory.run(named)
        made = run.events(EVENT.ASSET_MATERIALIZATION)
        assert factory.tags(run)["dagster/partition"] == expected
        assert {event.partition for event in made} == {expected}
        assert run.materialized() == CORE


def test_sources_are_observed_in_a_job_of_their_own(factory: Factory) -> None:
    """One observation with what lies there, good or bad; its data version follows the contents."""

    def observe() -> dict[str, Any]:
        job = base_definitions().resolve_job_def(OBSERVE_JOB)
        result = job.execute_in_process(instance=factory.instance)
        return factory.finished(result).observations()["seed_manifests"]

    first = observe()
    assert (first["manifest_count"], first["source_count"], first["problems"]) == (5, 5, [])
    (factory.deliveries / CLEAN_DAY / "tickets.jsonl").write_text("")
    assert observe()["source_snapshot_id"] != first["source_snapshot_id"]


@pytest.mark.postgres
def test_the_same_job_runs_on_postgresql(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase
) -> None:
    """With DATABASE_URL set the numbers and the snapshot are those of the embedded file."""
    embedded = factory.run(CLEAN_DAY)
    monkeypatch.setenv("DATABASE_URL", postgres.url)
    run = factory.run(CLEAN_DAY)
    assert run.success
    assert run.check_reasons() == {name: [] for name in CHECKS}
    for asset in ("raw_ticket_events_partitioned", "ticket_fact_partitioned"):
        here, there = run.metadata(asset), embedded.metadata(asset)
        assert here["output_snapshot_id"] == there["output_snapshot_id"]
        assert (here["input_row_count"], here["output_row_count"]) == (
            there["input_row_count"],
            there["output_row_count"],
        )
