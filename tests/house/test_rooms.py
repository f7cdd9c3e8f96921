"""Import direction is law: which room may know which, no circles, and what is pure reaches nothing impure."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
INSTALLED = ("ledger", "sensors", "evidence")

FLOORS = (
    {"ledger.errors"},
    {"ledger.terminal"},
    {"ledger.model", "ledger.tlog"},
    {"ledger.redaction"},
    {"ledger.storage"},
    {"ledger.sealing", "ledger.witness"},
    {"ledger.ledger"},
    {"ledger.query", "ledger.project_file"},
    {"ledger.settings"},
    {"ledger.proving", "ledger.verification"},
    {"ledger.admin"},
    {"ledger.cli", "ledger.reader"},
    {"ledger"},
    {"evidence", "sensors.dagster_log"},
    {"sensors.capture"},
    {"sensors"},
    {"sensors.attach"},
)
"""The rooms, lowest floor first. A room knows those on lower floors; on its own floor it knows itself alone."""

UPWARD = {("sensors", "sensors.attach")}
"""`run_evidence.sensors` hands out `with_ledger`, loaded when it is asked for."""

PURE = ("ledger.model", "ledger.tlog")
WORLD = {
    *("asyncio", "deltalake", "duckdb", "io", "multiprocessing", "os", "pathlib", "pyarrow", "random"),
    *("secrets", "shutil", "socket", "subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
}


@cache
def _modules() -> dict[str, Path]:
    """Return every module that is installed, by its dotted name without `run_evidence.`."""
    found = {}
    for path in (path for room in INSTALLED for path in (REPOSITORY / room).rglob("*.py")):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    assert len(found) > 100
    return found


def _room(module: str) -> str:
    """Return the longest name of a room that the module is in, or is."""
    rooms = [room for floor in FLOORS for room in floor if f"{module}.".startswith(f"{room}.")]
    return max(rooms, key=len)


def _imports(path: Path, *, types: bool = False) -> Iterator[str]:
    """Yield every module a file imports, inside functions too; with `types` also what its annotations need."""
    for node in _running(ast.parse(path.read_text(encoding="utf-8")), types=types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            ours = [name.removeprefix("run_evidence.") in _modules() for name in names]
            yield from (name if own else str(node.module) for name, own in zip(names, ours, strict=True))


def _running(tree: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """Walk what runs: an `if TYPE_CHECKING:` never does."""
    unless = isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING"
    if unless and not types:
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _running(child, types=types)


@cache
def _known(*, types: bool) -> Mapping[str, frozenset[str]]:
    """Return for each module of ours those of ours that it imports."""
    return {
        module: frozenset(
            name.removeprefix("run_evidence.")
            for name in _imports(path, types=types)
            if name.startswith("run_evidence.")
        )
        - {module}
        for module, path in _modules().items()
    }


def _reached(module: str, graph: Mapping[str, Collection[str]]) -> set[str]:
    reached, waiting = set(), [module]
    while waiting:
        for name in graph[waiting.pop()]:
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return reached


def test_a_room_imports_only_what_lies_below_it() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for module, imported in _known(types=True).items():
        here = _room(module)
        for there in {_room(name) for name in imported} - {here}:
            assert floor[there] < floor[here] or (here, there) in UPWARD, f"{module} imports from {there}"


def test_no_module_imports_itself_through_others() -> None:
    """Not for its types either."""
    loads_late = {"sensors": frozenset({"sensors.attach.attach"})}
    graph = {module: names - loads_late.get(module, frozenset()) for module, names in _known(types=True).items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("room", ["ledger", "evidence"])
def test_dagster_is_known_to_capture_alone(room: str) -> None:
    """Reading, proving and querying a ledger needs no Dagster, not even inside a function."""
    for module, path in _modules().items():
        if module.split(".")[0] == room:
            assert not {name for name in _imports(path, types=True) if name.split(".")[0] == "dagster"}, module


@pytest.mark.parametrize("room", PURE)
def test_what_only_calculates_reaches_nothing_of_the_world(room: str) -> None:
    """No file, clock, process, network or chance; not through another module either."""
    graph = _known(types=False)
    for module in (name for name in _modules() if _room(name) == room):
        for name in {module, *_reached(module, graph)}:
            imported = set(_imports(_modules()[name])) - {"urllib.parse"}
            touched = {top for each in imported if (top := each.split(".")[0]) in WORLD}
            assert not touched, f"{module} reaches {sorted(touched)} through {name}"


def test_nothing_is_imported_under_its_bare_name() -> None:
    """From the checkout's root `import ledger` works, and every class would be there twice."""
    paths = [
        path
        for path in REPOSITORY.rglob("*.py")
        if not {".venv", ".venv-bounds", ".demo", "build"} & set(path.parts)
    ]
    for path in paths:
        bare = {name for name in _imports(path, types=True) if name.split(".")[0] in INSTALLED}
        assert not bare, f"{path.relative_to(REPOSITORY)} imports {sorted(bare)}"


