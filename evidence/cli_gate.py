"""The commands `ledger gate` and `ledger sign-off`. Light to import: it imports what it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.evidence.cli import _PROFILE, _width, profiles_for
from run_evidence.ledger.cli.session import (
    JsonOption,
    Session,
    complete_asset,
    complete_partition,
    complete_run,
    say_problems,
)
from run_evidence.ledger.terminal import out, out_json, say

if TYPE_CHECKING:
    from run_evidence.evidence.gate_subject import Asked
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.profile_history import Profiles
    from run_evidence.ledger import Ledger

_NOT_MET = 1
_PRODUCT = Annotated[
    str | None,
    typer.Option(
        "--product",
        metavar="ASSET_KEY",
        help="The product asked about.",
        autocompletion=complete_asset,
    ),
]
_PARTITION = Annotated[
    str | None,
    typer.Option(
        "--partition",
        metavar="PARTITION",
        help="Its partition; none where it has none.",
        autocompletion=complete_partition,
    ),
]
_POLICY = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="What has to hold, and whom you trust: docs/gate.md."),
]


def gate(  # noqa: PLR0913, PLR0917 - one argument for each option
    ctx: typer.Context,
    release: Annotated[
        str | None, typer.Option("--release", metavar="RELEASE", help="Every run of a release, in one answer.")
    ] = None,
    product: _PRODUCT = None,
    partition: _PARTITION = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN_ID",
            help="A run, or the start of its id if that is enough.",
            autocompletion=complete_run,
        ),
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(
            "--require",
            metavar="DECISION",
            help="proceed, manual_review_required or dry_run_only; else the policy's, else proceed.",
        ),
    ] = None,
    policy: _POLICY = None,
    profile: _PROFILE = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether to build on a partition, a run or a release: every rule with what it wants and what there is.

    Exit code 0 when it is met and 1 when it is not, so a script reads: if ledger gate …; then. Nothing is written.
    What was altered is no verdict and ends with 3; it sees less than ledger verify, which reads the whole log.

    Example: ledger gate --product shop/orders --partition 2026-04-17 && deploy
    """
    from run_evidence.evidence.gate import ask_within
    from run_evidence.evidence.gate_policy import GatePolicy
    from run_evidence.evidence.gate_policy_file import read_gate_policy
    from run_evidence.evidence.gate_subject import Asked
    from run_evidence.evidence.gate_text import format_gate, gate_json
    from run_evidence.evidence.prefix import open_prefix

    session: Session = ctx.obj
    asked = Asked(product=product, partition=partition, run_id=run, release_id=release)
    asked.require_one()
    rules = read_gate_policy(policy) if policy else GatePolicy()
    ledger = session.ledger()
    with open_prefix(ledger) as prefix:
        answer = ask_within(prefix, asked, rules, _profiles_of(ledger, profile, asked, prefix), require)
    if as_json:
        out_json(gate_json(answer))
    else:
        out(*format_gate(answer, _width()))
    if not answer.met:
        raise typer.Exit(_NOT_MET)


def sign_off(
    ctx: typer.Context,
    product: Annotated[
        str,
        typer.Option(
            "--product",
            metavar="ASSET_KEY",
            help="The product.",
            autocompletion=complete_asset,
        ),
    ],
    actor: Annotated[str, typer.Option("--actor", help="Who decides.")],
    decision: Annotated[str, typer.Option("--decision", metavar="proceed|hold", help="What is decided.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    partition: _PARTITION = None,
    profile: _PROFILE = None,
) -> None:
    """Decide to proceed with a delivery, or to hold it: recorded with who, why, and on what evidence.

    It holds of the delivery as it is now, and lapses when that changes: a newer run, a correction, late records,
    newer data. Where the evidence says hold, that stands, unless a gate's policy lets a person override it.
    The one made last counts; ledger void withdraws it. Prints its event id. Seals first and after.

    Example: ledger sign-off --product a/b --partition 2026-04-17 --actor ana --decision hold --reason "a recount"
    """
    from run_evidence.evidence.gate_subject import Asked
    from run_evidence.evidence.profile import PROCEED
    from run_evidence.evidence.sign_off import sign_off as run

    session: Session = ctx.obj
    ledger = session.ledger()
    asked = Asked(product=product, partition=partition)
    asked.require_one()
    chosen = _profiles_of(ledger, profile, asked)
    event_id, part = run(ledger, asked, actor=actor, decision=decision, reason=reason, profiles=chosen)
    out(event_id)
    say(f"signed off: {decision} for {part.name}, of which the evidence says {part.decision}")
    if decision == PROCEED and part.decision != part.proceed:
        say(f"the evidence still says {part.decision}: this lets it proceed only where a gate's policy says so")
    say_problems(ledger.seal())


def _profiles_of(ledger: Ledger, named: str | None, asked: Asked, prefix: Prefix | None = None) -> Profiles:
    """Return the profiles to judge by: none where LEDGER_PROFILE names one of another product.

    Raises: UsageError when --profile names one of another product.
    """
    from run_evidence.evidence.profile_history import NO_PROFILES
    from run_evidence.ledger import UsageError

    found = profiles_for(ledger, named, prefix)
    if asked.product is None:
        return found
    chosen = found.named
    if chosen is None or chosen.product == asked.product:
        return found.of_product(asked.product)
    if named:
        raise UsageError(
            f"The profile {chosen.name} delivers {chosen.product}, and not {asked.product}.",
            next_step=f"--product {chosen.product}, or another --profile",
        )
    say(f"judged without the profile {chosen.name}, which delivers {chosen.product}: nothing may be missing")
    return NO_PROFILES
