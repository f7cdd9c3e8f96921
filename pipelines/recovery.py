"""`python -m pipelines.recovery`: plan a retry, rerun, replay or backfill, and with --execute carry it out.

Without --execute nothing is written but the plan. With it the runs are executed here, through Dagster, without a
daemon; then plan, runs and result are told as one story, and where they differ is a finding. --show tells it again.
0 fine · 1 not as planned, or something is held · 2 wrong usage or bad input · 4 the environment.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pipelines.data_factory.reconciliation import SILVER
from pipelines.data_factory.recovery import IDEMPOTENCY_GUARD, Verb
from pipelines.data_factory.recovery_plan import (
    COMMAND,
    LedgerFound,
    Planner,
    find_plan,
    partitions_found,
    read_recovery_plan,
    write_recovery_plan,
)
from pipelines.data_factory.recovery_story import tell_recovery
from pipelines.ingestion.command import run
from pipelines.ingestion.settings import warehouse_of
from pipelines.partitions import daily_window, format_instant, parse_instant
from pipelines.reconcile import settings_of, shown_count
from run_evidence.ledger import EnvironmentFault, UsageError, open_ledger
from run_evidence.ledger.terminal import VERDICT_STYLES, out, out_json, say, styled, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import dagster as dg

    from pipelines.data_factory.recovery_plan import RecoveryPlan, Target
    from pipelines.data_factory.recovery_runs import Project
    from pipelines.data_factory.recovery_story import Story
    from run_evidence.ledger import Ledger

_DEFAULT_REPORT_DIR: Final = "reports/week06"
_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "retry": frozenset({"run", "partition"}),
    "rerun": frozenset({"run", "partition", "batch"}),
    "replay": frozenset({"partition", "batch", "from"}),
    "backfill": frozenset({"partition", "from"}),
}
_EXAMPLES: Final = {
    "retry": "--run RUN_ID",
    "rerun": "--run RUN_ID",
    "replay": "--batch BATCH_ID",
    "backfill": "--from 2026-04-15 --to 2026-04-19",
}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Plan what was asked for, carry it out when that was asked for too, and print it."""
    given = _parser().parse_args(arguments)
    reports = Path(environ.get("WEEK06_REPORT_DIR") or _DEFAULT_REPORT_DIR)
    ledger = open_ledger(given.ledger, environ)
    if given.show is not None:
        return _tell_story(tell_recovery(read_recovery_plan(find_plan(reports, given.show)), ledger), given.json)
    if given.mode is None:
        raise UsageError("what to do? --mode is not given", next_step=f"{COMMAND} --mode {'|'.join(_TAKES)}")
    operator = given.operator or environ.get("WEEK06_OPERATOR")
    if not operator or not operator.strip():
        raise UsageError(
            "a recovery names who answers for it, and there is no operator",
            next_step=f"{COMMAND} --mode {given.mode} {_EXAMPLES[given.mode]} --operator NAME",
        )
    project = _project()
    planner = Planner(
        settings_of(environ), warehouse_of(environ), project.partition_keys, operator, datetime.now(UTC)
    )
    plan = _plan(given, planner, project, ledger, environ)
    path = write_recovery_plan(plan, reports)
    if not given.execute:
        return _tell_plan(plan, path, given.json)
    if not given.json:
        _tell_plan(plan, path, as_json=False, hint=False)
        out("")
    if plan.due:
        _carry_out(plan, project, ledger, environ)
        return _tell_story(tell_recovery(read_recovery_plan(path), ledger), given.json) or (1 if plan.held else 0)
    if given.json:
        out_json({"plan_id": plan.plan_id, "as_planned": not plan.held, "plan": plan.to_document(), "runs": []})
    else:
        out("nothing to carry out" + (": what is missing is held" if plan.held else ""))
    return 1 if plan.held else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipelines.recovery", description=__doc__)
    parser.add_argument("--mode", choices=get_args(Verb), help="what to plan")
    parser.add_argument("--run", metavar="RUN_ID", help="the run to retry or rerun; its id, or a start of it")
    parser.add_argument("--batch", metavar="ID", help="the batch to rerun or replay")
    parser.add_argument("--partition", action="append", metavar="DAY", help="only this day; may be repeated")
    parser.add_argument("--from", dest="start", metavar="DAY|TIME", help="the window's start")
    parser.add_argument("--to", dest="end", metavar="DAY|TIME", help="its end: a day whole, a time not itself")
    parser.add_argument("--asset", default=SILVER, metavar="KEY", help="whose missing partitions to backfill")
    parser.add_argument("--operator", metavar="NAME", help="who answers for it; else WEEK06_OPERATOR")
    parser.add_argument("--ledger", metavar="FOLDER", help="else as the command ledger finds it")
    parser.add_argument("--execute", action="store_true", help="carry the plan out")
    parser.add_argument("--show", metavar="PLAN_ID", help="tell a plan, its runs and the result; or: latest")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _plan(
    given: argparse.Namespace, planner: Planner, project: Project, ledger: Ledger, environ: Mapping[str, str]
) -> RecoveryPlan:
    """Plan by what was named. Raises: UsageError for what the verb does not take, or is not there."""
    mode: Verb = given.mode
    said = {"run": given.run, "batch": given.batch, "partition": given.partition, "from": given.start or given.end}
    named = [name for name, value in said.items() if value]
    wrong = [name for name in named if name not in _TAKES[mode]]
    many = mode in {"retry", "rerun"} and len(given.partition or ()) > 1
    if wrong or many or len(named) > 1 or (not named and mode != "backfill"):
        takes = ", ".join(f"--{name}" for name in sorted(_TAKES[mode]))
        got = " and ".join(f"--{name}" for name in named) or "none"
        raise UsageError(
            f"--mode {mode} takes one of {takes}; it got {got}",
            next_step=f"{COMMAND} --mode {mode} {_EXAMPLES[mode]}",
        )
    days = [daily_window(day).key for day in given.partition or ()]
    if mode == "backfill":
        found = _partitions(ledger, given.asset, environ)
        if given.asset != SILVER and not found.partitions:
            raise UsageError(
                f"the ledger knows no asset {given.asset!r:.100}", next_step=f"{COMMAND} --asset {SILVER}"
            )
        chosen, asked = _days(given, planner, days)
        return planner.backfill(found, chosen, f"{given.asset}, {asked}")
    if mode == "replay":
        return (
            planner.replay_batch(given.batch) if given.batch else planner.replay_days(*_days(given, planner, days))
        )
    from pipelines.data_factory.recovery_runs import PARTITION_TAG, find_run, newest_run

    with _instance(environ) as instance:
        if given.run:
            found_run = find_run(instance, project.job_name, given.run)
        elif given.batch:
            found_run = newest_run(instance, project.job_name, {"batch_id": given.batch}, f"batch {given.batch}")
        else:
            (day,) = planner.require(days)[:1]
            found_run = newest_run(instance, project.job_name, {PARTITION_TAG: day}, day)
    return planner.retry(found_run) if mode == "retry" else planner.rerun(found_run)


