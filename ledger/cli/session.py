"""What every command shares: which ledger is meant, and how to speak to a person or a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from ledger.settings import open_ledger

if TYPE_CHECKING:
    from ledger.errors import LedgerError
    from ledger.handle import Ledger

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
VERDICT_STYLES = {
    "passed": "green",
    "warned": "yellow",
    "failed": "red",
    "skipped": "cyan",
    "not_available": "cyan",
    "not_evaluated": "yellow",
    "unknown": "yellow",
}


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line. `address` is what --ledger said."""

    address: str | None

    def ledger(self) -> Ledger:
        """Return the ledger that --ledger or the environment names; whether it exists is not looked at."""
        return open_ledger(self.address)


def colours(stream: TextIO) -> bool:
    """Tell whether to colour: only on a terminal, and never against NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str | None, stream: TextIO | None = None) -> str:
    """Return the text in a style of `_STYLES`, or as it is where colours are not wanted."""
    if not style or not colours(stream or sys.stdout):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def say(message: str) -> None:
    """Tell a person something, on stderr."""
    print(message, file=sys.stderr)  # noqa: T201 - this is the command line


def out(text: str = "") -> None:
    """Put data on stdout. A reader that has had enough (`ledger query … | head`) ends the command, with 0."""
    try:
        print(text, flush=True)  # noqa: T201 - this is the command line
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        raise SystemExit(0) from None


def out_json(value: Any) -> None:
    """Put one JSON document on stdout, indented, keys in the order given."""
    import orjson

    out(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z, default=str).decode())


def fail(error: LedgerError) -> int:
    """Print an error and its next step on stderr, and return its exit code."""
    message = "\n".join(map(printable, str(error).splitlines()))
    say(f"{styled('error', 'red', sys.stderr)}: {message}")
    if error.next_step:
        say(f"{styled('next', 'bold', sys.stderr)}:  {printable(error.next_step)}")
    return error.exit_code


def printable(text: str) -> str:
    """Return the text with everything that could steer a terminal, or hide from its reader, as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str | None] = (),
    *,
    plain: bool = False,
) -> str:
    """Lay out a table, columns aligned, numbers to the right; `styles` has one style for each row.

    What the cells hold was written by others: it is shown, never obeyed (see `printable`). `plain` is for a
    file: no styles, whatever stdout is.
    """
    shown = [list(map(printable, row)) for row in (headers, *rows)]
    widths = [max(map(_width, column)) for column in zip(*shown, strict=True)]
    right = [bool(rows) and all(_is_number(row[i]) for row in shown[1:]) for i in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            " " * (w - _width(c)) + c if r else c + " " * (w - _width(c))
            for c, w, r in zip(cells, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = list(map(line, shown))
    if plain:
        return "\n".join(lines)
    chosen = ["bold", *styles, *[None] * (len(rows) - len(styles))]
    return "\n".join(styled(text, style) for text, style in zip(lines, chosen, strict=True))


def _is_number(cell: str) -> bool:
    return cell == "" or cell.lstrip("-").replace(".", "", 1).isdigit()


def _width(text: str) -> int:
    """Return the columns a text takes on a terminal; East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def spell_bytes(count: int) -> str:
    """Write a number of bytes as a person reads it."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
