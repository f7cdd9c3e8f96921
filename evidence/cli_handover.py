"""The commands `ledger handover` and `ledger accept`. Light to import: each imports what it does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from run_evidence.ledger.cli.session import JsonOption, Session, complete_partition
from run_evidence.ledger.terminal import out, out_json_text, say, styled

NOT_MET = 1
"""The exit code that says that a verdict is not met, and nothing else."""


def handover(
    ctx: typer.Context,
    partition: Annotated[
        str,
        typer.Option(
            "--partition", metavar="P", help="The partition to hand over.", autocompletion=complete_partition
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write: a folder for this partition alone.")
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="PROFILE",
            help="The delivery profile: MODULE:ATTRIBUTE, or a name that is installed. Else LEDGER_PROFILE, the "
            "project's file, or the one that the ledger has.",
        ),
    ] = None,
    product: Annotated[
        str | None, typer.Option("--product", metavar="A", help="The product; has to be the profile's.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="NAME", help="The recipient.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write everything a recipient needs to trust a partition: evidence, proof, checkpoint, and how to check them.

    Seals and signs. What is handed over is recorded in the log, with its decision. A folder that holds an earlier
    hand-over of the partition is brought up to date, and keeps what is superseded.

    Example: ledger handover --partition 2026-04-17 --to finance --out handover
    """
    from run_evidence.evidence.cli import profiles_for
    from run_evidence.evidence.handover import hand_over
    from run_evidence.evidence.profile_choice import one_profile
    from run_evidence.evidence.words import counted

    session: Session = ctx.obj
    ledger = session.ledger()
    chosen = one_profile(profiles_for(ledger, profile), product)
    done = hand_over(ledger, chosen, partition, folder, to=to)
    if as_json:
        _out_json({**asdict(done), "folder": str(done.folder)})
        return
    delivered, interim = chosen.profiles[-1].product, "" if done.final else ", interim"
    but = "" if done.in_force == done.decision else f"; the evidence says {done.decision}"
    out(f"{done.in_force}: {delivered} {partition}, run {done.run_id}{interim}{but}")
    state = "" if done.changed else " is as it was"
    out(f"{done.folder}{state}, supersedes {counted(done.superseded, 'document')}")
    say(f"To check it, with the key given by another way: ledger accept {done.folder} --key '{done.vkey}'")


def accept(  # noqa: PLR0913, PLR0917 - one argument for each option
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the hand-over.")],
    keys: Annotated[
        list[str], typer.Option("--key", metavar="VKEY", help="The log's verifier key, or a file that has it.")
    ],
    product: Annotated[
        str | None, typer.Option("--product", metavar="A", help="The product it must be of.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", metavar="P", help="The partition it must be of.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="NAME", help="The recipient it must be for.")] = None,
    origin: Annotated[str | None, typer.Option("--origin", help="The log it must come from.")] = None,
    witness_keys: Annotated[
        list[str] | None, typer.Option("--witness-key", metavar="VKEY", help="A witness that must have cosigned.")
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(
            "--require",
            metavar="DECISION",
            help="Exit with 1 unless the decision is this or a milder one; proceed: any word.",
        ),
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option("--memory", metavar="DIR", help="Where to remember what was accepted; else below your home."),
    ] = None,
    no_memory: Annotated[
        bool, typer.Option("--no-memory", help="Remember nothing: an older hand-over is accepted too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify a hand-over with nothing but a key: no ledger, no network. Prints the decision that the log recorded.

    Exit code 3 where it does not hold, with the file, the member, what was expected and what is there. What was
    accepted is remembered, so that an older hand-over of the same partition is refused.

    Example: ledger accept handover --partition 2026-04-17 --key log.vkey
    """
    from run_evidence.evidence.acceptance import accept as verify
    from run_evidence.ledger import accepted_folder, read_key_texts

    remembered = None if no_memory else memory or accepted_folder()
    accepted = verify(
        folder,
        read_key_texts(keys),
        product=product,
        partition=partition,
        to=to,
        origin=origin,
        witness_keys=read_key_texts(witness_keys or []),
        memory=remembered,
    )
    met = accepted.meets(require)
    if as_json:
        _out_json({"ok": met, **asdict(accepted)})
    else:
        out(*accepted.lines, *([] if met else [f"{styled('not met', 'red')}: {require} was required"]))
    if not met:
        raise typer.Exit(NOT_MET)


def _out_json(value: Any) -> None:
    import json

    out_json_text(json.dumps(value, indent=2, ensure_ascii=False).encode())
