"""Real Dagster runs, captured as they are, and their evidence.

No annotations are postponed here: Dagster reads the ones on asset functions when it builds them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from pipelines.delivery import WEEK06
from run_evidence.evidence import WrittenDocuments, write_run_documents
from run_evidence.ledger import Ledger
from run_evidence.sensors import OptionalDependency, skip
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.capture.policy import Policy

Document = dict[str, Any]

DAY = "2026-04-17"
DAILY = dg.DailyPartitionsDefinition("2026-04-01")
FACT = dg.AssetKey(["week06", "silver", "ticket_fact_partitioned"])
RAW = dg.AssetKey(["week06", "ingestion", "raw_ticket_events_partitioned"])
LAKE = dg.AssetKey(["week06", "external", "lakehouse_state"])
POLICY = Policy(
    (OptionalDependency("week06/external/lakehouse_state", "week04_lakehouse_not_available", "Week04 is not here"),)
)


class World:
    """A Dagster instance and a ledger; `run` materializes and writes the documents."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.instance = dg.DagsterInstance.ephemeral(str(home / "dagster"))
        self.ledger = Ledger(home / "ledger")

    def run(self, *definitions: Any, grace_seconds: float = 0, **tags: str) -> tuple[Document, Document]:
        """Run, capture, write; return the hand-over document and the report."""
        result = dg.materialize(
            list(definitions), instance=self.instance, partition_key=DAY, raise_on_error=False, tags=tags
        )
        how = CaptureContext(self.ledger, policy=POLICY, grace_seconds=grace_seconds)
        capture_run(self.instance, result.run_id, how)
        return read(write_run_documents(self.ledger, result.run_id, self.home / "out", profile=WEEK06))


def read(written: WrittenDocuments) -> tuple[Document, Document]:
    """Read a run's one hand-over document and its report."""
    (path,) = written.evidence
    return orjson.loads(path.read_bytes()), orjson.loads(written.report.read_bytes())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Make a Dagster instance and a ledger of its own."""
    (tmp_path / "dagster").mkdir()
    return World(tmp_path)


@dg.asset(key=RAW, partitions_def=DAILY)
def raw() -> dg.MaterializeResult[Any]:
    """Make Bronze."""
    return dg.MaterializeResult(metadata={"input_row_count": 12})


@dg.asset(key=RAW, partitions_def=DAILY)
def broken_raw() -> None:
    """Fail before anything is made."""
    raise dg.Failure("no source", metadata={"reason_codes": dg.MetadataValue.json(["ticket_ingest_errors"])})


@dg.asset(key=RAW, partitions_def=DAILY, output_required=False)
def dry_raw(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Write nothing, and say so."""
    skip(context, reason_code="dry_run_no_db_write", text="dry run")
    yield from ()


@dg.asset(key=FACT, partitions_def=DAILY, deps=[RAW])
def fact() -> dg.MaterializeResult[Any]:
    """Make Silver."""
    return dg.MaterializeResult(metadata={"output_row_count": 11, "null_rate": 0.25})


@dg.asset_check(asset=FACT)
def complete() -> dg.AssetCheckResult:
    """Pass, with a number."""
    return dg.AssetCheckResult(passed=True, metadata={"rows": 11, "reason_codes": dg.MetadataValue.json([])})


@dg.asset_check(asset=FACT, name="complete")
def warns() -> dg.AssetCheckResult:
    """Warn, with a reason."""
    codes = dg.MetadataValue.json(["partition_has_no_seed_rows"])
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, metadata={"reason_codes": codes})


@dg.asset_check(asset=FACT, name="complete")
def crashes() -> dg.AssetCheckResult:
    """Crash before there is a result."""
    raise ValueError("the check is broken")


