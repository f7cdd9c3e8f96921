"""Week04's lakehouse and Week05's mart, really built, and what the factory's evidence then says of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml

from pipelines.delivery import WEEK06
from pipelines.ingestion.databases import DatabaseMissingError
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.neighbours import lakehouse
from pipelines.neighbours.__main__ import main
from pipelines.neighbours.lakehouse import BRONZE, CATALOG, SILVER, BuiltTable, build_lakehouse
from pipelines.neighbours.mart import REGISTRY, build_mart, find_dbt
from pipelines.neighbours.places import LakehousePlace, MartPlace
from pipelines.samples import CLEAN_DAY
from run_evidence.evidence import write_run_documents
from run_evidence.ledger import EnvironmentFault, Ledger, UsageError
from run_evidence.sensors.capture.capture import CaptureContext, capture_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Factory, FinishedRun

    from pipelines.ingestion.databases import Database
    from pipelines.tickets import Ticket

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 4, 18, 3, tzinfo=UTC)
STAMP = BatchStamp("run-1", "release-1", NOW)
NEEDS_DBT = pytest.mark.skipif(
    find_dbt(os.environ) is None,
    reason="dbt is not installed: the extra analytics",
)
# What dbt 1.11 left of a build of pipelines/analytics, without most of its nodes and of what it says of them.
RUN_RESULTS = {
    "metadata": {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
        "dbt_version": "1.11.16",
        "generated_at": "2026-12-01T04:54:06.486046Z",
        "invocation_id": "843231c2-a81e-40d3-91e0-4ab1882dad20",
        "invocation_started_at": "2026-12-01T04:54:03.711818Z",
        "env": {},
    },
    "results": [
        {"status": "success", "unique_id": "model.support_analytics.tickets", "failures": None},
        {"status": "pass", "unique_id": "test.support_analytics.every_ticket_is_counted_once", "failures": 0},
    ],
    "elapsed_time": 0.6,
}


def _tickets(parsed: Callable[..., Ticket], count: int = 3) -> list[Ticket]:
    return [parsed(ticket_id=f"TKT-20260417-{n:06d}") for n in range(count)]


def _scanned(place: LakehousePlace, name: str, snapshot_id: int | None = None) -> list[dict[str, Any]]:
    """Read a table as a foreign reader would: through the catalogue."""
    from pyiceberg.catalog.sql import SqlCatalog

    folder = place.folder.absolute()
    catalog = SqlCatalog(CATALOG, uri=f"sqlite:///{folder / 'catalog.db'}", warehouse=folder.as_uri())
    try:
        rows = catalog.load_table(name).scan(snapshot_id=snapshot_id).to_arrow().to_pylist()
    finally:
        catalog.close()
    return sorted(rows, key=lambda row: str(row["ticket_id"]))


def test_the_lakehouse_holds_what_the_warehouse_holds(
    tmp_path: Path, database: Database, parsed: Callable[..., Ticket]
) -> None:
    """Row by row, whatever the database; the report names the snapshot that has them, and that one stays."""
    pytest.importorskip("pyiceberg", reason="the extra lakehouse is not installed")
    warehouse, place = Warehouse(database), LakehousePlace(tmp_path / "lake")
    warehouse.write_batch(_tickets(parsed), STAMP)
    first = build_lakehouse(warehouse, place, NOW)
    bronze, silver = warehouse.read_whole()
    assert [tuple(row.values()) for row in _scanned(place, SILVER)] == silver
    assert [tuple(row.values()) for row in _scanned(place, BRONZE)] == sorted(bronze, key=lambda row: str(row[2]))
    report = json.loads(place.report.read_text())
    assert report["generated_at"] == "2026-04-18T03:00:00Z"
    stated = {name: (each["snapshot_id"], each["row_count"]) for name, each in report["tables"].items()}
    assert stated == {name: (first[name].snapshot_id, 3) for name in (BRONZE, SILVER)}

    again = build_lakehouse(warehouse, place, NOW)
    assert {name: each.snapshot_id for name, each in again.items()} == {
        name: each.snapshot_id for name, each in first.items()
    }
    assert not any(each.new_snapshot for each in again.values())

    warehouse.write_batch(_tickets(parsed, 4), STAMP)
    later = build_lakehouse(warehouse, place, NOW)
    assert later[SILVER].snapshot_id != first[SILVER].snapshot_id
    assert (len(_scanned(place, SILVER)), later[SILVER].row_count) == (4, 4)
    assert len(_scanned(place, SILVER, first[SILVER].snapshot_id)) == 3, "what was reported can still be read"


def test_a_lakehouse_that_was_not_built_leaves_no_report(tmp_path: Path, parsed: Callable[..., Ticket]) -> None:
    """Neither without a warehouse, nor over a table of other columns, though an earlier build left one."""
    pytest.importorskip("pyiceberg", reason="the extra lakehouse is not installed")
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.schema import Schema
    from pyiceberg.types import LongType, NestedField

    from pipelines.ingestion.databases import DuckDBFile

    warehouse, place = Warehouse(DuckDBFile(tmp_path / "warehouse.duckdb")), LakehousePlace(tmp_path / "lake")
    with pytest.raises(DatabaseMissingError):
        build_lakehouse(warehouse, place, NOW)
    assert not place.folder.exists()
    warehouse.write_batch(_tickets(parsed), STAMP)
    build_lakehouse(warehouse, place, NOW)
    catalog = SqlCatalog(
        CATALOG, uri=f"sqlite:///{place.folder / 'catalog.db'}", warehouse=place.folder.absolute().as_uri()
    )
    catalog.drop_table(SILVER)
    catalog.create_table(SILVER, Schema(NestedField(1, "another", LongType())))
    catalog.close()
    with pytest.raises(EnvironmentFault, match="the lakehouse was not built"):
        build_lakehouse(warehouse, place, NOW)
    assert not place.report.exists()
    (place.folder / "catalog.db").write_text("this is no catalogue, and longer than the head of one" * 40)
    with pytest.raises(EnvironmentFault, match="file is not a database"):
        build_lakehouse(warehouse, place, NOW)


def test_of_two_builds_at_once_one_stands_and_the_other_says_so(
    tmp_path: Path, parsed: Callable[..., Ticket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that another one overtakes changes nothing: snapshot and report are those of the other."""
    pytest.importorskip("pyiceberg", reason="the extra lakehouse is not installed")
    from pipelines.ingestion.databases import DuckDBFile
    from pipelines.neighbours.tables import content_digest

    warehouse, place = Warehouse(DuckDBFile(tmp_path / "warehouse.duckdb")), LakehousePlace(tmp_path / "lake")
    warehouse.write_batch(_tickets(parsed), STAMP)
    rivals: list[dict[str, BuiltTable]] = []

    def overtaken(table: Any) -> str:
        monkeypatch.setattr(lakehouse, "content_digest", content_digest)
        rivals.append(build_lakehouse(warehouse, place, NOW))
        return content_digest(table)

    monkeypatch.setattr(lakehouse, "content_digest", overtaken)
    with pytest.raises(EnvironmentFault, match="the lakehouse was not built"):
        build_lakehouse(warehouse, place, NOW)
    (rival,) = rivals
    reported = json.loads(place.report.read_text())["tables"]
    assert reported[BRONZE]["snapshot_id"] == rival[BRONZE].snapshot_id
    assert len(_scanned(place, BRONZE)) == 3
    assert not any(made.new_snapshot for made in build_lakehouse(warehouse, place, NOW).values())


