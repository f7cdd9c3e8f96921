"""`python -m checker FOLDER` builds the wheel of `run-evidence-check` into a folder."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import run_evidence.ledger as face

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "run_evidence_check"
STARTS: Final = ("checker.main",)

_INIT = '''"""Check what a run-evidence ledger proves, with nothing but a key: no ledger, no network."""

from run_evidence_check.evidence.acceptance import Accepted, accept
from run_evidence_check.evidence.refusal import Refused

__all__ = ["Accepted", "Refused", "accept"]
'''
_PROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "run-evidence-check"
version = "{version}"
description = "Check the proofs of a run-evidence ledger, and accept its hand-overs, with nothing but a key."
requires-python = "{python}"
license = "Apache-2.0"
license-files = ["LICENSE"]
dependencies = ["{cryptography}"]

[project.scripts]
ledger-check = "run_evidence_check.main:main"

[tool.setuptools.packages.find]
include = ["run_evidence_check*"]

[tool.setuptools.package-data]
run_evidence_check = ["py.typed"]
"""


def needed() -> dict[str, Path]:
    """Return what the command needs of our own modules, by their names without `run_evidence.`, packages included.

    What a module imports inside a function is not followed: that is what only a ledger needs.
    """
    found: dict[str, Path] = {}
    waiting = list(STARTS)
    while waiting:
        name = waiting.pop()
        if name in found or name not in _sources():
            continue
        found[name] = _sources()[name]
        waiting += [name.rpartition(".")[0], *_imports(found[name])]
    return found


def _sources() -> dict[str, Path]:
    rooms = ("ledger", "evidence", "checker")
    paths = [path.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("*.py")]
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): ROOT / path for path in paths}


def _imports(path: Path) -> Iterator[str]:
    """Yield the modules of ours that a module imports when it is loaded; of the ledger's face those behind it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("run_evidence."):
            module = str(node.module).removeprefix("run_evidence.")
            yield module
            for alias in node.names:
                yield f"{module}.{alias.name}"
                if module == "ledger":
                    yield f"ledger.{face._MODULE_OF.get(alias.name, alias.name)}"


def write_sources(folder: Path) -> None:
    """Write the second distribution's source tree: the same modules, under the package's own name."""
    for name, path in needed().items():
        if name == "checker":
            continue
        place = folder / PACKAGE / ("main.py" if name == "checker.main" else path.relative_to(ROOT))
        place.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        place.write_text(re.sub(r"\brun_evidence\.(?=ledger|evidence)", f"{PACKAGE}.", text), encoding="utf-8")
    (folder / PACKAGE / "__init__.py").write_text(_INIT, encoding="utf-8")
    (folder / PACKAGE / "py.typed").write_text("")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (cryptography,) = [each for each in project["dependencies"] if each.startswith("cryptography")]
    about = {"version": project["version"], "python": project["requires-python"], "cryptography": cryptography}
    (folder / "pyproject.toml").write_text(_PROJECT.format(**about), encoding="utf-8")
    (folder / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())


def build(out: Path) -> None:
    """Build the wheel into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        write_sources(Path(scratch))
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
        subprocess.run([sys.executable, "-m", "pip", "wheel", *options, scratch], check=True)  # noqa: S603


if __name__ == "__main__":
    build(Path(sys.argv[1]))
