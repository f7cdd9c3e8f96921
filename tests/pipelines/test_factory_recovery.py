"""The backfill plan says what is missing and what to do; what it cannot know it leaves unknown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.data_factory.recovery import BackfillPlan, plan_backfill, write_plan
from pipelines.ingestion.databases import DuckDBFile, PostgresDatabase
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.manifests import SourceSettings
from run_evidence.ledger.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.tickets import Ticket

DAY = "2026-04-17"
NOW = datetime(2026, 4, 18, 6, 30, tzinfo=UTC)
STAMP = BatchStamp("run-1", None, NOW)
FIRST, SECOND = "TKT-20260417-000001", "TKT-20260417-000002"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(DuckDBFile(tmp_path / "w.duckdb"))


@pytest.fixture
def plan(tmp_path: Path, warehouse: Warehouse) -> Callable[[], BackfillPlan]:
    def plan() -> BackfillPlan:
        settings = SourceSettings(tmp_path / "deliveries")
        return plan_backfill(settings, warehouse, DAY, operator="ada", now=NOW)

    return plan


@pytest.fixture
def delivered(tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., Any]) -> None:
    deliver(tmp_path / "deliveries", DAY, [ticket(), ticket(ticket_id=SECOND), ticket(owner=None)])


def test_a_partition_never_produced_is_backfilled(delivered: None, plan: Callable[[], BackfillPlan]) -> None:
    """Without a warehouse the current count is unknown, not 0; every field of the contract is there."""
    assert plan().to_document() == {
        "partition_key": DAY,
        "window_start": "2026-04-17T00:00:00Z",
        "window_end": "2026-04-18T00:00:00Z",
        "upstream_manifest_id": "manifest-tickets-test-20260417-001",
        "expected_input_count": 2,
        "current_output_count": None,
        "gap_reason": "warehouse_never_written",
        "proposed_action": "backfill",
        "idempotency_guard": plan().idempotency_guard,
        "downstream_impact": "2 tickets of this partition are missing downstream",
        "operator": "ada",
        "timestamp": "2026-04-18T06:30:00Z",
        "mode": "dry-run",
    }


Answer = tuple[int | None, int | None, str, str]


def _answer(plan: BackfillPlan) -> Answer:
    return plan.expected_input_count, plan.current_output_count, plan.gap_reason, plan.proposed_action


@pytest.mark.parametrize(
    ("written", "deleted", "answer"),
    [
        ([{"created_at": "2026-04-16T00:00:00Z"}], None, (2, 0, "partition_not_produced", "backfill")),
        ([{}, {"ticket_id": SECOND}], None, (2, 2, "no_gap", "none")),
        ([{}], None, (2, 1, "late_rows_arrived", "rerun")),
        ([{}, {"ticket_id": SECOND}], SECOND, (2, 1, "silver_lags_bronze", "replay")),
        (
            [{}, {"ticket_id": SECOND}, {"ticket_id": "TKT-20260417-000003"}],
            None,
            (2, 3, "output_exceeds_input", "none"),
        ),
    ],
)
def test_the_gap_decides_the_action(
    delivered: None,
    plan: Callable[[], BackfillPlan],
    warehouse: Warehouse,
    parsed: Callable[..., Ticket],
    written: list[dict[str, Any]],
    deleted: str | None,
    answer: Answer,
) -> None:
    """Expected and current count, the reason for their difference, and the least repetition that closes it."""
    warehouse.write_batch([parsed(**changes) for changes in written], STAMP)
    if deleted:
        with warehouse.database.writing() as run:
            run("DELETE FROM ticket_fact WHERE ticket_id = $1", [deleted])
    assert _answer(plan()) == answer


def test_a_late_update_of_a_known_ticket_is_a_gap(
    tmp_path: Path,
    delivered: None,
    plan: Callable[[], BackfillPlan],
    warehouse: Warehouse,
    deliver: Callable[..., Path],
    ticket: Callable[..., Any],
    parsed: Callable[..., Ticket],
) -> None:
    """Ticket counts agree, and still an event has not been ingested."""
    warehouse.write_batch([parsed(), parsed(ticket_id=SECOND)], STAMP)
    deliver(tmp_path / "deliveries", "2026-04-18", [ticket(status="closed", updated_at="2026-04-18T01:00:00Z")])
    assert _answer(plan()) == (2, 2, "late_rows_arrived", "rerun")
    assert plan().downstream_impact.startswith("1 events missing")


def test_a_day_without_rows_needs_nothing(
    tmp_path: Path, deliver: Callable[..., Path], plan: Callable[[], BackfillPlan], warehouse: Warehouse
) -> None:
    """With or without a warehouse, none of nothing is missing."""
    deliver(tmp_path / "deliveries", DAY, [])
    assert _answer(plan()) == (0, None, "partition_has_no_seed_rows", "none")
    warehouse.write_batch([], STAMP)
    assert _answer(plan()) == (0, 0, "partition_has_no_seed_rows", "none")


def test_a_rejected_input_is_unknown_and_holds_downstream(
    tmp_path: Path, deliver: Callable[..., Path], plan: Callable[[], BackfillPlan]
) -> None:
    """No count is made of what may not be read."""
    deliver(tmp_path / "deliveries", DAY, [], license_tag="unknown")
    assert _answer(plan()) == (None, None, "manifest_rejected", "none")
    assert plan().downstream_impact.startswith("hold: ")
    assert plan().upstream_manifest_id == "manifest-tickets-test-20260417-001"


def test_an_unreadable_line_makes_the_count_unknown(
    tmp_path: Path, deliver: Callable[..., Path], plan: Callable[[], BackfillPlan]
) -> None:
    """The line could be a ticket of this day; the plan names it."""
    deliver(tmp_path / "deliveries", DAY, [b"{\n"])
    assert _answer(plan()) == (None, None, "input_not_readable", "none")
    assert "tickets.jsonl:1" in plan().downstream_impact


def test_a_warehouse_out_of_reach_is_retried(tmp_path: Path, delivered: None) -> None:
    """What cannot be read is unknown; only trying again helps."""
    warehouse = Warehouse(PostgresDatabase("postgresql://127.0.0.1:1/week06"))
    found = plan_backfill(SourceSettings(tmp_path / "deliveries"), warehouse, DAY, operator="ada", now=NOW)
    assert _answer(found) == (2, None, "warehouse_not_available", "retry")


def test_a_key_that_is_no_day_is_an_error(tmp_path: Path, warehouse: Warehouse) -> None:
    """There is nothing to plan for it."""
    with pytest.raises(InputError, match="not a daily partition"):
        plan_backfill(SourceSettings(tmp_path), warehouse, "yesterday", operator="ada", now=NOW)


def test_every_plan_has_a_file_of_its_own(
    tmp_path: Path, delivered: None, plan: Callable[[], BackfillPlan]
) -> None:
    """A second plan of the same run does not overwrite the first."""
    paths = [write_plan(plan(), tmp_path / "reports", "run-1") for _ in range(2)]
    assert [path.name for path in paths] == [
        "backfill_plan-2026-04-17-run-1.json",
        "backfill_plan-2026-04-17-run-1-2.json",
    ]
    assert json.loads(paths[0].read_text()) == plan().to_document()


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, delivered: None, plan: Callable[[], BackfillPlan]
) -> None:
    """With the variable that moves it."""
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(EnvironmentFault, match="the plan cannot be written") as caught:
        write_plan(plan(), tmp_path / "reports", "run-1")
    assert "WEEK06_REPORT_DIR" in str(caught.value.next_step)
