"""What is shipped: the three rooms a user installs, with everything they read at run time, and nothing else."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_wheel_has_the_three_rooms_and_not_the_example_project() -> None:
    """`pipelines` is this repository's own project; shipped, it could shadow a user's package of that name."""
    top = {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert top == {"ledger", "sensors", "evidence"}


@pytest.mark.parametrize("room", ["ledger", "sensors", "evidence"])
def test_every_package_and_every_file_read_at_run_time_is_in_the_wheel(room: str) -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    packages = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / room).rglob("__init__.py")}
    assert packages <= listed
    patterns = PROJECT["tool"]["setuptools"]["package-data"][room]
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


def test_the_rooms_load_where_dagster_is_not_installed() -> None:
    """An auditor reads, verifies and queries a ledger without the orchestrator."""
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'dagster', 'dagster_shared'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import ledger, ledger.snapshot, ledger.verify, ledger.query, evidence.files, sensors, sensors.translate\n"
        "from ledger.cli import app\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