def _partitions(ledger: Ledger, asset_key: str, environ: Mapping[str, str]) -> LedgerFound:
    """Return what the ledger knows; while Dagster has no run there need be none, and all is missing for sure."""
    if not ledger.exists():
        with _instance(environ) as instance:
            if instance.get_runs_count() == 0:
                return LedgerFound({}, 0)
        raise EnvironmentFault(
            f"there is no ledger at {ledger.root}, and Dagster has runs: what they made is not known",
            next_step="ledger sync",
        )
    return partitions_found(ledger, asset_key)


def _days(given: argparse.Namespace, planner: Planner, days: list[str]) -> tuple[list[str], str]:
    """Return the days asked for and how they were: those named, those that a window touches, or all there are."""
    if days:
        return planner.require(days), ", ".join(days)
    if not (given.start or given.end):
        return list(planner.keys), "all partitions"
    start, end = _moment("--from", given.start, whole=False), _moment("--to", given.end, whole=True)
    chosen = []
    for key in planner.keys:
        window = daily_window(key)
        if (end is None or window.start < end) and (start is None or start < window.end):
            chosen.append(key)
    if not chosen:
        planner.require([given.start or given.end])  # says which there are
    return chosen, f"{format_instant(start) if start else '…'} to {format_instant(end) if end else '…'}"


