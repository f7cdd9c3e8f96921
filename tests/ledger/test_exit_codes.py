"""Exit code 1 says that a verdict is not met, and nothing else ever ends with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from run_evidence.ledger import EnvironmentFault, InputError, IntegrityError, Ledger, UsageError
from run_evidence.ledger.cli.faults import exit_code
from tests.here import ledger_here
from tests.ledger.calling import Call
from tests.ledger.samples import RUN, Clock, records

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three sealed records."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    made.append(records(range(3)))
    made.seal()
    return made


def _child(*arguments: object, start: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **options.pop("env", {})}
    command = [
        sys.executable,
        "-c",
        f"{start}\nfrom run_evidence.ledger.cli import main; main()",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, env=environment, check=False, **options)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (InputError("x"), 2),
        (IntegrityError("x"), 3),
        (EnvironmentFault("x"), 4),
        (OSError(28, "No space left on device"), 4),
        (PermissionError(13, "Permission denied", "/x"), 4),
        (ModuleNotFoundError("No module named 'no_such_package'", name="no_such_package"), 4),
        (ImportError("cannot import name 'x' from 'orjson'", name="orjson"), 4),
        (
            ImportError(
                "cannot import name 'x' from 'run_evidence.ledger.sealing.seal'",
                name="run_evidence.ledger.sealing.seal",
            ),
            70,
        ),
        (ModuleNotFoundError("No module named 'evidence.nothing'", name="evidence.nothing"), 70),
        (ImportError("without a name"), 70),
        (ValueError("x"), 70),
        (AssertionError(), 70),
        (RecursionError("x"), 70),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), 70),
        (SystemExit(1), 70),
        (SystemExit("x"), 70),
        (KeyboardInterrupt(), 130),
        (BaseException("a panic"), 70),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else None,
)
def test_every_error_has_its_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """And a message on stderr, where the user did not end it; nothing is on stdout."""
    assert exit_code(error) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert bool(captured.err) == (code != 130)
    assert "Traceback" not in captured.err


BROKEN = """
import run_evidence.ledger.admin.status
def broken(*_):
    raise ValueError("it broke \\x1b[31m 票\\n at night")
