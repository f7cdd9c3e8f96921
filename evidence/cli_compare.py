"""The command `ledger compare`. Light to import."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from run_evidence.ledger import UsageError
from run_evidence.ledger.cli.session import JsonOption, Session, complete_run
from run_evidence.ledger.terminal import out_json, out_paged, shortened, styled

if TYPE_CHECKING:
    from run_evidence.evidence.compare import Comparison, ItemChange

_LONGEST: Final = 60
_VERSION: Final = 16


def compare(
    ctx: typer.Context,
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="BEFORE AFTER",
            help="Two runs, or releases.",
            autocompletion=complete_run,
        ),
    ],
    release: Annotated[bool, typer.Option("--release", help="They are releases.")] = False,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="SIZE|CHECKPOINT|TIME", help="The ledger as it was.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what changed between two runs or releases: outcomes, counts, versions, durations, and nothing else.

    Example: ledger compare 3f2a latest
    """
    from run_evidence.evidence.compare import compare_releases, compare_runs
    from run_evidence.ledger import parse_as_of

    if len(sides) != 2:
        raise UsageError("Two runs are compared.", next_step="ledger compare RUN_A RUN_B")
    session: Session = ctx.obj
    before, after = sides
    compared = (compare_releases if release else compare_runs)(session.ledger(), before, after, parse_as_of(as_of))
    if as_json:
        out_json(asdict(compared))
    else:
        out_paged(*_lines(compared))


def _lines(compared: Comparison) -> list[str]:
    lines = [styled(f"{_side(compared.before)} → {_side(compared.after)}", "bold")]
    lines += [f"  {_change(change)}" for change in compared.whole]
    for item in compared.items:
        name = f"check {item.check_name} of {item.asset_key}" if item.check_name else item.asset_key
        lines.append(f"{name} [{item.partition}]" if item.partition else name)
        lines += [f"  {_change(change)}" for change in item.changes]
    if not compared.whole and not compared.items:
        lines.append("  nothing changed")
    return [*lines, styled(f"({compared.same} items are the same)", "dim")]


def _side(run_ids: tuple[str, ...]) -> str:
    return run_ids[0] if len(run_ids) == 1 else f"{len(run_ids)} runs"


def _change(change: ItemChange) -> str:
    longest = _VERSION if change.what.endswith("_version") else _LONGEST
    sides = ("none" if side is None else shortened(str(side), longest) for side in (change.before, change.after))
    return f"{change.what}: {' → '.join(sides)}"
