"""The `ledger` command: data on stdout, messages on stderr, and exit codes that a script can rely on."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.storage.inbox import names
from tests.ledger.calling import Call
from tests.ledger.samples import RUN, Clock, own, record, records

REPOSITORY = Path(__file__).parents[2]
OURS = {"query", "seal", "verify", "status", "compact", "doctor"}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Six sealed records, one of them with hostile text, and one unsealed event."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    made.append([*records(range(5)), record(5, step_key='a|b"c,\x1b[31m\r\n<i>\u202e票')])
    made.seal()
    made.append([own("run.seen.v1")])
    return made


def test_the_five_upkeep_commands_on_a_sound_ledger(call: Call, ledger: Ledger) -> None:
    """All exit with 0, say something on stdout, and with --json one document."""
    for command in ("status", "verify", "doctor", "seal", "compact", "verify", "status"):
        said = call("--ledger", ledger.root, command)
        assert (said.code, said.err) == (0, ""), command
        assert said.out
        said = call("--ledger", ledger.root, command, "--json")
        assert (said.code, said.err) == (0, ""), command
        said.json()


def test_status_in_numbers(call: Call, ledger: Ledger) -> None:
    """What is sealed, what waits, and how large it is."""
    now = call("--ledger", ledger.root, "status", "--json").json()
    assert (now["sealed_events"], now["segments"], now["unsealed_events"], now["unsealed_objects"]) == (6, 1, 1, 1)
    assert (now["checkpoint_size"], now["damaged_objects"], now["path"]) == (6, 0, str(ledger.root))
    assert now["size_bytes"] == sum(p.stat().st_size for p in ledger.root.rglob("*") if p.is_file())
    assert call("--ledger", ledger.root, "seal", "--json").json()["sealed"] == 1
    assert call("--ledger", ledger.root, "status", "--json").json()["unsealed_events"] == 0


def test_verify_says_what_it_looked_at(call: Call, ledger: Ledger) -> None:
    """And the root it calculated."""
    said = call("--ledger", ledger.root, "verify", "--json").json()
    assert (said["ok"], said["entries"], said["unsealed"], said["findings"]) == (True, 6, 1, [])
    assert said["root"] in call("--ledger", ledger.root, "verify").out


@pytest.mark.parametrize("command", ["seal", "verify", "status", "compact", "doctor", "query"])
def test_what_is_not_a_ledger_is_an_environment_fault(call: Call, tmp_path: Path, command: str) -> None:
    """Exit code 4, and the message names the path and what to do; nothing is made by looking."""
    arguments = ["SELECT 1"] if command == "query" else []
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "absent", tmp_path / "file", tmp_path / "here"):
        said = call("--ledger", path, command, *arguments)
        assert said.code == 4
        text = said.out if command == "doctor" else said.err
        assert str(path) in text
        assert "next:" in text
    assert not (tmp_path / "absent").exists()


def test_a_newer_format_is_an_environment_fault(call: Call, ledger: Ledger) -> None:
    """Refused with the command that brings a program that reads it."""
    (ledger.root / "ledger.json").write_text('{"format":7,"origin":"x"}')
    said = call("--ledger", ledger.root, "query", "SELECT 1")
    assert said.code == 4
    assert "format 7" in said.err
    assert "pip install --upgrade" in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["query", "SELECT 1", "--no-such-option"],
        ["query", "SELECT 1", "--format", "xml"],
        ["query"],
        ["query", ""],
        ["query", "DROP VIEW events"],
        ["query", "SELECT asset_kye FROM events"],
        ["query", "SELECT $a", "-p", "a"],
        ["query", "SELECT $a", "-p", "a b=1"],
        ["query", "SELECT 1", "--as-of", "soon"],
        ["query", "SELECT 1", "--as-of", "99"],
        ["query", "SELECT 1", "-o", "rows.xlsx"],
        ["seal", "more"],
        ["--ledger"],
    ],
    ids=range(14),
)
def test_wrong_usage_is_exit_code_2(call: Call, ledger: Ledger, arguments: list[str]) -> None:
    """Nothing on stdout, so that a pipe gets no half answer."""
    said = call("--ledger", ledger.root, *arguments) if arguments != ["--ledger"] else call(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT required FROM runs", "it is a column of"),
        ("SELECT r.required FROM runs r", "it is a column of"),
        ("SELECT asset_kye FROM events", "Did you mean asset_key?"),
        ("SELECT * FROM rnus", "Did you mean runs?"),
        ("SELECT RUN_IDD FROM runs", "Did you mean run_id?"),
    ],
)
def test_a_wrong_name_comes_with_a_right_one(call: Call, ledger: Ledger, sql: str, said: str) -> None:
    """Never with itself; one that another view has comes with that view."""
    message = call("--ledger", ledger.root, "query", sql).err
    assert said in message
    assert "Did you mean reason" not in message
    assert ("outcomes" in message) or "reason" not in sql


def test_a_bucket_is_wrong_usage(call: Call) -> None:
    """An address of another kind is not taken for a folder name."""
    assert call("--ledger", "s3://bucket/prefix", "status").code == 2


@pytest.mark.parametrize("damage", ["segment", "column", "inbox", "checkpoint"])
def test_an_altered_ledger_is_exit_code_3(call: Call, ledger: Ledger, damage: str) -> None:
    """`verify` locates it, `seal` refuses what it meets, and both say so on stderr."""
    (segment,) = ledger.log().segments
    if damage == "segment":
        segment.path.write_bytes(segment.path.read_bytes()[:-9])
    elif damage == "column":
        content = segment.path.read_bytes()
        segment.path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif damage == "inbox":
        (path,) = (ledger.root / "inbox").iterdir()
        path.write_bytes(path.read_bytes() + b"x")
    else:
        (path,) = (ledger.root / "checkpoints").iterdir()
        path.write_text(path.read_text().replace("A", "B").replace("b", "c"))
    said = call("--ledger", ledger.root, "verify")
    assert said.code == 3
    assert "altered" in said.out
    assert said.err
    said = call("--ledger", ledger.root, "verify", "--json")
    assert said.code == 3
    assert said.json()["ok"] is False
    assert said.json()["findings"][0]["where"]
    if damage != "column":
        said = call("--ledger", ledger.root, "seal")
        assert said.code == 3
        assert said.err


def test_what_a_finding_holds_does_not_reach_the_terminal(call: Call, ledger: Ledger) -> None:
    """A forged column may hold what a terminal would obey."""
    import pyarrow as pa

    (segment,) = ledger.log().segments
    footer = {b"ledger.frontier": pq.read_metadata(segment.path).metadata[b"ledger.frontier"]}
    table = pq.read_table(segment.path)
    forged = table.set_column(9, "step_key", pa.array(["\x1b]0;owned\x07"] * 6))
    pq.write_table(forged.replace_schema_metadata(footer), segment.path)
    said = call("--ledger", ledger.root, "verify")
    assert said.code == 3
    assert "owned" in said.out
    assert "\x1b" not in said.out


def test_the_rows_of_a_query_are_all_there_is_on_stdout(call: Call, ledger: Ledger) -> None:
    """The count is for the person, on stderr."""
    said = call(
        "--ledger", ledger.root, "query", "SELECT storage_id, step_key FROM events WHERE index < 2 ORDER BY 1"
    )
    assert said.out == "storage_id  step_key\n         0  step_0\n         1  step_1\n"
    assert said.err == "(2 rows)\n"
    said = call("--ledger", ledger.root, "query", "SELECT run_id FROM events WHERE false")
    assert (said.out, said.err) == ("run_id\n", "(0 rows)\n")


VALUES = """
    SELECT 9223372036854775807 AS big, 170141183460469231731687303715884105727::HUGEINT AS huge,
        1.50::DECIMAL(9,2) AS dec, 0.1 AS frac, true AS yes, NULL AS none, '' AS empty,
        'a|b"c,<d>\\e' AS text, DATE '2026-04-17' AS day,
        TIMESTAMPTZ '2026-04-17 14:00:00.5+02' AS moment, MAP {'k': [1, 2]} AS map, {'x': NULL} AS struct,
        '{"a": [1, {"b": 2}]}'::JSON AS json, 'blob'::BLOB AS bytes, INTERVAL 90 SECOND AS span,
        '6a9b2b3e-6a3c-4f0a-9a51-2f6d8c4b1e90'::UUID AS uuid, MAP {} AS nothing
