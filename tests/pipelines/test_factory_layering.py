"""Which room of the factory may know which; plain modules work where Dagster is not installed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pipelines

FOLDER = Path(pipelines.__file__).parent
# A room knows those to its left; the modules above the rooms know all of them, and resources the first two. Below
# them lies what a manifest and a ticket are.
ROOMS = ("ingestion", "neighbours", "data_factory", "consumers")
CONTRACTS = {"contract", "manifests", "partitions", "strict_json", "tickets"}
WRAPS = {
    *("ingestion.assets", "ingestion.failures", "pages", "recovery", "resources", "definitions"),
    *("consumers.assets", "data_factory.assets", "data_factory.checks", "data_factory.reporting"),
    "data_factory.recovery_runs",
}
TOP = {"definitions", "demo", "pages", "reconcile", "recovery"}


def _modules() -> dict[str, Path]:
    found = {}
    for path in FOLDER.rglob("*.py"):
        found[".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")] = path
    return {name: path for name, path in found.items() if name != "__init__"}


MODULES = _modules()


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _ours(path: Path) -> set[str]:
    return {name.removeprefix("pipelines.") for name in _imports(path)} & MODULES.keys()


def test_a_room_knows_only_what_lies_below_it() -> None:
    """Ingest is Week03's and works without Week06, which works without the consumer."""
    for name, path in MODULES.items():
        room = name.split(".")[0]
        if room in ROOMS:
            above = set(ROOMS[ROOMS.index(room) + 1 :])
            assert not {known for known in _ours(path) if known.split(".")[0] in above}, name
            assert not _ours(path) & TOP, name
    assert {name.split(".")[0] for name in _ours(MODULES["resources"]) - CONTRACTS} <= {"ingestion", "neighbours"}
    observers = {known for name in MODULES if name.startswith("data_factory") for known in _ours(MODULES[name])}
    builders = {name for name in MODULES if name.startswith("neighbours")}
    assert not observers & builders, "what builds the neighbours and what observes them share files alone"
    assert all(_ours(MODULES[name]) <= CONTRACTS for name in CONTRACTS)


@pytest.mark.parametrize("name", sorted(MODULES.keys() - WRAPS - {"demo"}))
def test_plain_modules_import_neither_dagster_nor_a_wrap(name: str) -> None:
    """Logic that can be called without an asset can be tested without one."""
    imported = {module.split(".")[0] for module in _imports(MODULES[name])}
    assert "dagster" not in imported
    assert not any(module.startswith("run_evidence.sensors") for module in _imports(MODULES[name]))
    assert not _ours(MODULES[name]) & WRAPS


def test_only_the_edge_reads_the_environment() -> None:
    """Configuration comes in through resources."""
    readers = {name for name, path in MODULES.items() if "os.environ" in path.read_text(encoding="utf-8")}
    assert readers == {"definitions", "demo", "ingestion.command"}
