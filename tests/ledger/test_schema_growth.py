"""A schema that grows: an old ledger under a newer program, and a newer one under this."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from run_evidence.ledger.model.event import EVENT_FIELDS
from run_evidence.ledger.model.schema import COLUMNS, STATED
from run_evidence.ledger.storage.rows import SCHEMA
from run_evidence.ledger.storage.search import memory_database, sql_text
from run_evidence.ledger.tlog.keys import format_vkey
from tests.ledger.of_version_1.make import KEY

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "of_version_1" / "data"

APPEND = """
from run_evidence.ledger import Ledger
from tests.ledger.samples import NOON, Clock, own, record
def append(root, tenant, first, end):
    more = {"tenant": "acme"} if tenant else {}
    ledger = Ledger(root, clock=Clock(NOON + 10**9))
    ledger.append([record(n, **more) for n in range(int(first), int(end))])
    ledger.append([own("run.seen.v1", data={"n": int(first)}, **more)])
"""


ANSWER = """
import json, sys
from tests.here import ledger_here
asked, answers = sys.stdin, sys.stdout
for line in asked:
    kind, arguments = json.loads(line)
    if kind == "append":
        append(*arguments)
        said = [0, "", ""]
    else:
        done = ledger_here(*arguments)
        said = [done.returncode, done.stdout, done.stderr]
    print(json.dumps(said), file=answers, flush=True)
"""


class Program:
    """A program on a copy of the old ledger; `today` is this one, else that with schema version 2.

    One process that answers call after call, as starting one for each would be most of a test.
    """

    def __init__(self, folder: Path, *, today: bool) -> None:
        self.ledger = folder / "ledger"
        self._folder = folder
        self._path = str(ROOT) if today else f"{folder / 'tomorrow'}{os.pathsep}{ROOT}"
        self.process = self.start(APPEND + ANSWER)

    def start(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Run Python code with this program to import from."""
        state = str(self._folder / "state")
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": self._path, "XDG_STATE_HOME": state, "COLUMNS": "200"},
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start_seal(self, before: str = "") -> subprocess.Popen[str]:
        """Seal in a process of its own, after this code."""
        words = ["ledger", "--ledger", str(self.ledger), "seal", "--key", str(self._folder / "signing.key")]
        return self.start(
            f"import sys; sys.argv = {words!r}; {before}\nfrom run_evidence.ledger.cli import main; main()"
        )

    def _ask(self, kind: str, *arguments: object) -> tuple[int, str, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([kind, list(map(str, arguments))]), file=self.process.stdin, flush=True)
        code, out, err = json.loads(self.process.stdout.readline())
        return int(code), str(out), str(err)

    def call(self, *arguments: object, code: int = 0) -> str:
        """Run the command on the ledger, and return what it said; it has to end with `code`."""
        returned, out, err = self._ask("ledger", "--ledger", self.ledger, *arguments)
        assert returned == code, out + err
        return out + err

    def append(self, first: int, end: int, *, tenant: bool = False) -> None:
        """Append records of these numbers and an event of the ledger's own."""
        self._ask("append", self.ledger, "tenant" if tenant else "", first, end)

    def seal(self, code: int = 0) -> str:
        """Seal with the key of the old ledger."""
        return self.call("seal", "--key", self._folder / "signing.key", code=code)

    def rows(self, sql: str) -> list[dict[str, object]]:
        """Return the answer to a query."""
        code, out, err = self._ask("ledger", "--ledger", self.ledger, "query", "-f", "json", sql)
        assert code == 0, err
        return list(json.loads(out))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Copy the ledger that version 1 made; what its key remembers goes where this test's programs look."""
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    (tmp_path / "signing.key").chmod(0o600)
    (memory,) = (tmp_path / "memory").iterdir()
    memory.rename(tmp_path / "signing.key.signed")
    return tmp_path


@pytest.fixture
def today(here: Path) -> Iterator[Program]:
    """Start the program of today."""
    yield from _until_the_end(Program(here, today=True))


def _until_the_end(program: Program) -> Iterator[Program]:
    with program.process:
        try:
            yield program
        finally:
            program.process.kill()