@pytest.mark.parametrize(
    ("neighbour", "switch"), [("lakehouse", "LAKEHOUSE_ENABLED"), ("analytics", "ANALYTICS_ENABLED")]
)
@pytest.mark.parametrize("value", [None, "false"])
def test_nothing_is_built_that_is_not_switched_on(neighbour: str, switch: str, value: str | None) -> None:
    """And the switch is named."""
    with pytest.raises(UsageError, match=f"{switch} is not true"):
        main([neighbour], {switch: value} if value else {})


def test_a_dbt_that_breaks_leaves_no_results(
    tmp_path: Path, factory: Factory, parsed: Callable[..., Ticket]
) -> None:
    """Neither its own, of which there are none, nor those of an earlier build; the reason has its last output."""
    broken = tmp_path / "broken_dbt"
    broken.write_text("#!/bin/sh\necho 'Compilation Error in model tickets'\nexit 2\n")
    broken.chmod(0o755)
    place = MartPlace(tmp_path / "mart")
    place.folder.mkdir()
    place.report.write_text(json.dumps(RUN_RESULTS))
    factory.warehouse.write_batch(_tickets(parsed), STAMP)
    with pytest.raises(
        EnvironmentFault, match=r"exit code 2 and left no results:\nCompilation Error in model tickets"
    ):
        build_mart(factory.warehouse, place, {**os.environ, "DBT_COMMAND": str(broken)})
    assert not place.report.exists()


