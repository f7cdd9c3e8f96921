"""`ledger seal`, `status`, `compact`, `doctor`: keeping a ledger."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.ledger.cli.session import JsonOption, Session, say_problems
from run_evidence.ledger.terminal import out, out_json, say, spell_bytes, styled

if TYPE_CHECKING:
    pass


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
    """Give everything in the inbox its index, extend the tree, write and sign the checkpoint.

    Example: ledger seal
    """
    from run_evidence.ledger.admin.signed_state import signed_state
    from run_evidence.ledger.settings import signing_setup
    from run_evidence.ledger.tlog.trust import read_trust

    session: Session = ctx.obj
    ledger = session.ledger()
    ledger.signing_setup = signing_setup(key, witnesses or [], read_trust([], witness_keys or []).witnesses)
    done = ledger.seal()
    if as_json:
        out_json(asdict(done))
    else:
        signed = f"signed by {done.signed_by}" if done.signed_by else "not signed"
        new = f"sealed {done.sealed} events ({done.duplicates} duplicates dropped)"
        out(f"{new}; the log has {done.size}, {signed}")
    if done.size and not done.signed_by and not done.unsigned and signed_state(ledger.store).keys:
        say("this ledger has a key, and this process does not: name it with --key or LEDGER_KEY and seal again")
    say_problems(done)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def compact(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Merge small segments into large ones; no entry's index or bytes change.

    Files that another tool has put in their place, such as a nightly OPTIMIZE, are checked and written again.

    Example: ledger compact
    """
    from run_evidence.ledger.sealing.compact import compact as run

    session: Session = ctx.obj
    ledger = session.ledger()
    done = run(ledger.store, ledger.require())
    if as_json:
        out_json(asdict(done))
    else:
        if done.taken_back:
            out(f"{done.taken_back} files that another tool wrote are segments again; every entry was checked")
        out(f"{done.before} segments are {done.after} now; {done.removed_files} unreferenced files removed")


def status(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Show the ledger's size, what waits to be sealed, the last sync, and how far recording lags.

    Example: ledger status --json
    """
    from run_evidence.ledger.admin.status import status as measure

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
        ("checkpoint", f"{now.checkpoint_size} entries, {now.signing}"),
        ("last record", _ago(now.last_recorded_at) if now.last_recorded_at else "never"),
        ("last sync", _ago(now.last_sync_at) if now.last_sync_at else "never, or not known"),
        ("lag", _lag(now.lag_us)),
        ("size", spell_bytes(now.size_bytes)),
    ]
    for name, value in rows:
        out(f"{styled(f'{name:<12}', 'bold')}{value}")


def doctor(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Say what is wrong with this ledger or its store, and the next step.

    Example: ledger doctor
    """
    from run_evidence.ledger.admin.status import diagnose

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


def _lag(lag_us: int | None) -> str:
    """Say how far behind recording is; a ledger that was filled from history lags by that history."""
    return (
        "no records yet" if lag_us is None else f"{lag_us / 1e6:,.1f} s from happening to being recorded (median)"
    )


def _ago(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds / 1e6, tz=UTC)
    seconds = max((datetime.now(tz=UTC) - moment).total_seconds(), 0)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{int(seconds)} s ago"
