"""`ledger witness serve`: a witness for other ledgers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.terminal import out, say

if TYPE_CHECKING:
    from run_evidence.ledger.tlog.keys import Verifier

app = typer.Typer(
    help="Watch other ledgers: cosign their checkpoints, and only what extends the last one.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _witness() -> None:
    """Watch other ledgers: cosign their checkpoints, and only what extends the last one."""


@app.command()
def serve(
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The witness's own private key.")],
    logs: Annotated[
        list[str],
        typer.Option(
            "--log", metavar="[ORIGIN=]VKEY", help="A log to watch; ORIGIN where the key has another name."
        ),
    ],
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="Its memory: the last checkpoint of each log.")
    ],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8464,
) -> None:
    """Serve C2SP tlog-witness over HTTP until stopped. The address goes to stdout when it is ready.

    Run it where the ledger's administrator has no say: its own machine, user and disk.

    Example: ledger witness serve --key witness.key --log log.vkey --state memory
    """
    from run_evidence.ledger.storage.key_file import read_key_file
    from run_evidence.ledger.tlog.keys import format_vkey
    from run_evidence.ledger.witness.server import WitnessServer
    from run_evidence.ledger.witness.witness import open_witness

    signer = read_key_file(key)
    witness = open_witness(signer, _known_logs(logs), state)
    with WitnessServer(witness, host, port) as server:
        say(f"witness {format_vkey(signer.verifier())}")
        for origin in witness.logs:
            say(f"watches {origin}: {witness.last(origin).size} entries cosigned so far")
        out(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")


def _known_logs(logs: list[str]) -> dict[str, tuple[Verifier, ...]]:
    from run_evidence.ledger.tlog.keys import ED25519, parse_vkey

    known: dict[str, tuple[Verifier, ...]] = {}
    for log in logs:
        origin, _, vkey = log.rpartition("=")
        verifier = parse_vkey(vkey)
        if verifier.algorithm != ED25519:
            raise UsageError(
                f"{vkey} is a witness's key, not a log's.", next_step="give the log's: ledger key show"
            )
        name = origin or verifier.name
        known[name] = (*known.get(name, ()), verifier)
    return known