def test_a_dbt_that_is_not_there_is_named(tmp_path: Path, factory: Factory) -> None:
    """By the variable that names it."""
    with pytest.raises(UsageError, match="DBT_COMMAND='gone' is no file"):
        build_mart(factory.warehouse, MartPlace(tmp_path), {"DBT_COMMAND": "gone"})


def test_every_metric_is_one_of_the_project() -> None:
    """Its model is there, and no name is there twice."""
    metrics = yaml.safe_load(REGISTRY.read_text())["metrics"]
    models = {path.stem for path in (REGISTRY.parent / "models").glob("*.sql")}
    assert {metric["model"] for metric in metrics} <= models
    assert len({metric["name"] for metric in metrics}) == len(metrics) > 0


@NEEDS_DBT
@pytest.mark.soak
def test_the_mart_counts_what_silver_holds(tmp_path: Path, factory: Factory, parsed: Callable[..., Ticket]) -> None:
    """Every metric of the registry can be asked of it; a priority that is none is a failure, which is reported."""
    done = {"status": "closed", "priority": "p1_critical", "resolved_at": "2026-04-17T10:15:00Z"}
    late = parsed(ticket_id="TKT-20260417-000009", sla_due_at="2026-04-17T09:00:00Z", **done)
    factory.warehouse.write_batch([*_tickets(parsed), late], STAMP)
    place = MartPlace(tmp_path / "mart")
    built = build_mart(factory.warehouse, place, os.environ)
    assert (built.failed, built.metric_count) == ([], 5)
    assert json.loads(place.report.read_text())["metadata"]["invocation_id"] == built.invocation_id
    assert place.registry.read_bytes() == REGISTRY.read_bytes()
    with duckdb.connect(str(place.database), read_only=True) as mart:
        asked = {
            metric["name"]: mart.execute(f"SELECT {metric['expression']} FROM {metric['model']}").fetchall()[0][0]
            for metric in yaml.safe_load(place.registry.read_text())["metrics"]
        }
    assert asked == {
        "ticket_count": 4,
        "resolution_rate": 0.25,
        "critical_share": 0.25,
        "late_count": 1,
        "backlog": 3,
    }

    with factory.warehouse.database.writing() as run:
        run("UPDATE ticket_fact SET priority = 'p9' WHERE ticket_id = 'TKT-20260417-000000'")
    failed = build_mart(factory.warehouse, place, os.environ).failed
    assert any("accepted_values_tickets_priority" in name for name in failed)
    assert "fail" in {node["status"] for node in json.loads(place.report.read_text())["results"]}


