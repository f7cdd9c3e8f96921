"""A recovery plan, what became of it, and why it was refused, as a terminal or a program reads it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines.data_factory.recovery import IDEMPOTENCY_GUARD
from pipelines.data_factory.recovery_plan import COMMAND
from pipelines.ingestion.command import shown_count
from run_evidence.ledger.terminal import VERDICT_STYLES, out, out_json, say, styled, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pipelines.data_factory.recovery_plan import RecoveryPlan, Target
    from pipelines.data_factory.recovery_saved import PlanChange
    from pipelines.data_factory.recovery_story import Story


def print_plan(plan: RecoveryPlan, path: Path, as_json: bool, *, hint: str | None = None) -> int:
    """Print a plan and where it is, and with a `hint` of what it stands on how it is carried out. Return 0."""
    if as_json:
        out_json({"plan_id": plan.plan_id, "path": str(path), "plan": plan.to_document()})
        return 0
    out(f"plan {plan.plan_id}  {styled(plan.mode, 'bold')} of {plan.asked}, by {plan.operator} at {plan.timestamp}")
    shown = [target for target in plan.targets if target.held != "no_delivery"]
    if shown:
        headers = ["partition", "why", "expected", "in Silver", "new events", "gap", "then"]
        out(*table(headers, [_target_row(target) for target in shown], [_style(target) for target in shown]))
    _print_held(target for target in plan.held if target.held == "no_delivery")
    out(f"guard   {IDEMPOTENCY_GUARD}")
    for target in plan.due:
        out(f"impact  {target.plan.partition_key}: {target.plan.downstream_impact}")
    out(f"{len(plan.due)} to carry out, {len(plan.held)} held; {path}")
    if hint and plan.due:
        say(f"{hint}. Next, once it is reviewed: {COMMAND} --plan {path} --execute")
    return 0


def _style(target: Target) -> str | None:
    return "yellow" if target.held else None


def _print_held(held: Iterable[Target]) -> None:
    """Name the partitions that wait, those of one reason together."""
    found: dict[str, list[str]] = defaultdict(list)
    for target in held:
        found[target.held or ""].append(target.plan.partition_key)
    for reason, days in found.items():
        named = days[0] if len(days) == 1 else f"{len(days)} partitions, {days[0]} to {days[-1]}"
        out(f"held    {named}: {reason}")


def _target_row(target: Target) -> list[str]:
    plan = target.plan
    numbers = (plan.expected_input_count, plan.current_output_count, target.expected_new_event_count)
    then = f"held: {target.held}" if target.held else plan.mode
    return [plan.partition_key, target.why, *map(shown_count, numbers), plan.gap_reason, then]


def print_nothing_due(plan: RecoveryPlan, as_json: bool) -> int:
    """Print that a plan has nothing to carry out, and why; return 1 when that is because all of it is held."""
    if as_json:
        out_json({"plan_id": plan.plan_id, "as_planned": not plan.held, "plan": plan.to_document(), "runs": []})
    else:
        count = plan.asked_partition_count
        out("nothing to carry out: " + ("what is missing is held" if plan.held else f"none of {count} is missing"))
    return 1 if plan.held else 0


def print_changes(plan: RecoveryPlan, changes: Sequence[PlanChange], command: str, as_json: bool) -> int:
    """Print what a plan rests on that changed, and the `command` that plans again; return 1."""
    if as_json:
        changed = [asdict(change) for change in changes]
        out_json({"plan_id": plan.plan_id, "as_planned": False, "changed": changed, "next_step": command})
        return 1
    out(f"plan {plan.plan_id}  {plan.mode} of {plan.asked}, by {plan.operator} at {plan.timestamp}")
    out(*(f"{styled('changed', 'red')}  {change}" for change in changes))
    out("NOT carried out: what the plan rests on has changed since it was made")
    say(f"plan again: {command}")
    return 1


def print_story(story: Story, as_json: bool) -> int:
    """Print a plan, its runs and what differs; return 0 when it went as planned, else 1."""
    if as_json:
        out_json(story.to_document())
        return 0 if story.as_planned else 1
    plan = story.plan
    carried_out = f", carried out by {' and '.join(story.executed_by)}" if story.executed_by else ""
    out(f"plan {story.plan_id}  {plan.mode} of {plan.asked}, by {plan.operator} at {plan.timestamp}{carried_out}")
    expected = {target.plan.partition_key: target for target in plan.due}
    rows: list[list[str]] = []
    for each in story.runs:
        target = expected.get(each.partition or "")
        wanted: tuple[Any, ...] = (None, None)
        if target is not None:
            wanted = (target.expected_new_event_count, target.plan.expected_input_count)
        numbers = (wanted[0], each.inserted, wanted[1], each.output_row_count)
        again = (each.parent_run_id or "")[:8]
        rows.append(
            [each.partition or "", each.run_id[:8], again, each.status, each.verdict, *map(shown_count, numbers)]
        )
    if rows:
        headers = [
            "partition",
            "run",
            "of run",
            "status",
            "verdict",
            "new, planned",
            "new",
            "Silver, planned",
            "Silver",
        ]
        out(*table(headers, rows, [VERDICT_STYLES.get(each.verdict) for each in story.runs]))
    for finding in story.findings:
        where = f"{finding.partition}: " if finding.partition else ""
        out(f"{styled('finding', 'red')}  {finding.code}: {where}{finding.text}")
    _print_held(plan.held)
    done = f"{len(story.runs)} runs for {len(plan.due)} partitions, {len(plan.held)} held"
    word = styled("as planned", "green") if story.as_planned else styled("NOT as planned", "red")
    out(f"{word}: {done}, {len(story.findings)} findings")
    if story.runs:
        say(f"each run whole: ledger show {story.runs[-1].run_id[:8]}")
    return 0 if story.as_planned else 1
