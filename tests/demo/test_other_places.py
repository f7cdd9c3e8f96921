"""The demo's five partitions have the same verdicts on PostgreSQL and an S3 server as on DuckDB and a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.data_factory.reporting import POLICY
from pipelines.definitions import DATA_FACTORY_JOB, factory_definitions
from pipelines.delivery import WEEK06
from pipelines.demo import demo_runs
from pipelines.ingestion.assets import INGEST_JOB
from pipelines.ingestion.object_store import object_key
from pipelines.ingestion.settings import store_of, warehouse_of
from pipelines.samples import make_deliveries
from run_evidence.evidence import write_run_documents
from run_evidence.ledger import Ledger, open_snapshot
from run_evidence.sensors.capture.capture import CaptureContext
from run_evidence.sensors.sync import sync_runs
from tests.mortal_servers import S3_KEYS, MortalPostgres, MortalS3

ROOT = Path(__file__).parents[2]
RAW = "week06__ingestion__raw_ticket_events_partitioned"
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
OF_A_RUN = {"run_id", "trace_id", "started_at", "finished_at", "report_path"}
"""Fields of a hand-over document that are of one run alone: two runs in one place differ in them too."""

TABLES = ("raw_ticket_event", "customer_dim", "ticket_fact", "ticket_quarantine", "raw_doc_asset")
WHEN = ("ingest_run_id", "ingested_at", "quarantined_at")
OUTCOMES = (
    "SELECT asset_key, partition, check_name, outcome, verdict, reason_code, required, planned "
    "FROM outcomes WHERE run_id = $run ORDER BY ALL"
)
COUNTS = (
    "SELECT asset_key, partition, metadata->>'$.output_row_count.value', metadata->>'$.output_snapshot_id.value' "
    "FROM materializations WHERE run_id = $run ORDER BY ALL"
)

pytestmark = [pytest.mark.soak, pytest.mark.postgres, pytest.mark.s3]


@dataclass(frozen=True)
class Played:
    """One run of the demo at one place: its verdict, what became of each planned item, and its documents."""

    verdict: tuple[Any, ...]
    outcomes: list[tuple[Any, ...]]
    counts: list[tuple[Any, ...]]
    decisions: tuple[str, ...]
    evidence: list[dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """A warehouse and an object store, by the variables that name them, after the demo's runs and the ingest."""

    environment: dict[str, str]
    runs: list[Played]
    tables: dict[str, list[tuple[Any, ...]]]


def _play(root: Path, environment: dict[str, str], patch: pytest.MonkeyPatch) -> Place:
    """Run the demo's six runs and then the ingest of the seed data, in an instance and a ledger below `root`."""
    settings = {
        **environment,
        "LEDGER_URL": str(root / "ledger"),
        "SEED_MANIFEST_PATH": "deliveries",  # as in the demo: a relative path is in the reasons for a rejection
        "WEEK06_REPORT_DIR": str(root / "reports"),
        "WEEK06_OPERATOR": "demo",
    }
    for name in [name for name in os.environ if name.startswith(("WEEK06_", "MINIO_"))]:
        patch.delenv(name)
    for name, value in settings.items():
        patch.setenv(name, value)
    patch.chdir(root)
    ledger = Ledger(root / "ledger")
    job = factory_definitions().resolve_job_def(DATA_FACTORY_JOB)
    with dg.DagsterInstance.ephemeral(str(root)) as instance:
        run_ids = []
        for play in demo_runs():
            make_deliveries(root / "deliveries", tickets_per_day=40, days=play.delivered)
            ops = {"ops": {RAW: {"config": {"dry_run": True}}}} if play.dry_run else {}
            done = job.execute_in_process(
                instance=instance,
                partition_key=play.partition,
                run_config={**QUIET, **ops},
                raise_on_error=False,
                tags={"release_id": "demo-release"},
            )
            run_ids.append(done.run_id)
        patch.setenv("SEED_MANIFEST_PATH", str(ROOT / "data" / "seed_manifests"))
        ingest = factory_definitions().resolve_job_def(INGEST_JOB)
        assert ingest.execute_in_process(instance=instance, run_config=QUIET).success
        sync_runs(instance, CaptureContext(ledger, POLICY, grace_seconds=0.0))
    return Place(settings, [_told(ledger, run_id, root) for run_id in run_ids], _tables(settings))


