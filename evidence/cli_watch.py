"""The command `ledger watch`. Light to import."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.evidence.cli import _PROFILE, _width, profiles_for
from run_evidence.ledger import state_of
from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.terminal import is_read, is_terminal, out, screen

if TYPE_CHECKING:
    from run_evidence.evidence.facts import RunRow
    from run_evidence.evidence.profile_history import Profiles
    from run_evidence.evidence.verdict import RunVerdict
    from run_evidence.ledger import Ledger

_Found = tuple[Sequence["RunRow"], dict[str, "RunVerdict"], list[str]]


def watch(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs at most, the newest.")] = 20,
    every: Annotated[float, typer.Option("--every", min=0.05, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    profile: _PROFILE = None,
) -> None:
    """Show the newest runs and their verdicts, in place, until Ctrl-C.

    Where no terminal reads it: a line for each run, and again when its verdict changes. Nothing is written.

    Example: ledger watch --every 5
    """
    session: Session = ctx.obj
    ledger = session.ledger()
    chosen = profiles_for(ledger, profile)
    found = _changes(ledger, chosen, limit, every, once=once)
    if is_terminal(sys.stdout):
        with screen() as show:
            for _, _, lines in found:
                show([time.strftime("%H:%M:%S UTC", time.gmtime(ledger.clock() // 1_000_000)), "", *lines])
        return
    told: dict[str, str] = {}
    for rows, verdicts, _ in found:
        for row in reversed(rows):
            verdict = verdicts[row.run_id]
            words = "  ".join(
                filter(None, [row.run_id, row.job_name, row.partition, verdict.verdict, verdict.reason])
            )
            if told.get(row.run_id) != words:
                told[row.run_id] = words
                out(words)


def _changes(ledger: Ledger, chosen: Profiles, limit: int, every: float, *, once: bool) -> Iterator[_Found]:
    """Yield the newest runs now, and again whenever something was added to the ledger."""
    before: object = None
    while True:
        now = state_of(ledger)
        if now != before:
            yield _newest(ledger, chosen, limit)
            before = now
        if once or not is_read():
            return
        time.sleep(every)


def _newest(ledger: Ledger, chosen: Profiles, limit: int) -> _Found:
    from run_evidence.evidence.facts import read_sound_runs
    from run_evidence.evidence.prefix import open_prefix
    from run_evidence.evidence.run_filter import RunFilter
    from run_evidence.evidence.sign_off import read_decided
    from run_evidence.evidence.terminal import format_runs

    with open_prefix(ledger) as prefix:
        rows, verdicts, _ = RunFilter().find(prefix, limit)
        sound = read_sound_runs(prefix, [row.run_id for row in rows])[0] if chosen else {}
        decided = read_decided(prefix, sound, chosen) if chosen else None
    lines = format_runs(rows, verdicts, _width(), decided) if rows else ["No runs yet."]
    return rows, verdicts, lines
