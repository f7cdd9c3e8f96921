"""`ledger key new | show | add`: the key that signs a ledger's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.errors import EnvironmentFault, UsageError
from run_evidence.ledger.terminal import out, say

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.tlog.keys import Verifier

app = typer.Typer(
    help="Make the key that signs this ledger's checkpoints, and show its public half.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_NewFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where to keep it. Else below ~/.config.")
]


@app.command()
def new(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Option("--name", help="The key's name, such as example.com/ledger. Else the ledger's origin."),
    ] = None,
    file: _NewFile = None,
    witness: Annotated[
        bool, typer.Option("--witness", help="A witness's key: it cosigns other ledgers and signs none.")
    ] = False,
) -> None:
    """Make a private key (mode 0600, never in the ledger, never printed); the next seal signs with it.

    The public half goes to stdout. Where there is no ledger yet, one is made whose origin is the key's name.

    Example: ledger key new
    """
    from run_evidence.ledger.settings import key_folder, key_memory
    from run_evidence.ledger.storage.key_file import generate_signer, key_file_name, write_key_file
    from run_evidence.ledger.storage.keyring import memory_of, record_key
    from run_evidence.ledger.tlog.keys import COSIGNATURE, ED25519, format_vkey

    session: Session = ctx.obj
    ledger = session.ledger()
    if witness and not name:
        raise UsageError(
            "A witness's key needs a name.", next_step="ledger key new --witness --name example.com/w1"
        )
    origin = ledger.require() if ledger.exists() else None
    if name is None and origin is None:
        raise UsageError("There is no ledger to name the key after.", next_step="ledger key new --name NAME")
    signer = generate_signer(name or str(origin), COSIGNATURE if witness else ED25519)
    folder = key_folder()
    if file is None and folder is None:
        raise EnvironmentFault("There is no home folder to keep a key in.", next_step="name a file with --out FILE")
    path = file or (folder or Path()) / key_file_name(signer.name)
    write_key_file(path, signer, ledger.root)
    say(f"the private key is in {path}; keep a copy offline, it is nowhere else")
    if not witness:
        memory_of(path, signer.verifier(), key_memory()).create()
        if origin is None:
            origin = ledger.create(signer.name)
            say(f"a ledger was made at {ledger.root}; its origin is {origin}")
        record_key(ledger.store, signer.verifier())
        if origin != signer.name:
            say(f"the ledger's origin is {origin}; tools that want key and origin alike need a key of that name")
        say("next:  ledger seal" + (f" --key {path}" if file else ""))
        _name_the_other(ledger, signer.verifier(), path)
    out(format_vkey(signer.verifier()))


@app.command()
def show(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A private key file. Else the ledger's own key.")] = None,
) -> None:
    """Print the verifier key, alone, on stdout: hand it to whoever verifies.

    Example: ledger key show
    """
    from run_evidence.ledger.storage.key_file import read_key_file
    from run_evidence.ledger.storage.keyring import read_records
    from run_evidence.ledger.tlog.keys import format_vkey

    if file is not None:
        out(format_vkey(read_key_file(file).verifier()))
        return
    session: Session = ctx.obj
    ledger = session.ledger()
    ledger.require()
    records = read_records(ledger.store)
    if not records:
        raise UsageError(f"The ledger at {ledger.root} has no key.", next_step="ledger key new --name NAME")
    out(format_vkey(records[-1].verifier))


@app.command()
def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A private key file.")],
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Drop what the key remembers of this log: after a restore that lost entries which it signed.",
        ),
    ] = False,
) -> None:
    """Make an existing key one of this ledger's, here: for a new signer, a new machine, or a memory that was lost.

    A key signs only what extends the last checkpoint it signed. Where it remembers none, this command decides that
    the ledger as it is now is the one to go on from: verify it against a checkpoint that you kept first.

    Example: ledger key add log.key
    """
    from run_evidence.ledger.sealing.adopt import adopt
    from run_evidence.ledger.settings import key_memory
    from run_evidence.ledger.storage.key_file import read_key_file
    from run_evidence.ledger.storage.keyring import LogSigner, memory_of
    from run_evidence.ledger.tlog.keys import format_vkey

    session: Session = ctx.obj
    ledger = session.ledger()
    key = read_key_file(file)
    signer = LogSigner(key, memory_of(file, key.verifier(), key_memory()))
    head = adopt(ledger.store, ledger.require(), signer, forget=forget)
    say(f"the key goes on from {head.size} entries, root {head.root.hex()}")
    say(f"next:  ledger seal --key {file}")
    _name_the_other(ledger, key.verifier(), file)
    out(format_vkey(key.verifier()))


def _name_the_other(ledger: Ledger, key: Verifier, path: Path) -> None:
    """Say which key a seal takes by itself where that is not this one: two may both have signed nothing yet."""
    signer = ledger.signing_setup.signer(ledger.store) if ledger.signing_setup else None
    if signer is not None and signer.key.verifier() != key:
        say(f"a seal signs with {signer.key.name}, another key of this ledger; with this one: --key {path}")