def _told(ledger: Ledger, run_id: str, root: Path) -> Played:
    written = write_run_documents(ledger, run_id, root / "final", profile=WEEK06)
    assert written.final
    with open_snapshot(ledger) as snapshot:
        (verdict,) = snapshot.rows("SELECT status, verdict, reason FROM runs WHERE run_id = $run", {"run": run_id})
        outcomes, counts = (snapshot.rows(sql, {"run": run_id}) for sql in (OUTCOMES, COUNTS))
    evidence = [json.loads(path.read_text("utf-8")) for path in written.evidence]
    return Played(verdict, outcomes, counts, written.decisions, evidence)


def _tables(environment: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the warehouse, but for which run wrote them and when."""
    found = {}
    with warehouse_of(environment).database.reading() as run:
        for table in TABLES:
            named = "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
            columns = sorted(name for (name,) in run(named.replace("$1", f"'{table}'")) if name not in WHEN)
            found[table] = sorted(run(f"SELECT {', '.join(columns)} FROM {table}"), key=repr)
    return found


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    """Run the demo at both places; the servers answer until the last test has asked them."""
    folder, servers = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("servers")
    with pytest.MonkeyPatch.context() as patch:
        here = {"DATABASE_URL": f"duckdb:///{folder}/w.duckdb", "WEEK06_OBJECT_DIR": str(folder / "objects")}
        played = {"folder": _play(folder, here, patch)}
    for database in MortalPostgres.started():
        for objects in MortalS3.started():
            there = {
                "DATABASE_URL": database.new_database(),
                "MINIO_ENDPOINT": objects.endpoint,
                "MINIO_ACCESS_KEY": S3_KEYS["access_key"],
                "MINIO_SECRET_KEY": S3_KEYS["secret_key"],
                "MINIO_BUCKET": "bucket-of-the-factory",
            }
            with pytest.MonkeyPatch.context() as patch:
                played["servers"] = _play(servers, there, patch)
            yield played


@pytest.mark.parametrize("step", range(6), ids=[f"{n}-{run.partition}" for n, run in enumerate(demo_runs(), 1)])
def test_a_partition_comes_to_the_same(places: dict[str, Place], step: int) -> None:
    """Status, verdict, reason, each planned item's outcome, row counts, contents, the hand-over's decision."""
    here, there = places["folder"].runs[step], places["servers"].runs[step]
    assert here.verdict == there.verdict
    assert here.outcomes == there.outcomes
    assert here.counts == there.counts
    assert here.decisions == there.decisions


@pytest.mark.parametrize("step", range(6), ids=[f"{n}-{run.partition}" for n, run in enumerate(demo_runs(), 1)])
def test_its_hand_over_document_says_the_same(places: dict[str, Place], step: int) -> None:
    """Field by field, its checks and their metadata too; nothing in it names a database or a bucket."""
    (here,), (there,) = places["folder"].runs[step].evidence, places["servers"].runs[step].evidence
    assert here.keys() == there.keys()
    assert {name for name in here if here[name] != there[name]} <= OF_A_RUN
    assert here["partition_key"] == demo_runs()[step].partition
    place = places["servers"].environment
    for name in ("DATABASE_URL", "MINIO_ENDPOINT", "MINIO_BUCKET", "MINIO_SECRET_KEY"):
        assert place[name] not in json.dumps(there)


def test_the_five_stories_are_told_apart(places: dict[str, Place]) -> None:
    """Two places that both did nothing would agree as well."""
    told = [(run.verdict[0], run.verdict[1], run.decisions) for run in places["servers"].runs]
    assert told == [
        ("failed", "failed", ("hold_downstream",)),
        ("succeeded", "warned", ("manual_review_required",)),
        ("succeeded", "passed", ("proceed_to_week07",)),
        ("succeeded", "skipped", ("dry_run_only",)),
        ("succeeded", "warned", ("manual_review_required",)),
        ("succeeded", "warned", ("manual_review_required",)),
    ]


def test_the_warehouses_hold_the_same_rows(places: dict[str, Place]) -> None:
    here, there = places["folder"].tables, places["servers"].tables
    assert {table: len(rows) for table, rows in here.items()} == {table: len(rows) for table, rows in there.items()}
    assert all(here.values())
    assert here == there


def test_the_documents_land_in_the_bucket(places: dict[str, Place]) -> None:
    """Under the same names and with the same bytes as in the folder; the folder's variable is not used."""
    here, there = (store_of(places[name].environment) for name in ("folder", "servers"))
    with warehouse_of(places["servers"].environment).database.reading() as run:
        landed = run("SELECT checksum_sha256, size_bytes, object_key FROM raw_doc_asset")
    assert len(landed) == 4
    for sha256, size_bytes, key in landed:
        assert key == object_key(sha256)
        assert there.size_bytes(key) == here.size_bytes(key) == size_bytes
        assert b"".join(there.read(key)) == b"".join(here.read(key))