"""


def test_values_in_json(call: Call, ledger: Ledger) -> None:
    """Numbers keep every digit, JSON is JSON, times are RFC 3339 in UTC, NULL is null."""
    said = call("--ledger", ledger.root, "query", VALUES, "--format", "json")
    (row,) = said.json()
    assert row == {
        "big": 9223372036854775807,
        "huge": 170141183460469231731687303715884105727,
        "dec": 1.5,
        "frac": 0.1,
        "yes": True,
        "none": None,
        "empty": "",
        "text": 'a|b"c,<d>\\e',
        "day": "2026-04-17",
        "moment": "2026-04-17T12:00:00.500000Z",
        "map": {"k": [1, 2]},
        "struct": {"x": None},
        "json": {"a": [1, {"b": 2}]},
        "bytes": "blob",
        "span": "0:01:30",
        "uuid": "6a9b2b3e-6a3c-4f0a-9a51-2f6d8c4b1e90",
        "nothing": {},
    }
    assert '"dec": 1.50' in said.out
    lines = call("--ledger", ledger.root, "query", VALUES, "--format", "ndjson").out.splitlines()
    assert [json.loads(line) for line in lines] == [row]


def test_values_in_csv(call: Call, ledger: Ledger) -> None:
    """Quoted so that any reader gets the text back, control characters included."""
    import csv
    import io

    said = call("--ledger", ledger.root, "query", VALUES, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(said.out, newline=""))
    assert (row["big"], row["huge"]) == ("9223372036854775807", "170141183460469231731687303715884105727")
    assert (row["text"], row["none"], row["moment"]) == ('a|b"c,<d>\\e', "", "2026-04-17T12:00:00.500000Z")
    assert (row["map"], row["json"], row["yes"]) == ('{"k":[1,2]}', '{"a": [1, {"b": 2}]}', "true")
    said = call(
        "--ledger", ledger.root, "query", "SELECT step_key, 1 FROM events WHERE storage_id = 5", "-f", "csv"
    )
    (row,) = csv.DictReader(io.StringIO(said.out, newline=""))
    assert row["step_key"] == 'a|b"c,\x1b[31m\r\n<i>\u202e票'


def test_hostile_text_in_tables_is_shown_and_never_obeyed(call: Call, ledger: Ledger) -> None:
    """Escapes, direction marks and line ends stay inside their cell, as escapes."""
    sql = 'SELECT storage_id, step_key AS "a|b" FROM events WHERE storage_id >= 4 ORDER BY 1'
    said = call("--ledger", ledger.root, "query", sql)
    assert said.out == ('storage_id  a|b\n         4  step_1\n         5  a|b"c,\\x1b[31m <i>\\u202e票\n')
    said = call("--ledger", ledger.root, "query", sql, "--format", "markdown")
    assert said.out == (
        '| storage_id | a\\|b |\n| --- | --- |\n| 4 | step_1 |\n| 5 | a\\|b"c,\\x1b[31m &lt;i>\\u202e票 |\n'
    )


def test_a_column_that_is_there_twice_is_kept_twice(call: Call, ledger: Ledger) -> None:
    """In a table under its name, in JSON with a number."""
    sql = "SELECT 1 AS a, 2 AS a, 3 AS a_2"
    assert call("--ledger", ledger.root, "query", sql).out == "a  a  a_2\n1  2    3\n"
    assert call("--ledger", ledger.root, "query", sql, "-f", "ndjson").out == '{"a":1,"a_2":2,"a_2_2":3}\n'


def test_long_cells_are_cut_in_tables_alone(call: Call, ledger: Ledger) -> None:
    """A person sees a line, a program gets all of it."""
    sql = "SELECT repeat('x', 500) AS long"
    assert len(call("--ledger", ledger.root, "query", sql).out.splitlines()[1]) == 80
    assert call("--ledger", ledger.root, "query", sql, "-f", "csv").out == f"long\n{'x' * 500}\n"
    assert "x" * 500 in call("--ledger", ledger.root, "query", sql, "-f", "markdown").out


@pytest.mark.soak
@pytest.mark.parametrize("output_format", ["table", "json", "ndjson", "csv", "markdown", "parquet"])
@pytest.mark.parametrize("sql", ["SELECT index, step_key FROM events ORDER BY 1", "SELECT 1 AS a WHERE false"])
def test_every_format_goes_to_a_file(
    call: Call, ledger: Ledger, tmp_path: Path, output_format: str, sql: str
) -> None:
    """What is in the file is what is on stdout; stdout then has nothing."""
    target = tmp_path / "out"
    said = call("--ledger", ledger.root, "query", sql, "--format", output_format, "-o", target)
    assert (said.code, said.out) == (0, "")
    assert f"rows written to {target}" in said.err
    if output_format == "parquet":
        assert pq.read_table(target).num_rows == (7 if "events" in sql else 0)
        return
    assert target.read_bytes().decode() == call("--ledger", ledger.root, "query", sql, "-f", output_format).out
    assert call("--ledger", ledger.root, "query", sql, "--format", output_format, "-o", target).code == 0
    assert call("--ledger", ledger.root, "query", "SELECT 7", "-f", output_format, "-o", target).code == 2
    assert (
        call("--ledger", ledger.root, "query", "SELECT 7", "-f", output_format, "-o", target, "--force").code == 0
    )


def test_a_query_writes_nowhere_it_should_not(call: Call, ledger: Ledger, tmp_path: Path) -> None:
    """Not into the ledger, not through a link, and a folder that is not there is an environment fault."""
    (tmp_path / "link").symlink_to(ledger.root)
    for target in (ledger.root / "ledger.json", ledger.root / "inbox" / "x", tmp_path / "link" / "x"):
        assert call("--ledger", ledger.root, "query", "SELECT 1", "-o", target).code == 2
    assert call("--ledger", ledger.root, "query", "SELECT 1", "-o", tmp_path / "absent" / "x").code == 4
    assert (
        call("--ledger", ledger.root, "query", "SELECT 1", "-f", "parquet", "-o", tmp_path / "absent" / "x").code
        == 4
    )
    assert call("--ledger", ledger.root, "verify").code == 0


def test_sql_comes_from_an_argument_a_file_or_stdin(
    call: Call, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that ends in .sql is a file, `-` is stdin, everything else is SQL."""
    import io

    (tmp_path / "ask me.sql").write_text("SELECT 'file' AS a -- 票")
    (tmp_path / "broken.sql").write_bytes(b"\xc3\x28")
    assert call("--ledger", ledger.root, "query", tmp_path / "ask me.sql", "-f", "csv").out == "a\nfile\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"SELECT 'stdin' AS a")))
    assert call("--ledger", ledger.root, "query", "-", "-f", "csv").out == "a\nstdin\n"
    assert call("--ledger", ledger.root, "query", "SELECT 'x.sql' AS a", "-f", "csv").out == "a\nx.sql\n"
    for missing in ("absent.sql", str(tmp_path / "broken.sql"), str(tmp_path / "absent" / "x.sql")):
        said = call("--ledger", ledger.root, "query", missing)
        assert said.code == 4
        assert missing in said.err


