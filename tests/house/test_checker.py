"""What checks a proof or a hand-over needs `cryptography` alone, and can be installed so."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from checker.__main__ import build, needed, write_sources
from pipelines.delivery import WEEK06
from run_evidence.evidence import hand_over
from tests.evidence.evidence_runs import DAY, good_run
from tests.handover.damages import GOOD
from tests.trust.ledgers import VKEY, signed_ledger

ROOT = Path(__file__).parents[2]
ALONE = """
import sys
allowed = {*sys.stdlib_module_names, "cryptography", "cffi", "_cffi_backend", "_openssl", sys.argv.pop(1)}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


Done = subprocess.CompletedProcess[str]


def alone(code: str, *words: str, ours: str = "run_evidence", path: Path = ROOT) -> Done:
    """Run Python where nothing can be imported but the standard library, `cryptography` and our own."""
    command = [sys.executable, "-c", f"{ALONE}\nsys.path.insert(0, {str(path)!r})\n{code}", ours, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handover")
    ledger = signed_ledger(folder / "ledger", [7])
    ledger.append(good_run(GOOD).events)
    hand_over(ledger, WEEK06, DAY, folder / "out")
    return folder / "out"


def test_python_accepts_and_checks_where_nothing_else_is_installed(handed_over: Path) -> None:
    code = """
from pathlib import Path
from run_evidence.evidence import accept
from run_evidence.ledger import check_proof, parse_proof, read_trust
folder, key = Path(sys.argv[1]), sys.argv[2]
proof = parse_proof((folder / "handover.proof").read_bytes())
print(len(check_proof(proof, read_trust([key], []), (folder / "index.json").read_bytes()).entries))
print(accept(folder, key, memory=folder.parent / "memory").decision)
"""
    done = alone(code, str(handed_over), VKEY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["proceed_to_week07"]


@pytest.mark.soak
def test_the_second_distribution_runs_where_nothing_else_is_installed(handed_over: Path, tmp_path: Path) -> None:
    """From its own sources, under its own name: a hand-over, a proof, and one that does not hold."""
    write_sources(tmp_path)
    code = "from run_evidence_check.main import main\nsys.exit(main())"

    def run(*words: str) -> Done:
        return alone(code, *words, ours="run_evidence_check", path=tmp_path)

    folder = shutil.copytree(handed_over, tmp_path / "handover")
    memory = ("--memory", str(tmp_path / "memory"))
    done = run("accept", str(folder), "--key", VKEY, "--partition", DAY, *memory)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("proceed_to_week07: ")
    done = run("accept", str(folder), "--key", VKEY, "--require", "another", "--json", *memory)
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (1, False)
    proof = (str(folder / "handover.proof"), str(folder / "index.json"))
    done = run("check", *proof, "--key", VKEY)
    assert done.returncode == 0, done.stderr
    assert f"signed by {VKEY}" in done.stdout
    assert json.loads(run("check", *proof, "--key", VKEY, "--json").stdout)["ok"]
    assert run("check", *proof, "--checkpoint", str(folder / "checkpoint")).returncode == 0
    assert run("check", *proof).returncode == 2
    assert run("check", "nowhere", "--key", VKEY).returncode == 4
    evidence = folder / "evidence.json"
    evidence.write_text(evidence.read_text().replace("119", "120"))
    done = run("accept", str(folder), "--key", VKEY, *memory)
    assert done.returncode == 3
    assert "evidence.json $.checks[0].metadata.rows" in done.stderr


@pytest.mark.soak
def test_the_second_distribution_holds_what_it_needs_and_no_more() -> None:
    """No part that writes, seals, queries or captures; a new import of something heavy is seen here."""
    rooms = {".".join(name.split(".")[:2]) for name in needed()}
    assert rooms <= {
        *("", "checker", "checker.main", "evidence", "ledger"),
        *("evidence.acceptance", "evidence.accepted_memory", "evidence.handover_form", "evidence.profile"),
        *("evidence.refusal", "ledger.errors", "ledger.model", "ledger.project_file", "ledger.proving"),
        *("ledger.settings", "ledger.storage", "ledger.terminal", "ledger.tlog"),
    }
    assert {name for name in needed() if name.startswith("ledger.storage.")} == {
        *("ledger.storage.checkpoints", "ledger.storage.files", "ledger.storage.layout", "ledger.storage.store"),
    }


@pytest.mark.soak
def test_its_wheel_is_installed_with_cryptography_alone(handed_over: Path, tmp_path: Path) -> None:
    """Into an environment that has nothing else, beside nothing of ours."""
    build(tmp_path / "dist")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name.partition("/")[0].partition("-")[0] for name in archive.namelist()} == {"run_evidence_check"}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    options = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *options], check=True)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for name in ("cryptography", "cffi", "pycparser"):
        for file in importlib.metadata.files(name) or ():
            if file.parts[0] != "..":
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), packages / file)
    words = ["accept", str(handed_over), "--key", VKEY, "--no-memory"]
    done = subprocess.run([python.with_name("ledger-check"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("proceed_to_week07: ")
    code = f"from run_evidence_check import accept; print(accept({str(handed_over)!r}, {VKEY!r}).decision)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "proceed_to_week07\n", done.stderr
