"""A recovery as one story: the plan, the runs that carry its id in the ledger, and whether they did what it says.

Derived from the plan's file and the ledger each time it is asked for. What differs from the plan is a finding; a
plan of which nothing was run has not been carried out, and an open run has no verdict.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pipelines.data_factory.reconciliation import BRONZE, SILVER, load_query
from run_evidence.ledger import open_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.data_factory.recovery_plan import RecoveryPlan, Target
    from pipelines.data_factory.recovery_saved import StoredPlan
    from run_evidence.ledger import Ledger


_GOOD: Final = frozenset({"passed", "warned"})


@dataclass(frozen=True, slots=True)
class RunOfPlan:
    """A run that was launched for a plan, and by whom, as the ledger has it.

    `inserted` new Bronze events, `output_row_count` tickets in Silver: None where the run did not make that.
    """

    run_id: str
    partition: str | None
    status: str
    verdict: str
    closed: bool
    parent_run_id: str | None
    plan_sha256: str | None
    inserted: int | None
    output_row_count: int | None
    executed_by: str | None


@dataclass(frozen=True, slots=True)
class StoryFinding:
    """Where what happened is not what was planned. `partition` is None when it is about the plan as a whole."""

    code: str
    partition: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """A plan with its runs, in the order in which they started, and what differs."""

    plan_id: str
    plan: RecoveryPlan
    runs: tuple[RunOfPlan, ...]
    findings: tuple[StoryFinding, ...]

    @property
    def as_planned(self) -> bool:
        """Whether something was planned, all of it was run, and it had the planned result."""
        return bool(self.plan.due) and not self.findings

    @property
    def executed_by(self) -> tuple[str, ...]:
        """Who carried the plan out, by name; a run whose tag somebody removed names nobody."""
        return tuple(sorted({run.executed_by for run in self.runs if run.executed_by is not None}))

    def to_document(self) -> dict[str, Any]:
        """Return the story as a JSON object."""
        return {
            "plan_id": self.plan_id,
            "as_planned": self.as_planned,
            "plan": self.plan.to_document(),
            "runs": [asdict(run) for run in self.runs],
            "findings": [asdict(finding) for finding in self.findings],
        }


def read_story(stored: StoredPlan, ledger: Ledger) -> Story:
    """Put a plan and its runs together. Raises: NotALedgerError when there is no ledger."""
    parameters = {"plan_id": stored.plan_id, "bronze": BRONZE, "silver": SILVER}
    with open_snapshot(ledger, views=("events", "runs", "materializations")) as snapshot:
        rows = snapshot.rows(load_query("runs_of_plan"), parameters)
    runs = tuple(RunOfPlan(*row) for row in rows)
    return Story(stored.plan_id, stored.plan, runs, tuple(_findings(stored, runs)))


def _findings(stored: StoredPlan, runs: Sequence[RunOfPlan]) -> list[StoryFinding]:
    plan, found = stored.plan, []
    if stored.altered or any(run.plan_sha256 != stored.sha256 for run in runs):
        found.append(StoryFinding("plan_changed", None, "the plan's file is not the one that was carried out"))
    planned = {target.plan.partition_key for target in plan.due}
    for run in runs:
        if run.partition not in planned:
            text = f"run {run.run_id[:8]} is of the plan, which does not have its partition"
            found.append(StoryFinding("run_not_planned", run.partition, text))
    for target in plan.due:
        mine = [run for run in runs if run.partition == target.plan.partition_key]
        found += _of_target(target, mine)
    return found


def _of_target(target: Target, runs: Sequence[RunOfPlan]) -> list[StoryFinding]:
    """Hold what the plan expects of one partition against its runs; the last of them counts."""
    day = target.plan.partition_key
    if not runs:
        return [StoryFinding("not_run", day, "no run of the plan is recorded for it")]
    last = runs[-1]
    if not last.closed:
        return [StoryFinding("run_not_closed", day, f"run {last.run_id[:8]} was not read whole after its end")]
    if last.status != "succeeded":
        return [StoryFinding("run_not_succeeded", day, f"run {last.run_id[:8]} {last.status}")]
    found = []
    if last.verdict not in _GOOD:
        text = f"run {last.run_id[:8]} succeeded in Dagster, and its verdict is {last.verdict}"
        found.append(StoryFinding("run_not_passed", day, text))
    expected = target.plan.expected_input_count
    if last.output_row_count is None or last.output_row_count != expected:
        got = "said no count" if last.output_row_count is None else f"has {last.output_row_count}"
        found.append(StoryFinding("output_differs", day, f"{expected} tickets were expected, Silver {got}"))
    inserted = [run.inserted for run in runs if run.inserted is not None]
    # A retry does not make Bronze again where that was made; then none are new, and none were expected.
    if sum(inserted) != (target.expected_new_event_count if inserted else target.expected_new_event_count or 0):
        got = f"{sum(inserted)} came into Bronze" if inserted else "no run said what came into Bronze"
        text = f"{target.expected_new_event_count} new events were expected, {got}"
        found.append(StoryFinding("inserted_differs", day, text))
    if last.parent_run_id != target.run_id and target.run_id is not None:
        text = f"run {last.run_id[:8]} is not of run {target.run_id[:8]}"
        found.append(StoryFinding("other_parent", day, text))
    return found
