"""`ledger sync`: capture from the command line, for any Dagster instance, whenever it ran."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from run_evidence.ledger import EnvironmentFault, UsageError, parse_moment, project_settings
from run_evidence.ledger.cli.session import JsonOption, Session
from run_evidence.ledger.terminal import out, out_json, printable, progress_line, say, styled

if TYPE_CHECKING:
    from run_evidence.sensors.capture.context import CaptureContext
    from run_evidence.sensors.sync import OpenRun, Synced

FOLLOW_SECONDS = 5.0
INSTANCE_FILES = ("dagster.yaml", "history", "storage")

HomeOption = Annotated[
    Path | None,
    typer.Option("--dagster-home", envvar="DAGSTER_HOME", help="The instance's folder, with its dagster.yaml."),
]


def sync(  # noqa: PLR0913, PLR0917 - a command has as many parameters as options
    ctx: typer.Context,
    dagster_home: HomeOption = None,
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="RUN_ID", help="Only this run; its id, or a start of it.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME|AGE", help="Only runs that changed since: 2026-04-17, 12h, 30d.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What runs may do without, declared from now on; see docs/capture.md."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="What the project hands over, declared from now on: MODULE:ATTRIBUTE, or a name that is "
            "installed. Else the project's file.",
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="Close runs that ended longer ago than this.")
    ] = 60.0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until interrupted.")] = False,
    release_id: Annotated[
        str | None, typer.Option(help="The release of runs that carry no release_id tag, if you know it.")
    ] = None,
    log_lines: Annotated[
        bool, typer.Option("--log-lines", help="Keep plain log lines too; they may hold secrets.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Capture every run of a Dagster instance that the ledger does not have, and seal.

    Needs nothing attached to the project, and works for runs that ended before the ledger was installed.

    Example: ledger sync --dagster-home ~/dagster
    """
    from run_evidence.evidence.profile_choice import find_profile
    from run_evidence.sensors.capture.capture import declare, declare_profile
    from run_evidence.sensors.capture.context import CaptureContext
    from run_evidence.sensors.capture.policy_file import read_policy
    from run_evidence.sensors.dagster_log.translate import Correlation
    from run_evidence.sensors.sync import OVERLAP_US

    session: Session = ctx.obj
    if not grace >= 0:
        raise UsageError(f"--grace {grace} is not a number of seconds.", next_step="for example --grace 60")
    after = parse_moment("--since", since, session.ledger().clock()) if since else 0
    instance = open_instance(dagster_home, "sync")
    policy = policy or project_settings().policy
    declared = read_policy(policy) if policy else None
    how = CaptureContext(session.ledger(), declared, Correlation(release_id=release_id), grace, log_lines)
    declare(how)
    if delivered := find_profile(profile, environment={}):  # LEDGER_PROFILE is what one reader works with
        declare_profile(how.ledger, delivered)
    done = _runs(instance, how, run) if run else _all(instance, how, after, ())
    _print(done, as_json=as_json)
    while follow:
        time.sleep(FOLLOW_SECONDS)
        newest = min(done.updated_at, how.ledger.clock()) - OVERLAP_US
        done = _runs(instance, how, run) if run else _all(instance, how, max(newest, after), done.open_runs)
        if done.appended or done.troubled or done.sealing.exit_code:
            _print(done, as_json=as_json)
    code = done.sealing.exit_code or (4 if done.troubled else 0)
    if code:
        raise typer.Exit(code)


def open_instance(home: Path | None, command: str) -> Any:
    """Open the instance in a folder, for one of our commands. Raises `EnvironmentFault` when there is none."""
    name_it = f"ledger {command} --dagster-home PATH"
    if home is None:
        raise EnvironmentFault("Which Dagster instance? DAGSTER_HOME is not set.", next_step=name_it)
    folder = home.expanduser().absolute()
    if not folder.is_dir():
        raise EnvironmentFault(f"{folder} is not a folder, so it holds no Dagster instance.", next_step=name_it)
    # Dagster would make an empty instance of any folder it is pointed to.
    if not any((folder / name).exists() for name in INSTANCE_FILES):
        raise EnvironmentFault(
            f"{folder} holds no Dagster instance: none of {', '.join(INSTANCE_FILES)} is in it.",
            next_step=f"{name_it} of an instance that has runs, or the folder with its dagster.yaml",
        )
    import dagster as dg

    try:
        return dg.DagsterInstance.from_config(str(folder))
    except Exception as error:  # Dagster raises many kinds here: configuration, database, network
        raise EnvironmentFault(
            f"The Dagster instance in {folder} cannot be opened: {' '.join(str(error).split())[:400]}",
            next_step=f"check {folder / 'dagster.yaml'} and that its database answers",
        ) from error


