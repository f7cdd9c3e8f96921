"""`python -m pipelines.recovery`: plan a retry, rerun, replay or backfill, and carry a plan out.

Without --execute nothing is written but the plan. `--plan FILE --execute` carries out the plan that was reviewed,
if all that it rests on is as it was; `--mode … --execute` plans and carries out in one. The runs are executed here,
through Dagster, without a daemon; then plan, runs and result are printed as one story, and where they differ is a
finding. --show prints it again.
0 fine · 1 not as planned, something is held, or what a plan rests on changed · 2 wrong usage or bad input · 4 the
environment.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from pipelines.data_factory.reconciliation import SILVER
from pipelines.data_factory.recovery import Verb
from pipelines.data_factory.recovery_output import print_changes, print_nothing_due, print_plan, print_story
from pipelines.data_factory.recovery_plan import COMMAND, Basis, LedgerFound, Planner, Question, partitions_found
from pipelines.data_factory.recovery_saved import (
    PlanChange,
    changes_since,
    find_plan,
    read_recovery_plan,
    require_unaltered,
    write_recovery_plan,
)
from pipelines.data_factory.recovery_story import read_story
from pipelines.ingestion.command import run
from pipelines.ingestion.settings import warehouse_of
from pipelines.partitions import daily_window, format_instant, parse_instant
from pipelines.reconcile import settings_of
from run_evidence.ledger import EnvironmentFault, UsageError, open_ledger
from run_evidence.ledger.terminal import out, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dagster as dg

    from pipelines.data_factory.recovery_plan import RecoveryPlan, Target
    from pipelines.data_factory.recovery_runs import Project
    from pipelines.data_factory.recovery_saved import StoredPlan
    from run_evidence.ledger import Ledger

_DEFAULT_REPORT_DIR: Final = "reports/week06"
_NAMED_RUNS: Final = 4
_UNCHANGED: Final = "nothing that it rests on has changed"
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
    """Plan what was asked for, or take a plan that was reviewed; carry it out when that was asked for; print it."""
    given = _parser().parse_args(arguments)
    reports = Path(environ.get("WEEK06_REPORT_DIR") or _DEFAULT_REPORT_DIR)
    ledger = open_ledger(given.ledger, environ)
    if given.show is not None:
        return print_story(read_story(read_recovery_plan(find_plan(reports, given.show)), ledger), given.json)
    if given.plan is not None:
        return _saved(given, ledger, environ, reports)
    question = _question(given)
    operator = _operator(given, environ, f"{COMMAND} --mode {given.mode} {_EXAMPLES[question.mode]}")
    project = _project()
    plan = _plan(question, operator, project, ledger, environ)
    path = write_recovery_plan(plan, reports)
    if not given.execute:
        return print_plan(plan, path, given.json, hint="nothing was written but the plan")
    if not given.json:
        print_plan(plan, path, as_json=False)
        out("")
    return _carry_out(read_recovery_plan(path), operator, project, ledger, environ, as_json=given.json)


def _saved(given: argparse.Namespace, ledger: Ledger, environ: Mapping[str, str], reports: Path) -> int:
    """Take a plan from its file, and carry it out if all that it rests on is as it was; else say what changed.

    Raises: InputError for a file that is no plan as it was written; UsageError when it was carried out already.
    """
    if _named(given) or given.mode:
        raise UsageError(
            "--plan has its own question and takes no other", next_step=f"{COMMAND} --plan {given.plan} --execute"
        )
    path = Path(given.plan)
    stored = read_recovery_plan(path if path.is_file() else find_plan(reports, given.plan))
    require_unaltered(stored)
    executor = _operator(given, environ, f"{COMMAND} --plan {given.plan} --execute")
    project, plan = _project(), stored.plan
    _require_not_carried_out(stored, ledger, environ)
    try:
        changes = changes_since(plan, _plan(plan.question, plan.operator, project, ledger, environ))
    except UsageError as error:
        changes = [PlanChange(None, "the question", "answered", f"refused: {error}")]
    if changes:
        return print_changes(plan, changes, plan.question.command, given.json)
    if not given.execute:
        return print_plan(plan, stored.path, given.json, hint=_UNCHANGED)
    if not given.json:
        out(f"plan {plan.plan_id}  {_UNCHANGED} since {plan.timestamp}")
    return _carry_out(stored, executor, project, ledger, environ, as_json=given.json)


def _require_not_carried_out(stored: StoredPlan, ledger: Ledger, environ: Mapping[str, str]) -> None:
    """Refuse a plan that the ledger has runs of, or that Dagster has runs of which nobody captured yet."""
    from pipelines.data_factory.recovery_runs import runs_of

    story = read_story(stored, ledger) if ledger.exists() else None
    runs = [run.run_id for run in story.runs] if story else []
    by = f", by {' and '.join(story.executed_by)}" if story and story.executed_by else ""
    if not runs:
        with _instance(environ) as instance:
            runs = runs_of(instance, stored.plan_id)
    if runs:
        named = ", ".join(run_id[:8] for run_id in runs[:_NAMED_RUNS]) + (", …" if len(runs) > _NAMED_RUNS else "")
        raise UsageError(
            f"plan {stored.plan_id} was carried out already{by}: {len(runs)} runs ({named})",
            next_step=f"{COMMAND} --show {stored.plan_id}",
        )


def _operator(given: argparse.Namespace, environ: Mapping[str, str], command: str) -> str:
    operator: str | None = given.operator or environ.get("WEEK06_OPERATOR")
    if not operator or not operator.strip():
        raise UsageError(
            "a recovery names who answers for it, and there is no operator", next_step=f"{command} --operator NAME"
        )
    return operator


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipelines.recovery", description=__doc__)
    parser.add_argument("--mode", choices=get_args(Verb), help="what to plan")
    parser.add_argument("--run", metavar="RUN_ID", help="the run to retry or rerun; its id, or a start of it")
    parser.add_argument("--batch", metavar="ID", help="the batch to rerun or replay")
    parser.add_argument("--partition", action="append", metavar="DAY", help="only this day; may be repeated")
    parser.add_argument("--from", dest="start", metavar="DAY|TIME", help="the window's start")
    parser.add_argument("--to", dest="end", metavar="DAY|TIME", help="its end: a day whole, a time not itself")
    parser.add_argument("--asset", metavar="KEY", help=f"whose missing partitions to backfill; else {SILVER}")
    parser.add_argument("--operator", metavar="NAME", help="who answers for it; else WEEK06_OPERATOR")
    parser.add_argument("--ledger", metavar="FOLDER", help="else as the command ledger finds it")
    parser.add_argument("--plan", metavar="FILE", help="a plan that was written, or its id, instead of --mode")
    parser.add_argument("--execute", action="store_true", help="carry the plan out")
    parser.add_argument("--show", metavar="PLAN_ID", help="print a plan, its runs and the result; or: latest")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _named(given: argparse.Namespace) -> list[str]:
    """Return which of the options were given that say what to recover."""
    said = {"run": given.run, "batch": given.batch, "partition": given.partition, "from": given.start or given.end}
    return [name for name, value in {**said, "asset": given.asset}.items() if value]


def _question(given: argparse.Namespace) -> Question:
    """Return what was asked. Raises: UsageError for what the verb does not take."""
    if given.mode is None:
        raise UsageError("what to do? --mode is not given", next_step=f"{COMMAND} --mode {'|'.join(_TAKES)}")
    mode: Verb = given.mode
    named = [name for name in _named(given) if name != "asset" or mode != "backfill"]
    wrong = [name for name in named if name not in _TAKES[mode]]
    many = mode in {"retry", "rerun"} and len(given.partition or ()) > 1
    if wrong or many or len(named) > 1 or (not named and mode != "backfill"):
        takes = ", ".join(f"--{name}" for name in sorted(_TAKES[mode]))
        got = " and ".join(f"--{name}" for name in named) or "none"
        raise UsageError(
            f"--mode {mode} takes one of {takes}; it got {got}",
            next_step=f"{COMMAND} --mode {mode} {_EXAMPLES[mode]}",
        )
    days = tuple(daily_window(day).key for day in given.partition or ())
    return Question(mode, given.run, given.batch, days, given.start, given.end, given.asset)


def _plan(
    question: Question, operator: str, project: Project, ledger: Ledger, environ: Mapping[str, str]
) -> RecoveryPlan:
    """Answer the question by what is there now. Raises: UsageError for what is not there."""
    settings, warehouse = settings_of(environ), warehouse_of(environ)
    basis = Basis(
        project.job_name,
        project.partitions,
        project.steps,
        str(settings.ticket_seed_path or settings.manifest_path),
        warehouse.database.name,
        ledger.require() if ledger.exists() else None,
    )
    planner = Planner(settings, warehouse, project.partition_keys, operator, datetime.now(UTC), question, basis)
    return _answer(planner, project, ledger, environ)


def _answer(planner: Planner, project: Project, ledger: Ledger, environ: Mapping[str, str]) -> RecoveryPlan:
    question = planner.question
    if question.mode == "backfill":
        asset = question.asset or SILVER
        found = _partitions(ledger, asset, environ)
        if asset != SILVER and not found.partitions:
            raise UsageError(f"the ledger knows no asset {asset!r:.100}", next_step=f"{COMMAND} --asset {SILVER}")
        chosen, asked = _days(question, planner)
        return planner.backfill(found, chosen, f"{asset}, {asked}")
    if question.mode == "replay":
        if question.batch:
            return planner.replay_batch(question.batch)
        return planner.replay_days(*_days(question, planner))
    from pipelines.data_factory.recovery_runs import PARTITION_TAG, find_run, newest_run

    with _instance(environ) as instance:
        if question.run:
            found_run = find_run(instance, project.job_name, question.run)
        elif question.batch:
            tags, asked = {"batch_id": question.batch}, f"batch {question.batch}"
            found_run = newest_run(instance, project.job_name, tags, asked)
        else:
            (day,) = planner.require(question.partitions)
            found_run = newest_run(instance, project.job_name, {PARTITION_TAG: day}, day)
    return planner.retry(found_run) if question.mode == "retry" else planner.rerun(found_run)


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


def _days(question: Question, planner: Planner) -> tuple[list[str], str]:
    """Return the days asked for and how they were: those named, those that a window touches, or all there are."""
    if question.partitions:
        return planner.require(question.partitions), ", ".join(question.partitions)
    if not (question.start or question.end):
        return planner.require(planner.keys), "all partitions"
    start, end = _moment("--from", question.start, whole=False), _moment("--to", question.end, whole=True)
    if start and end and not start < end:
        raise UsageError(
            f"--from {question.start} is not before --to {question.end}, so no partition was asked for",
            next_step=f"{COMMAND} --mode {question.mode} {_EXAMPLES['backfill']}",
        )
    chosen = []
    for key in planner.keys:
        window = daily_window(key)
        if (end is None or window.start < end) and (start is None or start < window.end):
            chosen.append(key)
    if not chosen:
        planner.require([question.start or question.end or ""])  # says which there are
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


def _carry_out(
    stored: StoredPlan,
    executor: str,
    project: Project,
    ledger: Ledger,
    environ: Mapping[str, str],
    *,
    as_json: bool,
) -> int:
    """Execute what is due and print the result; 0 when it went as planned and nothing is held."""
    if not stored.plan.due:
        return print_nothing_due(stored.plan, as_json)
    _execute(stored.plan, executor, project, ledger, environ)
    return print_story(read_story(stored, ledger), as_json) or (1 if stored.plan.held else 0)


def _execute(
    plan: RecoveryPlan, executor: str, project: Project, ledger: Ledger, environ: Mapping[str, str]
) -> None:
    """Execute what is due; complete the capture of each run, close it, and seal."""
    from pipelines.data_factory.recovery_runs import carry_out
    from run_evidence.sensors import declare_partitions
    from run_evidence.sensors.capture.capture import CaptureContext, capture_run

    with _instance(environ) as instance:

        def ended(target: Target, run_id: str, success: bool) -> None:
            word = "SUCCESS" if success else "FAILURE"
            say(f"{target.plan.partition_key}  Dagster says {word} (run {run_id[:8]})")
            capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0.0))

        carry_out(plan, project, instance, executor, ended)
        declare_partitions(ledger, project.repository, instance)
    ledger.seal()


if __name__ == "__main__":
    run(main)
