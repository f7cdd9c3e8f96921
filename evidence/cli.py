"""The commands `ledger runs`, `ledger show` and `ledger report`. Light to import: each imports what it does."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from run_evidence.ledger.cli.session import Session, complete_asset, complete_partition, complete_run
from run_evidence.ledger.terminal import is_terminal, out, out_json, out_paged, say

if TYPE_CHECKING:
    from run_evidence.evidence.facts import RunRow
    from run_evidence.evidence.files import WrittenDocuments
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.profile_history import ProfileHistory, Profiles
    from run_evidence.evidence.sign_off import Decided
    from run_evidence.evidence.verdict import RunVerdict
    from run_evidence.ledger import AsOf, Ledger

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
_AS_OF = Annotated[
    str | None,
    typer.Option("--as-of", metavar="SIZE|CHECKPOINT|TIME", help="The ledger as it was: entries, file or time."),
]
_AS_OF_OCCURRED = Annotated[
    str | None, typer.Option("--as-of-occurred", metavar="TIME", help="Only what happened by TIME.")
]
_PROFILE = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="PROFILE",
        help="The delivery profile: MODULE:ATTRIBUTE, or a name that is installed. Else LEDGER_PROFILE, the "
        "project's file, or those that the ledger has.",
    ),
]
_RUN = Annotated[
    str,
    typer.Argument(
        metavar="RUN_ID",
        help="The run: the start of its id if that is enough, or latest.",
        autocompletion=complete_run,
    ),
]


def runs(  # noqa: PLR0913, PLR0917 - one argument for each option
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Started since: 12h, 1d, 2w, or an ISO 8601 time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Started before.")] = None,
    verdict: Annotated[
        str | None,
        typer.Option("--verdict", metavar="WORDS", help="As in failed,unknown; !passed is all others."),
    ] = None,
    job: Annotated[list[str] | None, typer.Option("--job", help="Of this job.")] = None,
    asset: Annotated[
        str | None,
        typer.Option(
            "--asset",
            metavar="KEY",
            help="That dealt with this asset.",
            autocompletion=complete_asset,
        ),
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(
            "--partition",
            metavar="KEY",
            help="Of this partition.",
            autocompletion=complete_partition,
        ),
    ] = None,
    release: Annotated[list[str] | None, typer.Option("--release", help="Of this release.")] = None,
    trigger: Annotated[
        list[str] | None,
        typer.Option(
            "--trigger", help="schedule, sensor, automation, backfill, re-execution, launched; or a name."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs at most, the newest.")] = 20,
    profile: _PROFILE = None,
    as_of: _AS_OF = None,
    as_of_occurred: _AS_OF_OCCURRED = None,
    as_json: _JSON = False,
) -> None:
    """List runs, newest first, each with its verdict, denominators and reason; with a profile also its decisions.

    Example: ledger runs --since 12h --verdict '!passed'
    """
    from run_evidence.evidence.facts import read_sound_runs
    from run_evidence.evidence.prefix import open_prefix
    from run_evidence.evidence.run_filter import RunFilter, parse_list, parse_verdicts
    from run_evidence.evidence.sign_off import read_decided
    from run_evidence.ledger import parse_as_of, parse_moment

    session: Session = ctx.obj
    ledger = session.ledger()
    now = ledger.clock()
    wanted = RunFilter(
        since=parse_moment("--since", since, now) if since else None,
        until=parse_moment("--until", until, now) if until else None,
        verdicts=parse_verdicts(verdict),
        jobs=parse_list(job),
        releases=parse_list(release),
        triggers=parse_list(trigger),
        asset=asset,
        partition=partition,
    )
    with open_prefix(ledger, parse_as_of(as_of, as_of_occurred)) as prefix:
        chosen = profiles_for(ledger, profile, prefix)
        rows, verdicts, total = wanted.find(prefix, limit)
        sound = read_sound_runs(prefix, [row.run_id for row in rows])[0] if chosen else {}
        decided = read_decided(prefix, sound, chosen) if chosen else None
    if as_json:
        out_json([_run_json(row, verdicts[row.run_id], decided) for row in rows])
    elif rows:
        from run_evidence.evidence.terminal import format_runs

        out_paged(*format_runs(rows, verdicts, _width(), decided))
        if total > len(rows):
            say(f"({len(rows)} of {total} runs, the newest; -n {total} lists all)")
    else:
        say("No run fits. Next: ledger runs lists all" if wanted else _no_runs(as_of or as_of_occurred))


def show(
    ctx: typer.Context,
    run_id: _RUN,
    profile: _PROFILE = None,
    as_of: _AS_OF = None,
    as_of_occurred: _AS_OF_OCCURRED = None,
    as_json: _JSON = False,
) -> None:
    """Tell one run: verdict, timeline, assets, checks, what was left out and why, and what proves it.

    With a delivery profile also the decision on each partition that it delivers.

    Example: ledger show latest
    """
    from run_evidence.evidence.contradictions import declared_by
    from run_evidence.evidence.facts import read_runs
    from run_evidence.evidence.prefix import open_prefix, resolve_run
    from run_evidence.evidence.report import report_of
    from run_evidence.ledger import parse_as_of

    session: Session = ctx.obj
    ledger = session.ledger()
    with open_prefix(ledger, parse_as_of(as_of, as_of_occurred)) as prefix:
        chosen = profiles_for(ledger, profile, prefix)
        prefix.snapshot.add_views(declared_by(*chosen.every).views)
        facts = read_runs(prefix, [resolve_run(prefix, run_id, as_of or as_of_occurred)])[0]
        if as_json:
            out_json(report_of(prefix, facts))
        else:
            from run_evidence.evidence.terminal import format_run

            out_paged(*format_run(prefix, facts, _width(), chosen.of_run(facts.row)))


def report(  # noqa: PLR0913, PLR0917 - one argument for each option
    ctx: typer.Context,
    run_id: _RUN,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write; else the profile's folder for a run that delivers, reports for others.",
        ),
    ] = None,
    profile: _PROFILE = None,
    force: Annotated[bool, typer.Option("--force", help="Replace documents that have other content.")] = False,
    as_of: _AS_OF = None,
    as_of_occurred: _AS_OF_OCCURRED = None,
    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned", help="As the documents were before a key signed: to compare with one from then."
        ),
    ] = False,
    as_json: _JSON = False,
) -> None:
    """Write a run's evidence: report, summary, and hand-over documents. Seals first; overwrites nothing.

    Hand-over documents are written by a delivery profile, for a run that has part in the delivery; its delivery
    summary is brought up to date over all runs. With --as-of nothing is sealed and that file is left alone: the
    documents are those the ledger gave then, byte for byte; a TIME stands for the entries before the first that was
    recorded later.

    Example: ledger report latest --out reports
    """
    from run_evidence.evidence.facts import read_runs
    from run_evidence.evidence.prefix import open_prefix, resolve_run
    from run_evidence.ledger import parse_as_of
    from run_evidence.ledger.cli.session import say_problems

    session: Session = ctx.obj
    ledger = session.ledger()
    asked = replace(parse_as_of(as_of, as_of_occurred), unsigned=unsigned)
    chosen = profiles_for(ledger, profile)
    with open_prefix(ledger, asked) as prefix:
        found = resolve_run(prefix, run_id, as_of or as_of_occurred)
        delivering = chosen.delivering(read_runs(prefix, [found]))
    if not asked.past:
        ledger.seal()  # which of two profiles holds is what the order of the log says
        chosen = profiles_for(ledger, profile)
        delivering = tuple(each for each in chosen.histories if each.name in {d.name for d in delivering})
    paths: dict[Path, None] = {}
    for history in delivering or (None,):
        written, new = _write(ledger, found, _target(folder, history, delivering), asked, history, force=force)
        paths |= dict.fromkeys(new)
    if not written.unrecorded and not asked.past:
        say_problems(ledger.seal())  # so that the documents can be proved at once
    if as_json:
        names = [history.name for history in delivering]
        about = {"run_id": found, "delivery": names[0] if len(names) == 1 else names or None}
        out_json({**about, "final": written.final, "size": written.size, "files": list(map(str, paths))})
        return
    for path in paths:
        out(str(path))
    if not delivering:
        say(_nothing_delivered(found, chosen))
    if written.unrecorded:
        say(f"Not recorded in the ledger, so `ledger check` accepts none of these: {written.unrecorded}")
    if not written.final and not asked.past:
        say(f"Interim: run {found} is not closed in the ledger. When it has ended: ledger sync, then report again.")


def _target(folder: Path | None, history: ProfileHistory | None, every: Sequence[ProfileHistory]) -> Path:
    """Return the folder of one delivery: documents of two have the same names, so each has its own."""
    from run_evidence.evidence.profile_choice import documents_folder

    if folder is not None and history is not None and len(every) > 1:
        return folder / history.name
    return folder or (documents_folder(history) if history else Path("reports"))


def _write(
    ledger: Ledger, run_id: str, target: Path, asked: AsOf, history: ProfileHistory | None, *, force: bool
) -> tuple[WrittenDocuments, list[Path]]:
    """Write a run's documents and the delivery's summary; return what was written, and where."""
    from run_evidence.evidence.files import write_delivery_summary, write_run_documents

    written = write_run_documents(ledger, run_id, target, asked, profile=history, force=force)
    paths = [*written.evidence, written.report, written.summary]
    if history:
        summary = write_delivery_summary(ledger, target, as_of=asked, profile=history, force=force)
        paths.append(summary.latest or summary.kept)
    return written, paths


def profiles_for(ledger: Ledger, named: str | None, prefix: Prefix | None = None) -> Profiles:
    """Return the profiles that a command works with, and say which of the ledger's cannot be read.

    They are the ledger's of now: they are read within a `prefix` that is open, unless it is of the past.
    """
    from run_evidence.evidence.profile_choice import find_profiles

    found = find_profiles(ledger, named, None if prefix is None or prefix.as_of.past else prefix.snapshot)
    for problem in found.problems:
        say(f"note:  {problem}")
    return found


def _nothing_delivered(run_id: str, profiles: Profiles) -> str:
    from run_evidence.evidence.profile_choice import DECLARE

    if not profiles:
        return (
            f"No hand-over document, no delivery summary: these need a delivery profile. To have them, {DECLARE}."
        )
    names = ", ".join(history.name for history in profiles.histories)
    return f"No hand-over document: run {run_id} planned no partition of the delivery {names}."


def _no_runs(as_of: str | None) -> str:
    if as_of is None:
        return "The ledger has no runs yet. Next: ledger sync"
    return f"The ledger had no runs as of {as_of}. Next: ledger runs lists those it has now"


def _run_json(row: RunRow, verdict: RunVerdict, decided: Mapping[str, Sequence[Decided]] | None) -> dict[str, Any]:
    from run_evidence.evidence.document import timestamp

    delivered = None if decided is None else [asdict(each) for each in decided.get(row.run_id, ())]
    return {
        **({"deliveries": delivered} if delivered is not None else {}),
        "run_id": row.run_id,
        "job_name": row.job_name,
        "partition": row.partition,
        "started_at": timestamp(row.started_at),
        "ended_at": None if row.ended_at is None else timestamp(row.ended_at),
        "dagster_status": row.status,
        "closed": row.closed,
        "verdict": verdict.verdict,
        "reason_code": verdict.reason_code,
        "reason": verdict.reason,
        "denominators": verdict.denominators.sentence,
        "planned": verdict.denominators.planned,
        "counts": dict(verdict.denominators.counts),
        "not_planned": {name: n for name, n in verdict.denominators.unplanned.items() if n},
        "amendments": [
            {"index": c.index, "event_id": c.event_id, "action": c.action, "actor": c.actor, "reason": c.reason}
            for c in verdict.corrections
        ],
        "trace_id": row.trace_id,
        "release_id": row.release_id,
        "batch_id": row.batch_id,
    }


def _width() -> int | None:
    """Return the terminal's width; `None` where the output is no terminal, so that lines stay whole."""
    return shutil.get_terminal_size((100, 24)).columns if is_terminal(sys.stdout) else None