def counted_runs(number: int) -> str:
    """Put a number before what it counts."""
    return "1 run" if number == 1 else f"{number} runs"


def _runs(instance: Any, how: CaptureContext, run_ids: list[str]) -> Synced:
    from run_evidence.sensors.capture.capture import capture_run
    from run_evidence.sensors.dagster_log.source import log_sizes
    from run_evidence.sensors.sync import OpenRun, Sealing, Synced, seal

    run_ids = [_whole_id(instance, run_id) for run_id in run_ids]
    sizes = log_sizes(instance, run_ids)
    captured, troubled = [], []
    for run_id in run_ids:
        try:
            one = capture_run(instance, run_id, how)
        except Exception as error:
            if len(run_ids) == 1:
                raise
            troubled.append(f"{run_id}: {type(error).__name__}: {error}")
            continue
        if one is None:
            raise UsageError(
                f"Dagster has no run {run_id}.", next_step="ledger sync without --run takes all there are"
            )
        captured.append(one)
    return Synced(
        runs=len(captured),
        records=sum(c.records for c in captured),
        log_lines=sum(c.log_lines for c in captured),
        appended=sum(c.appended for c in captured),
        unreadable=sum(c.unreadable for c in captured),
        unnamed=tuple(dict.fromkeys(asset for c in captured for asset in c.unnamed)),
        open_runs=tuple(OpenRun(c.run_id, c.ended, sizes[c.run_id]) for c in captured if not c.closed),
        troubled=tuple(troubled),
        sealing=seal(how.ledger) if how.ledger.exists() else Sealing(),
    )


def _whole_id(instance: Any, asked: str) -> str:
    """Return the id of the run of Dagster whose start was given; what is the start of none stays as it is."""
    from run_evidence.ledger import one_run

    if not asked or instance.has_run(asked):
        return asked
    return one_run(asked, sorted(run for run in instance.get_run_ids() if run.startswith(asked))) or asked


def _all(instance: Any, how: CaptureContext, after: int, also: Sequence[OpenRun]) -> Synced:
    from run_evidence.sensors.sync import sync_runs

    total = instance.get_runs_count()
    with progress_line("runs") as show:
        return sync_runs(
            instance, how, updated_after=after, also=also, progress=lambda so_far: show(so_far.runs, total)
        )


def _print(done: Synced, *, as_json: bool) -> None:
    if as_json:
        out_json(asdict(done))
        return
    waiting = sum(run.ended for run in done.open_runs)
    running = len(done.open_runs) - waiting
    captured = done.runs - done.unchanged
    walked = counted_runs(done.runs)
    out(f"{walked}: {captured} captured, {done.unchanged} closed before and unchanged, {running} still running")
    out(f"{done.records} records read, {done.appended} events appended: new records, and what follows from them")
    if not done.runs:
        say("note:  there is no run to look at; is this the Dagster instance you mean?")
    if waiting:
        who = f"{counted_runs(waiting)} {'has' if waiting == 1 else 'have'}"
        say(f"next:  {who} only just ended; the next ledger sync looks once more and closes what has ended")
    if done.unnamed:
        say(f"note:  counted as required, though they said that they are not available: {', '.join(done.unnamed)}")
        say("next:  name them in a policy: ledger sync --policy FILE, or with_ledger(defs, policy=FILE)")
    warning = styled("warning", "yellow", sys.stderr)
    for problem in done.troubled:
        say(f"{warning}: not captured: {printable(problem)}")
    for problem in done.sealing.problems():
        say(f"{warning}: {printable(problem)}")
    if done.sealing.next_step:
        say(f"next:  {done.sealing.next_step}")
    if done.unreadable:
        say(f"{warning}: {done.unreadable} records are not Dagster event log entries and were left out")
        say("next:  report them as a bug; `ledger reconcile` names the runs")