def test_parameters_and_prefixes(call: Call, ledger: Ledger) -> None:
    """`-p` binds by name, `--as-of` takes a size or a time."""
    sql = "SELECT count(*) AS n FROM events WHERE run_id = $run AND step_key <> $step"
    said = call("--ledger", ledger.root, "query", sql, "-p", f"run={RUN}", "-p", "step=a=b", "-f", "csv")
    assert said.out == "n\n6\n"
    for prefix, expected in (("0", 0), ("3", 3), ("6", 6), ("2026-04-17T12:00:00Z", 0), ("2027-01-01", 7)):
        said = call(
            "--ledger", ledger.root, "query", "SELECT count(*) AS n FROM events", "--as-of", prefix, "-f", "csv"
        )
        assert said.out == f"n\n{expected}\n"


def test_the_schema_is_told_without_a_ledger(call: Call) -> None:
    """Every view with its grain, every column with its meaning, for people and for programs."""
    text = call("query", "--schema")
    assert text.code == 0
    document = call("query", "--schema", "--format", "json").json()
    for view in document:
        assert view["view"] in text.out
        assert view["grain"] in text.out
        assert view["columns"]


def test_a_damaged_inbox_object_is_a_warning_beside_the_answer(call: Call, ledger: Ledger) -> None:
    """The answer is on stdout, what could not be read on stderr."""
    name = names(ledger.store)[0]
    (ledger.root / "inbox" / name).write_bytes(b"{}\n")
    said = call("--ledger", ledger.root, "query", "SELECT count(*) AS n FROM events", "-f", "csv")
    assert (said.code, said.out) == (0, "n\n6\n")
    assert "warning" in said.err
    assert name in said.err
    assert call("--ledger", ledger.root, "status", "--json").json()["damaged_objects"] == 1
    assert call("--ledger", ledger.root, "doctor").code == 4


