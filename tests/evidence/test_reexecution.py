"""Real runs that re-execute others, and backfills of many runs: the verdict of each, and what may be delivered.

No annotations are postponed here: Dagster reads the ones on asset functions when it builds them.
"""

import os
from pathlib import Path

import dagster as dg
import pytest

from pipelines.delivery import WEEK06
from run_evidence.evidence.delivery import deliveries
from run_evidence.evidence.facts import JudgedRun, read_runs
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.summary import derive_delivery_summary
from run_evidence.ledger import Ledger
from run_evidence.sensors.capture.context import CaptureContext
from run_evidence.sensors.sync import sync_runs

DAILY = dg.DailyPartitionsDefinition("2026-04-01", end_date="2026-05-01")
DAYS = ("2026-04-16", "2026-04-17", "2026-04-18")
RAW = dg.AssetKey(["week06", "ingestion", "raw_ticket_events_partitioned"])
FACT = dg.AssetKey(["week06", "silver", "ticket_fact_partitioned"])


@dg.asset(key=RAW, partitions_def=DAILY)
def raw() -> None: ...


@dg.asset_check(asset=RAW)
def unique() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=os.environ["UNIQUE"] == "yes")


@dg.asset(key=FACT, partitions_def=DAILY, deps=[RAW])
def fact(context: dg.AssetExecutionContext) -> None:
    if context.partition_key in os.environ["BROKEN"]:
        raise dg.Failure("the database is away", allow_retries=False)


@dg.asset_check(asset=FACT)
def counted() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


ASSETS = [raw, unique, fact, counted]


def factory() -> dg.JobDefinition:
    """Make the job anew, as a process that re-executes a run does."""
    whole = dg.define_asset_job("factory", "*", partitions_def=DAILY, executor_def=dg.in_process_executor)
    return dg.Definitions(assets=[raw, fact], asset_checks=[unique, counted], jobs=[whole]).resolve_job_def(
        "factory"
    )


def captured(instance: dg.DagsterInstance, ledger: Ledger, *run_ids: str) -> list[JudgedRun]:
    """Capture everything, and judge these runs, in this order."""
    sync_runs(instance, CaptureContext(ledger, grace_seconds=0.0))
    with open_prefix(ledger) as prefix:
        judged = {facts.row.run_id: facts for facts in read_runs(prefix, run_ids)}
    return [judged[run_id] for run_id in run_ids]


def came_to(facts: JudgedRun) -> dict[str, str]:
    """Return the outcomes of a run by the last part of the asset, or the check."""
    return {o.item.check_name or o.item.asset_key.split("/")[1]: o.outcome for o in facts.outcomes}


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    """Give a persistent instance."""
    (tmp_path / "dagster").mkdir()
    return dg.DagsterInstance.local_temp(str(tmp_path / "dagster"))


@pytest.mark.parametrize(("unique_is", "decision"), [("yes", "proceed_to_week07"), ("no", "hold_downstream")])
def test_a_re_execution_from_failure_is_delivered_with_what_it_did_not_run_again(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique_is: str, decision: str
) -> None:
    """The child runs what failed and passes; a check that failed before and was not run again still holds."""
    ledger, day = Ledger(tmp_path / "ledger"), DAYS[1]
    monkeypatch.setenv("UNIQUE", unique_is)
    monkeypatch.setenv("BROKEN", day)
    job, tags = dg.reconstructable(factory), {"dagster/partition": day}
    parent = dg.execute_job(job, instance=instance, tags=tags, raise_on_error=False).run_id
    monkeypatch.setenv("BROKEN", "")
    again = dg.ReexecutionOptions.from_failure(parent, instance)
    child = dg.execute_job(job, instance=instance, tags=tags, reexecution_options=again).run_id
    first, second = captured(instance, ledger, parent, child)
    unique_word = "check_passed" if unique_is == "yes" else "check_failed"
    assert came_to(first) == {
        "ingestion": "materialized",
        "unique": unique_word,
        "silver": "failed",
        "counted": "not_evaluated",
    }
    assert came_to(second) == {"silver": "materialized", "counted": "check_passed"}
    assert (first.verdict.verdict, second.verdict.verdict) == ("failed", "passed")
    (before,), (delivery,) = deliveries(first, WEEK06), deliveries(second, WEEK06)
    assert (before.decision, delivery.decision) == ("hold_downstream", decision)
    assert delivery.verdict.denominators.planned == 4
    with open_prefix(ledger) as prefix:
        summary = derive_delivery_summary(prefix, WEEK06)
    assert f"## `{day}`: `{decision}`" in summary
    assert f"- Run `{child}`" in summary


@pytest.mark.soak
def test_a_backfill_is_delivered_partition_by_partition(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three runs one fails and is run again: its day is held until then, and the failed run counts no more."""
    ledger = Ledger(tmp_path / "ledger")
    monkeypatch.setenv("UNIQUE", "yes")
    monkeypatch.setenv("BROKEN", DAYS[1])

    def run(day: str) -> str:
        tags = {"dagster/backfill": "april"}
        return dg.materialize(ASSETS, instance=instance, partition_key=day, tags=tags, raise_on_error=False).run_id

    runs = captured(instance, ledger, *map(run, DAYS))
    assert [facts.verdict.verdict for facts in runs] == ["passed", "failed", "passed"]
    with open_prefix(ledger) as prefix:
        assert "Of 3 partitions, 2 may proceed (`proceed_to_week07`) and 1 is held back" in derive_delivery_summary(
            prefix, WEEK06
        )
    monkeypatch.setenv("BROKEN", "")
    (again,) = captured(instance, ledger, run(DAYS[1]))
    assert (again.verdict.verdict, again.row.partition) == ("passed", DAYS[1])
    with open_prefix(ledger) as prefix:
        summary = derive_delivery_summary(prefix, WEEK06)
    assert "Of 3 partitions, 3 may proceed (`proceed_to_week07`)." in summary
    assert f"`{runs[1].row.run_id}`" not in summary
