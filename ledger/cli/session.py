"""One call of the command line: which ledger is meant."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from run_evidence.ledger.errors import LedgerError
from run_evidence.ledger.settings import open_ledger
from run_evidence.ledger.terminal import say, styled

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.sealing.seal import Sealed

_COMPLETIONS: Final = 100
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./@+][A-Za-z0-9_./@+=,-]*")
"""What a shell is given: zsh evaluates it, and a name may have been recorded by anybody. None is an option."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line. `address` is what --ledger said."""

    address: str | None

    def ledger(self) -> Ledger:
        """Return the ledger that --ledger or the environment names; it need not exist."""
        return open_ledger(self.address)


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs, the newest first, whose id begins so, for a shell; and `latest`."""
    return [word for word in ("latest",) if word.startswith(incomplete)] + _recorded(ctx, "run_id", incomplete)


def complete_asset(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the assets whose key begins so, for a shell."""
    return _recorded(ctx, "asset_key", incomplete)


def complete_partition(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the partitions whose key begins so, for a shell."""
    return _recorded(ctx, "partition", incomplete)


def _recorded(ctx: typer.Context, kind: str, incomplete: str) -> list[str]:
    from run_evidence.ledger.query.snapshot import open_snapshot
    from run_evidence.ledger.storage.search import sql_text

    asked = {"kind": kind, "prefix": incomplete, "row_limit": _COMPLETIONS}
    try:
        ledger = open_ledger(ctx.find_root().params.get("ledger"))
        with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
            return [name for (name,) in snapshot.rows(sql_text("completions"), asked) if _PLAIN.fullmatch(name)]
    except LedgerError:
        return []  # a shell that is asked for words shows no errors


def say_problems(done: Sealed) -> None:
    """Tell a person what a seal could not do, and the way on."""
    for word, problem in done.problems:
        style = "yellow" if word in {"not signed", "not cosigned"} else "red"
        say(f"{styled(word, style, sys.stderr)}: {problem}")
    if done.next_step:
        say(f"{styled('next', 'bold', sys.stderr)}:  {done.next_step}")