def test_where_the_ledger_is(call: Call, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--ledger, else LEDGER_URL, else $DAGSTER_HOME/ledger, else ./.ledger."""
    assert call("status").code == 4
    ledger.root.rename(tmp_path / "here" / ".ledger")
    assert call("status", "--json").json()["path"] == str(tmp_path / "here" / ".ledger")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    assert call("status").code == 4
    (tmp_path / "here" / ".ledger").rename(tmp_path / "elsewhere")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger").symlink_to(tmp_path / "elsewhere")
    assert call("status").code == 0
    monkeypatch.setenv("LEDGER_URL", str(tmp_path / "absent"))
    assert call("status").code == 4
    monkeypatch.setenv("LEDGER_URL", f"file://{tmp_path}/elsewhere")
    assert call("status").code == 0
    assert call("--ledger", tmp_path / "absent", "status").code == 4


def test_every_command_has_help(call: Call) -> None:
    """And the list of all of them; none needs a ledger for it."""
    listed = call("--help")
    assert listed.code == 0
    assert "Exit codes" in listed.out
    for command in sorted(OURS):
        assert command in listed.out
        said = call(command, "--help")
        assert (said.code, said.err) == (0, "")
        assert "Usage: ledger" in said.out


def test_the_version_is_the_distributions(call: Call) -> None:
    """What is installed, not what is written somewhere."""
    from importlib.metadata import version

    assert call("--version").out == f"ledger {version('run-evidence-ledger')}\n"


def test_the_operating_systems_no_is_an_environment_fault(call: Call, ledger: Ledger) -> None:
    """Never a traceback, whose exit code 1 means that a verdict is not met."""
    (path,) = (ledger.root / "checkpoints").iterdir()
    path.unlink()
    path.mkdir()
    said = call("--ledger", ledger.root, "seal")
    assert said.code in {3, 4}
    assert "next:" in said.err


def _child(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Call the command as a person does, in a process of its own."""
    environment = {**os.environ, "HOME": "/nonexistent", **options.pop("env", {})}
    command = [sys.executable, "-c", "from run_evidence.ledger.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, **options
    )


LOADED = """
import atexit, sys
from run_evidence.ledger.cli import main
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
main()
"""
HEAVY = {"dagster", "pyarrow", "cryptography", "pandas", "numpy", "sensors", "evidence", "pipelines"}


def _loaded(*arguments: object) -> set[str]:
    child = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return {module.split(".")[0] for module in child.stderr.split()} & HEAVY


def test_a_query_loads_nothing_it_does_not_need(ledger: Ledger) -> None:
    """A cold start is felt: no Dagster, and over sealed entries no Arrow either."""
    ledger.seal()
    assert _loaded("--ledger", ledger.root, "query", "SELECT count(*) FROM runs") == set()


@pytest.mark.parametrize("command", ["query", "verify", "sync", "show", "--help"])
def test_help_does_not_load_dagster(command: str) -> None:
    """Not even where the command itself needs it."""
    arguments = [command] if command == "--help" else [command, "--help"]
    assert "dagster" not in _loaded(*arguments)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "dagster":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


@pytest.mark.soak
def test_the_ledger_works_where_dagster_is_not_installed(ledger: Ledger) -> None:
    """Import, append, seal, query and verify; a command that needs Dagster says so, the others go on."""
    script = BLOCKED + "from run_evidence.ledger.cli import main; main()"

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, "--ledger", str(ledger.root), *map(str, arguments)]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    for arguments in (["seal"], ["verify"], ["query", "SELECT * FROM runs"], ["--help"]):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
    (ledger.root.parent / "dagster.yaml").write_text("{}")
    refused = run("sync", "--dagster-home", ledger.root.parent)
    assert refused.returncode == 4
    assert "needs something that is not installed: No module named 'dagster'" in refused.stderr
    assert "pip install 'run-evidence-ledger[dagster]'" in refused.stderr


