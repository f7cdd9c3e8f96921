"""What `ledger query` writes for programs is read back by programs that are not ours, value for value."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import Ledger
from run_evidence.ledger.cli.rows import csv_text, json_text, spreadsheet_text
from run_evidence.ledger.query.sql_query import QueryResult
from tests.ledger.calling import Call
from tests.ledger.samples import Clock, records

REPOSITORY = Path(__file__).parents[2]

HARD = [
    "10%\r50%",
    "a\nb",
    "\r\n",
    "",
    None,
    '"',
    'a"b',
    "a,b",
    " x",
    "x ",
    "#x",
    "'",
    "=1+1",
    "-5",
    "\t",
    "票🙂",
    "\\N",
]
TEXTS = st.none() | st.sampled_from(HARD) | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
WIDE = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three sealed records."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    made.append(records(range(3)))
    made.seal()
    return made


def _answer(rows: list[tuple[Any, ...]]) -> QueryResult:
    width = len(rows[0])
    return QueryResult(tuple(f"c{n}" for n in range(width)), ("VARCHAR",) * width, rows)


@given(WIDE)
def test_csv_is_read_back_by_the_csv_module(rows: list[tuple[Any, ...]]) -> None:
    """Row for row and cell for cell; it alone cannot tell NULL from an empty text."""
    _, *got = csv.reader(io.StringIO(csv_text(_answer(rows)), newline=""))
    assert got == [[value or "" for value in row] for row in rows]


@given(WIDE)
def test_csv_is_read_back_by_arrow(rows: list[tuple[Any, ...]]) -> None:
    """NULL stays NULL and an empty text an empty text."""
    how = pa_csv.ConvertOptions(
        column_types={"c0": pa.string(), "c1": pa.string()},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    got = pa_csv.read_csv(
        io.BytesIO(csv_text(_answer(rows)).encode() + b"\n"), convert_options=how, parse_options=parse
    )
    assert [tuple(row.values()) for row in got.to_pylist()] == rows


def test_csv_is_read_back_by_duckdb(tmp_path: Path) -> None:
    """The same, by the reader whose writer agrees with it."""
    rows = [(value, "x") for value in HARD]
    (tmp_path / "r.csv").write_bytes(csv_text(_answer(rows)).encode() + b"\n")
    how = "header = true, quote = '\"', escape = '\"', delim = ',', all_varchar = true, allow_quoted_nulls = false"
    got = duckdb.connect().sql(f"SELECT * FROM read_csv('{tmp_path}/r.csv', {how}, new_line = '\\n')").fetchall()
    assert got == rows


@given(st.lists(st.tuples(st.floats() | st.text(st.characters(codec="utf-8"))), min_size=1))
def test_json_is_json(rows: list[tuple[Any, ...]]) -> None:
    """Strict readers take it; what JSON has no number for is a text that casts back to the number."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    kinds = _answer(rows)
    for text in (json_text(kinds).decode(), json_text(kinds, lines=True).decode().split("\n")):
        documents = (
            json.loads(text, parse_constant=refuse) if isinstance(text, str) else list(map(json.loads, text))
        )
        for (expected,), got in zip(rows, documents, strict=True):
            value = float(got["c0"]) if isinstance(expected, float) else got["c0"]
            same = isinstance(expected, float) and math.isnan(expected) and math.isnan(value)
            assert same or value == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ('{"a": NaN, "b": [Infinity, -Infinity, 1]}', {"a": "NaN", "b": ["Infinity", "-Infinity", 1]}),
        ('{"NaN": "Infinity \\" NaN"}', {"NaN": 'Infinity " NaN'}),
        ('{"a":\n1,\r\n"b": 2}', {"a": 1, "b": 2}),
        ('{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        ("[" * 2000 + "]" * 2000, "[" * 2000 + "]" * 2000),
    ],
)
def test_a_json_column_is_json_on_one_line(column: str, expected: Any) -> None:
    """What was recorded may hold what JSON does not have; what is written does not."""
    line = json_text(QueryResult(("c",), ("JSON",), [(column,)]), lines=True).decode()
    assert "\n" not in line
    assert json.loads(line, parse_constant=lambda _: pytest.fail("no JSON"))["c"] == expected


@given(WIDE)
def test_a_spreadsheet_never_gets_a_formula(rows: list[tuple[Any, ...]]) -> None:
    """What was put in front of a text is one `'`, so that nothing is lost; numbers stay numbers."""
    text = spreadsheet_text(_answer([*rows, (-5, Decimal("-1.50"))]))
    assert text.startswith("\ufeff")
    _, *got, last = csv.reader(io.StringIO(text, newline=""))
    assert last == ["-5", "-1.50"]
    for row, cells in zip(rows, got, strict=True):
        for value, cell in zip(row, cells, strict=True):
            assert cell.removeprefix("'") == (value or "").removeprefix("'") or cell == value
            assert cell == "-5" or not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))
            assert not cell.startswith(("\t", "\r"))


def test_csv_names_the_format_for_spreadsheets(call: Call, ledger: Ledger) -> None:
    """Plain csv keeps a text as it is, and says on stderr which format to take for a spreadsheet."""
    said = call("--ledger", ledger.root, "query", "SELECT '=1+1' AS a", "-f", "csv")
    assert said.out == "a\n=1+1\n"
    assert "-f spreadsheet" in said.err
    said = call("--ledger", ledger.root, "query", "SELECT '=1+1' AS a, -5 AS b", "-f", "spreadsheet")
    assert (said.out, said.err) == ('\ufeff"a","b"\n"\'=1+1",-5\n', "")


