"""`ledger verify`: proving that a ledger was kept."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from run_evidence.ledger.cli.session import JsonOption, Session
from run_evidence.ledger.errors import EnvironmentFault, NewerSchemaError
from run_evidence.ledger.model.times import rfc3339
from run_evidence.ledger.terminal import out, out_json, progress_line, say, spell_bytes, styled


def verify(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VKEY", help="The log's verifier key; else the one the ledger names."),
    ] = None,
    witness_keys: Annotated[
        list[str] | None, typer.Option("--witness-key", metavar="VKEY", help="A witness that must have cosigned.")
    ] = None,
    since: Annotated[
        list[Path] | None,
        typer.Option(
            "--since", metavar="CHECKPOINT", help="A copy of an older checkpoint: the log only grew since."
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="A quick look at N random entries instead of all.")
    ] = None,
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Use every processor, once the log is large enough to gain by it.")
    ] = False,
    use_memory: Annotated[
        bool,
        typer.Option(
            "--memory/--no-memory",
            help="Hold the log against the checkpoint you verified last, and remember the new one.",
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing was altered: re-hash every entry, re-derive every column, rebuild the tree.

    With a key, everything sealed has to lie under a checkpoint it signed. What was verified once is remembered: a
    later log that does not extend it is a finding. A signature is worth what the key is worth: bring the verifier
    key you were given, not the ledger's own word.

    Example: ledger verify --key log.vkey --parallel
    """
    from run_evidence.ledger.settings import verified_folder
    from run_evidence.ledger.storage.files import is_file
    from run_evidence.ledger.tlog.keys import format_vkey
    from run_evidence.ledger.tlog.trust import read_trust
    from run_evidence.ledger.verification.memory import VerifierMemory
    from run_evidence.ledger.verification.sample import verify_sample
    from run_evidence.ledger.verification.verify import verify as run

    session: Session = ctx.obj
    ledger = session.ledger()
    trust = read_trust(keys or [], witness_keys or [])
    for path in since or ():
        if not is_file(path):
            raise EnvironmentFault(
                f"--since {path}: there is no such file.",
                next_step="ledger export checkpoint FILE makes one, to keep for later",
            )
    memory = VerifierMemory(verified_folder()) if use_memory else None
    started = time.monotonic()
    with progress_line("entries") as show:
        if sample is not None:
            result = verify_sample(ledger, sample, show, trust=trust, since=since or (), memory=memory)
        else:
            workers = None if parallel else 1
            result = run(ledger, show, trust=trust, since=since or (), workers=workers, memory=memory)
    seconds = max(time.monotonic() - started, 1e-6)
    if as_json:
        out_json({"ok": result.ok, **asdict(result)})
    else:
        _print_verification(result, frozenset(map(format_vkey, trust.logs)), seconds)
        if memory is not None and result.sampled is None:
            _print_memory(result)
    if not result.ok:
        raise typer.Exit(NewerSchemaError.exit_code if result.only_newer else 3)


def _print_verification(result: Any, brought: frozenset[str], seconds: float) -> None:
    out(
        f"checked {result.entries} entries ({spell_bytes(result.entry_bytes)}) in {result.segments} segments, "
        f"{result.checkpoints} checkpoints, {result.tiles} tiles, {result.blobs} payloads, {result.unsealed} "
        f"unsealed events in {seconds:.1f} s ({result.entries / seconds:,.0f} entries/s)"
    )
    if result.sampled is not None:
        out(f"a sample: {result.sampled} random entries of {result.size} were proved; the rest is not known")
    if result.beyond_checkpoint:
        out(f"{result.beyond_checkpoint} entries have no checkpoint yet; next: ledger seal")
    if result.erased:
        out(f"{result.erased} payloads erased, each on record (payload.erased.v1); their entries verify")
    for size in result.since:
        out(f"the log only grew since the copy of {size} entries")
    _print_signatures(result, brought)
    _print_findings(result)


def _print_findings(result: Any) -> None:
    for finding in result.findings:
        at = f" entry {finding.index}" if finding.index is not None else ""
        out(f"{styled(finding.kind, 'red')} {finding.where}{at}: {finding.problem}")
        if finding.expected is not None or finding.got is not None:
            out(f"        expected {finding.expected}")
            out(f"        got      {finding.got}")
        if finding.next_step:
            out(f"        next: {finding.next_step}")
    if result.more_findings:
        out(f"        and {result.more_findings} more")
    if result.ok:
        out(f"{styled('ok', 'green')}: nothing was altered; root {result.root} over {result.size} entries")
        return
    number = len(result.findings)
    found = "1 finding" if number == 1 else f"{number} findings"
    what = "the ledger was altered" if result.altered else "the ledger was not verified as a whole"
    say(f"{styled('error', 'red', sys.stderr)}: {found}; {what}")
    if result.altered:
        say("next:  compare with a copy, and keep this state: it is evidence too")


def _print_memory(result: Any) -> None:
    if result.stranger:
        out(f"{styled('another log', 'yellow')}: {result.stranger}")
    if result.not_remembered:
        out(f"{styled('not remembered', 'yellow')}: {result.not_remembered}")
    elif result.ok and result.remembered is None:
        out("you had not verified this log before; from now on a log that does not extend it is a finding")
    elif result.ok:
        out(f"the log only grew since the checkpoint of {result.remembered} entries that you verified before")


def _print_signatures(result: Any, brought: frozenset[str]) -> None:
    for key in result.signed_by:
        whose = "the key you gave" if key in brought else "the ledger's own word for it; bring --key to be sure"
        out(f"signed by {key} ({whose})")
    for key in result.new_keys:
        out(
            f"{styled('new key', 'yellow')}: {key} did not sign what you verified here before, and is not trusted; "
            "ask the ledger's owner, then: ledger verify --key VKEY"
        )
    for key, seconds in result.cosigned_by:
        out(f"cosigned by {key} at {rfc3339(seconds * 1_000_000)}")
    for signer in result.unchecked:
        out(f"{styled('not checked', 'yellow')}: the signature by {signer}, no key (--witness-key VKEY)")
    if not result.signed_by:
        out(
            f"{styled('not signed', 'yellow')}: this shows that the ledger agrees with itself, and not that nobody "
            "who can write it has replaced all of it; next: ledger key new"
        )
