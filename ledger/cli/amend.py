"""`ledger amend`, `ledger void`, `ledger erase`: corrections that overwrite nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.terminal import out, say

_EventArgument = Annotated[str, typer.Argument(help="The event it is about.")]
_ReasonOption = Annotated[str, typer.Option("--reason", help="Why.")]
_ActorOption = Annotated[str, typer.Option("--actor", help="Who says so.")]


def amend(
    ctx: typer.Context,
    event_id: _EventArgument,
    reason: _ReasonOption,
    actor: _ActorOption,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="What holds instead; without, it is a remark."),
    ] = None,
) -> None:
    """Record that an event is to be read otherwise. The original stays; prints the amendment's event id.

    Example: ledger amend 01J8… --actor ana --reason "counted twice" --set partition=2026-04-18
    """
    from run_evidence.ledger.admin.amend import amend as run

    session: Session = ctx.obj
    out(run(session.ledger(), event_id, reason=reason, actor=actor, changes=_pairs(changes or [])))
    say("the original stays as it is; effective_events shows what holds, amendments the history")


def _pairs(changes: list[str]) -> dict[str, str]:
    pairs = {}
    for change in changes:
        name, separator, value = change.partition("=")
        if not separator or not value:
            raise UsageError(f"--set {change!r} is not COLUMN=VALUE.", next_step="for example --set outcome=failed")
        pairs[name] = value
    return pairs


def void(ctx: typer.Context, event_id: _EventArgument, reason: _ReasonOption, actor: _ActorOption) -> None:
    """Record that an event does not count. The original stays; prints the void's event id.

    Example: ledger void 01J8… --actor ana --reason "reported by a test"
    """
    from run_evidence.ledger.admin.amend import void as run

    session: Session = ctx.obj
    out(run(session.ledger(), event_id, reason=reason, actor=actor))
    say("the original stays as it is; effective_events leaves it out, amendments has the history")


def erase(ctx: typer.Context, event_id: _EventArgument, reason: _ReasonOption, actor: _ActorOption) -> None:
    """Remove an event's payload that is kept outside its entry, on record. The entry stays and verifies.

    Example: ledger erase 01J8… --actor ana --reason "a customer asked"
    """
    from run_evidence.ledger.admin.amend import erase as run

    session: Session = ctx.obj
    out(run(session.ledger(), event_id, reason=reason, actor=actor))
    say("payload erased; its digest stays in the entry. Copies and backups of the ledger have it still")
