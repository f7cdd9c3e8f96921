"""The scenario table: whatever happens to a run, the ledger holds all of it and says what became of each item."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from holding import assert_holds, outcomes_by_run, rows, sync
from scenarios import SCENARIOS, Stage
from stores import StorageConfig

from run_evidence.ledger import Ledger


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_runs_are_captured_whole_and_every_item_has_its_outcome(
    home: Path, storage_config: StorageConfig, ledger: Ledger, tmp_path: Path, store: str
) -> None:
    """Records in the ledger = Dagster's; each planned item has exactly the outcome it should; twice is once."""
    (home / "dagster.yaml").write_text(storage_config(store, tmp_path))
    expected: dict[str, dict[str, str]] = {}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name, scenario in SCENARIOS.items():
            if store in scenario.stores:
                folder = tmp_path / name
                folder.mkdir()
                expected |= {
                    run_id: dict(items) for run_id, items in scenario.play(Stage(instance, folder)).items()
                }
        done = sync(instance, ledger)
        assert (done.unreadable, done.troubled, done.open_runs) == (0, (), ())
        assert_holds(instance, ledger)
        assert outcomes_by_run(ledger) == {run_id: items for run_id, items in expected.items() if items}
        before = rows(ledger, "SELECT count(*) FROM events")
        again = sync(instance, ledger)
        assert (again.appended, again.unchanged) == (0, again.runs)
        assert rows(ledger, "SELECT count(*) FROM events") == before
