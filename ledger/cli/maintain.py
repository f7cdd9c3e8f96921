"""`ledger seal`, `verify`, `status`, `compact`, `doctor`: keeping a ledger, and proving that it was kept."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.session import Session, out, out_json, say, styled

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def seal(
    ctx: typer.Context,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="FILE", help="The private key to sign with. Else LEDGER_KEY, or the ledger's own."
        ),
    ] = None,
    witnesses: Annotated[
        list[str] | None,
        typer.Option("--witness", metavar="URL", help="A witness to ask. Else LEDGER_WITNESSES."),
    ] = None,
    witness_keys: Annotated[
        list[str] | None,
        typer.Option("--witness-key", metavar="VKEY", help="Keep cosignatures by this key only."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Give everything in the inbox its index, extend the tree, write and sign the checkpoint."""
    from ledger.settings import notary
    from ledger.trust import read_trust

    session: Session = ctx.obj
    ledger = session.ledger()
    ledger.notary = notary(key, witnesses or [], read_trust([], witness_keys or []).witnesses)
    done = ledger.seal()
    if as_json:
        out_json(asdict(done))
    else:
        signed = f"signed by {done.signed_by}" if done.signed_by else "not signed"
        new = f"sealed {done.sealed} events ({done.duplicates} duplicates dropped)"
        out(f"{new}; the log has {done.size}, {signed}")
        if done.alarms:
            out(styled(f"{done.alarms} records read differently at their source now", "red"))
    for problem in done.refused:
        say(f"{styled('refused', 'red', sys.stderr)}: {problem}")
    for problem in done.unwitnessed:
        say(f"{styled('not cosigned', 'yellow', sys.stderr)}: {problem}")
    if done.refused or done.alarms:
        raise typer.Exit(3)
    if done.unwitnessed:
        raise typer.Exit(4)


def compact(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Merge small segments into large ones; no entry's index or bytes change."""
    from ledger.compact import compact as run

    session: Session = ctx.obj
    ledger = session.ledger()
    ledger.require()
    done = run(ledger.layout)
    if as_json:
        out_json(asdict(done))
    else:
        out(f"{done.before} segments are {done.after} now; {done.removed_files} unreferenced files removed")


def status(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Show the ledger's size, what waits to be sealed, and when something was last recorded."""
    from ledger.status import status as measure

    session: Session = ctx.obj
    now = measure(session.ledger())
    if as_json:
        out_json({**asdict(now), "path": str(now.path)})
        return
    waiting = f"{now.unsealed_events} events in {now.unsealed_objects} appends"
    if now.oldest_unsealed_at:
        waiting += f", the oldest {_ago(now.oldest_unsealed_at)}"
    rows = [
        ("ledger", str(now.path)),
        ("origin", now.origin),
        ("sealed", f"{now.sealed_events} events in {now.segments} segments"),
        ("unsealed", waiting),
        ("checkpoint", f"{now.checkpoint_size} entries, {'signed' if now.signed else 'not signed'}"),
        ("last record", _ago(now.last_recorded_at) if now.last_recorded_at else "never"),
        ("size", _bytes(now.size_bytes)),
    ]
    for name, value in rows:
        out(f"{styled(f'{name:<12}', 'bold')}{value}")


def doctor(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Say what is wrong with this ledger or its store, and the next step."""
    from ledger.status import diagnose

    session: Session = ctx.obj
    found = diagnose(session.ledger())
    if as_json:
        out_json([asdict(d) for d in found])
    else:
        for item in found:
            style = {"ok": "green", "advice": "yellow", "problem": "red"}[item.level]
            out(f"{styled(f'{item.level:<8}', style)} {item.what}")
            if item.next_step:
                out(f"         next: {item.next_step}")
    if any(d.level == "problem" for d in found):
        raise typer.Exit(4)


def verify(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Check that nothing was altered: re-hash every entry, re-derive every column, rebuild the tree."""
    from ledger.verify import verify as run

    session: Session = ctx.obj
    started = time.monotonic()
    with _Bar() as bar:
        result = run(session.ledger(), bar.show)
    seconds = max(time.monotonic() - started, 1e-6)
    if as_json:
        out_json({"ok": result.ok, **asdict(result)})
    else:
        _print_verification(result, seconds)
    if not result.ok:
        raise typer.Exit(3)


def _print_verification(result: Any, seconds: float) -> None:
    out(
        f"checked {result.entries} entries ({_bytes(result.entry_bytes)}) in {result.segments} segments, "
        f"{result.checkpoints} checkpoints, {result.unsealed} unsealed events "
        f"in {seconds:.1f} s ({result.entries / seconds:,.0f} entries/s)"
    )
    if result.beyond_checkpoint:
        out(f"{result.beyond_checkpoint} entries have no checkpoint yet; next: ledger seal")
    for finding in result.findings:
        at = f" entry {finding.index}" if finding.index is not None else ""
        out(f"{styled('altered', 'red')} {finding.where}{at}: {finding.problem}")
        if finding.expected is not None or finding.got is not None:
            out(f"        expected {finding.expected}")
            out(f"        got      {finding.got}")
    if result.more_findings:
        out(f"        and {result.more_findings} more")
    if result.ok:
        out(f"{styled('ok', 'green')}: nothing was altered; root {result.root} over {result.size} entries")
    else:
        say(f"{styled('error', 'red', sys.stderr)}: {len(result.findings)} findings; the ledger was altered")
        say("next:  compare with a copy, and keep this state: it is evidence too")


class _Bar:
    """A progress line on stderr, on a terminal only, gone when it is done."""

    def __enter__(self) -> _Bar:
        self._live = sys.stderr.isatty()
        self._shown = 0.0
        return self

    def show(self, done: int, total: int) -> None:
        if self._live and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            filled = 30 * done // max(total, 1)
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done:,} of {total:,} entries")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _ago(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds / 1e6, tz=UTC)
    seconds = max((datetime.now(tz=UTC) - moment).total_seconds(), 0)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{int(seconds)} s ago"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
