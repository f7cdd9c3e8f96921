"""Week03's job in Dagster: what its assets report, and what refuses to turn green."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipelines.definitions import base_definitions
from pipelines.seed_data import make_seed_data

if TYPE_CHECKING:
    from conftest import Factory, FinishedRun

DONE = {"seed_manifests", "raw_doc_assets", "raw_ticket_events"}


@pytest.fixture
def ingest_all(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], FinishedRun]:
    """Run the job over the manifests under a path."""
    monkeypatch.setenv("WEEK06_OBJECT_DIR", str(factory.root / "objects"))

    def run(manifests: Path) -> FinishedRun:
        monkeypatch.setenv("SEED_MANIFEST_PATH", str(manifests))
        job = base_definitions().resolve_job_def("ingest_all")
        return factory.finished(job.execute_in_process(instance=factory.instance, raise_on_error=False))

    return run


def test_the_seed_data_is_ingested_once(factory: Factory, ingest_all: Callable[[Path], FinishedRun]) -> None:
    """The counts add up and agree with the warehouse; the same again changes nothing."""
    make_seed_data(factory.root / "data")
    first, second = (ingest_all(factory.root / "data/seed_manifests") for _ in range(2))
    assert first.success
    assert first.materialized() == second.materialized() == DONE
    counts = [run.metadata("raw_ticket_events")["counts"] for run in (first, second)]
    for told in counts:
        assert told["total"] == told["valid"] + told["invalid"] + told["errors"]
        assert told["valid"] == told["inserted"] + told["duplicates"] + told["skipped"]
    assert [told["inserted"] for told in counts] == [60, 0]
    assert first.metadata("seed_manifests")["judgements"] == {"accept": 4, "quarantine": 1, "warn": 1}
    documents = [run.metadata("raw_doc_assets") for run in (first, second)]
    assert [(told["success_count"], told["skip_count"]) for told in documents] == [(4, 1), (0, 5)]
    with factory.warehouse.database.reading() as run:
        assert run("SELECT count(*) FROM raw_ticket_event") == [(60,)]
        assert run("SELECT count(*) FROM raw_doc_asset") == [(4,)]


def test_a_dry_run_is_skipped_and_writes_nothing(
    factory: Factory, ingest_all: Callable[[Path], FinishedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEEK06_INGEST_DRY_RUN", "true")
    make_seed_data(factory.root / "data")
    run = ingest_all(factory.root / "data/seed_manifests")
    assert run.success
    assert run.materialized() == {"seed_manifests"}
    assert {skip["reason_code"] for skip in run.skips().values()} == {"dry_run_no_db_write"}
    assert run.skips().keys() == {"raw_doc_assets", "raw_ticket_events"}
    assert run.observations()["raw_ticket_events"]["counts"]["skipped"] == 61
    assert not (factory.root / "warehouse.duckdb").exists()
    assert not (factory.root / "objects").exists()


def test_a_refused_manifest_does_not_turn_green(
    factory: Factory, ingest_all: Callable[[Path], FinishedRun], deliver: Callable[..., Path]
) -> None:
    """The asset fails with the reason, and nothing downstream runs."""
    deliver(factory.root / "bad", "2026-04-17", [b"{}\n"], source={"size_bytes": 1})
    run = ingest_all(factory.root / "bad")
    assert not run.success
    assert run.materialized() == set()
    text, metadata = run.failure("seed_manifests")
    assert "size_bytes: expected 1" in text
    assert metadata["reason_codes"] == ["size_mismatch"]


def test_one_batch_that_is_refused_leaves_the_others_whole(
    factory: Factory,
    ingest_all: Callable[[Path], FinishedRun],
    deliver: Callable[..., Path],
    ticket: Callable[..., dict[str, Any]],
) -> None:
    """Each manifest is a transaction of its own; the failure names line and reason, the quarantine keeps them."""
    deliver(factory.root / "in", "2026-04-16", [ticket(), b"{broken\n", ticket(owner=None)])
    deliver(factory.root / "in", "2026-04-17", [ticket(ticket_id="TKT-20260417-000002")])
    run = ingest_all(factory.root / "in")
    assert not run.success
    text, metadata = run.failure("raw_ticket_events")
    assert "tickets.jsonl:2: not JSON" in text
    assert metadata["reason_codes"] == ["ticket_ingest_errors"]
    with factory.warehouse.database.reading() as read:
        assert read("SELECT ticket_id FROM ticket_fact") == [("TKT-20260417-000002",)]
        assert read("SELECT line_number, reason_codes FROM ticket_quarantine ORDER BY 1") == [
            (2, "not_json"),
            (3, "owner:null"),
        ]


def test_where_no_tickets_may_be_read_it_is_no_success(
    factory: Factory, ingest_all: Callable[[Path], FinishedRun], deliver: Callable[..., Path]
) -> None:
    deliver(factory.root / "in", "2026-04-17", [], source={"source_url_or_path": "gone.jsonl"})
    run = ingest_all(factory.root / "in")
    assert run.failure("raw_ticket_events")[1]["reason_codes"] == ["structured_manifest_missing_or_empty"]
    assert not run.data(dg.DagsterEventType.STEP_SKIPPED)
