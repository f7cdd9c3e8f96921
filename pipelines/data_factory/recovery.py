"""The backfill plan: what one daily partition should hold, what it holds, and what to do about the gap.

A plan is a dry run. It reads the sources and the warehouse, writes to neither, and proves nothing about a
write. What could not be counted is None in it, never 0.

The actions, from the one that repeats least: `retry` the step that failed for a passing reason · `rerun` the
batch job, whose input has grown · `replay` the input that was consumed, because the product lost some of it ·
`backfill` a partition that was never produced · `none`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.data_factory.inputs import GateRejectedError, admit_inputs
from pipelines.ingestion.databases import DatabaseMissingError
from pipelines.ingestion.ticket_reader import Expectation, expect_partition
from pipelines.ingestion.warehouse import PartitionState
from pipelines.partitions import daily_window, format_instant
from run_evidence.ledger import EnvironmentFault, LedgerError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from pipelines.ingestion.warehouse import Warehouse
    from pipelines.manifests import SourceSettings
    from pipelines.partitions import DailyWindow

Verb = Literal["retry", "rerun", "replay", "backfill"]
Action = Verb | Literal["none"]

IDEMPOTENCY_GUARD = (
    "Bronze keeps a payload once by (source_id, source_fingerprint); "
    "Silver takes only a newer version of a ticket; one transaction a batch"
)


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """The plan for one partition, field for field as the course contract names them.

    Both counts are distinct tickets of the partition: `expected_input_count` valid ones in the admitted
    sources, `current_output_count` those in Silver. Times are RFC 3339, the window is half-open. `mode` is the verb
    that a recovery was asked for; a dry run asks for none, and only proposes.
    """

    partition_key: str
    window_start: str
    window_end: str
    upstream_manifest_id: str | None
    expected_input_count: int | None
    current_output_count: int | None
    gap_reason: str
    proposed_action: Action
    idempotency_guard: str
    downstream_impact: str
    operator: str
    timestamp: str
    mode: Verb | Literal["dry-run"] = "dry-run"

    def to_document(self) -> dict[str, str | int | None]:
        """Return the plan as the JSON object the contract describes."""
        return asdict(self)


# A code and a sentence for what keeps a count from being known.
_Fault = tuple[str, str]


def plan_backfill(
    settings: SourceSettings, warehouse: Warehouse, partition_key: str, *, operator: str, now: datetime
) -> BackfillPlan:
    """Plan one partition as of `now` (aware UTC), which is passed in so that a plan can be derived again.

    `pipelines.data_factory.recovery_plan` puts such plans together into one that can be carried out.

    Faults of the input or the warehouse become part of the plan, not errors: a plan is most needed then.

    Raises: InputError for a key that is no day.
    """
    window = daily_window(partition_key)
    manifest_id, expected = _count_input(settings, partition_key)
    current = _count_output(warehouse, window)
    gap_reason, action, impact = _propose(expected, current)
    return BackfillPlan(
        partition_key=partition_key,
        window_start=format_instant(window.start),
        window_end=format_instant(window.end),
        upstream_manifest_id=manifest_id,
        expected_input_count=expected.ticket_count if isinstance(expected, Expectation) else None,
        current_output_count=current.ticket_count if isinstance(current, PartitionState) else None,
        gap_reason=gap_reason,
        proposed_action=action,
        idempotency_guard=IDEMPOTENCY_GUARD,
        downstream_impact=impact,
        operator=operator,
        timestamp=format_instant(now),
    )


def _count_input(settings: SourceSettings, partition_key: str) -> tuple[str | None, Expectation | _Fault]:
    manifest_id: str | None = None
    try:
        inputs = admit_inputs(settings, partition_key)
        manifest_id = inputs.manifest_id
        return manifest_id, expect_partition(inputs.sources, inputs.window)
    except GateRejectedError as error:
        return error.inputs.manifest_id, ("manifest_rejected", str(error))
    except LedgerError as error:
        return manifest_id, ("input_not_readable", str(error))


def _count_output(warehouse: Warehouse, window: DailyWindow) -> PartitionState | _Fault:
    try:
        return warehouse.partition_state(window)
    except DatabaseMissingError as error:
        return "warehouse_never_written", str(error)
    except LedgerError as error:
        return "warehouse_not_available", str(error)


def _propose(expected: Expectation | _Fault, current: PartitionState | _Fault) -> tuple[str, Action, str]:
    """Decide gap reason, action and downstream impact."""
    if not isinstance(expected, Expectation):
        return expected[0], "none", f"hold: the input must be corrected first: {expected[1]}"
    if not isinstance(current, PartitionState):
        if current[0] == "warehouse_not_available":
            return current[0], "retry", f"unknown until the warehouse can be read: {current[1]}"
        if expected.event_count:
            return current[0], "backfill", _missing(expected.ticket_count)
        return "partition_has_no_seed_rows", "none", "none: the sources hold no ticket of this partition"
    return _compare(expected, current)


def _compare(expected: Expectation, current: PartitionState) -> tuple[str, Action, str]:
    """Compare two known counts; events too, because a late update of a known ticket adds no ticket."""
    missing_events = expected.event_count - current.event_count
    missing_tickets = expected.ticket_count - current.ticket_count
    if missing_events == missing_tickets == 0:
        reason = "no_gap" if expected.event_count else "partition_has_no_seed_rows"
        return reason, "none", "none: the sources and the warehouse hold the same"
    if missing_events < 0 or missing_tickets < 0:
        return "output_exceeds_input", "none", "hold: the warehouse holds what no admitted source explains"
    if current.event_count == 0:
        return "partition_not_produced", "backfill", _missing(missing_tickets)
    if missing_events == 0:
        return "silver_lags_bronze", "replay", _missing(missing_tickets)
    return "late_rows_arrived", "rerun", f"{missing_events} events missing; {_missing(missing_tickets)}"


def _missing(ticket_count: int) -> str:
    return f"{ticket_count} tickets of this partition are missing downstream"


def write_plan(plan: BackfillPlan, report_dir: Path, run_id: str) -> Path:
    """Write a plan to a file of its own under `report_dir/backfill` and return the file.

    A step that is tried again writes a second file; an earlier plan is never overwritten.

    Raises: EnvironmentFault when the folder cannot be written.
    """
    folder = report_dir / "backfill"
    stem = f"backfill_plan-{plan.partition_key}-{run_id}"
    path, attempt = folder / f"{stem}.json", 1
    while path.exists():
        attempt += 1
        path = folder / f"{stem}-{attempt}.json"
    write_new(path, json.dumps(plan.to_document(), ensure_ascii=False, indent=2) + "\n")
    return path


def write_new(path: Path, text: str) -> None:
    """Write a plan's text to a file that is not there yet. Raises: EnvironmentFault when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: the plan cannot be written: {error.strerror}",
            next_step="make the folder writable or set WEEK06_REPORT_DIR to another one",
        ) from error