@pytest.mark.soak
@pytest.mark.parametrize("mart", ["as dbt left it", pytest.param("built here", marks=NEEDS_DBT)])
def test_the_hand_over_names_the_neighbours_that_were_built(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, mart: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run ingests, the neighbours are built from that, and the next run's evidence has their ids."""
    pytest.importorskip("pyiceberg", reason="the extra lakehouse is not installed")
    monkeypatch.setenv("LAKEHOUSE_ENABLED", "true")
    monkeypatch.setenv("ANALYTICS_ENABLED", "true")
    monkeypatch.setenv("WEEK04_LAKEHOUSE_DIR", str(factory.root / "lake"))
    monkeypatch.setenv("WEEK05_ANALYTICS_DIR", str(factory.root / "mart"))
    before = factory.run(CLEAN_DAY)
    assert {skip["reason_code"] for skip in before.skips().values()} == {
        *("week04_lakehouse_not_available", "week05_analytics_not_available")
    }
    assert main(["lakehouse"], os.environ) == 0
    if mart == "built here":
        assert main(["analytics"], os.environ) == 0
    else:
        place = MartPlace(factory.root / "mart")
        place.folder.mkdir()
        place.report.write_text(json.dumps(RUN_RESULTS))
        shutil.copyfile(REGISTRY, place.registry)
    printed = capsys.readouterr().out

    run, document = _handed_over(factory)
    assert run.skips() == {}
    report = factory.root / "lake" / "materialization_report.json"
    reported = json.loads(report.read_text())
    results = json.loads((factory.root / "mart" / "run_results.json").read_text())
    assert document["lakehouse_snapshot_id"] == str(reported["tables"][SILVER]["snapshot_id"])
    assert document["lakehouse_snapshot_id"] in printed
    assert document["dbt_invocation_id"] == results["metadata"]["invocation_id"]
    assert document["semantic_metric_count"] == 5
    assert not {code for code in document["reason_codes"] if code.startswith(("week04", "week05"))}
    assert run.observations()["support_kpi_mart"]["failed_node_count"] == 0

    report.write_text(json.dumps({**reported, "generated_at": f"{CLEAN_DAY}T12:00:00Z"}))
    _, later = _handed_over(factory)
    assert later.get("lakehouse_snapshot_id") is None
    assert later["dbt_invocation_id"] == document["dbt_invocation_id"]
    assert [code for code in later["reason_codes"] if code.startswith(("week04", "week05"))] == [
        "week04_lakehouse_older_than_partition"
    ]
    assert later["downstream_decision"] == document["downstream_decision"] == "proceed_to_week07"


def _handed_over(factory: Factory) -> tuple[FinishedRun, dict[str, Any]]:
    """Run the day, capture and close the run; return it and what is handed over of it."""
    run, ledger = factory.run(CLEAN_DAY), Ledger(factory.root / "ledger")
    capture_run(factory.instance, run.run_id, CaptureContext(ledger, grace_seconds=0.0))
    (path,) = write_run_documents(ledger, run.run_id, factory.root / "out", profile=WEEK06).evidence
    return run, json.loads(path.read_text())


def test_the_page_says_how_to_build_the_lakehouse(
    tmp_path: Path, factory: Factory, parsed: Callable[..., Ticket]
) -> None:
    """Its lines, typed as they stand; the mart's differs by its name alone, and dbt takes long."""
    pytest.importorskip("pyiceberg", reason="the extra lakehouse is not installed")
    page = (ROOT / "docs" / "factory.md").read_text(encoding="utf-8")
    (block,) = [each for each in re.findall(r"```text\n(.*?)```", page, re.S) if "pipelines.neighbours" in each]
    switch, build, analytics = block.splitlines()
    assert analytics == build.replace("lakehouse", "analytics")
    factory.warehouse.write_batch(_tickets(parsed), STAMP)
    environ = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "WEEK04_LAKEHOUSE_DIR": str(tmp_path / "lake"),
    }
    typed = ["sh", "-ec", f"{switch}\n{build}"]
    done = subprocess.run(typed, capture_output=True, text=True, check=False, cwd=ROOT, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"wrote {tmp_path / 'lake' / 'materialization_report.json'}" in done.stdout
