"""The wheel as a user has it: built, installed, and attached in a project that has folders named like ours."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
ROOMS = ("ledger", "sensors", "evidence")

PROJECT = {
    "definitions.py": """
import dagster as dg
from run_evidence.sensors import with_ledger

import evidence.of_ours
import ledger
import pipelines
import sensors
import tests


@dg.asset
def orders():
    return [evidence.of_ours.NAME, ledger.NAME, pipelines.NAME, sensors.NAME, tests.NAME]


defs = with_ledger(dg.Definitions(assets=[orders], jobs=[dg.define_asset_job("daily")], sensors=[sensors.nightly]))
""",
    "sensors.py": """
import dagster as dg

NAME = "our sensors"


@dg.sensor(job_name="daily")
def nightly():
    return dg.SkipReason("not tonight")
""",
    "ledger.py": 'NAME = "our ledger"\n',
    "evidence/__init__.py": "",
    "evidence/of_ours.py": 'NAME = "our evidence"\n',
    "pipelines/__init__.py": 'NAME = "our pipelines"\n',
    "tests/__init__.py": 'NAME = "our tests"\n',
}


def _files() -> list[str]:
    """Return every file of the rooms, by its path from the checkout's root."""
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*.*") if "__pycache__" not in path.parts)
    return [path.relative_to(ROOT).as_posix() for path in found if path.is_file()]


def _run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and the wheel from what is in it."""
    folder = tmp_path_factory.mktemp("wheel")
    backend = "from setuptools import build_meta; print(build_meta.build_sdist({!r}))"
    built = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", *_files()):  # a build writes beside its sources
        (built / name).parent.mkdir(parents=True, exist_ok=True)
        (built / name).write_bytes((ROOT / name).read_bytes())
    sdist = _run(sys.executable, "-c", backend.format(str(folder)), cwd=built).splitlines()[-1]
    with tarfile.open(folder / sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    _run(sys.executable, "-m", "pip", "wheel", *options, unpacked, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_one_name_at_its_top_and_every_file_of_the_rooms(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {f"run_evidence/{name}" for name in _files()}


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own, over the dependencies that are installed here."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    packages = Path(
        _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    # A path in a .pth file is searched, but its own .pth files are not: this checkout is not installed there.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    _run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    return python


def test_a_project_with_our_folders_names_is_captured(python: Path, tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text)
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environment = {"DAGSTER_HOME": str(home), "HOME": str(tmp_path), "PYTHONPATH": "", "LEDGER_URL": ""}
    _run(python, "-m", "dagster", "job", "execute", "-m", "definitions", "-j", "daily", cwd=project, **environment)
    command = python.with_name("ledger")
    _run(command, "sync", "--grace", "0", cwd=project, **environment)
    sql = "SELECT asset_key, verdict FROM outcomes"
    rows = json.loads(_run(command, "query", sql, "-f", "json", cwd=project, **environment))
    assert rows == [{"asset_key": "orders", "verdict": "passed"}]
    where = _run(python, "-c", "import run_evidence.ledger as it; print(it.__file__)", cwd=project, **environment)
    assert Path(where.strip()).is_relative_to(python.parents[1]), "not what this checkout has installed"


@pytest.mark.parametrize("room", ROOMS)
def test_a_file_that_is_added_is_seen_without_installing_again(room: str) -> None:
    """The editable installation maps folders, not files; a room's modules are looked for in the folder itself."""
    assert list(importlib.import_module(f"run_evidence.{room}").__path__) == [str(ROOT / room)]
