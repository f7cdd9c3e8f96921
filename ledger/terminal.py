"""Printing, for a person or a program, so that nothing recorded or received steers a terminal.

Everything a command prints goes through `out` and `say`, which write every character that could steer a terminal
as an escape, or through `out_json` and `out_exact`, which leave a program's bytes as they are and escape for a
terminal alone. `styled` marks its text with a word made up at the start of the process, and the printing turns
those marks into colours: a recorded text cannot hold them, whatever it holds, and no command can forget to escape.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from run_evidence.ledger.errors import EnvironmentFault

if TYPE_CHECKING:
    from run_evidence.ledger.errors import LedgerError

_MARK: Final = f"\x1b{os.urandom(8).hex()}:"
_MARKED: Final = re.compile(re.escape(_MARK) + "([0-9]+)m")

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


def colours(stream: TextIO | None) -> bool:
    """Return whether to colour: only on a terminal, and never against NO_COLOR."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person reads this stream; one that was closed before the start is `None`."""
    return stream is not None and stream.isatty()


def styled(text: str, style: str | None, stream: TextIO | None = None) -> str:
    """Return the text marked with a style, for `out` or `say`; unmarked where colours are not wanted."""
    if not style or not colours(stream or sys.stdout):
        return text
    return f"{_MARK}{_STYLES[style]}m{text}{_MARK}0m"


def say(*lines: str) -> None:
    """Print lines for a person on stderr; a line end inside one is shown as an escape."""
    _put("stderr", "".join(f"{_shown(line)}\n" for line in lines or ("",)))


def out(*lines: str) -> None:
    """Print lines on stdout; a line end inside one is shown as an escape."""
    _put("stdout", "".join(f"{_shown(line)}\n" for line in lines or ("",)))


def out_paged(*lines: str) -> None:
    """Print lines on stdout; on a terminal that has fewer, through LEDGER_PAGER, else PAGER, else less.

    An empty name is none: the lines are printed, as they are where the pager cannot be started.
    """
    text = "".join(f"{_shown(line)}\n" for line in lines)
    words = os.environ.get("LEDGER_PAGER", os.environ.get("PAGER", "less")).split()
    few = len(lines) < _height()
    if few or not words or not is_terminal(sys.stdout) or not is_terminal(sys.stdin) or not _page(words, text):
        _put("stdout", text)


@contextlib.contextmanager
def screen() -> Iterator[Callable[[Sequence[str]], None]]:
    """Give what shows lines in the place of those before, on a screen of its own; for a terminal alone.

    What does not fit on it is left out. The terminal is as it was before, whatever ends this.
    """

    def show(lines: Sequence[str]) -> None:
        fitting = lines[: max(_height() - 1, 1)]
        sys.stdout.write("\x1b[H" + "".join(f"{_shown(line)}\x1b[K\n" for line in fitting) + "\x1b[J")
        sys.stdout.flush()

    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        yield show
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()


def _height() -> int:
    """Return how many lines the terminal has; 24 where it does not say."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except (OSError, ValueError):
        return 24


def _page(words: Sequence[str], text: str) -> bool:
    """Give a text to a pager and wait for its end; return whether it could be started."""
    import signal
    import subprocess

    sys.stdout.flush()
    environment = {"LESS": "FRX", **os.environ}  # quit where all fits, keep our colours, leave the text behind
    try:
        pager = subprocess.Popen(words, stdin=subprocess.PIPE, text=True, errors="replace", env=environment)  # noqa: S603 - the user's own
    except OSError:
        return False
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pager's while it is there
    try:
        pager.communicate(text)
    finally:
        signal.signal(signal.SIGINT, before)
    return True


def out_json(value: Any) -> None:
    """Print one JSON document on stdout, indented, keys in the order given."""
    import orjson

    out_json_text(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z, default=str))


def out_json_text(document: bytes) -> None:
    """Print JSON on stdout, as UTF-8 whatever the locale; on a terminal with more of its characters as escapes.

    What is printed is the same JSON either way.
    """
    out_exact(document, _json_escape)


def out_exact(data: bytes, escape: Callable[[str], str] | None = None) -> None:
    """Print UTF-8 text on stdout, byte for byte, and a line end; on a terminal its lines go through `escape`."""
    if is_terminal(sys.stdout):
        lines = data.decode("utf-8", "backslashreplace").split("\n")
        _put("stdout", "".join(f"{_escaped(line, escape or _escape)}\n" for line in lines))
    else:
        _put("stdout", data + b"\n")


def out_bytes(data: bytes) -> None:
    """Write binary data to stdout. Raises: EnvironmentFault on a terminal, or where it cannot be written."""
    if is_terminal(sys.stdout):
        raise EnvironmentFault("Binary data is not for a terminal.", next_step="name a file with -o FILE")
    _put("stdout", data)


@contextlib.contextmanager
def progress_line(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give what shows, on stderr and on a terminal only, how many of how many are done; it is gone at the end."""
    shown = 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and (done >= total or time.monotonic() - shown > _REFRESH_S):
            shown = time.monotonic()
            filled = 30 * min(done, total) // max(total, 1)
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done:,} of {total:,} {what}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


