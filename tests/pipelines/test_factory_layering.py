"""The factory's plain modules work where Dagster is not installed; only the wraps know it."""

from __future__ import annotations

import ast
from pathlib import Path

import pipelines

WRAPS = {"assets", "checks", "definitions", "failures", "reporting", "resources"}
FOLDER = Path(pipelines.__file__).parent


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


PLAIN = (
    *("databases", "delivery", "external_state", "gate", "ingest", "inputs", "manifests", "partitions", "quality"),
    *("recovery", "samples", "tickets", "warehouse"),
)


def test_plain_modules_import_neither_dagster_nor_a_wrap() -> None:
    """Logic that can be called without an asset can be tested without one."""
    for name in PLAIN:
        imported = _imports(FOLDER / f"{name}.py")
        assert not {module for module in imported if module.split(".")[0] in {"dagster", "sensors"}}, name
        assert not imported & {f"pipelines.{wrap}" for wrap in WRAPS}, name


def test_only_the_edge_reads_the_environment() -> None:
    """Configuration comes in through resources."""
    readers = {path.stem for path in FOLDER.glob("*.py") if "os.environ" in path.read_text(encoding="utf-8")}
    assert "definitions" in readers
    assert not readers & {*PLAIN, "assets", "checks", "failures"}
