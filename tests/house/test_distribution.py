"""What is shipped: the three rooms a user installs, with everything they read at run time, and nothing else."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from run_evidence.ledger import Ledger
from run_evidence.ledger.model.event import encode
from tests.ledger.samples import NOON, RUN, Clock, own, record, records

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_wheel_has_the_three_rooms_and_not_the_example_project() -> None:
    """`pipelines` is this repository's own project; shipped, it could shadow a user's package of that name."""
    top = {tuple(name.split(".")[:2]) for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert top == {("run_evidence", "ledger"), ("run_evidence", "sensors"), ("run_evidence", "evidence")}


@pytest.mark.parametrize("room", ["ledger", "sensors", "evidence"])
def test_every_package_and_every_file_read_at_run_time_is_in_the_wheel(room: str) -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    packages = {
        ".".join(("run_evidence", *p.parent.relative_to(ROOT).parts)) for p in (ROOT / room).rglob("__init__.py")
    }
    assert packages <= listed
    patterns = PROJECT["tool"]["setuptools"]["package-data"][f"run_evidence.{room}"]
    shipped = {path for pattern in patterns for path in (ROOT / room).glob(pattern)}
    read = {p for p in (ROOT / room).rglob("*") if p.suffix in {".sql", ".json", ".html", ".css", ".js"}}
    assert read <= shipped, f"add to [tool.setuptools.package-data]: {sorted(str(p) for p in read - shipped)}"


def test_constraints_are_names_and_versions_alone() -> None:
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split():
        name, separator, version = line.partition("==")
        assert separator, line
        assert name
        assert version[0].isdigit(), line


def test_every_dependency_is_pinned() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()
    }
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    for requirement in [r for group in groups for r in group]:
        name = requirement.split("[")[0].split(">")[0].split("<")[0].strip().lower().replace("_", "-")
        assert name in pinned, requirement


def _declared() -> set[str]:
    """Return the distributions that an installation without extras brings, and what these declare in turn."""
    found: set[str] = set()
    waiting = list(PROJECT["project"]["dependencies"])
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += importlib.metadata.requires(name) or []
    return found


_CORE_ALONE = """
import sys
absent = set(sys.argv.pop(1).split(","))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import run_evidence.evidence.files, run_evidence.sensors.dagster_log.translate
from run_evidence.ledger.cli import main
main()
"""


def _core_alone(*words: str, cwd: Path) -> str:
    """Run the command where nothing can be imported but what the core declares; return what it printed."""
    brought = _declared()
    absent = [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if module != "run_evidence" and not brought & set(map(canonicalize_name, owners))
    ]
    assert {"dagster", "pytest", "hypothesis"} <= set(absent)
    command = [sys.executable, "-c", _CORE_ALONE, ",".join(absent), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd / "config")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert done.returncode == 0, f"ledger {' '.join(words)}: {done.stderr}"
    return done.stdout


@pytest.mark.soak
def test_an_auditor_needs_no_more_than_the_core_declares(tmp_path: Path) -> None:
    """Without the orchestrator, and without a package that only something else here happens to bring."""
    ledger = Ledger(tmp_path / ".ledger", clock=Clock())
    ledger.append([*records(range(1, 4)), own("run.seen.v1")])
    event_id = encode(record(2), NOON).event_id
    for words in (
        ["key", "new", "--name", "example.com/core"],
        ["seal"],
        ["status"],
        ["runs"],
        ["show", RUN],
        ["doctor"],
        ["verify"],
        ["verify", "--sample", "2"],
        ["amend", event_id, "--set", "job_name=other", "--reason", "wrong", "--actor", "auditor"],
        ["seal"],
        ["query", "SELECT * FROM events", "--verify"],
        ["query", "SELECT * FROM events", "--as-of", "2026-04-18T00:00:00Z"],
        *(["query", "SELECT * FROM events", "-f", form] for form in ("json", "ndjson", "csv", "markdown")),
        ["query", "SELECT * FROM events", "-f", "parquet", "-o", "events.parquet"],
        ["report", RUN],
        ["prove", event_id, "-o", "one.tlog-proof"],
        ["check", "one.tlog-proof", "--key", "KEY"],
        ["export", "tlog", "tlog"],
        ["compact"],
        ["erase", "--help"],
        ["witness", "--help"],
    ):
        key = _core_alone("key", "show", cwd=tmp_path).strip() if "KEY" in words else ""
        _core_alone(*[key if word == "KEY" else word for word in words], cwd=tmp_path)
