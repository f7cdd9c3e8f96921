"""Declaration and result close when every row is followed and every gap named; what is not read is unknown."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipelines import reconcile
from pipelines.data_factory.inputs import judge_inputs
from pipelines.data_factory.reconciliation import (
    Reconciliation,
    check_reconciled,
    days_to_reconcile,
    reconcile_partition,
)
from pipelines.definitions import DATA_FACTORY_JOB, base_definitions
from pipelines.ingestion.databases import DuckDBFile, PostgresDatabase
from pipelines.ingestion.ticket_ingest import write_tickets
from pipelines.ingestion.ticket_reader import TicketReader, TicketReadError
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.manifests import SourceSettings
from run_evidence.ledger import InputError, Ledger
from run_evidence.sensors import with_ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Factory

    from pipelines.ingestion.databases import Database

DAY, NEXT = "2026-04-17", "2026-04-18"
STAMP = BatchStamp("run-1", None, datetime(2026, 4, 19, tzinfo=UTC))
LATER = {"status": "closed", "updated_at": "2026-04-17T12:00:00Z"}


def name(number: int, day: str = DAY) -> str:
    return f"TKT-{day.replace('-', '')}-{number:06d}"


@dataclass(frozen=True)
class Stage:
    """Two deliveries, the second with late rows, and a warehouse into which a day is ingested."""

    folder: Path
    warehouse: Warehouse

    @property
    def settings(self) -> SourceSettings:
        return SourceSettings(self.folder)

    def ingest(self, day: str = DAY) -> None:
        inputs = judge_inputs(self.settings, day)
        write_tickets(self.warehouse, TicketReader(inputs.sources, inputs.window), STAMP)

    def damage(self, *statements: str) -> None:
        with self.warehouse.database.writing() as run:
            for statement in statements:
                run(statement)

    def found(self, day: str = DAY) -> Reconciliation:
        return reconcile_partition(self.settings, self.warehouse, day)


def gaps(found: Reconciliation) -> dict[str, int]:
    return {gap.code: gap.count for gap in found.all_gaps}


def deliver_two_days(root: Path, deliver: Callable[..., Path], ticket: Callable[..., Any]) -> None:
    """Deliver a day with one of everything that explains a gap, and the next day with what came late."""
    own = [
        ticket(),
        ticket(**LATER),
        ticket(ticket_id=name(2)),
        ticket(ticket_id=name(2)),
        ticket(ticket_id=name(3), owner=None),
        ticket(ticket_id=name(4, "2026-04-16"), created_at="2026-04-16T10:00:00Z"),
    ]
    late = [
        ticket(ticket_id=name(5)),
        ticket(ticket_id=name(2), updated_at="2026-04-17T08:10:00Z"),  # older than its creation: never newest
        ticket(ticket_id=name(1, NEXT), created_at=f"{NEXT}T10:00:00Z"),
    ]
    deliver(root, DAY, own)
    deliver(root, NEXT, late)


@pytest.fixture
def stage(tmp_path: Path, database: Database, deliver: Callable[..., Path], ticket: Callable[..., Any]) -> Stage:
    stage = Stage(tmp_path / "deliveries", Warehouse(database))
    deliver_two_days(stage.folder, deliver, ticket)
    stage.ingest()
    return stage


@pytest.fixture
def plain(tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., Any]) -> Stage:
    """Give the same on DuckDB alone."""
    stage = Stage(tmp_path / "deliveries", Warehouse(DuckDBFile(tmp_path / "warehouse.duckdb")))
    deliver_two_days(stage.folder, deliver, ticket)
    stage.ingest()
    return stage


def test_every_gap_of_a_sound_partition_is_explained(stage: Stage) -> None:
    """Each step's number is what the step before it has, less what is named; on both databases."""
    assert days_to_reconcile(stage.settings, stage.warehouse) == ["2026-04-16", DAY, NEXT]
    found = stage.found()
    assert found.verdict == "closes", found.all_gaps
    own, late = found.sources
    assert (own.lines, own.valid, own.refused) == (6, 5, 1)
    assert (own.tickets, own.refused_here, own.quarantined) == (4, 1, 1)
    assert (own.events, own.bronze, own.silver) == (3, 3, 2)
    assert (late.late, late.tickets, late.events, late.bronze, late.silver) == (True, 2, 2, 2, 1)
    assert (found.bronze_count, found.silver_count) == (5, 3)
    assert gaps(found) == {"other_partition": 2, "refused": 1, "repeated": 1, "older_version": 2}
    refused = next(gap for gap in found.all_gaps if gap.code == "refused")
    assert refused.parts == {"owner:null": 1}
    assert next(gap for gap in found.all_gaps if gap.code == "other_partition").parts == {"2026-04-16": 1, NEXT: 1}


