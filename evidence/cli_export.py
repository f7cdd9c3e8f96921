"""The command `ledger export`: the log and its checkpoint, and a run in every format that is installed."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from run_evidence.evidence.cli import _AS_OF, _PROFILE, _RUN, profiles_for
from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.terminal import is_terminal, out

_OF_THE_LOG: Final = "ledger.exports"
"""The group of entry points of what writes the log itself: each is a command, and goes before a format."""


class _Exports(TyperGroup):
    """What writes the log, and a command for each format; each is loaded when it is used or its help shown."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is click's
        from run_evidence.evidence.exports.run import formats

        return sorted({*entry_points(group=_OF_THE_LOG).names, *formats()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        from run_evidence.evidence.exports.run import formats

        for entry in entry_points(group=_OF_THE_LOG, name=cmd_name):
            return _command(cmd_name, entry.load())
        form = formats().get(cmd_name)
        return None if form is None else _command(cmd_name, _writing(form), _description(form))


export = typer.Typer(
    cls=_Exports,
    help="Write a run in the formats of other tools, the log for them, and a checkpoint to keep.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@export.callback()
def _exports() -> None:
    """Write a run in the formats of other tools, the log for them, and a checkpoint to keep.

    A package adds a format by an entry point of the group run_evidence.exports.
    """


def _command(name: str, function: Any, described: str | None = None) -> Any:
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, help=described)(function)
    command = get_command(single)
    command.context_settings = {**command.context_settings, "help_option_names": ["-h", "--help"]}
    return command


def _description(entry: EntryPoint) -> str:
    from run_evidence.evidence.exports.run import load_format
    from run_evidence.ledger import LedgerError

    try:
        words = load_format(entry).__doc__ or ""
    except LedgerError:
        return "(Not available: it does not load.)"
    first = words.strip().partition("\n")[0] or f"Write a run as {entry.name}."
    return f"{first}\n\nExample: ledger export {entry.name} latest"


def _writing(entry: EntryPoint) -> Any:
    def write(
        ctx: typer.Context,
        run_id: _RUN,
        output: Annotated[
            Path | None, typer.Option("-o", "--output", metavar="FILE", help="The file; else standard output.")
        ] = None,
        profile: _PROFILE = None,
        as_of: _AS_OF = None,
        force: Annotated[bool, typer.Option("--force", help="Replace a file that has other content.")] = False,
    ) -> None:
        from run_evidence.evidence.exports.run import load_format, read_export, write_as
        from run_evidence.ledger import parse_as_of, write_outside

        session: Session = ctx.obj
        form = load_format(entry)
        ledger = session.ledger()
        run = read_export(ledger, run_id, parse_as_of(as_of), profiles_for(ledger, profile))
        content = write_as(entry, form, run)
        if output is not None:
            write_outside(output, content, ledger.root, force=force)
            out(str(output))
        elif is_terminal(sys.stdout):  # escapes what would command it
            out(*content.decode("utf-8", "backslashreplace").splitlines())
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)

    return write
