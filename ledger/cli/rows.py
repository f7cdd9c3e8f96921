"""The rows of a query in each format. All but `table` and `markdown` are for programs and keep every value.

What JSON has no number for (NaN and the infinities) is a text there, `"NaN"`, `"Infinity"`, `"-Infinity"`. In CSV
NULL is nothing and an empty text is `""`, as DuckDB and Arrow read and write it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.terminal import printable, table

if TYPE_CHECKING:
    from run_evidence.ledger.query.sql_query import QueryResult

Format = Literal["table", "json", "ndjson", "csv", "spreadsheet", "markdown", "parquet"]

_SUFFIXES: Final[dict[str, Format]] = {
    "": "table",
    ".txt": "table",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".md": "markdown",
    ".parquet": "parquet",
}
_MAX_CELL: Final = 80
_QUOTED: Final = re.compile(r'[",\r\n]|\A\s|\s\Z|\A#|\A\Z')
_FORMULA: Final = re.compile(r"\A\s*[=+\-@＝＋－＠]|\A[\t\r\n]")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[-+]?\b(?:nan|inf(?:inity)?)\b', re.IGNORECASE | re.DOTALL)
_ENDLESS: Final = {datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)}
_BYTE_ORDER_MARK: Final = "\ufeff"


def format_of(asked: Format | None, output: Path | None) -> Format:
    """Return the format that was asked for, else the one the file's name says.

    Raises: UsageError when it says none.
    """
    if asked is not None:
        return asked
    suffix = output.suffix.lower() if output else ""
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"The name {output} says no format that is known: {', '.join(filter(None, _SUFFIXES))}.",
            next_step="name the format with -f",
        )
    return _SUFFIXES[suffix]


def table_lines(answer: QueryResult, *, plain: bool = False) -> list[str]:
    """Lay the rows out for a person; long cells are cut. `plain` is for a file: no styles."""
    return table(answer.names, [[_shorten(_cell(value)) for value in row] for row in answer.rows], plain=plain)


def markdown_lines(answer: QueryResult) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [list(map(_markdown, answer.names)), ["---"] * len(answer.names)]
    lines += [[_markdown(_cell(value)) for value in row] for row in answer.rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def csv_text(answer: QueryResult) -> str:
    """Return RFC 4180 CSV, with line feeds: a cell is quoted where a reader could take it for something else.

    Not the `csv` module's: it leaves a carriage return unquoted before Python 3.11.9, and cannot tell NULL from an
    empty text before 3.12.
    """
    lines = [[_csv_cell(name) for name in answer.names]]
    lines += [["" if value is None else _csv_cell(_cell(value)) for value in row] for row in answer.rows]
    return "\n".join(map(",".join, lines))


def spreadsheet_text(answer: QueryResult) -> str:
    """Return CSV that a spreadsheet opens as data: with a byte order mark, and no text that is a formula.

    A text that would be one gets a `'` in front; numbers stay numbers.
    """
    lines = [[_quoted(_no_formula(name)) for name in answer.names]]
    lines += [["" if value is None else _spreadsheet_cell(value) for value in row] for row in answer.rows]
    return _BYTE_ORDER_MARK + "\n".join(map(",".join, lines))


def formulas(answer: QueryResult) -> int:
    """Count the texts that a spreadsheet would take for formulas."""
    return sum(
        isinstance(value, str) and _no_formula(value) != value
        for row in (answer.names, *answer.rows)
        for value in row
    )


def _spreadsheet_cell(value: Any) -> str:
    if isinstance(value, int | float | Decimal):
        return _cell(value)
    return _quoted(_no_formula(_cell(value)))


def _no_formula(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _csv_cell(text: str) -> str:
    return _quoted(text) if _QUOTED.search(text) else text


def _quoted(text: str) -> str:
    escaped = text.replace('"', '""')
    return f'"{escaped}"'


def json_text(answer: QueryResult, *, lines: bool = False) -> bytes:
    """Return the rows as a JSON array of objects, or as one JSON object a line."""
    import orjson

    names = _distinct(answer.names)
    records = [
        {name: _json(value, kind) for name, kind, value in zip(names, answer.types, row, strict=True)}
        for row in answer.rows
    ]
    if lines:
        return b"\n".join(map(orjson.dumps, records))
    return orjson.dumps(records, option=orjson.OPT_INDENT_2)


def _distinct(names: Sequence[str]) -> list[str]:
    """Give a name that is there twice a number, so that a JSON object keeps both values."""
    taken: list[str] = []
    for name in names:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        taken.append(free)
    return taken


def _json(value: Any, kind: str = "") -> Any:
    """Return a value of DuckDB's as JSON; a number keeps all its digits, whatever their number."""
    import orjson

    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {_cell(key): _json(item) for key, item in value.items()}
    if kind == "JSON" and value is not None:
        return _json_column(value)
    if isinstance(value, Decimal) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        return orjson.Fragment(_cell(value))
    if isinstance(value, float) and not math.isfinite(value):
        return _spelled(str(value))
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return _cell(value)


def _json_column(text: str) -> Any:
    """Return what a column of DuckDB's type JSON holds, which may be NaN, or have line ends between its tokens."""
    import orjson

    one_line = text.replace("\r", " ").replace("\n", " ")  # inside a text of JSON they are escapes
    strict = _NO_NUMBER.sub(lambda m: m[0] if m[0].startswith('"') else f'"{_spelled(m[0])}"', one_line)
    try:
        orjson.loads(strict)
    except orjson.JSONDecodeError:  # deeper, or with larger numbers, than it reads
        return text
    return orjson.Fragment(strict)


def _spelled(number: str) -> str:
    """Return NaN, Infinity or -Infinity, however it was written."""
    if "nan" in number.lower():
        return "NaN"
    return "-Infinity" if number.startswith("-") else "Infinity"


def _cell(value: Any) -> str:
    """Write a value as text: times in RFC 3339, lists and objects as JSON, nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list | tuple | dict):
        import orjson

        return orjson.dumps(_json(value)).decode()
    if isinstance(value, datetime) and value.replace(tzinfo=UTC) in _ENDLESS:
        return "infinity" if value.year > 1 else "-infinity"  # inside a list; run_query tells them apart else
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _shorten(cell: str) -> str:
    one_line = " ".join(cell.split())
    return one_line if len(one_line) <= _MAX_CELL else one_line[: _MAX_CELL - 1] + "…"


def _markdown(cell: str) -> str:
    escaped = cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return printable(" ".join(escaped.split()))
