"""Import direction is law: the core knows nothing of the rooms above it, and what is pure touches nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MAY_KNOW = {
    "ledger": {"ledger"},
    "sensors": {"sensors", "ledger"},
    "evidence": {"evidence", "ledger"},
}
ROOMS = {"ledger", "sensors", "evidence", "pipelines"}

PURE = (
    *(
        "alarm",
        "canonical",
        "checkpoint",
        "document",
        "event",
        "merkle",
        "names",
        "note",
        "outcomes",
        "parts",
        "plan",
        "proof",
    ),
    *("said", "tiles"),
)
"""Modules that only calculate: the same arguments give the same answer on every machine."""

WORLD = {
    *("asyncio", "deltalake", "duckdb", "io", "multiprocessing", "os", "pathlib", "pyarrow", "random"),
    *("secrets", "shutil", "socket", "subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
}


def _imports(path: Path) -> Iterator[str]:
    """Yield every module a file imports, inside functions too; types alone do not count."""
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs: an `if TYPE_CHECKING:` never does."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _running(child)


def _files(room: str) -> list[Path]:
    found = sorted((REPOSITORY / room).rglob("*.py"))
    assert found, room
    return found


@pytest.mark.parametrize("room", MAY_KNOW)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    """Pipelines may know all, sensors and evidence the ledger, the ledger nobody."""
    for path in _files(room):
        above = {name for name in _imports(path) if name.split(".")[0] in ROOMS - MAY_KNOW[room]}
        assert not above, f"{path.relative_to(REPOSITORY)} imports {sorted(above)}"


@pytest.mark.parametrize("room", ["ledger", "evidence"])
def test_dagster_is_known_to_capture_alone(room: str) -> None:
    """Reading, proving and querying a ledger needs no Dagster, not even inside a function."""
    for path in _files(room):
        assert not {name for name in _imports(path) if name.split(".")[0] == "dagster"}, path


@pytest.mark.parametrize("module", PURE)
def test_what_only_calculates_touches_nothing(module: str) -> None:
    """No file, clock, process, network or chance."""
    imported = set(_imports(REPOSITORY / "ledger" / f"{module}.py"))
    assert not {name for name in imported if name in WORLD or name.split(".")[0] in WORLD}


LOCKS = {"witness", "memory", "store", "limits"}


def test_nobody_takes_a_lock() -> None:
    """Readers, writers and sealers never wait for each other.

    A witness, which is none of them, may; so may keys, for their memory outside the ledger and the moment in which
    a line is added to a checkpoint. A query locks its own folder, for which nobody waits.
    """
    for path in (path for path in _files("ledger") if path.stem not in LOCKS):
        assert not {name for name in _imports(path) if name.split(".")[0] in {"fcntl", "filelock", "msvcrt"}}, path
    holders = {path.stem for path in _files("ledger") if "changing(" in path.read_text(encoding="utf-8")}
    assert holders == {"store", "signing"}


def test_the_environment_is_read_at_the_edge() -> None:
    """Below settings and command line, a value that matters is an argument."""
    readers = {
        path.relative_to(REPOSITORY / "ledger").as_posix()
        for path in _files("ledger")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert {name for name in readers if not name.startswith("cli/")} == {"settings.py"}


APPEND = """
import sys
from ledger import Event, Ledger
Ledger(sys.argv[1]).append([Event(event_type="run.seen.v1", occurred_at=1, run_id="r")])
Ledger(sys.argv[1]).known(["r"], sealed=False)
print(*sorted(sys.modules))
"""


def test_an_append_loads_no_database(tmp_path: Path) -> None:
    """A step's process is young and feels every import."""
    done = subprocess.run(
        [sys.executable, "-c", APPEND, str(tmp_path / "ledger")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"duckdb", "pyarrow", "deltalake", "typer", "pydantic", "cryptography", "dagster"}