_REFRESH_S: Final = 0.1


def _put(name: str, data: str | bytes) -> None:
    """Write to a standard stream. When its reader has had enough (`ledger query … | head`), the rest is dropped.

    The command goes on, so that its exit code says what it found, not who read it.
    """
    stream: TextIO | None = getattr(sys, name)
    if stream is None:
        if name == "stdout":
            raise EnvironmentFault("The output cannot be written: stdout is closed.")
        return
    try:
        if isinstance(data, bytes):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data)
        stream.flush()
    except BrokenPipeError:
        _drop(stream)
    except OSError as error:
        _drop(stream)
        if name == "stdout":  # nobody could read that stderr cannot be written
            raise EnvironmentFault(
                f"The output cannot be written: {error.strerror or error}.", next_step="write it somewhere else"
            ) from None


def flushed(code: int) -> int:
    """Return the exit code of a command once stdout is flushed: else Python may end with one of its own.

    A library may have left in it what cannot be written. It is dropped, and the code says so where it said nothing.
    """
    if sys.stdout is None:
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop(sys.stdout)
    except (OSError, ValueError) as error:
        _drop(sys.stdout)
        return code or fail(EnvironmentFault(f"The output cannot be written: {error}."))
    return code


def is_read() -> bool:
    """Return whether somebody still reads stdout: a command that goes on for ever ends when nobody does."""
    if "stdout" in _DROPPED or sys.stdout is None:
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)  # a broken pipe is reported whatever is asked for
    except (OSError, ValueError):  # a stream of a test has no file
        return True
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


_DROPPED: Final[set[str]] = set()


def _drop(stream: TextIO) -> None:
    """Point a stream that cannot be written to nowhere, for what is still in it and what comes."""
    _DROPPED.update(name for name in ("stdout", "stderr") if getattr(sys, name) is stream)
    with contextlib.suppress(OSError):  # a stream of a test has no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def fail(error: LedgerError) -> int:
    """Print an error and its next step on stderr, and return its exit code."""
    first, *more = str(error).splitlines() or [type(error).__name__]
    say(f"{styled('error', 'red', sys.stderr)}: {first}", *(f"       {line}" for line in more))
    if error.next_step:
        say(f"{styled('next', 'bold', sys.stderr)}:  {error.next_step}")
    return error.exit_code


def _shown(line: str) -> str:
    """Return a line for a person: everything as `printable` has it, our own marks as colours."""
    if line.isprintable():
        return line
    texts = _MARKED.split(line)
    return "".join(f"\x1b[{part}m" if number % 2 else printable(part) for number, part in enumerate(texts))


def printable(text: str) -> str:
    """Return the text with everything that could steer a terminal, or hide from its reader, as escapes."""
    return _escaped(text, _escape)


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    import json

    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str | None] = (),
    *,
    plain: bool = False,
) -> list[str]:
    """Return the lines of a table, columns aligned, numbers to the right; `styles` has one style for each row.

    `plain` is for a file: no styles, whatever stdout is.
    """
    shown = [list(map(printable, row)) for row in (headers, *rows)]
    widths = [max(map(width_of, column)) for column in zip(*shown, strict=True)]
    right = [bool(rows) and all(_is_number(row[i]) for row in shown[1:]) for i in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            " " * (w - width_of(c)) + c if r else c + " " * (w - width_of(c))
            for c, w, r in zip(cells, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = list(map(line, shown))
    if plain:
        return lines
    chosen = ["bold", *styles, *[None] * (len(rows) - len(styles))]
    return [styled(text, style) for text, style in zip(lines, chosen, strict=True)]


def _is_number(cell: str) -> bool:
    return cell == "" or cell.lstrip("-").replace(".", "", 1).isdigit()


def width_of(text: str) -> int:
    """Return the columns a text takes on a terminal; East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def shortened(text: str, columns: int) -> str:
    """Return a text of at most `columns` columns: its beginning and its end, with … in place of the middle."""
    if width_of(text) <= columns:
        return text
    start, end = "", ""
    for first, last in zip(text, reversed(text), strict=True):
        if width_of(start + first + end) >= columns:
            break
        start += first
        if width_of(start + last + end) >= columns:
            break
        end = last + end
    return f"{start}…{end}"


def spell_bytes(count: int) -> str:
    """Write a number of bytes as a person reads it."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
