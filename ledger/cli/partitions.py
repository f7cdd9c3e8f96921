"""The command `ledger partitions`: which partitions of an asset there are, and which are missing."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Final

import typer

from run_evidence.ledger.cli.session import JsonOption, Session, complete_asset
from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.model.times import rfc3339
from run_evidence.ledger.terminal import out_json, out_paged, say, table

_STATES: Final[dict[str, str]] = {
    "missing": "red",
    "failed": "red",
    "wiped": "red",
    "unknown": "yellow",
    "stale": "yellow",
    "skipped": "yellow",
    "pending": "dim",
    "materialized": "green",
}
"""Every state of the view `partitions`, and how it is shown."""

_COLUMNS: Final = ("partition", "state", "defined", "outcome", "reason_code", "run_id", "state_since", "stale_by")
_SHORT_ID: Final = 8


def partitions(
    ctx: typer.Context,
    asset: Annotated[
        str,
        typer.Argument(
            metavar="ASSET_KEY", help="The asset, as ledger show names it.", autocompletion=complete_asset
        ),
    ],
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATES", help="As in missing,skipped; else all.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="SIZE|CHECKPOINT|TIME", help="The ledger as it was.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the partitions of an asset by its definition, also those that no run ever planned, with their states.

    Example: ledger partitions shop/orders --state missing,skipped
    """
    from run_evidence.ledger.query.as_of import parse_as_of
    from run_evidence.ledger.query.snapshot import open_snapshot
    from run_evidence.ledger.storage.search import sql_text

    wanted = _wanted(state)
    session: Session = ctx.obj
    with open_snapshot(session.ledger(), parse_as_of(as_of), ("partitions",)) as snapshot:
        rows = [
            dict(zip(_COLUMNS, row, strict=True))
            for row in snapshot.rows(sql_text("partitions_of"), {"asset_key": asset})
        ]
        known = (
            []
            if rows
            else [key for (key,) in snapshot.rows("SELECT DISTINCT asset_key FROM partitions ORDER BY 1")]
        )
    if not rows:
        raise _unknown(asset, known)
    shown = [row for row in rows if row["state"] in wanted]
    if as_json:
        out_json([{**row, "state_since": _moment(row["state_since"])} for row in shown])
        return
    if shown:
        out_paged(
            *table(
                ["state", "partition", "since", "run", "why"],
                list(map(_cells, shown)),
                [_STATES[r["state"]] for r in shown],
            )
        )
    _print(rows, len(shown))


def _wanted(state: str | None) -> frozenset[str]:
    wanted = frozenset(filter(None, (word.strip() for word in (state or ",".join(_STATES)).split(","))))
    if other := sorted(wanted - _STATES.keys()):
        raise UsageError(f"{other[0]!r:.50} is no state of a partition.", next_step=f"of {', '.join(_STATES)}")
    return wanted


def _unknown(asset: str, known: list[str]) -> UsageError:
    from difflib import get_close_matches

    near = get_close_matches(asset, known, n=3)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return UsageError(
        f"The ledger knows no asset {asset!r:.200}.{hint}",
        next_step='ledger query "SELECT DISTINCT asset_key FROM partitions"',
    )


def _cells(row: dict[str, Any]) -> list[str]:
    stale = f"other version of {', '.join(row['stale_by'])}" if row["stale_by"] else ""
    outcome = row["outcome"] if row["outcome"] != row["state"] else ""
    why = ": ".join(dict.fromkeys(filter(None, [outcome, row["reason_code"]])))
    beside = "not in the definition" if row["defined"] is False else ""
    since = _moment(row["state_since"])[:16].replace("T", " ")
    run = (row["run_id"] or "")[:_SHORT_ID]
    return [row["state"], row["partition"] or "", since, run, "; ".join(filter(None, [why, stale, beside]))]


def _moment(microseconds: int | None) -> str:
    return "" if microseconds is None else rfc3339(microseconds, "microseconds")


def _print(rows: list[dict[str, Any]], shown: int) -> None:
    """Say how many there are of each state, and what the list cannot have."""
    count = Counter(row["state"] for row in rows)
    said = ", ".join(f"{count[name]} {name}" for name in _STATES if count[name])
    say(f"({shown} of {len(rows)} partitions; {said})")
    if all(row["defined"] is None for row in rows):
        say(
            "Nobody declared which partitions it has, so one that no run ever planned is not listed. "
            "Next: attach the project with with_ledger, whose sensor declares them"
        )
