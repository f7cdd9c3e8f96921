"""`ledger prove`, `check`, `export checkpoint`, `export tlog`: what leaves a ledger so that none need trust it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from run_evidence.ledger.cli.session import JsonOption, Session, complete_run
from run_evidence.ledger.errors import EnvironmentFault, UsageError
from run_evidence.ledger.model.times import rfc3339
from run_evidence.ledger.storage.files import MAX_DOCUMENT_BYTES, is_file, read_named
from run_evidence.ledger.storage.output import require_outside, write_outside
from run_evidence.ledger.terminal import out, out_json, say, styled

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger

_KeyOption = Annotated[
    list[str] | None, typer.Option("--key", metavar="VKEY", help="The log's verifier key, or a file that has it.")
]
_WitnessOption = Annotated[
    list[str] | None, typer.Option("--witness-key", metavar="VKEY", help="A witness that must have cosigned.")
]


def prove(
    ctx: typer.Context,
    event_id: Annotated[str | None, typer.Argument(help="The event to prove.")] = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN_ID",
            help="Prove all of a run; its id, or a start of it.",
            autocompletion=complete_run,
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="REPORT", help="Prove what a JSON document rests on.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Under the checkpoint of this size; else the newest.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write the proof.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Prove that an event, a run, or what a document rests on, is in the log, for `ledger check` anywhere.

    Example: ledger prove --run latest -o run.proof
    """
    from run_evidence.ledger.proving.prove import open_prover
    from run_evidence.ledger.tlog.proof_file import format_proof

    if sum(value is not None for value in (event_id, run_id, file)) != 1:
        raise UsageError("Name one thing to prove.", next_step="EVENT_ID, or --run RUN_ID, or --file REPORT")
    session: Session = ctx.obj
    ledger = session.ledger()
    if output is not None:
        require_outside(output, ledger.root)
    with open_prover(ledger, size) as prover:
        if event_id is not None:
            proof, name = prover.prove_event(event_id), f"{event_id}.tlog-proof"
        elif run_id is not None:
            run_id = _whole_id(ledger, run_id)
            proof, name = prover.prove_run(run_id), f"{_file_name(run_id)}.proof"
        else:
            document = _read(file or Path())
            proof, name = prover.prove_document(document), f"{(file or Path()).name}.proof"
    target = output or Path(name)
    write_outside(target, format_proof(proof), ledger.root, force=force)
    signed = "signed" if proof.head.signatures else "not signed: whoever checks it needs a copy of this checkpoint"
    say(f"{len(proof.inclusions)} entries proved under checkpoint {proof.checkpoint.size} ({signed})")
    out(str(target))


def _whole_id(ledger: Ledger, asked: str) -> str:
    """Return the id of the run whose start was given; what is the start of none is left to the prover to refuse."""
    from run_evidence.ledger.query.run_ids import one_run, runs_starting_with
    from run_evidence.ledger.query.snapshot import open_snapshot

    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        return one_run(asked, runs_starting_with(snapshot, asked)) or asked


def _file_name(run_id: str) -> str:
    from urllib.parse import quote

    return quote(run_id, safe="")[:120]


def check(
    proof: Annotated[Path, typer.Argument(help="The proof file, or a page.")],
    document: Annotated[Path | None, typer.Argument(help="The document, or the entry, it is about.")] = None,
    keys: _KeyOption = None,
    witness_keys: _WitnessOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="FILE", help="A copy of the checkpoint that you kept.")
    ] = None,
    origin: Annotated[str | None, typer.Option("--origin", help="The log it must come from.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof, or a page, with nothing but a key you trust: no ledger, no network. Exit code 3 when it fails.

    A page (ledger page) is an HTML file with its proof in it: what it shows is held against the log without its
    script.

    Example: ledger check report.proof report.json --key log.vkey
    """
    from run_evidence.ledger.proving.page_file import check_file
    from run_evidence.ledger.storage.checkpoints import read_checkpoint_file
    from run_evidence.ledger.storage.files import read_key_texts
    from run_evidence.ledger.tlog.trust import read_trust

    if not keys and not checkpoint:
        raise UsageError(
            "A proof is worth what its checkpoint is worth, so something trusted is needed.",
            next_step="--key VKEY of the log, or --checkpoint with a copy you kept",
        )
    trust = read_trust(
        read_key_texts(keys or []),
        read_key_texts(witness_keys or []),
        read_checkpoint_file(_existing(checkpoint)).checkpoint if checkpoint else None,
        origin,
    )
    proven = check_file(_read(proof), trust, _read(document) if document else None)
    if as_json:
        entries = [{"index": index, "entry": entry.decode()} for index, entry in proven.entries]
        out_json({"ok": True, **asdict(proven), "entries": entries})
        return
    _print_proven(proven)


def _print_proven(proven: Any) -> None:
    where = f"{proven.origin}, {proven.size} entries, root {proven.root}"
    out(f"{styled('ok', 'green')}: {len(proven.entries)} entries are in {where}")
    if proven.subject:
        kind, name = proven.subject
        out(
            f"about {kind} {name}"
            + (f"; {proven.compared} statements agree with entries" if proven.compared else "")
        )
        if proven.recorded:
            document, run_id, size = proven.recorded
            out(f"recorded as {document} of run {run_id}, derived from the first {size} entries")
    else:
        ((index, entry),) = proven.entries
        out(f"entry {index}: {entry.decode('utf-8', 'backslashreplace')}")
    for key in proven.vouched.signed_by:
        out(f"signed by {key}")
    for key, seconds in proven.vouched.cosigned_by:
        out(f"cosigned by {key} at {rfc3339(seconds * 1_000_000)}")
    for note in proven.notes:
        say(f"{styled('note', 'yellow')}: {note}")


def _existing(path: Path) -> Path:
    if not is_file(path):
        raise EnvironmentFault(f"{path} cannot be read: there is no such file.")
    return path


def _read(path: Path) -> bytes:
    return read_named(path, max_bytes=MAX_DOCUMENT_BYTES)


def checkpoint(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it, outside of the ledger.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Copy the newest checkpoint, to keep where the ledger's writers cannot change it.

    Later, `ledger verify --since FILE` shows that the log only grew since.

    Example: ledger export checkpoint head-2026-04-17
    """
    from run_evidence.ledger.storage.checkpoints import newest_checkpoint

    session: Session = ctx.obj
    ledger = session.ledger()
    ledger.require()
    head = newest_checkpoint(ledger.store)
    if head is None:
        raise UsageError("There is no checkpoint yet: nothing is sealed.", next_step="ledger seal")
    write_outside(file, head.message, ledger.root, force=force)
    signed = "signed" if head.signatures else "not signed"
    say(f"the checkpoint of {head.checkpoint.size} entries, root {head.checkpoint.root.hex()} ({signed})")
    out(str(file))


def tlog(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder; only what is new is written.")],
    as_json: JsonOption = False,
) -> None:
    """Write the log as C2SP tlog-tiles (checkpoint, tiles, entry bundles), incrementally.

    Example: ledger export tlog public/log
    """
    from run_evidence.ledger.proving.export import export_tlog

    session: Session = ctx.obj
    ledger = session.ledger()
    require_outside(directory / "checkpoint", ledger.root)
    done = export_tlog(ledger, directory)
    if as_json:
        out_json(asdict(done))
        return
    out(f"{directory}: {done.size} entries ({done.size - done.before} new), {done.files} files written")
    if not done.signed:
        say(f"{styled('note', 'yellow')}: the checkpoint is not signed; next: ledger key new, ledger seal")
