"""The command `ledger tail`: entries as they are sealed, for a log collector or a person."""

from __future__ import annotations

import time
from itertools import count, islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.terminal import is_read, out, out_exact

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger

_FORMATS: Final = ("text", "ndjson")
_AT_ONCE: Final = 500
_NAMED: Final = ("run_id", "step_key", "asset_key", "partition", "check_name", "outcome", "reason_code")
"""What a person is shown of an event, besides its type and its time."""


def tail(
    ctx: typer.Context,
    newest: Annotated[int, typer.Option("-n", min=0, help="With how many of the newest entries to begin.")] = 10,
    start: Annotated[
        int | None, typer.Option("--from", metavar="INDEX", min=0, help="Begin with this entry; 0 is the first.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on with what is sealed from now on.")] = False,
    output_format: Annotated[str, typer.Option("--format", "-f", help="text, for people, or ndjson.")] = "text",
    every: Annotated[float, typer.Option("--every", min=0.05, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Print the sealed entries in the order of the log, each once.

    As ndjson a line is an entry's JSON with its index. A collector that has entry 1199 goes on with --from 1200.

    Example: ledger tail --follow --format ndjson | collector
    """
    if output_format not in _FORMATS:
        raise UsageError(f"{output_format!r:.50} is no format of tail.", next_step=f"of {', '.join(_FORMATS)}")
    session: Session = ctx.obj
    ledger = session.ledger()
    place = max(ledger.log().size - newest, 0) if start is None else start
    for look in count():
        if look:
            time.sleep(every)
        place = _print(ledger, place, output_format)
        if not follow or not is_read():
            return


def _print(ledger: Ledger, first: int, output_format: str) -> int:
    """Print the entries from `first` on; return the index after the last."""
    from run_evidence.ledger.storage.segment import entries

    log = ledger.log()
    found = enumerate(entries(log, first, log.size), start=first)
    while some := list(islice(found, _AT_ONCE)):
        if output_format == "ndjson":
            out_exact(b"\n".join(b'{"index":%d,%b' % (index, entry[1:]) for index, entry in some))
        else:
            out(*(_line(index, entry) for index, entry in some))
        if not is_read():
            break
    return max(first, log.size)


def _line(index: int, entry: bytes) -> str:
    import orjson

    from run_evidence.ledger.model.times import rfc3339

    event: dict[str, Any] = orjson.loads(entry)
    named = (f"{name}={event[name]}" for name in _NAMED if event.get(name))
    return "  ".join([f"{index:>8}", rfc3339(event["occurred_at"], "seconds"), event["event_type"], *named])