ENDLESS = """
    SELECT 'infinity'::TIMESTAMP AS a, '-infinity'::TIMESTAMPTZ AS b, 'infinity'::DATE AS c,
        DATE '9999-12-31' AS d, ['infinity'::TIMESTAMP] AS e, NULL::DATE AS f, 1 AS "a b"
"""


@pytest.mark.parametrize("output_format", ["json", "ndjson", "csv", "table", "markdown"])
def test_infinity_is_no_year(call: Call, ledger: Ledger, output_format: str) -> None:
    """The last day of the year 9999 is one, and stays one."""
    said = call("--ledger", ledger.root, "query", ENDLESS, "-f", output_format)
    assert said.code == 0
    assert said.out.count("9999") == 1
    assert said.out.count("infinity") == 4
    if output_format == "json":
        assert said.json() == [
            {"a": "infinity", "b": "-infinity", "c": "infinity", "d": "9999-12-31", "e": ["infinity"], "f": None}
            | {"a b": 1}
        ]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("r.csv", lambda data: next(csv.DictReader(io.StringIO(data.decode(), newline="")))["n"] == "1"),
        ("r.json", lambda data: orjson.loads(data) == [{"n": 1, "t": "x"}]),
        ("r.ndjson", lambda data: orjson.loads(data) == {"n": 1, "t": "x"}),
        ("r.JSONL", lambda data: orjson.loads(data) == {"n": 1, "t": "x"}),
        ("r.parquet", lambda data: pq.read_table(io.BytesIO(data)).to_pylist() == [{"n": 1, "t": "x"}]),
        ("r.md", lambda data: data == b"| n | t |\n| --- | --- |\n| 1 | x |\n"),
        ("r.txt", lambda data: data == b"n  t\n1  x\n"),
        ("r", lambda data: data == b"n  t\n1  x\n"),
    ],
)
def test_the_format_follows_the_files_name(
    call: Call, ledger: Ledger, tmp_path: Path, name: str, read: Any
) -> None:
    """Where -f says nothing; what -f says goes first."""
    sql = "SELECT 1 AS n, 'x' AS t"
    assert call("--ledger", ledger.root, "query", sql, "-o", tmp_path / name).code == 0
    assert read((tmp_path / name).read_bytes())
    assert call("--ledger", ledger.root, "query", sql, "-f", "json", "-o", tmp_path / name, "--force").code == 0
    assert orjson.loads((tmp_path / name).read_bytes()) == [{"n": 1, "t": "x"}]


@pytest.mark.parametrize("name", ["r.xlsx", "r.tsv", "r.csv.gz", "r.arrow"])
def test_a_name_of_another_format_gets_no_table(call: Call, ledger: Ledger, tmp_path: Path, name: str) -> None:
    """Refused, and nothing is written."""
    said = call("--ledger", ledger.root, "query", "SELECT 1", "-o", tmp_path / name)
    assert said.code == 2
    assert "-f" in said.err
    assert not (tmp_path / name).exists()


@pytest.mark.soak
@pytest.mark.parametrize("output_format", ["parquet", "json", "ndjson", "csv"])
def test_what_programs_read_is_utf_8_in_every_locale(ledger: Ledger, tmp_path: Path, output_format: str) -> None:
    """On stdout as in a file, byte for byte, also where the locale has no such character."""
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "run_evidence.ledger.cli", "--ledger", str(ledger.root)]
    command += ["query", "SELECT chr(31080) || chr(128578) AS a", "-f", output_format]
    for more in ([], ["-o", str(tmp_path / "r")]):
        environment = {**os.environ, **locale, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, env=environment, check=True)
        data = (tmp_path / "r").read_bytes() if more else done.stdout
        if output_format == "parquet":
            assert pq.read_table(io.BytesIO(data)).to_pylist() == [{"a": "票🙂"}]
        else:
            assert "票🙂" in data.decode()


def test_rows_with_their_checkpoint_keep_every_digit(call: Call, ledger: Ledger) -> None:
    """A verified answer in JSON holds the same values as any other."""
    sql = "SELECT 170141183460469231731687303715884105727::HUGEINT AS huge, 1.50::DECIMAL(9,2) AS dec"
    said = call("--ledger", ledger.root, "query", sql, "-f", "json", "--verify")
    assert said.json()["rows"] == [{"huge": 170141183460469231731687303715884105727, "dec": 1.5}]
    assert '"dec": 1.50' in said.out
    assert said.json()["checkpoint"]


@pytest.mark.parametrize("output_format", ["json", "ndjson", "csv", "table"])
def test_infinity_is_no_year_inside_a_list_or_a_struct(call: Call, ledger: Ledger, output_format: str) -> None:
    """The last day that Python has is another value, and a member that is called DATE keeps its name."""
    sql = "SELECT [DATE 'infinity', DATE '9999-12-31'] AS a, {'d': DATE '-infinity', 'DATE': 1} AS b"
    said = call("--ledger", ledger.root, "query", sql, "-f", output_format)
    for expected in ("infinity", "9999-12-31", "-infinity", "DATE"):
        assert expected in said.out
    if output_format == "ndjson":
        expected_rows = {"a": ["infinity", "9999-12-31"], "b": {"d": "-infinity", "DATE": 1}}
        assert json.loads(said.out) == expected_rows
