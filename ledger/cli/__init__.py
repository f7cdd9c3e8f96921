"""The `ledger` command, put together from the entry points of the group `ledger.commands`.

A command's module is loaded when the command is called (or its help shown), never before: a cold start is
felt by a person. Any package can add a command by naming a function in that group.
"""

from __future__ import annotations

import contextlib
import gc
import io
import sys
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points, version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from run_evidence.ledger.cli.faults import exit_code, not_installed, require_text
from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.terminal import flushed, out

_DISTRIBUTION: Final = "run-evidence-ledger"
_GROUP: Final = "ledger.commands"


def _commands() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def _command(name: str) -> EntryPoint | None:
    """Find a command: in our own package first, which spares looking through every installed one."""
    with contextlib.suppress(PackageNotFoundError):
        for entry in distribution(_DISTRIBUTION).entry_points.select(group=_GROUP, name=name):
            return entry
    return _commands().get(name)


def _load(entry: EntryPoint) -> Any:
    """Load a command, or else one of the same name that ends with what prevents it: the others still work."""
    try:
        return entry.load()
    except Exception as error:  # noqa: BLE001 - whatever a package's module raises when it is loaded
        problem = error
    known = isinstance(problem, ImportError) and not_installed(problem)

    def unavailable() -> None:
        raise problem

    unavailable.__doc__ = f"(Not available: {'something it needs is not installed' if known else 'it is broken'}.)"
    return unavailable


def _with_short_help(command: Any) -> Any:
    """Let -h stand for --help, in the commands of a command too."""
    command.context_settings = {**command.context_settings, "help_option_names": ["-h", "--help"]}
    return command


class _LazyGroup(TyperGroup):
    """A group whose commands are entry points, each loaded on first use."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is click's
        return sorted(_commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        entry = _command(cmd_name)
        if entry is None:
            return None
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        loaded = _load(entry)
        if isinstance(loaded, typer.Typer):  # a command with commands of its own
            loaded.info.name = cmd_name
            return _with_short_help(get_command(loaded))
        single.command(cmd_name)(loaded)
        return _with_short_help(get_command(single))


app = typer.Typer(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        out(f"ledger {version(_DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _main(
    ctx: typer.Context,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger",
            metavar="PATH",
            help="The ledger. Else LEDGER_URL, .ledger.toml, $DAGSTER_HOME/ledger, ./.ledger.",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Read, prove and hand over what every run did and did not do.

    Data goes to stdout, messages to stderr. Exit codes: 0 fine, 1 a verdict is not met, 2 wrong usage,
    3 integrity failure, 4 environment (path, instance, store), 70 an error in this program, 130 interrupted.
    """
    ctx.obj = Session(ledger)


def main() -> None:
    """Run the command line; whatever ends it becomes a message and an exit code (see `ledger.cli.faults`)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # for people; what programs read is written as bytes
        sys.stdout.reconfigure(errors="backslashreplace")
    # What a command makes it keeps to its end, and cycles are few: looking for them was a tenth of `ledger page`.
    gc.set_threshold(100_000, 20, 20)
    try:
        require_text(sys.argv[1:])
        code = app(prog_name="ledger", standalone_mode=False)
    except SystemExit as stop:  # a shell has its completions; with another code it is a library's end
        code = exit_code(stop) if stop.code else 0
    except BaseException as error:  # noqa: BLE001 - a panic of a library is no Exception
        code = exit_code(error)
    sys.exit(flushed(code if isinstance(code, int) else 0))