@pytest.mark.soak
def test_a_reader_that_stops_early_is_no_error(ledger: Ledger) -> None:
    """`ledger query … | head` ends quietly."""
    command = f"'{sys.executable}' -c 'from run_evidence.ledger.cli import main; main()' --ledger '{ledger.root}'"
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{command} query 'SELECT range FROM range(300000)' -f csv | head -1; echo ${{PIPESTATUS[0]}}",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "range\n0\n"
    assert done.stderr == ""


def _on_a_terminal(ledger: Ledger, **environment: str) -> str:
    """Run a query with a terminal for its stdout, and return what the terminal got."""
    leader, follower = pty.openpty()
    command = [
        sys.executable,
        "-c",
        "from run_evidence.ledger.cli import main; main()",
        "--ledger",
        str(ledger.root),
    ]
    subprocess.run(
        [*command, "query", "SELECT 1 AS a"],
        cwd=REPOSITORY,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **environment},
        check=True,
    )
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    return shown


@pytest.mark.soak
def test_colours_are_for_terminals_and_not_against_no_color(ledger: Ledger) -> None:
    """On a terminal the header stands out; with NO_COLOR, or in a pipe, no escape is written."""
    assert "\x1b[1m" in _on_a_terminal(ledger, NO_COLOR="")
    assert "\x1b" not in _on_a_terminal(ledger, NO_COLOR="1")
    assert "\x1b" not in _on_a_terminal(ledger, TERM="dumb")
    assert "\x1b" not in _child("--ledger", ledger.root, "query", "SELECT 1 AS a").stdout


@pytest.mark.soak
@pytest.mark.parametrize("damage", ["cut", "gone"])
@pytest.mark.parametrize("position", [0, 1], ids=["first", "last"])
@pytest.mark.parametrize(
    "command",
    [
        ("runs",),
        ("show", RUN),
        ("report", RUN),
        ("status",),
        ("verify",),
        ("seal",),
        ("query", "SELECT * FROM events"),
        ("query", "--verify", "SELECT 1 AS one"),
        ("prove", "--run", RUN),
    ],
    ids=" ".join,
)
def test_a_segment_that_is_cut_or_gone_is_named_by_every_command(
    call: Call, ledger: Ledger, command: tuple[str, ...], position: int, damage: str
) -> None:
    """Exit code 3, the file's name, and a next step; never an answer from what is left, never a traceback."""
    ledger.seal()
    ledger.append(records(range(10, 15)))
    segment = ledger.log().segments[position]
    if damage == "gone":
        segment.path.unlink()
    else:
        segment.path.write_bytes(segment.path.read_bytes()[: segment.size_bytes // 2])
    said = call("--ledger", ledger.root, *command)
    assert said.code == 3, said
    assert segment.path.name in said.out + said.err
    assert "next:" in said.out + said.err
    assert "Traceback" not in said.err
