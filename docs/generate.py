"""Writes the pages of docs/ that are made from the code: `make docs`. A test fails when one is stale."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from typer.testing import CliRunner

from run_evidence.ledger.cli import app
from run_evidence.ledger.query.sql_query import view_docs

DOCS = Path(__file__).parent
_HEAD = "<!-- Made by `make docs` from the code; edit the code. -->\n\n"
_INNER = re.compile(r"^  ([a-z]+)  ", re.MULTILINE)
_EXIT_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | fine |
| 1 | a verdict is not met |
| 2 | wrong usage: an option, a query, a name, an input |
| 3 | integrity failure: what is stored is not what was recorded |
| 4 | environment: a path, an instance or a store is missing, unreachable or not permitted |
| 70 | an error in this program: report it, with the line it prints; it says nothing about the ledger or a run |
| 130 | interrupted |

Nothing but a verdict that is not met ends with 1. `LEDGER_DEBUG=1` adds the traceback of an error in this program.
A reader that stops early (`ledger query … | head`) changes no exit code.

## Output

Data goes to stdout and messages to stderr. Colours appear on a terminal only, and never when `NO_COLOR` is set.

What was recorded or received is text and never a command to a terminal: colour codes, other control characters and
marks that change the direction of writing are shown as escapes. In a pipe or a file, JSON (`--json`, `-f json`,
`-f ndjson`) and CSV are exact, and UTF-8 whatever the locale is; on a terminal their control characters are escapes
too. A character that the terminal's encoding lacks is shown as an escape.

## Formats of `ledger query`

- `table` (`.txt`, or no ending): for people; aligned, long cells cut.
- `markdown` (`.md`): for people; whole cells, on one line each.
- `json` (`.json`) and `ndjson` (`.ndjson`, `.jsonl`): numbers with all their digits, NULL as `null`; NaN and the
  infinities, which JSON does not have, as the texts `"NaN"`, `"Infinity"` and `"-Infinity"`.
- `csv` (`.csv`): RFC 4180 with line feeds, every text as it is; NULL is nothing, an empty text is `""`.
- `spreadsheet`: CSV for a spreadsheet program, with a byte order mark, and a `'` before each text that would be a
  formula (it begins with `=`, `+`, `-`, `@`, a tab or a line end). Numbers stay numbers.
- `parquet` (`.parquet`): the types of DuckDB; also into a pipe.

Without `-f` the name of the file decides. Dates and times are RFC 3339, those without an end `infinity`.

`query -o` and `prove -o` write a file whole or not at all. One that is there with other content is replaced with
`--force` alone; a link is replaced, never followed. Nothing is written inside a ledger, this one or another.
"""


def cli_page() -> str:
    """Return docs/cli.md: what `--help` says, for the command and every command of it."""
    lines = [_HEAD + "# The command line\n", _help()]
    for name in sorted(entry.name for entry in entry_points(group="ledger.commands")):
        text = _help(name)
        lines.append(f"## ledger {name}\n\n{text}")
        lines.extend(f"### ledger {name} {inner}\n\n{_help(name, inner)}" for inner in _inner(text))
    lines.append(_EXIT_CODES)
    return "\n".join(lines)


def _inner(text: str) -> list[str]:
    """Return the commands of its own that a command's help lists."""
    return _INNER.findall(text.partition("\nCommands:\n")[2])


def _help(*command: str) -> str:
    plain = {"COLUMNS": "100", "NO_COLOR": "1"}
    shown = CliRunner().invoke(app, [*command, "--help"], prog_name="ledger", env=plain)
    if shown.exit_code:
        raise RuntimeError(f"ledger {' '.join(command)} --help failed: {shown.output}") from shown.exception
    return f"```text\n{shown.output.strip()}\n```\n"


def views_page() -> str:
    """Return docs/views.md: every view with its grain and columns."""
    lines = [_HEAD + "# The views\n", "What `ledger query` sees. `ledger query --schema` prints the same.\n"]
    for doc in view_docs():
        lines.append(f"## `{doc.name}`\n\n{doc.meaning}\n\nGrain: {doc.grain}\n\n| column | meaning |\n|---|---|")
        lines.extend(f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |" for name, meaning in doc.columns)
        lines.append("")
    return "\n".join(lines)


PAGES = {"cli.md": cli_page, "views.md": views_page}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
