"""`ledger query`: SQL over the ledger, read-only."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ledger.as_of import parse_as_of
from ledger.cli.session import Session, out, out_json, say, styled, table
from ledger.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["table", "json", "ndjson", "csv", "markdown", "parquet"]
_MAX_CELL = 80


def query(
    ctx: typer.Context,
    sql: Annotated[str | None, typer.Argument(help="The query, a file that holds it, or - for stdin.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("-p", "--param", metavar="NAME=VALUE", help="Bind $NAME in the query.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", "-f", help="How to print the rows.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file instead.")] = None,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="INDEX|TIME", help="Only the first INDEX entries, or what was recorded by TIME."),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="List views and columns with their meaning.")] = False,
) -> None:
    """Answer SQL about the ledger. Read-only: no statement can change it or reach another file.

    Example: ledger query "SELECT asset_key, outcome, reason_code FROM outcomes WHERE verdict <> 'passed'"
    """
    if schema:
        _print_schema(output_format)
        return
    text = _read_sql(sql)
    bound = _bind(parameters or [])
    from ledger.query import run_query
    from ledger.snapshot import open_snapshot

    session: Session = ctx.obj
    with open_snapshot(session.ledger(), parse_as_of(as_of)) as snapshot:
        for damage in snapshot.damaged:
            say(f"{styled('warning', 'yellow', sys.stderr)}: {damage}")
        _write(run_query(snapshot, text, bound), output_format, output)


def _read_sql(sql: str | None) -> str:
    if sql == "-":
        return sys.stdin.read()
    if not sql:
        raise UsageError("There is no query.", next_step='ledger query "SELECT * FROM runs", or --schema')
    if " " not in sql.strip() and Path(sql).suffix == ".sql":
        try:
            return Path(sql).read_text(encoding="utf-8")
        except OSError as error:
            raise EnvironmentFault(f"The query file {sql} cannot be read: {error.strerror}.") from None
    return sql


def _bind(parameters: list[str]) -> dict[str, str]:
    bound = {}
    for parameter in parameters:
        name, separator, value = parameter.partition("=")
        if not separator or not name.isidentifier():
            raise UsageError(f"-p {parameter!r} is not NAME=VALUE.", next_step="for example -p run=0c7e…")
        bound[name] = value
    return bound


def _print_schema(output_format: Format) -> None:
    from ledger.query import view_docs

    docs = view_docs()
    if output_format in {"json", "ndjson"}:
        out_json(
            [
                {
                    "view": d.name,
                    "meaning": d.meaning,
                    "grain": d.grain,
                    "columns": [dict([c]) for c in d.columns],
                }
                for d in docs
            ]
        )
        return
    for doc in docs:
        out(f"{styled(doc.name, 'bold')}  {doc.meaning}")
        out(styled(f"  grain: {doc.grain}", "dim"))
        width = max(len(name) for name, _ in doc.columns)
        for name, meaning in doc.columns:
            out(f"  {name:<{width}}  {meaning}")
        out()


def _write(rows: pa.Table, output_format: Format, output: Path | None) -> None:
    if output_format == "parquet":
        _write_parquet(rows, output)
        return
    text = _render(rows, output_format)
    if output is None:
        out(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"{output} cannot be written: {error.strerror}.") from None
    say(f"{rows.num_rows} rows written to {output}")


def _write_parquet(rows: pa.Table, output: Path | None) -> None:
    import pyarrow.parquet as pq

    if output is None:
        raise UsageError("Parquet is not for a terminal.", next_step="name a file with -o FILE.parquet")
    try:
        pq.write_table(rows, output, compression="zstd")
    except OSError as error:
        raise EnvironmentFault(f"{output} cannot be written: {error}.") from None
    say(f"{rows.num_rows} rows written to {output}")


def _render(rows: pa.Table, output_format: Format) -> str:
    names = rows.column_names
    if output_format in {"json", "ndjson"}:
        return _json_text(rows, lines=output_format == "ndjson")
    cells = [[_cell(value) for value in row.values()] for row in rows.to_pylist()]
    if output_format == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([names, *cells])
        return buffer.getvalue().rstrip("\n")
    if output_format == "markdown":
        lines = [names, ["---"] * len(names), *([_markdown(cell) for cell in row] for row in cells)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    short = [[_shorten(cell) for cell in row] for row in cells]
    return table(names, short) + f"\n{styled(f'({rows.num_rows} rows)', 'dim')}"


def _json_text(rows: pa.Table, *, lines: bool) -> str:
    import orjson

    records = [{name: _plain(value) for name, value in row.items()} for row in rows.to_pylist()]
    if lines:
        return "\n".join(orjson.dumps(record, option=orjson.OPT_UTC_Z).decode() for record in records)
    return orjson.dumps(records, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode()


def _plain(value: Any) -> Any:
    """Bring a value DuckDB returned into what JSON has; a MAP arrives as a list of pairs."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list) and value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        return {str(key): _plain(item) for key, item in value}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float | bool) or hasattr(value, "isoformat"):
        return value
    return str(value)


def _cell(value: Any) -> str:
    import orjson

    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, list | dict):
        return orjson.dumps(plain, option=orjson.OPT_UTC_Z).decode()
    if hasattr(plain, "isoformat"):
        return str(plain.isoformat()).replace("+00:00", "Z")
    return str(plain)


def _shorten(cell: str) -> str:
    one_line = " ".join(cell.split())
    return one_line if len(one_line) <= _MAX_CELL else one_line[: _MAX_CELL - 1] + "…"


def _markdown(cell: str) -> str:
    escaped = cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(escaped.split())