def test_the_library_knows_no_course() -> None:
    """What Week06 delivers is declared in `pipelines/`; a project of another name finds nothing of it here."""
    texts = {
        path.relative_to(REPOSITORY): path.read_text(encoding="utf-8")
        for room in INSTALLED
        for path in (REPOSITORY / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path("evidence/profile.py"), Path("evidence/sql/planned_partitions.sql")} < texts.keys()
    assert [str(p) for p, text in texts.items() if re.search("week[ _-]?0?[0-9]", f"{p}\n{text}", re.I)] == []


LOCKS = {
    "ledger.storage.files",
    "ledger.storage.spill",
}


FILE_MODULES = {"fcntl", "shutil", "tempfile", "glob"}
FILE_FUNCTIONS = {
    "open",
    "listdir",
    "scandir",
    "walk",
    "stat",
    "lstat",
    "access",
    "rename",
    "replace",
    "remove",
    "unlink",
    "link",
    "mkdir",
    "makedirs",
    "rmdir",
    "symlink",
    "chmod",
    "chown",
    "utime",
    "fsync",
    "sync",
    "read",
    "write",
    "truncate",
}
PATH_METHODS = {
    "open",
    "read_bytes",
    "read_text",
    "write_bytes",
    "write_text",
    "unlink",
    "mkdir",
    "rmdir",
    "iterdir",
    "glob",
    "rglob",
    "walk",
    "is_dir",
    "is_file",
    "is_symlink",
    "is_fifo",
    "stat",
    "lstat",
    "touch",
    "rename",
    "chmod",
    "symlink_to",
    "hardlink_to",
    "readlink",
    "samefile",
    "owner",
    "exists",
}
OBJECTS_OF_THE_PORT = {"store", "folder", "ledger", "memory", "self"}
"""What has verbs of these names that are not a path's: `store.stat`, `ledger.exists`."""


def test_files_are_read_and_written_in_storage_alone() -> None:
    """A ledger in a bucket is a second store, and nothing else of the house changes."""
    found = []
    for module, path in _modules().items():
        if not module.startswith("ledger") or _room(module) == "ledger.storage":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if touched := {name.split(".")[0] for name in _imports(path)} & FILE_MODULES:
            found.append(f"{module} imports {sorted(touched)}")
        for call in (node.func for node in ast.walk(tree) if isinstance(node, ast.Call)):
            text = ast.unparse(call)
            if text == "open" or (text.startswith("os.") and text[3:] in FILE_FUNCTIONS):
                found.append(f"{module}: {text}")
            elif isinstance(call, ast.Attribute) and call.attr in PATH_METHODS:
                owner = ast.unparse(call.value).rsplit(".", 1)[-1].lstrip("_")
                if owner not in OBJECTS_OF_THE_PORT:
                    found.append(f"{module}: {text}")
    assert found == ["ledger.terminal: os.open"]  # of os.devnull, to be deaf where a pipe has closed


FACE = {"ledger", "ledger.cli.session", "ledger.terminal"}


@pytest.mark.parametrize("folder", ["sensors", "evidence", "pipelines", "checker"])
def test_the_face_of_the_ledger_is_its_border(folder: str) -> None:
    """The other rooms import what `run_evidence.ledger` exports, and for their commands two modules more."""
    for path in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("run_evidence.ledger"):
                assert (node.module or "").removeprefix("run_evidence.") in FACE, f"{path}: {node.module}"


def test_everything_on_the_face_is_there_and_somebody_wants_it() -> None:
    """Each exported name loads, is typed, and is imported by another room or named in the documents."""
    import run_evidence.ledger as face

    wanted = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("sensors", "evidence", "pipelines", "checker", "docs", "tests/ledger", "tests/trust")
        for path in (REPOSITORY / folder).rglob("*.[pm][yd]")
    )
    source = ast.parse((REPOSITORY / "ledger/__init__.py").read_text(encoding="utf-8"))
    typed = {a.name for node in ast.walk(source) if isinstance(node, ast.ImportFrom) for a in node.names}
    assert set(face.__all__) == set(face._MODULE_OF) == typed - {"annotations", "import_module", *TYPING}
    for name in face.__all__:
        assert getattr(face, name) is not None
        assert re.search(rf"\b{name}\b", wanted), name


TYPING = {"TYPE_CHECKING", "Any", "Final"}


def test_other_rooms_do_not_reach_into_a_ledgers_files() -> None:
    """Capture and evidence ask the ledger; which objects it has, and where, is its own."""
    for module, path in _modules().items():
        if module.startswith(("sensors", "evidence")):
            known = set(_imports(path, types=True))
            assert not {name for name in known if "ledger.storage.layout" in name or "storage.folder" in name}


def test_nobody_takes_a_lock() -> None:
    """Readers, writers and sealers never wait for each other.

    A witness, which is none of them, may; so may keys, for their memory outside the ledger and the moment in which
    a line is added to a checkpoint. A query locks its own folder, for which nobody waits.
    """
    ledgers = {module: path for module, path in _modules().items() if module.split(".")[0] == "ledger"}
    lockers = {
        module
        for module, path in ledgers.items()
        if {name.split(".")[0] for name in _imports(path)} & {"fcntl", "filelock", "msvcrt"}
    }
    assert lockers == LOCKS
    holders = {module for module, path in ledgers.items() if "changing(" in path.read_text(encoding="utf-8")}
    assert holders == {"ledger.storage.files", "ledger.storage.folder"}


def test_the_environment_is_read_at_the_edge() -> None:
    """Below settings and command line, a value that matters is an argument."""
    readers = {
        module
        for module, path in _modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if module.split(".")[0] == "ledger"
        and isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv"}
    }
    assert {name for name in readers if _room(name) != "ledger.cli"} == {"ledger.settings", "ledger.terminal"}


APPEND = """
import sys
from run_evidence.ledger import Event, Ledger
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


def test_no_two_classes_have_one_name() -> None:
    """But for private ones, which nobody meets outside of their module."""
    found: dict[str, list[str]] = {}
    for room in (*INSTALLED, "pipelines", "checker"):
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found.setdefault(node.name, []).append(str(path.relative_to(REPOSITORY)))
    assert len(found) > 100
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
