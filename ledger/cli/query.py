"""`ledger query`: SQL over the ledger, read-only."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ledger.as_of import parse_as_of
from ledger.cli.session import Session, out, out_json, printable, say, styled, table
from ledger.errors import EnvironmentFault, UsageError
from ledger.query import run_query, run_query_arrow, view_docs

if TYPE_CHECKING:
    from ledger.as_of import AsOf
    from ledger.handle import Ledger
    from ledger.query import Answer
    from ledger.snapshot import Snapshot

Format = Literal["table", "json", "ndjson", "csv", "markdown", "parquet"]
_MAX_CELL = 80


def query(  # noqa: PLR0913, PLR0917 - one argument for each option
    ctx: typer.Context,
    sql: Annotated[str | None, typer.Argument(help="The query, a file that holds it, or - for stdin.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("-p", "--param", metavar="NAME=VALUE", help="Bind $NAME in the query.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", "-f", help="How to print the rows.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file instead.")] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="INDEX|CHECKPOINT|TIME",
            help="Only the first INDEX entries, those under a checkpoint file, or what was recorded by TIME.",
        ),
    ] = None,
    as_of_occurred: Annotated[
        str | None, typer.Option("--as-of-occurred", metavar="TIME", help="Only what happened by TIME.")
    ] = None,
    verified: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Verify every segment first, for a query touches all; rows come with their checkpoint. "
            "Takes as long as ledger verify --parallel.",
        ),
    ] = False,
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="VKEY", help="The log's verifier key; implies --verify.")
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
    from ledger.snapshot import open_snapshot, views_in

    session: Session = ctx.obj
    ledger = session.ledger()
    _require_outside(ledger, output)
    prefix = parse_as_of(as_of, as_of_occurred)
    if verified or keys:
        _answer_verified(ledger, prefix, text, bound, output_format, output, keys or [])
        return
    with open_snapshot(ledger, prefix, sorted(views_in(text))) as snapshot:
        for damage in snapshot.damaged:
            say(f"{styled('warning', 'yellow', sys.stderr)}: {printable(damage)}")
        if output_format == "parquet":
            _write_parquet(snapshot, text, bound, output)
        else:
            _write(run_query(snapshot, text, bound), output_format, output)


def _answer_verified(
    ledger: Ledger,
    prefix: AsOf,
    sql: str,
    bound: dict[str, str],
    output_format: Format,
    output: Path | None,
    keys: list[str],
) -> None:
    """Print the rows with the checkpoint they were read under: in JSON beside them, else on stderr."""
    from ledger.query_verified import open_verified
    from ledger.trust import read_trust

    with open_verified(ledger, prefix, trust=read_trust(keys, [])) as verified:
        note = verified.head.message.decode()
        if output_format == "parquet":
            _write_parquet(verified.snapshot, sql, bound, output, {"ledger.checkpoint": note})
        elif output_format == "json":
            import orjson

            rows = orjson.loads(_render(run_query(verified.snapshot, sql, bound), "json"))
            document = {"checkpoint": note, "entries_read": verified.size, "rows": rows}
            _write_text(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode(), len(rows), output)
        else:
            _write(run_query(verified.snapshot, sql, bound), output_format, output)
        say(f"verified: the first {verified.size} entries, under the checkpoint")
        say(note.rstrip("\n"))


def _read_sql(sql: str | None) -> str:
    if not sql or not sql.strip():
        raise UsageError("There is no query.", next_step='ledger query "SELECT * FROM runs", or --schema')
    try:
        if sql == "-":
            return sys.stdin.read()
        if sql.endswith(".sql") and (" " not in sql or Path(sql).is_file()):
            return Path(sql).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise EnvironmentFault(
            f"The query in {sql} cannot be read: {detail}.", next_step="name a file of SQL, or give the SQL itself"
        ) from None
    return sql


def _require_outside(ledger: Ledger, output: Path | None) -> None:
    if output is not None and output.resolve().is_relative_to(ledger.root.resolve()):
        raise UsageError(
            f"{output} lies inside the ledger, which a query never writes to.",
            next_step="name a file somewhere else with -o",
        )


def _bind(parameters: list[str]) -> dict[str, str]:
    bound = {}
    for parameter in parameters:
        name, separator, value = parameter.partition("=")
        if not separator or not name.isidentifier():
            raise UsageError(f"-p {parameter!r} is not NAME=VALUE.", next_step="for example -p run=0c7e…")
        bound[name] = value
    return bound


def _print_schema(output_format: Format) -> None:
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


def _write(answer: Answer, output_format: Format, output: Path | None) -> None:
    if output is None:
        out(_render(answer, output_format))
        if output_format == "table":
            say(f"({len(answer.rows)} rows)")
        return
    _write_text(_render(answer, output_format, plain=True), len(answer.rows), output)


def _write_text(text: str, rows: int, output: Path | None) -> None:
    if output is None:
        out(text)
        return
    with _writable(output):
        output.write_text(text + "\n", encoding="utf-8")
    say(f"{rows} rows written to {output}")


def _write_parquet(
    snapshot: Snapshot,
    sql: str,
    parameters: dict[str, str],
    output: Path | None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    import pyarrow.parquet as pq

    if output is None:
        raise UsageError("Parquet is not for a terminal.", next_step="name a file with -o FILE.parquet")
    rows = run_query_arrow(snapshot, sql, parameters)
    if metadata:
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), **metadata})
    with _writable(output):
        pq.write_table(rows, output, compression="zstd")
    say(f"{rows.num_rows} rows written to {output}")


@contextlib.contextmanager
def _writable(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentFault(
            f"{output} cannot be written: {error.strerror or error}.", next_step="name another file with -o"
        ) from None


def _render(answer: Answer, output_format: Format, *, plain: bool = False) -> str:
    if output_format in {"json", "ndjson"}:
        return _json_text(answer, lines=output_format == "ndjson")
    cells = [[_cell(value) for value in row] for row in answer.rows]
    if output_format == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([answer.names, *cells])
        return buffer.getvalue().removesuffix("\n")
    if output_format == "markdown":
        head = [[_markdown(name) for name in answer.names], ["---"] * len(answer.names)]
        lines = [*head, *([_markdown(cell) for cell in row] for row in cells)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    short = [[_shorten(cell) for cell in row] for row in cells]
    return table(answer.names, short, plain=plain)


def _json_text(answer: Answer, *, lines: bool) -> str:
    import orjson

    names = _distinct(answer.names)
    records = [
        {name: _json(value, kind) for name, kind, value in zip(names, answer.types, row, strict=True)}
        for row in answer.rows
    ]
    if lines:
        return "\n".join(orjson.dumps(record).decode() for record in records)
    return orjson.dumps(records, option=orjson.OPT_INDENT_2).decode()


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
    """Bring a value DuckDB returned into JSON; a number keeps all its digits, whatever their number."""
    import orjson

    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {_cell(key): _json(item) for key, item in value.items()}
    if kind == "JSON" and value is not None:
        return orjson.Fragment(value)
    if isinstance(value, Decimal) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        return orjson.Fragment(_cell(value))
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return _cell(value)


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
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _shorten(cell: str) -> str:
    one_line = " ".join(cell.split())
    return one_line if len(one_line) <= _MAX_CELL else one_line[: _MAX_CELL - 1] + "…"


def _markdown(cell: str) -> str:
    escaped = cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return printable(" ".join(escaped.split()))
