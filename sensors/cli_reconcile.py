"""`ledger reconcile` and `ledger prunable`: the ledger against Dagster, and what Dagster may forget."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.ledger import parse_moment, rfc3339
from run_evidence.ledger.cli.session import JsonOption, Session
from run_evidence.ledger.terminal import out, out_json, progress_line, say, styled, table
from run_evidence.sensors.cli import HomeOption, counted_runs, open_instance

if TYPE_CHECKING:
    from run_evidence.sensors.reconcile import Compared, Reconciled

_SHOWN = 50


def reconcile(
    ctx: typer.Context,
    dagster_home: HomeOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also compare runs that are closed and unchanged, record by record.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the ledger with Dagster run by run: missing, changed, extra, late, deleted at the source.

    Exit code 3 when the ledger misses a record of a run that ended, or one reads differently in Dagster now.

    Example: ledger reconcile
    """
    from run_evidence.sensors.reconcile import reconcile as compare

    session: Session = ctx.obj
    instance = open_instance(dagster_home, "reconcile")
    total = instance.get_runs_count()
    with progress_line("runs") as show:
        done = compare(instance, session.ledger(), full=full, progress=lambda so_far: show(so_far.runs, total))
    if as_json:
        out_json({**asdict(done), "whole": done.whole})
    else:
        _print(done)
    if not done.whole:
        raise typer.Exit(3)


def _print(done: Reconciled) -> None:
    out(f"{counted_runs(done.runs)} in Dagster: {done.unchanged} closed and unchanged, {done.compared} compared")
    counts = ("missing", "changed", "unreadable", "extra", "behind", "late")
    out(", ".join(f"{getattr(done, name)} {name}" for name in counts) + " records")
    only = ": the ledger is the only copy" if done.deleted else ""
    out(f"{counted_runs(done.deleted)} deleted at the source{only}")
    if done.elsewhere:
        are = "is" if done.elsewhere == 1 else "are"
        out(f"{counted_runs(done.elsewhere)} in the ledger {are} of another Dagster storage: not compared")
    if done.differing:
        out()
        rows = [_row(run) for run in done.differing[:_SHOWN]]
        out(*table(["run", "job", "held", *counts, "state"], rows))
        if len(done.differing) > _SHOWN:
            say(f"and {len(done.differing) - _SHOWN} more: ledger reconcile --json")
    if not done.whole:
        say(f"{styled('not whole', 'red', sys.stderr)}: the ledger misses records, or they read differently now")
        say("next:  ledger sync; what was captured of a changed record stays as it was")
    elif done.elsewhere and not done.runs:
        say("note:  this instance has no runs; its storage was replaced, or it is not the one that was captured")
    elif done.runs:
        out(f"{styled('whole', 'green')}: the ledger holds every record of every run that has ended")


def _row(run: Compared) -> list[str]:
    state = "deleted" if run.deleted else "closed" if run.closed else "open"
    numbers = (run.held, len(run.missing), len(run.changed), run.unreadable, len(run.extra), run.behind, run.late)
    return [run.run_id or "(no run)", run.job_name, *map(str, numbers), state]


def prunable(
    ctx: typer.Context,
    dagster_home: HomeOption = None,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME|AGE", help="Only runs that ended before: 30d, 2026-04-17.")
    ] = "30d",
    as_json: JsonOption = False,
) -> None:
    """List the runs that can be deleted from Dagster without losing evidence, and only those.

    Each is closed, compared with Dagster record by record just now, and sealed. Nothing is deleted.

    Example: ledger prunable --older-than 90d
    """
    from run_evidence.sensors.prunable import prunable as find

    session: Session = ctx.obj
    ended_before = parse_moment("--older-than", older_than, session.ledger().clock())
    instance = open_instance(dagster_home, "prunable")
    found = list(find(instance, session.ledger(), ended_before))
    if as_json:
        out_json([{**asdict(run), "ended_at": _time(run.ended_at)} for run in found])
        return
    for run in found:
        out(run.run_id)
    total = instance.get_runs_count()
    records = sum(run.records for run in found)
    say(f"{len(found)} of {counted_runs(total)}, {records} records: closed, compared, sealed")
    if found:
        again = f"ledger prunable --older-than {older_than}"
        say(f"next:  ledger verify, and then: {again} | xargs -n 1 dagster run delete --force")
    elif total:
        moment = _time(ended_before)[:16]
        say(f"note:  runs stay that ended after {moment} (--older-than), or that the ledger does not hold whole")


def _time(moment: int) -> str:
    return rfc3339(moment)
