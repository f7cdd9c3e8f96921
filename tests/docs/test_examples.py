"""Every command's help has an example, and the command takes it as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from run_evidence.ledger.cli import app


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    context = group.make_context("ledger", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_an_example_that_it_takes(name: str) -> None:
    """Each option and argument in it is one of the command's, and none that it needs is missing."""
    (example,) = re.findall(r"^ *Example: (.+)$", COMMANDS[name].help, re.MULTILINE)
    words = shlex.split(re.split(r" (?:&&|\|) ", example)[0])
    assert words[: 1 + len(name.split())] == ["ledger", *name.split()]
    COMMANDS[name].make_context(name, words[1 + len(name.split()) :])