FIRST = f"ticket_id = '{name(1)}'"
FORGED = (
    "INSERT INTO raw_ticket_event (source_id, source_fingerprint, ticket_id, created_at, payload, ingest_batch_id) "
    f"VALUES ('s', 'f', '{name(9)}', '2026-04-17T10:00:00Z', '{{}}', 'batch-20260417-001')"
)
AN_EVENT = f"DELETE FROM raw_ticket_event WHERE ticket_id = '{name(5)}'"
ORPHAN = (
    "INSERT INTO customer_dim (customer_id) VALUES ('c'); "
    "INSERT INTO ticket_fact (ticket_id, customer_id, created_at) "
    f"VALUES ('{name(8)}', 'c', '2026-04-17T10:00:00Z')"
)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("damage", "codes"),
    [
        ([AN_EVENT], {"not_in_bronze", "silver_without_bronze"}),
        ([FORGED], {"bronze_without_source", "not_in_silver"}),
        ([AN_EVENT, FORGED], {"not_in_bronze", "silver_without_bronze", "bronze_without_source", "not_in_silver"}),
        (["DELETE FROM ticket_quarantine"], {"not_in_quarantine"}),
        ([f"DELETE FROM ticket_fact WHERE {FIRST}"], {"not_in_silver"}),
        ([f"UPDATE ticket_fact SET source_fingerprint = 'x' WHERE {FIRST}"], {"silver_not_newest"}),
        (ORPHAN.split("; "), {"silver_without_bronze"}),
    ],
)
def test_what_nothing_explains_is_named(plain: Stage, damage: list[str], codes: set[str]) -> None:
    """One too many does not make up for one that is missing; each finding is an error with a next step."""
    plain.damage(*damage)
    found = plain.found()
    assert found.verdict == "does_not_close"
    assert {gap.code for gap in found.unexplained} == codes == set(found.reason_codes)
    finding = check_reconciled(found)
    assert (finding.severity, finding.passed) == ("ERROR", False)
    assert "Next step: " in finding.text


def test_a_file_that_is_gone_is_unknown_and_never_zero(plain: Stage) -> None:
    """The declaration is there; of what it declares nobody knows how much it was."""
    (plain.folder / NEXT / "tickets.jsonl").unlink()
    found = plain.found()
    assert found.verdict == "does_not_close"  # what it brought is in Bronze, and nothing explains it now
    (unknown,) = found.unknown
    assert unknown.place == "source"
    assert "tickets.jsonl is not there" in unknown.reason
    late = next(source for source in found.sources if source.late)
    assert (late.lines, late.events, late.bronze, late.silver) == (None, None, None, None)


def test_a_database_that_is_not_there_is_unknown_and_never_zero(plain: Stage, tmp_path: Path) -> None:
    """Neither what it holds nor what of the sources is in it."""
    away = Warehouse(DuckDBFile(tmp_path / "away.duckdb"))
    unreachable = Warehouse(PostgresDatabase("postgresql://127.0.0.1:1/week06"))
    for warehouse in (away, unreachable):
        found = reconcile_partition(plain.settings, warehouse, DAY)
        assert (found.verdict, found.reason_codes) == ("unknown", ("warehouse_unknown",))
        assert (found.bronze_count, found.silver_count) == (None, None)
        assert {(s.bronze, s.silver, s.quarantined) for s in found.sources} == {(None, None, None)}
        assert found.sources[0].events == 3
        assert not check_reconciled(found).passed


