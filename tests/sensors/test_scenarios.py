"""The scenario table: whatever happens to a run, the ledger holds all of it and says what became of each item."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from holding import assert_holds, outcomes, rows, sync
from scenarios import SCENARIOS, Stage
from stores import StorageConfig

from run_evidence.ledger import Ledger

CASES = [
    pytest.param(name, store, id=f"{name}-{store}", marks=[pytest.mark.postgres] if store == "postgres" else [])
    for name, scenario in SCENARIOS.items()
    for store in scenario.stores
]


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, home: Path, storage_config: StorageConfig, tmp_path: Path
) -> Iterator[Stage]:
    """Open an instance on the kind of storage that the test's `store` names."""
    (home / "dagster.yaml").write_text(storage_config(request.getfixturevalue("store"), tmp_path))
    folder = tmp_path / "stage"
    folder.mkdir()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Stage(instance, folder)


@pytest.mark.parametrize(("name", "store"), CASES)
def test_a_run_is_captured_whole_and_every_item_has_its_outcome(
    stage: Stage, ledger: Ledger, name: str, store: str
) -> None:
    """Records in the ledger = Dagster's; each planned item has exactly the outcome it should; twice is once."""
    expected = SCENARIOS[name].play(stage)
    done = sync(stage.instance, ledger)
    assert done.unreadable == 0
    assert done.troubled == ()
    assert done.open_runs == ()
    assert_holds(stage.instance, ledger)
    for run_id, items in expected.items():
        assert outcomes(ledger, run_id) == items
    before = rows(ledger, "SELECT count(*) FROM events")
    again = sync(stage.instance, ledger)
    assert (again.appended, again.unchanged) == (0, again.runs)
    assert rows(ledger, "SELECT count(*) FROM events") == before
