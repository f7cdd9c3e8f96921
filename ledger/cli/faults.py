"""What every error becomes at the end of the command line: a message, the next step, and an exit code.

1 is no code of an error: it says that a verdict is not met, and nothing else.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from run_evidence.ledger.errors import EnvironmentFault, LedgerError, UsageError
from run_evidence.ledger.storage.faults import machine_fault, read_fault
from run_evidence.ledger.storage.files import is_file, readable_fault
from run_evidence.ledger.terminal import fail, say, styled

WRONG_USAGE: Final = 2
FAULT: Final = 70
"""An error in this program, as EX_SOFTWARE in sysexits.h."""
INTERRUPTED: Final = 130

_ROOMS: Final = frozenset({"run_evidence", "ledger", "sensors", "evidence", "pipelines"})
_LONGEST: Final = 300


def exit_code(error: BaseException) -> int:
    """Print an error that ends the command on stderr, and return its exit code."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, SystemExit):  # by a library: typer leaves with 1 where nobody reads its help any more
        return 0 if isinstance(error.__context__, BrokenPipeError) else _fault(error)
    if isinstance(error, LedgerError):
        return fail(error)
    if isinstance(error, OSError):
        return fail(readable_fault(error, "The file system refused"))
    if machine_fault(error) is not None:  # in a library's own words, a panic of its included
        return fail(read_fault("The machine refused", error, "ledger doctor"))
    if isinstance(error, ImportError) and (missing := not_installed(error)):
        return fail(missing)
    if hasattr(error, "format_message"):  # click's own, under whichever name typer has it
        return _wrong_usage(error)
    return _fault(error)


def not_installed(error: ImportError) -> EnvironmentFault | None:
    """Return what is to be installed for this import to work, `None` when the fault is in our own code."""
    package = (error.name or "").partition(".")[0]
    if not package or package in _ROOMS:
        return None
    install = "pip install 'run-evidence-ledger[dagster]'"
    if not _is_there(package):
        return EnvironmentFault(f"This needs something that is not installed: {error}.", next_step=install)
    try:
        there = f"{package} {version(package)}"
    except PackageNotFoundError:
        there = f"the {package} that is installed"
    return EnvironmentFault(f"This does not work with {there}: {error}.", next_step=install)


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _wrong_usage(error: Any) -> int:
    message, context = error.format_message(), getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
        say(*message.splitlines())
        return WRONG_USAGE
    if context is None:
        return fail(UsageError(message))
    say(*context.get_usage().splitlines())
    return fail(UsageError(message, next_step=f"{context.command_path} --help"))


def require_text(arguments: Sequence[str]) -> None:
    """Refuse arguments with bytes that are not text in this locale; where a path may have them, it shows as one.

    Raises: UsageError.
    """
    for argument in arguments:
        if is_text(argument) or os.sep in argument or is_file(Path(argument)):
            continue
        raise UsageError(
            f"The argument {argument!a} holds bytes that are not text in this locale.",
            next_step=f"write it in UTF-8, set LC_ALL=C.UTF-8, or write a file's name as .{os.sep}NAME",
        )


def is_text(argument: str) -> bool:
    """Return whether an argument is all characters, with no byte that the locale has none for."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(error: BaseException) -> int:
    """Say that the error is in this program, where, and how to report it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _ROOMS & set(Path(frame.filename).parts)] or frames
    where = f" ({'/'.join(Path(ours[-1].filename).parts[-2:])} line {ours[-1].lineno})" if ours else ""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    say(f"{styled('fault', 'red', sys.stderr)}: an error in ledger itself, not a verdict: {what}{where}")
    if os.environ.get("LEDGER_DEBUG") == "1":
        say(*"".join(traceback.format_exception(error)).splitlines())
    say(
        f"{styled('next', 'bold', sys.stderr)}:  report it to whoever gave you this program, with this line and "
        "the output of: ledger doctor --json; LEDGER_DEBUG=1 shows the traceback"
    )
    return FAULT