def _moment(option: str, text: str | None, *, whole: bool) -> datetime | None:
    """Read a time, or a day: its start, or with `whole` its end."""
    if text is None:
        return None
    instant = parse_instant(text)
    if instant is None:
        day = parse_instant(f"{text}T00:00:00Z")
        if day is None:
            raise UsageError(
                f"{option} {text!r:.40}: expected a day, or an RFC 3339 time with an offset",
                next_step=f"for example {option} 2026-04-17",
            )
        instant = day + timedelta(days=1) if whole else day
    return instant


def _project() -> Project:
    from pipelines.data_factory.recovery_runs import Project
    from pipelines.definitions import DATA_FACTORY_JOB

    return Project("pipelines.definitions", "factory_definitions", DATA_FACTORY_JOB)


def _instance(environ: Mapping[str, str]) -> dg.DagsterInstance:
    """Open the instance of DAGSTER_HOME. Raises: EnvironmentFault when that is not set, or cannot be opened."""
    import dagster as dg

    home = environ.get("DAGSTER_HOME")
    if not home or not Path(home).is_dir():
        said = f"DAGSTER_HOME {home!r:.200} is no folder" if home else "DAGSTER_HOME is not set"
        raise EnvironmentFault(f"which Dagster instance? {said}", next_step="export DAGSTER_HOME=FOLDER")
    try:
        return dg.DagsterInstance.from_config(str(Path(home).absolute()))
    except Exception as error:
        raise EnvironmentFault(
            f"the Dagster instance in {home} cannot be opened: {error}", next_step="check its dagster.yaml"
        ) from error


def _carry_out(plan: RecoveryPlan, project: Project, ledger: Ledger, environ: Mapping[str, str]) -> None:
    """Execute what is due; complete the capture of each run, close it, and seal."""
    from pipelines.data_factory.recovery_runs import carry_out
    from run_evidence.sensors import declare_partitions
    from run_evidence.sensors.capture.capture import CaptureContext, capture_run

    with _instance(environ) as instance:

        def ended(target: Target, run_id: str, success: bool) -> None:
            word = "SUCCESS" if success else "FAILURE"
            say(f"{target.plan.partition_key}  Dagster says {word} (run {run_id[:8]})")
            capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0.0))

        carry_out(plan, project, instance, ended)
        declare_partitions(ledger, project.repository, instance)
    ledger.seal()


def _tell_plan(plan: RecoveryPlan, path: Path, as_json: bool, *, hint: bool = True) -> int:
    if as_json:
        out_json({"plan_id": plan.plan_id, "path": str(path), "plan": plan.to_document()})
        return 0
    out(f"plan {plan.plan_id}  {styled(plan.mode, 'bold')} of {plan.asked}, by {plan.operator} at {plan.timestamp}")
    shown = [target for target in plan.targets if target.held != "no_delivery"]
    if shown:
        headers = ["partition", "why", "expected", "in Silver", "new events", "gap", "then"]
        out(*table(headers, [_target_row(target) for target in shown], [_style(target) for target in shown]))
    _tell_held(target for target in plan.held if target.held == "no_delivery")
    out(f"guard   {IDEMPOTENCY_GUARD}")
    for target in plan.due:
        out(f"impact  {target.plan.partition_key}: {target.plan.downstream_impact}")
    out(f"{len(plan.due)} to carry out, {len(plan.held)} held; {path}")
    if hint and plan.due:
        say("nothing was written but the plan. Next: the same with --execute")
    return 0


def _style(target: Target) -> str | None:
    return "yellow" if target.held else None


def _tell_held(held: Iterable[Target]) -> None:
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


def _tell_story(story: Story, as_json: bool) -> int:
    if as_json:
        out_json(story.to_document())
        return 0 if story.as_planned else 1
    plan = story.plan
    out(f"plan {story.plan_id}  {plan.mode} of {plan.asked}, by {plan.operator} at {plan.timestamp}")
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
    _tell_held(plan.held)
    done = f"{len(story.runs)} runs for {len(plan.due)} partitions, {len(plan.held)} held"
    word = styled("as planned", "green") if story.as_planned else styled("NOT as planned", "red")
    out(f"{word}: {done}, {len(story.findings)} findings")
    if story.runs:
        say(f"each run whole: ledger show {story.runs[-1].run_id[:8]}")
    return 0 if story.as_planned else 1


if __name__ == "__main__":
    run(main)