def test_a_ledger_that_is_not_there_is_unknown(plain: Stage, tmp_path: Path) -> None:
    """All else closes, and what the runs said is not known."""
    found = reconcile_partition(plain.settings, plain.warehouse, DAY, Ledger(tmp_path / "no-ledger"))
    assert (found.verdict, found.reason_codes) == ("unknown", ("ledger_unknown",))


def test_nothing_of_nothing_does_not_close(
    tmp_path: Path, plain: Stage, deliver: Callable[..., Path], ticket: Callable[..., Any]
) -> None:
    """A delivery without a row of its day compares nothing; nor does a warehouse that has no row of it."""
    deliver(plain.folder, "2026-04-25", [ticket()])
    plain.ingest("2026-04-25")
    found = plain.found("2026-04-25")
    assert (found.verdict, found.reason_codes) == ("does_not_close", ("nothing_compared",))
    assert "0 of 0" in check_reconciled(found).text


def test_a_rejected_declaration_does_not_close(plain: Stage, deliver: Callable[..., Path]) -> None:
    """What waits is named, and so is the reason."""
    deliver(plain.folder, DAY, [b"{}\n"], source={"checksum_sha256": "0" * 64})
    plain.damage("DELETE FROM ticket_fact", "DELETE FROM raw_ticket_event")
    found = plain.found()
    assert found.reason_codes == ("manifest_rejected",)
    assert gaps(found) == {"left_out_by_gate": 1, "gate_rejected": 2, "other_partition": 1}


def test_a_batch_refused_for_a_line_explains_what_is_missing(
    tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., Any]
) -> None:
    """All of it is missing, for one reason; still nothing came, so it does not close."""
    stage = Stage(tmp_path / "d", Warehouse(DuckDBFile(tmp_path / "w.duckdb")))
    deliver(stage.folder, DAY, [ticket(), b"{\n"])
    with pytest.raises(TicketReadError):
        stage.ingest()
    found = stage.found()
    assert gaps(found) == {"refused": 1, "batch_refused": 1}
    assert found.verdict == "does_not_close"


def test_a_source_that_the_gate_left_out_is_named_with_its_reason(
    plain: Stage, deliver: Callable[..., Path], ticket: Callable[..., Any]
) -> None:
    deliver(plain.folder, "2026-04-19", [ticket(ticket_id=name(7))], source={"pii_scan_status": "not_run"})
    found = plain.found()
    assert found.verdict == "closes"
    (gap,) = [gap for gap in found.all_gaps if gap.code == "left_out_by_gate"]
    assert "pii_gap" in gap.text


def test_a_delivery_of_other_days_explains_only_the_rows_it_holds(
    plain: Stage, deliver: Callable[..., Path], ticket: Callable[..., Any], parsed: Callable[..., Any]
) -> None:
    """Eight days late it is not read for the day; the name of its batch alone explains nothing."""
    row = {"ticket_id": name(6), "ingest_batch_id": "batch-20260425-001"}
    deliver(plain.folder, "2026-04-25", [ticket(**row)])
    plain.warehouse.write_batch([parsed(**row)], STAMP)
    found = plain.found()
    assert (found.verdict, gaps(found)["delivered_outside_window"]) == ("closes", 1)
    plain.damage(FORGED.replace("batch-20260417-001", "batch-20260425-001"))
    assert "bronze_without_source" in plain.found().reason_codes


def test_two_files_of_one_batch_and_source_are_counted_apart(
    plain: Stage, deliver: Callable[..., Path], ticket: Callable[..., Any]
) -> None:
    """A batch that was delivered in two manifests has two rows."""
    second = {"manifest_id": "manifest-tickets-test-20260417-002", "created_at": f"{DAY}T23:30:00Z"}
    deliver(plain.folder / "again", DAY, [ticket(ticket_id=name(7))], **second)
    plain.ingest()
    found = plain.found()
    assert found.verdict == "closes"
    assert {(s.manifest_id[-12:], s.lines, s.events) for s in found.sources if not s.late} == {
        ("20260417-001", 6, 3),
        ("20260417-002", 1, 1),
    }


