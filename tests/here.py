"""The `ledger` command called in this process, as a process of its own takes a third of a second to start."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from unittest import mock

from run_evidence.ledger.cli import main


def ledger_here(
    *arguments: str, env: Mapping[str, str] | None = None, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Run the command, with `env` for its whole environment, and return what a process of its own would print."""
    printed, told = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    with (
        mock.patch.dict(os.environ, os.environ if env is None else env, clear=True),
        mock.patch.object(sys, "argv", ["ledger", *arguments]),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(told),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    for stream in (printed, told):
        stream.flush()
    assert isinstance(code, int)
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in (printed, told))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(["ledger", *arguments], code, out, err)
