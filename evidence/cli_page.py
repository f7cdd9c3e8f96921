"""The command `ledger page`. Light to import: it imports what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from run_evidence.evidence.cli import _PROFILE
from run_evidence.evidence.cli_gate import _PARTITION, _POLICY, _PRODUCT, _profiles_of
from run_evidence.ledger.cli.session import Session, complete_run, say_problems
from run_evidence.ledger.terminal import out, say


def page(  # noqa: PLR0913, PLR0917 - one argument for each option
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="RUN_ID", help="A run: the start of its id, or latest.", autocompletion=complete_run
        ),
    ] = None,
    product: _PRODUCT = None,
    partition: _PARTITION = None,
    release: Annotated[
        str | None, typer.Option("--release", metavar="RELEASE", help="Every run of a release, on one page.")
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="All of it: every delivery, asset, partition and run.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write it; else below reports/.")
    ] = None,
    policy: _POLICY = None,
    profile: _PROFILE = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that has other content.")] = False,
) -> None:
    """Write a page for people: what was delivered, what was not, and why; it verifies itself, offline.

    One HTML file without a network. It carries the entries that it rests on, their proof and the signed checkpoint;
    ledger check PAGE.html --key VKEY holds it against them without believing its script. Seals first.

    Example: ledger page --product shop/orders --partition 2026-04-17
    """
    from run_evidence.evidence.gate_policy_file import read_gate_policy
    from run_evidence.evidence.gate_subject import Asked
    from run_evidence.evidence.page.making import make_index, make_page, write_page
    from run_evidence.ledger import UsageError

    session: Session = ctx.obj
    asked = Asked(product=product, partition=partition, run_id=run, release_id=release)
    ledger = session.ledger()
    if index:
        if asked != Asked() or policy:
            raise UsageError("An index is of all there is.", next_step="ledger page --index, and nothing else")
        made = make_index(ledger)
    else:
        asked.require_one()
        rules = read_gate_policy(policy) if policy else None
        made = make_page(ledger, asked, _profiles_of(ledger, profile, asked), rules)
    target = output or Path("reports") / made.name
    write_page(ledger, made, target, force=force)
    out(str(target))
    words = made.document["headline"]
    say(f"{words['shape']} {words['word']}: {words['named']}. {words['sentence']}")
    if not made.signed:
        say("The page is not signed: it shows that nothing was changed since, and not who says so.")
    say_problems(made.sealed)


def serve(
    ctx: typer.Context,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port on 127.0.0.1.")] = 8765,
    policy: _POLICY = None,
) -> None:
    """Show the pages live in a browser on this machine, read-only, until Ctrl-C.

    A page of an open run asks for itself again. Nobody else's machine reaches it, and nothing is written.

    Example: ledger serve --port 8080
    """
    from run_evidence.evidence.gate_policy_file import read_gate_policy
    from run_evidence.ledger import UsageError

    session: Session = ctx.obj
    ledger = session.ledger()
    ledger.require()
    try:
        import uvicorn

        from run_evidence.evidence.page.live import live_pages
    except ModuleNotFoundError as error:
        raise UsageError(
            f"ledger serve needs {error.name}, which is not installed.",
            next_step="pip install 'run-evidence-ledger[serve]'",
        ) from None
    pages = live_pages(ledger, read_gate_policy(policy) if policy else None)
    say(f"http://127.0.0.1:{port}/ until Ctrl-C")
    uvicorn.run(pages, host="127.0.0.1", port=port, log_level="warning")
