"""The lower bounds of pyproject.toml as pip constraints, and the tests that hold at them (`make test-bounds`)."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    "tests/ledger/test_compaction.py",
    "tests/ledger/test_snapshot_views.py",
    "tests/ledger/test_verify_tampering.py",
    "tests/trust/test_proof_files.py",
    "tests/sensors/test_attach_shapes.py",
    "tests/sensors/test_scenarios.py",
    "tests/sensors/test_several_ends.py",
    "tests/sensors/test_translate.py",
    "tests/sensors/test_verdicts_shown.py",
)
"""What touches a dependency's edge: segments and footers, SQL, keys, and every call made of Dagster."""


def bounds() -> list[str]:
    """Return `name==bound` for each dependency of the core and of capture."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dagster"]]
    return [re.sub(r"(\[.*\])?>=([0-9.]+).*", r"==\2", requirement) for requirement in declared]


if __name__ == "__main__":
    print("\n".join(TESTS if "--tests" in sys.argv else bounds()))