def test_a_file_read_in_place_of_the_manifests_is_told_as_such(plain: Stage, tmp_path: Path) -> None:
    """What the manifests declare was not read, by the operator's will, and is named so."""
    replaced = SourceSettings(plain.folder, plain.folder / DAY / "tickets.jsonl")
    found = reconcile_partition(replaced, plain.warehouse, DAY)
    assert found.sources[-1].manifest_id == "(none)"
    assert found.sources[-1].bronze == 3
    (gap,) = [gap for gap in found.all_gaps if gap.code == "left_out_by_gate"]
    assert (gap.count, "ticket_seed_path_overrides_manifest" in gap.text) == (2, True)


def test_the_command_tells_a_person_and_a_program(
    plain: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All days by default; the exit code says whether all of them close, and a hostile name reaches no terminal."""
    manifest = plain.folder / NEXT / "manifest.json"
    manifest.write_text(manifest.read_text().replace("batch-20260418-001", "\\u001b[2J"))
    environ = {
        "SEED_MANIFEST_PATH": str(plain.folder),
        "DATABASE_URL": f"duckdb:///{tmp_path / 'warehouse.duckdb'}",
        "LEDGER_URL": str(tmp_path / "ledger"),
    }
    assert reconcile.main([], environ) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
    assert "0 of 3 partitions close" in shown
    assert f"{DAY}  unknown: Bronze 5 events" in shown
    assert reconcile.main(["--partition", DAY, "--json"], environ) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["closes"], told["partitions"][0]["reason_codes"]) == (False, ["ledger_unknown"])
    shutil.rmtree(plain.folder / NEXT)
    (tmp_path / "warehouse.duckdb").unlink()
    assert reconcile.main(["--partition", DAY], environ) == 1
    assert "Bronze ? events" in capsys.readouterr().out
    with pytest.raises(InputError, match="not a daily partition"):
        reconcile.main(["--partition", "yesterday"], environ)


@pytest.mark.soak
def test_what_a_run_recorded_is_held_against_what_is_there(
    factory: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's check passes and the command closes; a row written by hand beside it, and it does not."""
    job = with_ledger(base_definitions()).resolve_job_def(DATA_FACTORY_JOB)
    result = job.execute_in_process(instance=factory.instance, partition_key=DAY, raise_on_error=False)
    (check,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "source_to_silver_reconcile"]
    assert (check.passed, check.blocking) == (True, False)
    assert check.metadata["unexplained_gap_count"] == dg.IntMetadataValue(0)
    environ = {
        "SEED_MANIFEST_PATH": str(factory.deliveries),
        "DATABASE_URL": f"duckdb:///{factory.root / 'warehouse.duckdb'}",
        "LEDGER_URL": str(factory.root / "ledger"),
    }
    assert reconcile.main(["--partition", DAY], environ) == 0
    assert f"the ledger's last run ({result.run_id[:8]}) recorded" in capsys.readouterr().out
    with factory.warehouse.database.writing() as run:
        run("UPDATE ticket_fact SET priority = 'p1_critical'")
    assert reconcile.main(["--partition", DAY], environ) == 1
    assert "silver_changed_since_recorded" in capsys.readouterr().out
    with factory.warehouse.database.writing() as run:
        run(FORGED)
    assert reconcile.main(["--partition", DAY, "--json"], environ) == 1
    (told,) = json.loads(capsys.readouterr().out)["partitions"]
    assert {"bronze_not_as_recorded", "bronze_without_source"} <= set(told["reason_codes"])


def test_a_rejected_declaration_does_not_close_over_what_came_before(
    plain: Stage, deliver: Callable[..., Path]
) -> None:
    """Late rows are there in Bronze and in Silver; what the day itself was to bring is not."""
    deliver(plain.folder, DAY, [b"{}\n"], source={"checksum_sha256": "0" * 64})
    late = f"ticket_id IN ('{name(5)}')"
    plain.damage(f"DELETE FROM ticket_fact WHERE NOT {late}", f"DELETE FROM raw_ticket_event WHERE NOT {late}")
    found = plain.found()
    assert found.bronze_count == 1
    assert (found.verdict, found.reason_codes) == ("does_not_close", ("manifest_rejected",))
