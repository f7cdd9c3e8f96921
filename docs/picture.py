"""Draws docs/demo.svg: runs the demo on a terminal of its own and keeps what it shows. `make picture`."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

_COLUMNS = 152
_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # a picture should not ask another server for a font


def record() -> str:
    """Run `make demo`'s program on a pseudo-terminal and return what it printed, colours included."""
    os.environ.update(COLUMNS=str(_COLUMNS), TERM="xterm-256color")
    shown = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        shown.extend(data)
        return data

    status = pty.spawn([sys.executable, "-m", "pipelines.demo"], read)
    if status:
        raise SystemExit(os.waitstatus_to_exitcode(status))
    return shown.decode("utf-8").replace("\r\n", "\n")


def draw(text: str, path: Path) -> None:
    """Write the text as SVG."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo\n") + Text.from_ansi(text), soft_wrap=False)
    path.write_text(_WEB_FONT.sub("", console.export_svg(title="make demo")), encoding="utf-8")


if __name__ == "__main__":
    draw(record(), Path(__file__).with_name("demo.svg"))
