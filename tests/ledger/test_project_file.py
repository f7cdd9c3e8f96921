"""A project says which ledger it has, and every folder inside it knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from run_evidence.evidence.profile_choice import find_profile
from run_evidence.ledger import Ledger, UsageError
from run_evidence.ledger.project_file import find_project
from run_evidence.ledger.settings import resolve_ledger
from run_evidence.ledger.storage.files import is_own
from tests.here import ledger_here
from tests.ledger.samples import records

PROFILE = """
from run_evidence.evidence import DeliveryProfile
ORDERS = DeliveryProfile(
    name="orders", title="Orders", contract="o_v1", product="shop/o", key_prefix="shop/", proceed="go_on"
)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project's folder; the current one is deep inside it."""
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    for name in ("LEDGER_URL", "LEDGER_PROFILE", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "project"


@pytest.mark.parametrize("name", [".ledger.toml", "pyproject.toml"])
def test_a_ledger_is_found_from_any_folder_of_its_project(project: Path, name: str) -> None:
    table = "" if name == ".ledger.toml" else "[tool.ledger]\n"
    (project / name).write_text(f'{table}ledger = "data/ledger"\npolicy = "policy.toml"\n')
    ledger = Ledger(project / "data" / "ledger")
    ledger.append(records(range(3)))
    ledger.seal()
    assert resolve_ledger(None) == ledger.root
    assert find_project(Path.cwd()).policy == project / "policy.toml"
    done = ledger_here("query", "SELECT count(*) AS n FROM events", "-f", "csv")
    assert done.stdout.split() == ["n", "3"]


def test_what_is_said_more_clearly_goes_before_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".ledger.toml").write_text('ledger = "one"')
    monkeypatch.setenv("DAGSTER_HOME", "/home/dagster")
    assert resolve_ledger(None) == project / "one"
    monkeypatch.setenv("LEDGER_URL", "/two")
    assert resolve_ledger(None) == Path("/two")
    assert resolve_ledger("/three") == Path("/three")


def test_the_nearest_file_counts_and_others_are_not_asked(project: Path) -> None:
    (project / ".ledger.toml").write_text("this is no TOML")
    (project / "a" / "pyproject.toml").write_text('[tool.ledger]\nledger = "near"')
    (project / "a" / "b" / "pyproject.toml").write_text("[tool.ruff]\n")
    assert resolve_ledger(None) == project / "a" / "near"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("ledger = ", "is not TOML"),
        ("ledgers = 'x'", "'ledgers', which is no setting"),
        ("ledger = 7", "ledger is no text"),
        ("ledger = ''", "ledger is no text"),
        ("\ufeffledger = 'x'\x00", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_named(project: Path, content: str, problem: str) -> None:
    (project / ".ledger.toml").write_text(content)
    with pytest.raises(UsageError, match=problem) as caught:
        resolve_ledger(None)
    assert str(project / ".ledger.toml") in str(caught.value)
    done = ledger_here("runs")
    assert (done.returncode, "next:" in done.stderr) == (2, True)
    assert resolve_ledger("/named") == Path("/named")


def test_without_a_file_nothing_changes(project: Path) -> None:
    assert resolve_ledger(None) == Path.cwd() / ".ledger"
    assert find_profile(None, {}) is None


def test_a_profile_is_imported_from_the_project_s_folder(project: Path) -> None:
    (project / "shop_of_the_test.py").write_text(PROFILE)
    (project / ".ledger.toml").write_text('profile = "shop_of_the_test:ORDERS"')
    profile = find_profile(None, {})
    assert profile is not None
    assert profile.product == "shop/o"


def test_code_that_another_user_names_is_not_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was unpacked from somewhere must not say what is imported."""
    (project / "evil_of_the_test.py").write_text("raise SystemExit('it was run')")
    (project / ".ledger.toml").write_text('profile = "evil_of_the_test:ORDERS"')
    monkeypatch.setattr("run_evidence.ledger.project_file.is_own", lambda _: False)
    with pytest.raises(UsageError, match="another user's file"):
        find_profile(None, {})


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_is_own_or_the_administrator_s(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert is_own(tmp_path / "a")
    os.chown(tmp_path / "a", 54_321, -1)
    assert not is_own(tmp_path / "a")
