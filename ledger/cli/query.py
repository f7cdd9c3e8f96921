"""`ledger query`: SQL over the ledger, read-only."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from run_evidence.ledger.cli.faults import is_text
from run_evidence.ledger.cli.rows import (
    Format,
    csv_text,
    format_of,
    formulas,
    json_text,
    markdown_lines,
    spreadsheet_text,
    table_lines,
)
from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.errors import EnvironmentFault, UsageError
from run_evidence.ledger.query.as_of import parse_as_of
from run_evidence.ledger.query.sql_query import run_query, run_query_arrow, view_docs
from run_evidence.ledger.storage.files import MAX_SETTINGS_BYTES, is_file, read_named
from run_evidence.ledger.storage.output import require_outside, write_outside
from run_evidence.ledger.terminal import (
    fail,
    is_terminal,
    out,
    out_bytes,
    out_exact,
    out_json,
    out_json_text,
    out_paged,
    say,
    styled,
)

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.query.as_of import AsOf
    from run_evidence.ledger.query.limits import Limits
    from run_evidence.ledger.query.snapshot import Snapshot
    from run_evidence.ledger.query.sql_query import QueryResult

_BYTE_ORDER_MARKS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def query(  # noqa: PLR0913, PLR0917 - one argument for each option
    ctx: typer.Context,
    sql: Annotated[str | None, typer.Argument(help="The query, a file that holds it, or - for stdin.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("-p", "--param", metavar="NAME=VALUE", help="Bind $NAME in the query.")
    ] = None,
    asked_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="How to print the rows; else what the file's name says, else a table. spreadsheet is CSV in which "
            "no text is a formula; csv keeps every text as it is.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a new file instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
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
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="What the query may take: 4GB, or 50% of the machine's memory, the default; else "
            "LEDGER_QUERY_MEMORY. What does not fit goes to a folder in TMPDIR that is removed.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="End the query after it: seconds, 30m or 2h; else LEDGER_QUERY_TIMEOUT, else 10m; 0 for no limit.",
        ),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="List views and columns with their meaning.")] = False,
) -> None:
    """Answer SQL about the ledger. Read-only: no statement can change it or reach another file.

    Example: ledger query "SELECT asset_key, outcome, reason_code FROM outcomes WHERE verdict <> 'passed'"
    """
    if schema:
        _print_schema(asked_format or "table")
        return
    output_format = format_of(asked_format, output)
    text = _read_sql(sql)
    bound = _bind(parameters or [])
    from run_evidence.ledger.query.snapshot import open_snapshot, views_in

    session: Session = ctx.obj
    ledger = session.ledger()
    target = _Target(output, ledger.root, force)
    if output is not None:
        require_outside(output, ledger.root)
    prefix = parse_as_of(as_of, as_of_occurred)
    limits = _limits(memory, timeout)
    if verified or keys:
        _answer_verified(ledger, prefix, text, bound, output_format, target, keys or [], limits)
        return
    with open_snapshot(ledger, prefix, sorted(views_in(text)), limits=limits) as snapshot:
        for damage in snapshot.damaged:
            say(f"{styled('warning', 'yellow', sys.stderr)}: {damage}")
        if output_format == "parquet":
            _write_parquet(snapshot, text, bound, target)
        else:
            _write(run_query(snapshot, text, bound), output_format, target)


def _limits(memory: str | None, timeout: str | None) -> Limits:
    """Return what the query may take; one that the database cannot interrupt ends with its process."""
    from run_evidence.ledger.query.limits import read_limits, time_is_over

    limits = read_limits(memory, timeout, os.environ)

    def end() -> None:
        code = fail(time_is_over(limits))
        sys.stderr.flush()
        os._exit(code)

    return replace(limits, overrun=end)


def _answer_verified(
    ledger: Ledger,
    prefix: AsOf,
    sql: str,
    bound: dict[str, str],
    output_format: Format,
    target: _Target,
    keys: list[str],
    limits: Limits,
) -> None:
    """Print the rows with the checkpoint they were read under: in JSON beside them, else on stderr."""
    from run_evidence.ledger.settings import verified_folder
    from run_evidence.ledger.tlog.trust import read_trust
    from run_evidence.ledger.verification.memory import VerifierMemory
    from run_evidence.ledger.verification.verified_query import open_verified

    memory = VerifierMemory(verified_folder())
    trust = read_trust(keys, [])
    with open_verified(ledger, prefix, trust=trust, memory=memory, limits=limits) as verified:
        note = verified.head.message.decode()
        if output_format == "parquet":
            _write_parquet(verified.snapshot, sql, bound, target, {"run_evidence.ledger.tlog.checkpoint": note})
        else:
            under = {"checkpoint": note, "entries_read": verified.size}
            _write(run_query(verified.snapshot, sql, bound), output_format, target, under)
        say(f"verified: the first {verified.size} entries, under the checkpoint")
        say(*note.rstrip("\n").split("\n"))


def _read_sql(sql: str | None) -> str:
    if not sql or not sql.strip():
        raise UsageError("There is no query.", next_step='ledger query "SELECT * FROM runs", or --schema')
    if not is_text(sql):
        raise UsageError(f"The query {sql!a} holds bytes that are not text in this locale.", next_step="use UTF-8")
    if sql != "-" and not (sql.endswith(".sql") and (" " not in sql or is_file(Path(sql)))):
        return sql
    step = "name a file of SQL, or give the SQL itself"
    try:
        data = _stdin() if sql == "-" else read_named(Path(sql), next_step=step)
        return data.decode(_BYTE_ORDER_MARKS.get(data[:2], "utf-8-sig"))
    except UnicodeDecodeError:
        where = "on stdin" if sql == "-" else f"in {sql}"
        raise EnvironmentFault(f"The query {where} cannot be read: it is not UTF-8 text.", next_step=step) from None


def _stdin() -> bytes:
    data = sys.stdin.buffer.read(MAX_SETTINGS_BYTES + 1) if sys.stdin else b""
    if len(data) > MAX_SETTINGS_BYTES:
        raise UsageError(
            f"The query on stdin has more than {MAX_SETTINGS_BYTES} bytes.", next_step="give the SQL itself"
        )
    return data


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


def _write(
    answer: QueryResult, output_format: Format, target: _Target, checkpoint: Mapping[str, Any] | None = None
) -> None:
    """Print the rows, or write them to a file; in JSON they are a member of the checkpoint they were read under."""
    count = len(answer.rows)
    if output_format in {"json", "ndjson"}:
        target.write_json(_json_document(answer, output_format, checkpoint), count)
    elif output_format in {"csv", "spreadsheet"}:
        text = csv_text(answer) if output_format == "csv" else spreadsheet_text(answer)
        target.write_exact(text.encode(), count)
        if output_format == "csv" and (found := formulas(answer)):
            say(f"note:  {found} texts begin like a formula; for a spreadsheet: -f spreadsheet")
    elif output_format == "markdown":
        target.write_lines(markdown_lines(answer), count)
    else:
        target.write_lines(table_lines(answer, plain=target.file is not None), count)
        if target.file is None:
            say(f"({count} rows)")


def _json_document(answer: QueryResult, output_format: Format, checkpoint: Mapping[str, Any] | None) -> bytes:
    if output_format == "ndjson":
        return json_text(answer, lines=True)
    rows = json_text(answer)
    if checkpoint is None:
        return rows
    import orjson

    return orjson.dumps({**checkpoint, "rows": orjson.Fragment(rows)}, option=orjson.OPT_INDENT_2)


def _write_parquet(
    snapshot: Snapshot,
    sql: str,
    parameters: dict[str, str],
    target: _Target,
    metadata: Mapping[str, str] | None = None,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if target.file is None and is_terminal(sys.stdout):
        raise UsageError("Parquet is not for a terminal.", next_step="name a file with -o FILE.parquet")
    rows = run_query_arrow(snapshot, sql, parameters)
    if metadata:
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), **metadata})
    buffer = io.BytesIO()
    try:
        pq.write_table(rows, buffer, compression="zstd")
    except pa.ArrowException as error:
        raise UsageError(
            f"These rows cannot be written as Parquet: {error}",
            next_step="cast the column in the query, or use -f csv",
        ) from None
    target.write(buffer.getvalue(), rows.num_rows)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the rows go: a file, or stdout when it is `None`. Text ends with a line end in both."""

    file: Path | None
    ledger: Path
    force: bool

    def write_json(self, document: bytes, rows: int) -> None:
        if self.file is None:
            out_json_text(document)
        else:
            self.write(document + b"\n", rows)

    def write_exact(self, data: bytes, rows: int) -> None:
        if self.file is None:
            out_exact(data)
        else:
            self.write(data + b"\n", rows)

    def write_lines(self, lines: Sequence[str], rows: int) -> None:
        if self.file is None:
            out_paged(*lines)
        else:
            self.write("".join(f"{line}\n" for line in lines).encode(), rows)

    def write(self, data: bytes, rows: int) -> None:
        if self.file is None:
            out_bytes(data)
            return
        write_outside(self.file, data, self.ledger, force=self.force)
        say(f"{rows} rows written to {self.file}")
