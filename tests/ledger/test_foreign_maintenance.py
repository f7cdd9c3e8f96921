"""Another tool's maintenance of the log's Delta table: nothing is lost, it is named, and there is a way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger
from run_evidence.ledger.admin.status import diagnose
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing.compact import compact
from run_evidence.ledger.storage.commit import CommitLostError, commit_exchange
from run_evidence.ledger.verification.sample import verify_sample
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import Clock, records
from tests.paths import paths

Tool = Callable[[DeltaTable], object]

HARMLESS: dict[str, Tool] = {
    "checkpoint": lambda table: table.create_checkpoint(),
    "cleanup of metadata": lambda table: table.cleanup_metadata(),
    "vacuum": lambda table: table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False),
}
REWRITING: dict[str, Tool] = {
    "optimize": lambda table: table.optimize.compact(),
    "optimize into small files": lambda table: table.optimize.compact(target_size=20_000),
    "z order": lambda table: table.optimize.z_order(["run_id", "event_type"]),
}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a ledger of several segments."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    for start in range(0, 60, 12):
        ledger.append(records(range(start, start + 12)))
        ledger.seal()
    return ledger


def entries(ledger: Ledger) -> list[bytes]:
    with open_snapshot(ledger, views=("entries",)) as snapshot:
        return [row[0] for row in snapshot.rows("SELECT entry FROM entries ORDER BY index")]


@pytest.mark.parametrize("tool", HARMLESS)
def test_what_changes_no_file_changes_nothing(ledger: Ledger, tool: str) -> None:
    before = entries(ledger)
    HARMLESS[tool](DeltaTable(paths(ledger).log))
    assert entries(ledger) == before
    ledger.append(records([100]))
    assert ledger.seal().size == 61
    assert verify(ledger).ok
    assert all(each.level != "problem" for each in diagnose(ledger))


@pytest.mark.soak
@pytest.mark.parametrize("vacuumed", [False, True])
@pytest.mark.parametrize("tool", REWRITING)
def test_rewritten_files_are_named_and_taken_back(ledger: Ledger, tool: str, vacuumed: bool) -> None:
    """No word of an alteration; everything that stumbles names the way back, and the log is the same afterwards."""
    before, root = entries(ledger), verify(ledger).root
    REWRITING[tool](DeltaTable(paths(ledger).log))
    if vacuumed:
        HARMLESS["vacuum"](DeltaTable(paths(ledger).log))
    result = verify(ledger)
    assert not result.ok
    assert not result.altered
    assert not verify_sample(ledger, 5).ok
    ledger.append(records([100]))
    with pytest.raises((EnvironmentFault, IntegrityError)) as caught:
        ledger.seal()
    assert "ledger compact" in str(caught.value.next_step)
    (problem,) = [each for each in diagnose(ledger) if each.level == "problem"]
    assert "ledger compact" in str(problem.next_step)
    done = compact(ledger.store, ledger.require())
    assert done.taken_back >= 1
    assert all(each.level != "problem" for each in diagnose(ledger))
    assert verify(ledger).root == root
    assert ledger.seal().size == 61
    assert entries(ledger)[:60] == before
    assert verify(ledger).ok
    assert compact(ledger.store, ledger.require()).taken_back == 0


def test_segments_that_came_after_are_kept(ledger: Ledger) -> None:
    """Some files foreign, some our own behind them: only the foreign ones are written again."""
    REWRITING["optimize"](DeltaTable(paths(ledger).log))
    compact(ledger.store, ledger.require())
    for start in (100, 110):
        ledger.append(records(range(start, start + 5)))
        ledger.seal()
    REWRITING["optimize"](DeltaTable(paths(ledger).log))
    compact(ledger.store, ledger.require(), target_rows=8)
    assert verify(ledger).ok
    assert ledger.log().size == 70


def test_entries_that_were_changed_are_not_taken_back(ledger: Ledger) -> None:
    """What agrees with no checkpoint stays out of use, and nothing is written."""
    import pyarrow.parquet as pq

    REWRITING["optimize"](DeltaTable(paths(ledger).log))
    (name,) = DeltaTable(paths(ledger).log).get_add_actions(flatten=True).column("path").to_pylist()
    path = paths(ledger).log / name
    rows = pq.read_table(path)
    changed = [entry.replace(b"step_0", b"step_9") for entry in rows.column("entry").to_pylist()]
    assert changed != rows.column("entry").to_pylist()
    place = rows.schema.get_field_index("entry")
    pq.write_table(rows.set_column(place, rows.schema.field("entry"), [changed]), path)
    before = sorted(p.name for p in paths(ledger).log.iterdir())
    with pytest.raises(IntegrityError):
        compact(ledger.store, ledger.require())
    assert sorted(p.name for p in paths(ledger).log.iterdir()) == before


@pytest.mark.parametrize(
    ("error", "kept"), [(CommitLostError(), False), (OSError(28, "No space left"), True)], ids=["lost", "not known"]
)
def test_segments_that_may_be_committed_are_kept(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, error: Exception, kept: bool
) -> None:
    """An error after the commit takes nothing that the log names; a commit that was lost leaves nothing behind."""
    before = entries(ledger)
    REWRITING["optimize"](DeltaTable(paths(ledger).log))
    files = set(paths(ledger).log.glob("*.parquet"))

    def commit_then_fail(*arguments: Any) -> None:
        if kept:
            commit_exchange(*arguments)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("run_evidence.ledger.sealing.take_back.commit_exchange", commit_then_fail)
        with pytest.raises((EnvironmentFault, OSError)):
            compact(ledger.store, ledger.require())
    assert (set(paths(ledger).log.glob("*.parquet")) > files) == kept
    compact(ledger.store, ledger.require())
    assert entries(ledger) == before
    assert verify(ledger).ok
