"""`ledger reconcile` and `ledger prunable`: the ledger against Dagster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest
from history import change_record, copy_runs, move_history, write_materialization
from holding import rows, sync
from scenarios import METADATA, first, second
from stores import storage_yaml

from run_evidence.ledger import Ledger, NotALedgerError
from run_evidence.ledger.cli import main
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.prunable import prunable
from run_evidence.sensors.reconcile import reconcile
from tests.paths import paths


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return orjson.loads(self.out)


Ask = Callable[..., Said]


@pytest.fixture
def ask(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run the command line on the test's ledger and instance."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ledger", "--ledger", str(ledger.root), *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def run_id(instance: dg.DagsterInstance) -> str:
    return dg.materialize([first, second], instance=instance).run_id


def test_a_ledger_that_holds_everything_agrees(instance: dg.DagsterInstance, ledger: Ledger, run_id: str) -> None:
    """Nothing differs; runs that are closed and unchanged are not compared again, unless asked for."""
    instance.report_runless_asset_event(dg.AssetMaterialization("outside"))
    sync(instance, ledger)
    done = reconcile(instance, ledger)
    assert done.whole
    assert done.differing == ()
    assert (done.runs, done.unchanged, done.compared) == (1, 1, 0)
    assert done.records == len(rows(ledger, "SELECT 1 FROM events WHERE storage_id IS NOT NULL"))
    full = reconcile(instance, ledger, full=True)
    assert (full.whole, full.unchanged, full.compared) == (True, 0, 1)


def test_without_a_ledger_there_is_nothing_to_compare(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """An absent ledger is an error, not an empty one in which everything is missing."""
    with pytest.raises(NotALedgerError):
        reconcile(instance, ledger)


def test_missing_records_are_named(instance: dg.DagsterInstance, ledger: Ledger, run_id: str, ask: Ask) -> None:
    """A run that ended and was not captured is missing, record by record; exit code 3."""
    sync(instance, ledger)
    other = dg.materialize([first], instance=instance).run_id
    write_materialization(instance, run_id, "late", "first")
    said = ask("reconcile", "--json")
    assert said.code == 3
    differing = {run["run_id"]: run for run in said.json["differing"]}
    last = instance.get_records_for_run(run_id).records[-1].storage_id
    assert differing[run_id]["missing"] == [last]
    assert len(differing[other]["missing"]) == said.json["missing"] - 1 > 10
    sync(instance, ledger)
    again = ask("reconcile", "--json")
    assert (again.code, again.json["whole"], again.json["late"]) == (0, True, 1)


def test_a_run_that_goes_on_is_behind_and_not_missing(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """What a running run recorded since the last sync is no fault of the ledger."""
    sync(instance, ledger)
    run = instance.create_run_for_job(dg.Definitions(assets=[first]).resolve_implicit_global_asset_job_def())
    done = reconcile(instance, ledger)
    assert done.whole
    assert [(each.run_id, each.behind) for each in done.differing] == [(run.run_id, 1)]


def test_a_changed_record_is_named_and_fails(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str, ask: Ask
) -> None:
    """The same id with other content: exit code 3, also when the run looks unchanged and all are compared."""
    sync(instance, ledger)
    change_record(instance, run_id, 1, "intends", "INTENDS")
    assert reconcile(instance, ledger).unchanged == 1
    said = ask("reconcile", "--full")
    assert said.code == 3
    assert "1 changed" in said.out
    assert run_id in said.out
    assert "ledger sync" in said.err


def test_a_deleted_run_is_only_in_the_ledger(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str, ask: Ask
) -> None:
    """Deleted at the source is reported, and is no failure: that is what the ledger is for."""
    sync(instance, ledger)
    instance.delete_run(run_id)
    said = ask("reconcile")
    assert said.code == 0
    assert "1 run deleted at the source" in said.out
    (deleted,) = reconcile(instance, ledger).differing
    assert (deleted.deleted, deleted.job_name, deleted.held > 10) == (True, "__ephemeral_asset_job__", True)


def test_an_emptied_log_is_extra_in_the_ledger(instance: dg.DagsterInstance, ledger: Ledger, run_id: str) -> None:
    """Records that Dagster no longer has of a run it still has are extra, and nothing is missing."""
    sync(instance, ledger)
    instance.event_log_storage.delete_events(run_id)
    done = reconcile(instance, ledger)
    assert done.whole
    assert done.extra == len(rows(ledger, "SELECT 1 FROM events WHERE storage_id IS NOT NULL"))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(storage_yaml("sqlite-consolidated", folder, lambda: ""))
    with dg.DagsterInstance.from_config(str(folder)) as opened:
        yield opened


def test_another_store_is_not_a_deletion(
    instance: dg.DagsterInstance, other: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """A ledger of two stores: seen from one, the runs of the other are elsewhere; a moved history agrees."""
    sync(instance, ledger)
    dg.materialize([second], instance=other)
    sync(other, ledger)
    seen = reconcile(other, ledger)
    assert (seen.whole, seen.deleted, seen.elsewhere) == (True, 0, 1)
    move_history(instance, other)
    moved = reconcile(other, ledger, full=True)
    assert (moved.whole, moved.deleted, moved.elsewhere) == (True, 0, 0)


def test_only_runs_that_the_ledger_holds_whole_are_prunable(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str, ask: Ask
) -> None:
    """Closed, unchanged, sealed and old enough; after their deletion nothing is missing."""
    copies = copy_runs(instance, run_id, 3)
    sync(instance, ledger)
    assert ask("prunable", "--older-than", "1d").out == ""
    assert sorted(ask("prunable", "--older-than", "0m").out.split()) == sorted([run_id, *copies])
    write_materialization(instance, copies[0], "late", "first")  # gained a record since
    change_record(instance, copies[1], 1, "intends", "INTENDS")  # reads differently now
    said = ask("prunable", "--older-than", "0m", "--json")
    assert sorted([run["run_id"] for run in said.json]) == sorted([run_id, copies[2]])
    for run in said.json:
        instance.delete_run(run["run_id"])
    change_record(instance, copies[1], 1, "INTENDS", "intends")
    sync(instance, ledger)
    assert ask("reconcile", "--full").code == 0


def test_a_run_that_is_not_sealed_or_not_closed_is_not_prunable(
    instance: dg.DagsterInstance, ledger: Ledger, run_id: str
) -> None:
    """What waits in the inbox is durable but unproven; what is open may still get records."""
    now = time.time_ns() // 1_000
    capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0))
    assert list(prunable(instance, ledger, now)) == []
    ledger.seal()
    assert [run.run_id for run in prunable(instance, ledger, now)] == [run_id]
    going_on = dg.materialize([first], instance=instance).run_id
    sync(instance, ledger, grace_seconds=3_600)
    assert going_on not in [run.run_id for run in prunable(instance, ledger, now + 3_600_000_000)]


def test_a_run_whose_payload_is_gone_is_not_prunable(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """A large payload is a file of its own; without it the ledger does not hold the run whole."""

    @dg.asset
    def annotated() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata=METADATA)

    run_id = dg.materialize([annotated], instance=instance).run_id
    sync(instance, ledger)
    now = time.time_ns() // 1_000
    assert [run.run_id for run in prunable(instance, ledger, now)] == [run_id]
    next(path for path in paths(ledger).blobs.rglob("*") if path.is_file()).unlink()
    assert list(prunable(instance, ledger, now)) == []


def test_the_commands_name_what_is_wrong(ask: Ask, tmp_path: Path) -> None:
    """An age that is none is wrong usage, a folder that is none the environment, an absent ledger too."""
    assert ask("prunable", "--older-than", "soon").code == 2
    assert ask("sync", "--since", "0x5d").code == 2
    assert ask("sync", "--grace", "nan").code == 2
    assert ask("reconcile", "--dagster-home", str(tmp_path / "nowhere")).code == 4
    said = ask("reconcile")
    assert said.code == 4
    assert "There is no ledger at" in said.err


def test_sync_from_the_command_line(instance: dg.DagsterInstance, run_id: str, ask: Ask) -> None:
    """All runs, one run, runs since a time; closed runs cost nothing the second time; an unknown run is wrong."""
    said = ask("sync", "--grace", "0", "--json")
    assert (said.code, said.json["runs"], said.json["open_runs"]) == (0, 1, [])
    assert ask("sync", "--grace", "0", "--json").json["unchanged"] == 1
    other = dg.materialize([first], instance=instance).run_id
    alone = ask("sync", "--run", other, "--grace", "0", "--release-id", "r7", "--json").json
    assert (alone["runs"], alone["open_runs"]) == (1, [])
    assert ask("sync", "--since", "2099-01-01", "--json").json["runs"] == 0
    assert ask("sync", "--since", "1h", "--json").json["runs"] == 2
    assert ask("sync", "--run", "no-such-run").code == 2
    told = ask("query", "SELECT DISTINCT release_id FROM events WHERE run_id = $run", "-p", f"run={other}")
    assert "r7" in told.out


def test_a_run_that_cannot_be_read_is_told(instance: dg.DagsterInstance, run_id: str, ask: Ask, home: Path) -> None:
    """One damaged log: the others are captured, the run is named, and the exit code says so."""
    copy = copy_runs(instance, run_id, 1)[0]
    (home / "history" / "runs" / f"{copy}.db").write_bytes(b"not a database" * 100)
    said = ask("sync", "--grace", "0")
    assert said.code == 4
    assert copy in said.err
    assert "cannot be read" in said.err
