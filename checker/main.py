"""The command `ledger-check`: what `ledger check` and `ledger accept` do, where nothing else is installed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from run_evidence.evidence.acceptance import accept
from run_evidence.ledger import (
    EnvironmentFault,
    LedgerError,
    accepted_folder,
    check_file,
    read_checkpoint_file,
    read_key_texts,
    read_named,
    read_trust,
)
from run_evidence.ledger.terminal import fail, out, out_json_text

MAX_BYTES = 1 << 30
NOT_MET, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: those of `ledger` (docs/cli.md)."""
    asked = _parser().parse_args(arguments)
    try:
        code: int = asked.run(asked)
    except LedgerError as error:
        return fail(error)
    except OSError as error:
        return fail(EnvironmentFault(f"The file system refused: {error}."))
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ledger-check",
        description="Check what a run-evidence ledger proves, with nothing but a key: no ledger, no network.",
        epilog="Exit codes: 0 it holds, 1 the decision is not the one required, 2 wrong usage, 3 it does not hold, "
        "4 environment.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    key: dict[str, Any] = {"action": "append", "metavar": "VKEY", "default": []}

    of_folder = commands.add_parser("accept", help="Verify a hand-over and print its decision.")
    of_folder.add_argument("folder", type=Path, metavar="DIR")
    of_folder.add_argument("--key", **key, required=True, help="the log's verifier key, or a file that has it")
    of_folder.add_argument("--witness-key", **key, help="a witness that must have cosigned")
    for name, what in (("product", "A"), ("partition", "P"), ("to", "NAME"), ("origin", "LOG")):
        of_folder.add_argument(f"--{name}", metavar=what, help=f"the {name} it must be of")
    of_folder.add_argument("--require", metavar="DECISION", help="exit with 1 unless it is this or milder")
    of_folder.add_argument("--memory", metavar="DIR", type=Path, help="where to remember what was accepted")
    of_folder.add_argument("--no-memory", action="store_true", help="an older hand-over is accepted too")
    of_folder.set_defaults(run=_accept)

    of_file = commands.add_parser("check", help="Check a proof file, or a page.")
    of_file.add_argument("proof", type=Path, metavar="PROOF")
    of_file.add_argument("document", type=Path, nargs="?", metavar="DOCUMENT")
    of_file.add_argument("--key", **key, help="the log's verifier key, or a file that has it")
    of_file.add_argument("--witness-key", **key, help="a witness that must have cosigned")
    of_file.add_argument("--checkpoint", type=Path, metavar="FILE", help="a copy of the checkpoint that you kept")
    of_file.add_argument("--origin", metavar="LOG", help="the log it must come from")
    of_file.set_defaults(run=_check)
    for command in (of_folder, of_file):
        command.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _accept(asked: argparse.Namespace) -> int:
    memory = None if asked.no_memory else asked.memory or accepted_folder()
    accepted = accept(
        asked.folder,
        read_key_texts(asked.key),
        product=asked.product,
        partition=asked.partition,
        to=asked.to,
        origin=asked.origin,
        witness_keys=read_key_texts(asked.witness_key),
        memory=memory,
    )
    met = accepted.meets(asked.require)
    if asked.json:
        _out_json({"ok": met, **asdict(accepted)})
    else:
        out(*accepted.lines, *([] if met else [f"not met: {asked.require} was required"]))
    return 0 if met else NOT_MET


def _check(asked: argparse.Namespace) -> int:
    if not asked.key and not asked.checkpoint:
        _parser().error("check needs something trusted: --key VKEY, or --checkpoint FILE with a copy you kept")
    copy = read_checkpoint_file(asked.checkpoint).checkpoint if asked.checkpoint else None
    trust = read_trust(read_key_texts(asked.key), read_key_texts(asked.witness_key), copy, asked.origin)
    document = read_named(asked.document, max_bytes=MAX_BYTES) if asked.document else None
    proven = check_file(read_named(asked.proof, max_bytes=MAX_BYTES), trust, document)
    if asked.json:
        entries = [{"index": index, "entry": entry.decode()} for index, entry in proven.entries]
        _out_json({"ok": True, **asdict(proven), "entries": entries})
        return 0
    out(f"ok: {len(proven.entries)} entries are in {proven.origin}, {proven.size} entries, root {proven.root}")
    about = [f"about {' '.join(proven.subject)}"] if proven.subject else []
    signed = [f"signed by {key}" for key in proven.vouched.signed_by]
    cosigned = [f"cosigned by {key}" for key, _ in proven.vouched.cosigned_by]
    for line in (*about, *signed, *cosigned, *(f"note: {note}" for note in proven.notes)):
        out(line)
    return 0


def _out_json(value: Any) -> None:
    out_json_text(json.dumps(value, indent=2, ensure_ascii=False).encode())


if __name__ == "__main__":
    sys.exit(main())