run_evidence.ledger.admin.status.status = broken
"""


def test_a_fault_of_ours_names_itself_and_where_to_report_it(ledger: Ledger) -> None:
    """One line, without the traceback, which LEDGER_DEBUG=1 adds; it never looks like a verdict."""
    done = _child("--ledger", ledger.root, "status", start=BROKEN)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (70, b"")
    assert "an error in ledger itself, not a verdict: ValueError: it broke" in said
    assert "ledger doctor --json" in said
    assert len(said.splitlines()) == 2
    assert "\x1b" not in said
    done = _child("--ledger", ledger.root, "status", start=BROKEN, env={"LEDGER_DEBUG": "1"})
    assert done.returncode == 70
    assert b"Traceback" in done.stderr


def test_an_interrupt_ends_quietly(ledger: Ledger) -> None:
    """With the code a shell expects."""
    start = BROKEN.replace("ValueError", "KeyboardInterrupt")
    done = _child("--ledger", ledger.root, "status", start=start)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.soak
@pytest.mark.parametrize(
    "module", ["run_evidence.sensors.cli", "run_evidence.evidence.cli", "run_evidence.ledger.cli.prove"]
)
def test_a_room_that_cannot_be_loaded_is_a_fault_of_ours(ledger: Ledger, module: str) -> None:
    """Not something that is not installed; the list of commands and the other commands go on."""
    start = f"import sys; sys.modules[{module!r}] = None"
    command = {
        "run_evidence.sensors.cli": "sync",
        "run_evidence.evidence.cli": "runs",
        "run_evidence.ledger.cli.prove": "prove",
    }[module]
    done = _child("--ledger", ledger.root, command, start=start)
    assert done.returncode == 70
    assert b"not installed" not in done.stderr
    assert _child("--help", start=start).returncode == 0
    assert _child("--ledger", ledger.root, "status", start=start).returncode == 0


@pytest.mark.soak
@pytest.mark.parametrize("command", [["--help"], ["query", "--schema"], ["status"], ["verify"]])
def test_a_reader_that_is_gone_changes_no_exit_code(ledger: Ledger, command: list[str]) -> None:
    """`ledger verify | head` says in its exit code what verify found."""
    segment = ledger.log().segments[0].path
    for damaged in (False, True):
        if damaged:
            segment.write_bytes(segment.read_bytes()[:-9])
        expected = ledger_here("--ledger", str(ledger.root), *command)
        reading, writing = os.pipe()
        os.close(reading)
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        program = [sys.executable, "-m", "run_evidence.ledger.cli", "--ledger", str(ledger.root), *command]
        done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
        os.close(writing)
        assert done.returncode == expected.returncode
        assert b"Traceback" not in done.stderr
        assert b"Exception" not in done.stderr


@pytest.mark.soak
@pytest.mark.parametrize("command", [["--help"], ["query", "--schema"], ["query", "SELECT 1", "-f", "csv"]])
def test_output_that_cannot_be_written_is_the_environments_fault(ledger: Ledger, command: list[str]) -> None:
    """A full disk behind stdout, and a stdout that is closed, whether or not Python buffers what is printed."""
    program = (
        f"'{sys.executable}' -m run_evidence.ledger.cli --ledger '{ledger.root}' {' '.join(map(repr, command))}"
    )
    for unbuffered, where in product(("", "1"), (">/dev/full", ">&-")):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": unbuffered}
        if where == ">&-" and command == ["--help"]:
            continue  # typer prints its help to nobody
        done = subprocess.run(
            ["bash", "-c", f"{program} {where}"], capture_output=True, env=environment, check=False
        )
        assert done.returncode == 4, (where, done)
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("argument", [b"\xff", "票".encode("gb18030"), b"SELECT '\xff'"])
@pytest.mark.parametrize(
    "command", [["show"], ["query"], ["prove"], ["prove", "--run"], ["amend", "x", "--reason"]]
)
def test_an_argument_that_is_no_text_is_wrong_usage(ledger: Ledger, command: list[str], argument: bytes) -> None:
    """Whatever the locale made of it."""
    more = ["--actor", "x"] if command[0] == "amend" else []
    words = ("--ledger", str(ledger.root), *command, os.fsdecode(argument), *more)
    done = ledger_here(*words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    if command == ["show"]:  # as the system hands it over
        done_alone = _child(*words)
        assert (done_alone.returncode, done_alone.stderr.decode()) == (2, done.stderr)


@pytest.mark.soak
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_that_lacks_a_character_shows_its_escape(tmp_path: Path, encoding: str) -> None:
    """Every command goes on; what a person reads has escapes where the encoding has no character."""
    made = Ledger(tmp_path / "票", clock=Clock())
    made.append(records(range(2)))
    made.seal()
    for command in (
        ["status"],
        ["verify"],
        ["runs"],
        ["show", RUN],
        ["query", "SELECT chr(31080) AS a"],
        ["doctor"],
    ):
        done = ledger_here("--ledger", str(made.root), *command, encoding=encoding)
        assert done.returncode == 0, done.stderr
    said = _child("--ledger", made.root, "query", "SELECT chr(31080) AS a", env={"PYTHONIOENCODING": "ascii"})
    assert said.stdout == b"a\n\\u7968\n"


SQL = b"SELECT 1 AS a,\r\n 2 AS b -- two\r\n;\r\n"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (SQL, 0),
        (b"\xef\xbb\xbf" + SQL, 0),
        (SQL.decode().encode("utf-16"), 0),
        ("SELECT 'Größe'".encode("latin-1"), 4),
        (b"\xef\xbb\xbf", 2),
        (b"", 2),
        (b"-- nothing\n", 2),
        (b"\0", 2),
    ],
    ids=range(8),
)
def test_sql_as_an_editor_or_a_pipe_brings_it(ledger: Ledger, tmp_path: Path, data: bytes, code: int) -> None:
    """A byte order mark is no part of it; what is not text is refused, from a file and from stdin alike."""
    (tmp_path / "ask.sql").write_bytes(data)
    from_file = ledger_here("--ledger", str(ledger.root), "query", str(tmp_path / "ask.sql"), "-f", "csv")
    piped = _child("--ledger", ledger.root, "query", "-", "-f", "csv", input=data)
    for done, told in ((from_file, from_file.stderr), (piped, piped.stderr.decode())):
        assert done.returncode == code, told
        assert "Traceback" not in told
    assert from_file.stdout == piped.stdout.decode() == ("a,b\n1,2\n" if code == 0 else "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
DEEP = "[" * 1000 + "]" * 1000
CRAFTED = [
    '{"provenance": "x"}',
    '{"provenance": ["x"]}',
    '{"provenance": {"checkpoint": "x"}}',
    '{"provenance": {"checkpoint": {"origin": 1, "size": "x", "root_sha256": 7}}}',
    '{"provenance": {"checkpoint": {"origin": "x", "size": 1e400, "root_sha256": ""}}}',
    DEEP,
    '{"a": ' + DEEP + "}",
    '{"a":' * 1000 + "1" + "}" * 1000,
    '{"run_id": 5, "run": 7}',
    '{"event_id": "\\ud800"}',
    '{"event_id": "x", "index": 99999999999999999999999999}',
    '{"basis": ["x", 1, null, {"event_id": []}]}',
    '{"event_id": "x", "occurred_at": NaN}',
    "NaN",
    "9" * 5000,
    "",
    "\ufeff{}",
    "\0",
]
NAMES = ("provenance", "checkpoint", "run", "run_id", "event_id", "basis", "index", "target", "kind", "outcome")


@pytest.mark.parametrize("document", CRAFTED, ids=range(len(CRAFTED)))
def test_a_crafted_document_is_refused_without_a_fault(
    call: Call, ledger: Ledger, tmp_path: Path, document: str
) -> None:
    """Given to `prove --file`, and to `check` behind a proof and as the proof itself."""
    (tmp_path / "doc.json").write_text(document, encoding="utf-8")
    _hold(call, ledger, tmp_path)


@pytest.mark.soak
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(document=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5) | JSON)
def test_no_document_is_a_fault(call: Call, ledger: Ledger, tmp_path: Path, document: Any) -> None:
    """Whatever it has under the names that are read."""
    (tmp_path / "doc.json").write_text(json.dumps(document), encoding="utf-8")
    _hold(call, ledger, tmp_path)


def _hold(call: Call, ledger: Ledger, tmp_path: Path) -> None:
    checkpoint = next((ledger.root / "checkpoints").iterdir())
    proof = tmp_path / "p.proof"
    proved = call("--ledger", ledger.root, "prove", "--file", tmp_path / "doc.json", "-o", proof, "--force")
    assert proved.code in {0, 2, 3}, proved.err
    trust = ("--checkpoint", checkpoint)
    for arguments in ((tmp_path / "doc.json",), (proof, tmp_path / "doc.json"), (tmp_path / "doc.json", proof)):
        if all(path.exists() for path in arguments):
            said = call("check", *arguments, *trust)
            assert said.code in {0, 2, 3}, said.err


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_no_proof_is_a_fault(call: Call, ledger: Ledger, tmp_path: Path, data: st.DataObject) -> None:
    """One that is ours but for a few characters, numbers as text and of any length among them."""
    path = tmp_path / "run.proof"
    if not path.exists():
        assert call("--ledger", ledger.root, "prove", "--run", RUN, "-o", path).code == 0
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    put = data.draw(
        st.binary(max_size=6) | st.sampled_from([b"9" * 5000, b"-1", b"NaN", b"1.5", b" ", b"\n\n", b"\0"])
    )
    (tmp_path / "changed.proof").write_bytes(whole[:start] + put + whole[end:])
    checkpoint = next((ledger.root / "checkpoints").iterdir())
    said = call("check", tmp_path / "changed.proof", "--checkpoint", checkpoint)
    assert said.code in {0, 2, 3}, said.err