@dg.asset(key=LAKE, output_required=False)
def lake(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Look for Week04, which is not there."""
    skip(context, reason_code="week04_lakehouse_not_available", text="no report", outcome="not_available")
    yield from ()


def decided(document: Document) -> tuple[str, str]:
    """Return status and decision."""
    return document["status"], document["downstream_decision"]


def test_success_with_the_optional_asset_left_out_in_the_run(world: World) -> None:
    """An optional asset that skips itself neither holds the main line nor goes unmentioned."""
    document, report = world.run(raw, fact, complete, lake, git_sha="0123abcd")
    assert decided(document) == ("success", "proceed_to_week07")
    assert (document["input_row_count"], document["output_row_count"], document["git_sha"]) == (12, 11, "0123abcd")
    assert document["reason_codes"] == ["week04_lakehouse_not_available", "checkpoint_not_signed"]
    assert report["verdict"]["denominators"] == "3 of 4 planned passed, 1 not available"
    assert report["capture"]["dagster_records"] == report["capture"]["ledger_records"]
    rate = next(m for p in report["products"] for m in p["metadata"] if m["label"] == "null_rate")
    assert rate == {"label": "null_rate", "type": "float", "value": "0.25"}


def test_an_upstream_failure_says_what_never_ran(world: World) -> None:
    """Dagster records nothing about what came after the failure; the evidence does."""
    document, report = world.run(broken_raw, fact, complete)
    assert decided(document) == ("failed", "hold_downstream")
    assert document["reason_codes"][:3] == ["run_failed", "asset_checks_failed", "ticket_ingest_errors"]
    assert report["verdict"]["denominators"] == (
        "0 of 4 planned passed, 1 failed, 1 not available, 1 never ran, 1 not evaluated"
    )
    assert document["checks"][0]["status"] == "skipped"


def test_a_dry_run_is_told_as_one(world: World) -> None:
    """Raw skips itself, Dagster skips the rest, and the run, a success in Dagster, is only a dry run."""
    document, report = world.run(dry_raw, fact, complete)
    assert report["run"]["dagster_status"] == "succeeded"
    assert decided(document) == ("skipped", "dry_run_only")
    assert report["verdict"]["reason_code"] == "dry_run_no_db_write"


def test_a_warning_and_a_crashed_check(world: World) -> None:
    """A warning asks for a person; a check that crashed has no result, so the run is held."""
    document, _ = world.run(raw, fact, warns)
    assert decided(document) == ("warning", "manual_review_required")
    assert document["checks"][0]["reason_codes"] == ["partition_has_no_seed_rows"]
    document, report = world.run(raw, fact, crashes)
    assert decided(document) == ("failed", "hold_downstream")
    assert document["checks"][0]["reason_codes"] == ["check_not_evaluated", "check_crashed"]
    assert document["checks"][0]["status"] == "skipped"
    assert report["verdict"]["counts"]["not_evaluated"] == 1


def test_a_report_from_inside_the_run_is_interim_and_the_final_one_follows(world: World) -> None:
    """The asset's own report sees itself pending; after the run has closed, the final one replaces nothing."""
    seen: list[WrittenDocuments] = []

    @dg.asset(key=["week06", "ops", "run_evidence_report"], partitions_def=DAILY, deps=[FACT])
    def evidence_report(context: dg.AssetExecutionContext) -> None:
        capture_run(context.instance, context.run.run_id, CaptureContext(world.ledger, policy=POLICY))
        seen.append(write_run_documents(world.ledger, context.run.run_id, world.home / "out", profile=WEEK06))

    final, report = world.run(raw, fact, complete, evidence_report)
    interim, interim_report = read(seen[0])
    assert decided(interim) == ("warning", "hold_downstream")
    assert interim["reason_codes"][0] == "run_not_closed"
    assert interim_report["kind"] == "interim"
    assert interim_report["verdict"]["counts"]["pending"] >= 1
    assert decided(final) == ("success", "proceed_to_week07")
    assert (report["kind"], report["verdict"]["verdict"]) == ("final", "passed")
    assert interim["asset_key"] == final["asset_key"] == "/".join(FACT.path)


def test_within_the_grace_period_a_run_is_not_judged(world: World) -> None:
    """The run has ended in Dagster; until it is read once more, its evidence is interim."""
    document, report = world.run(raw, fact, complete, grace_seconds=600)
    assert report["kind"] == "interim"
    assert decided(document) == ("warning", "hold_downstream")