@pytest.fixture
def tomorrow(here: Path) -> Iterator[Program]:
    """Start a program with schema version 2: this one, with the few lines changed that a column takes."""
    room = here / "tomorrow" / "run_evidence"
    shutil.copytree(ROOT / "ledger", room / "ledger", ignore=shutil.ignore_patterns("__pycache__"))
    for other in ("evidence", "sensors"):
        (room / other).symlink_to(ROOT / other)
    for name, before, after in (
        (
            "model/event.py",
            "    source_digest: str | None = None\n    data",
            "    source_digest: str | None = None\n    tenant: str | None = None\n    data",
        ),
        ("model/schema.py", '    ),\n)\n"""The members', '    ),\n    ("tenant",),\n)\n"""The members'),
        (
            "sql/create_unsealed.sql",
            "    source_digest VARCHAR,\n",
            "    source_digest VARCHAR,\n    schema_version INTEGER,\n    tenant VARCHAR,\n",
        ),
    ):
        text = (room / "ledger" / name).read_text(encoding="utf-8")
        assert text.count(before) == 1
        (room / "ledger" / name).write_text(text.replace(before, after), encoding="utf-8")
    yield from _until_the_end(Program(here, today=False))


def _use(program: Program, here: Path) -> None:
    """Verify, ask, seal on, compact, prove, check and export: everything a person does with an old ledger."""
    vkey = format_vkey(KEY.verifier())
    assert "nothing was altered" in program.call("verify", "--key", vkey)
    assert program.rows("SELECT count(*) AS n, count(index) AS sealed FROM events") == [{"n": 40, "sealed": 38}]
    assert program.rows("SELECT length(data->>'long') AS n FROM events WHERE storage_id = 21") == [{"n": 40_000}]
    assert "sealed 2 events" in program.seal()
    program.append(38, 45)
    assert "sealed 8 events" in program.seal()
    assert "nothing was altered" in program.call("verify", "--key", vkey)
    assert "nothing was altered" in program.call("verify", "--key", vkey, "--sample", "20")
    event = str(program.rows("SELECT event_id FROM events WHERE index = 3")[0]["event_id"])
    program.call("compact")
    assert "nothing was altered" in program.call("verify", "--key", vkey)
    program.call("prove", event, "-o", here / "one.tlog-proof")
    program.call("check", here / "one.tlog-proof", "--key", vkey)
    program.call("export", "tlog", here / "exported")
    assert program.rows("SELECT count(*) AS n FROM events") == [{"n": 48}]


def test_a_ledger_of_version_1_is_read_for_ever(today: Program, here: Path) -> None:
    """What the first program wrote verifies, answers, is sealed on, compacted, proved and exported."""
    _use(today, here)


@pytest.mark.soak
def test_an_old_ledger_under_a_newer_program(tomorrow: Program, here: Path) -> None:
    """A column that a later version adds changes nothing about what was written before."""
    _use(tomorrow, here)


@pytest.mark.soak
def test_a_table_of_two_versions(tomorrow: Program, today: Program) -> None:
    """Segments of both versions, and entries of both in one segment, are one log for every reader."""
    entries = today.rows("SELECT index, hex(entry) AS entry FROM entries WHERE index < 38 ORDER BY index")
    tomorrow.append(38, 2_500, tenant=True)  # more than a megabyte: derived in bulk
    assert "sealed 2465 events" in tomorrow.seal()
    assert "nothing was altered" in tomorrow.call("verify")
    assert "nothing was altered" in tomorrow.call("verify", "--parallel")
    counted = tomorrow.rows("SELECT tenant, schema_version AS v, count(*) AS n FROM events GROUP BY ALL ORDER BY n")
    assert counted == [{"tenant": None, "v": None, "n": 40}, {"tenant": "acme", "v": 2, "n": 2463}]
    assert tomorrow.rows("SELECT count(*) AS n FROM events WHERE tenant IS NULL AND index < 38") == [{"n": 38}]
    old = tomorrow.call(
        "query", "--as-of", "23", "SELECT count(*) AS n, count(tenant) AS t FROM events", "-f", "csv"
    )
    assert old.splitlines()[1] == "23,0"
    files = DeltaTable(tomorrow.ledger / "log").file_uris()
    plain = duckdb.sql(
        f"SELECT count(*), count(tenant) FROM read_parquet({files}, union_by_name = true)"
    ).fetchall()
    assert plain == [(2503, 2463)]
    assert "tenant" in [field.name for field in DeltaTable(tomorrow.ledger / "log").schema().fields]
    DeltaTable(tomorrow.ledger / "log").optimize.compact()  # by another tool, which knows nothing of versions
    tomorrow.call("compact")
    assert "nothing was altered" in tomorrow.call("verify")
    assert entries == tomorrow.rows(
        "SELECT index, hex(entry) AS entry FROM entries WHERE index < 38 ORDER BY index"
    )


