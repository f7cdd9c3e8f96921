"""`ledger sync`: capture from the command line, for any Dagster instance, whenever it ran."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.session import Session, out, out_json, say, styled
from ledger.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from sensors.capturing import Capturing
    from sensors.sync import Synced

HomeOption = Annotated[
    Path | None,
    typer.Option("--dagster-home", envvar="DAGSTER_HOME", help="The instance's folder, with its dagster.yaml."),
]


def sync(
    ctx: typer.Context,
    dagster_home: HomeOption = None,
    run: Annotated[list[str] | None, typer.Option("--run", metavar="RUN_ID", help="Only this run.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME|AGE", help="Only runs that changed since: 2026-04-17, 12h, 30d.")
    ] = None,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="Close runs that ended longer ago than this.")
    ] = 60.0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until interrupted.")] = False,
    release_id: Annotated[
        str | None, typer.Option(help="The release of runs that carry no release_id tag, if you know it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Capture every run of a Dagster instance that the ledger does not have, and seal.

    Needs nothing attached to the project, and works for runs that ended before the ledger was installed.
    """
    from sensors.capturing import Capturing
    from sensors.translate import Correlation

    session: Session = ctx.obj
    if grace < 0:
        raise UsageError(f"--grace {grace} is negative.")
    after = _since(since)
    instance = open_instance(dagster_home)
    how = Capturing(session.ledger(), None, Correlation(release_id=release_id), grace)
    while True:
        done = _runs(instance, how, run) if run else _all(instance, how, after)
        _print(done, as_json=as_json)
        if not follow:
            return
        after = max(done.updated_at - 120_000_000, 0)
        time.sleep(5)


def open_instance(home: Path | None) -> Any:
    """Open the instance in a folder. Raises `EnvironmentFault` when there is none there."""
    if home is None:
        raise EnvironmentFault(
            "Which Dagster instance? DAGSTER_HOME is not set.", next_step="ledger sync --dagster-home PATH"
        )
    folder = home.expanduser().absolute()
    if not folder.is_dir():
        raise EnvironmentFault(
            f"{folder} is not a folder, so it holds no Dagster instance.",
            next_step="ledger sync --dagster-home PATH",
        )
    import dagster as dg

    try:
        return dg.DagsterInstance.from_config(str(folder))
    except Exception as error:  # Dagster raises many kinds here: configuration, database, network
        raise EnvironmentFault(
            f"The Dagster instance in {folder} cannot be opened: {str(error).splitlines()[0][:300]}",
            next_step=f"check {folder / 'dagster.yaml'} and that its database answers",
        ) from error


def _since(text: str | None) -> int:
    if text is None:
        return 0
    units = {"m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdigit() and text[-1] in units:
        moment = datetime.now(tz=UTC) - timedelta(**{units[text[-1]]: int(text[:-1])})
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"--since {text!r} is neither a time nor an age.", next_step="for example 2026-04-17 or 12h or 30d"
            ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _runs(instance: Any, how: Capturing, run_ids: list[str]) -> Synced:
    from sensors.capture import capture_run
    from sensors.source import log_sizes
    from sensors.sync import OpenRun, Synced

    sizes = log_sizes(instance, run_ids)
    captured = []
    for run_id in run_ids:
        one = capture_run(instance, run_id, how)
        if one is None:
            raise UsageError(
                f"Dagster has no run {run_id}.", next_step="ledger sync without --run takes all there are"
            )
        captured.append(one)
    if how.ledger.exists():
        how.ledger.seal()
    return Synced(
        runs=len(captured),
        records=sum(c.records for c in captured),
        log_lines=sum(c.log_lines for c in captured),
        appended=sum(c.appended for c in captured),
        unreadable=sum(c.unreadable for c in captured),
        open_runs=tuple(OpenRun(c.run_id, c.ended, sizes[c.run_id]) for c in captured if not c.closed),
    )


def _all(instance: Any, how: Capturing, after: int) -> Synced:
    from sensors.sync import sync_runs

    total = instance.get_runs_count()
    live = sys.stderr.isatty()

    def show(done: Synced) -> None:
        if live:
            filled = 30 * min(done.runs, total) // max(total, 1)
            bar = f"[{'#' * filled}{'.' * (30 - filled)}]"
            sys.stderr.write(f"\r{bar} {done.runs} of {total} runs, {done.appended} events")
            sys.stderr.flush()

    done = sync_runs(instance, how, updated_after=after, progress=show)
    if live:
        sys.stderr.write("\r\x1b[K")
    return done


def _print(done: Synced, *, as_json: bool) -> None:
    if as_json:
        out_json(asdict(done))
        return
    out(
        f"{done.runs} runs: {done.appended} events captured of {done.records} records read, "
        f"{done.unchanged} runs closed and unchanged, {len(done.open_runs)} still open"
    )
    if done.unreadable:
        warning = styled("warning", "yellow", sys.stderr)
        say(f"{warning}: {done.unreadable} records are not Dagster event log entries and were left out")
        say("next:  report them as a bug; `ledger reconcile` names the runs")