@pytest.mark.soak
def test_a_version_that_is_not_known_is_refused_by_name(tomorrow: Program, today: Program) -> None:
    """Neither reading, sealing nor verifying a newer log says that it was altered, and nothing is changed."""
    tomorrow.append(38, 40, tenant=True)
    waiting = set((today.ledger / "inbox").iterdir())
    said = today.call("verify", code=4)
    assert "schema version 2; this program reads versions up to 1" in said
    assert "altered" not in said
    assert "upgrade" in said
    assert "schema version 2" in today.seal(code=4)
    left = set((today.ledger / "inbox").iterdir())
    assert len(left) == 2  # what is of version 1 was sealed, the rest waits for its program
    assert left < waiting
    tomorrow.seal()
    assert not any((today.ledger / "inbox").iterdir())
    for command in (
        ["verify"],
        ["verify", "--json"],
        ["verify", "--parallel"],
        ["verify", "--sample", "3"],
        ["query", "SELECT 1 FROM events"],
        ["seal"],
        ["compact"],
    ):
        said = today.call(*command, code=4)
        assert "schema version 2; this program reads versions up to 1" in said
        assert "altered" not in said


DIES = """
import os
from run_evidence.ledger.storage import commit
widen = commit._widen
def widen_and_die(*about):
    widen(*about)
    os._exit(9)
commit._widen = widen_and_die
"""


@pytest.mark.soak
def test_a_kill_between_the_new_column_and_what_is_in_it(tomorrow: Program) -> None:
    """The table has a column that no file has; the next seal goes on from there, and nothing is lost."""
    tomorrow.append(38, 45, tenant=True)
    with tomorrow.start_seal(DIES) as dying:
        assert dying.wait(timeout=300) == 9
    assert "tenant" in [field.name for field in DeltaTable(tomorrow.ledger / "log").schema().fields]
    assert "nothing was altered" in tomorrow.call("verify")
    assert tomorrow.rows("SELECT count(*) AS n, count(tenant) AS t FROM events") == [{"n": 48, "t": 8}]
    assert "sealed 10 events" in tomorrow.seal()
    assert "nothing was altered" in tomorrow.call("verify")
    assert tomorrow.rows("SELECT count(index) AS n, count(tenant) AS t FROM events") == [{"n": 48, "t": 8}]


@pytest.mark.soak
def test_rivals_that_widen_the_table_at_once(tomorrow: Program) -> None:
    """Each entry is sealed once, whoever adds the column."""
    tomorrow.append(38, 60, tenant=True)
    rivals = [tomorrow.start_seal() for _ in range(3)]
    for rival in rivals:
        with rival:
            said, _ = rival.communicate(timeout=300)
            assert rival.returncode == 0, said
    assert tomorrow.rows("SELECT count(index) AS n, count(DISTINCT event_id) AS d FROM events") == [
        {"n": 63, "d": 63}
    ]
    assert "nothing was altered" in tomorrow.call("verify")


def test_a_segment_says_its_version(tomorrow: Program) -> None:
    """The footer states the version of what was written; the old segments state none, which is version 1."""
    tomorrow.seal()
    stated = {
        path.name[:16]: (pq.read_metadata(path).metadata or {}).get(b"ledger.schema")
        for path in (tomorrow.ledger / "log").glob("*.parquet")
    }
    assert stated == {"0" * 16: None, f"{23:016d}": None, f"{38:016d}": b"2"}


def test_an_event_has_a_column_for_each_field() -> None:
    """The versions, the fields of an event and the table of unsealed entries name the same columns."""
    assert set(COLUMNS) - {STATED} == {*EVENT_FIELDS, "event_id", "recorded_at"}
    with memory_database() as connection:
        connection.execute(sql_text("create_unsealed"))
        names = [name for (name, *_) in connection.execute("DESCRIBE unsealed_entries").fetchall()]
    assert names == SCHEMA.names
