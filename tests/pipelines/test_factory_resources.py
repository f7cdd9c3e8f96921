"""Configuration comes from the environment at the edge, with safe defaults and no default credentials."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import pipelines.resources
from pipelines.definitions import base_definitions
from pipelines.resources import (
    DEFAULT_DATABASE_URL,
    ReportsResource,
    default_partition,
    partition_start,
    resources_from_environment,
)
from run_evidence.ledger.errors import UsageError


def _reports(**environ: str) -> ReportsResource:
    resource = resources_from_environment(environ)["week06_reports"]
    assert isinstance(resource, ReportsResource)
    return resource


def test_without_any_variable_there_are_defaults_and_no_credentials() -> None:
    """Nothing points outside the working directory, and a secret that is not set is None."""
    resources: dict[str, Any] = resources_from_environment({})
    assert resources["week06_postgres"].database_url == DEFAULT_DATABASE_URL
    store = resources["week06_minio"]
    assert (store.endpoint, store.access_key, store.secret_key, store.bucket) == (None, None, None, None)
    reports = _reports()
    assert (reports.dry_run, reports.limit, reports.operator) == (False, None, "unknown")
    assert (reports.lakehouse_enabled, reports.analytics_enabled) == (None, None)
    assert partition_start({}) == "2026-03-01"


def test_every_variable_of_the_contract_arrives() -> None:
    """Under the name the course contract gives it."""
    reports = _reports(
        SEED_MANIFEST_PATH="in",
        WEEK06_TICKET_SEED_PATH="seed.jsonl",
        WEEK06_REPORT_DIR="out",
        WEEK06_INGEST_DRY_RUN="TRUE",
        WEEK06_INGEST_LIMIT="25",
        WEEK06_OPERATOR="ada",
        RELEASE_ID="r1",
        LAKEHOUSE_ENABLED="false",
        ANALYTICS_ENABLED="1",
        WEEK06_WEEK04_REPORT_PATH="w4.json",
        WEEK06_WEEK05_RUN_RESULTS_PATH="w5.json",
        METRIC_REGISTRY_PATH="m.yml",
    )
    assert (reports.manifest_path, reports.ticket_seed_path, reports.report_dir) == ("in", "seed.jsonl", "out")
    assert (reports.dry_run, reports.limit, reports.operator) == (True, 25, "ada")
    assert (reports.lakehouse_enabled, reports.analytics_enabled) == (False, True)
    assert (reports.week04_report_path, reports.week05_run_results_path) == ("w4.json", "w5.json")
    assert (reports.metric_registry_path, reports.data_release_id) == ("m.yml", "r1")
    assert _reports(RELEASE_ID="r1", WEEK06_DATA_RELEASE_ID="r2").data_release_id == "r2"
    assert partition_start({"WEEK06_PARTITION_START_DATE": "2026-04-01"}) == "2026-04-01"


def test_a_neighbour_that_is_switched_on_is_looked_for_where_it_is_built() -> None:
    """Unless its report's place is set; one that nobody switched on is looked for nowhere."""
    on = {"LAKEHOUSE_ENABLED": "true", "ANALYTICS_ENABLED": "yes"}
    built = _reports(**on, WEEK04_LAKEHOUSE_DIR="lake")
    assert built.week04_report_path == "lake/materialization_report.json"
    assert built.week05_run_results_path == ".demo/analytics/run_results.json"
    assert built.metric_registry_path == ".demo/analytics/metric_registry.yml"
    assert _reports(**on, WEEK06_WEEK04_REPORT_PATH="w4.json").week04_report_path == "w4.json"
    for said in ("", "false"):
        reports = _reports(LAKEHOUSE_ENABLED=said, ANALYTICS_ENABLED=said, WEEK04_LAKEHOUSE_DIR="lake")
        found = (reports.week04_report_path, reports.week05_run_results_path, reports.metric_registry_path)
        assert found == (None, None, None)


def test_an_empty_variable_counts_as_unset() -> None:
    """As compose files pass it."""
    assert _reports(WEEK06_INGEST_LIMIT="", WEEK06_OPERATOR="", LAKEHOUSE_ENABLED="") == _reports()


@pytest.mark.parametrize("name", ["WEEK06_INGEST_DRY_RUN", "LAKEHOUSE_ENABLED", "ANALYTICS_ENABLED"])
def test_a_flag_that_is_no_flag_is_refused(name: str) -> None:
    """`WEEK06_INGEST_DRY_RUN=ture` must not write to a warehouse."""
    with pytest.raises(UsageError, match=rf"{name}='ture': expected one of true"):
        resources_from_environment({name: "ture"})


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "٣"])
def test_a_limit_that_is_no_count_is_refused(text: str) -> None:
    """The variable is named."""
    with pytest.raises(UsageError, match="WEEK06_INGEST_LIMIT="):
        resources_from_environment({"WEEK06_INGEST_LIMIT": text})


def test_a_first_partition_that_is_no_day_is_refused() -> None:
    """Before any run can start with it."""
    with pytest.raises(UsageError, match="WEEK06_PARTITION_START_DATE: 'March' is not a daily partition"):
        partition_start({"WEEK06_PARTITION_START_DATE": "March"})


def test_a_default_partition_is_a_day_there_can_be() -> None:
    """Nobody said means none; a day before the first, or no day, is refused by the variable's name."""
    assert default_partition({}) is None
    assert default_partition({"WEEK06_DEFAULT_PARTITION": ""}) is None
    assert default_partition({"WEEK06_DEFAULT_PARTITION": "2026-04-17"}) == "2026-04-17"
    with pytest.raises(UsageError, match="WEEK06_DEFAULT_PARTITION: '20260417' is not a daily partition"):
        default_partition({"WEEK06_DEFAULT_PARTITION": "20260417"})
    start = {"WEEK06_PARTITION_START_DATE": "2026-04-10"}
    with pytest.raises(UsageError, match="'2026-04-09' lies before the first partition, 2026-04-10"):
        default_partition({**start, "WEEK06_DEFAULT_PARTITION": "2026-04-09"})
    assert default_partition({**start, "WEEK06_DEFAULT_PARTITION": "2026-04-10"}) == "2026-04-10"


def test_the_readme_lists_exactly_the_variables_that_are_read() -> None:
    """With the defaults there are."""
    source = Path(pipelines.resources.__file__)
    edges = (source, source.with_name("definitions.py"), source.with_name("neighbours") / "places.py")
    edge = "".join(path.read_text(encoding="utf-8") for path in edges)
    read = set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"', edge))
    table = source.with_name("README.md").read_text(encoding="utf-8").partition("## Settings")[2]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"[A-Z0-9_]{5,}", row[0])]
    assert sorted(named) == sorted(read)
    defaults = {row[0].strip("| `"): row[2].strip("| `") for row in rows}
    reports = _reports()
    assert defaults["SEED_MANIFEST_PATH"] == reports.manifest_path
    assert defaults["DATABASE_URL"] == DEFAULT_DATABASE_URL
    assert defaults["WEEK06_REPORT_DIR"] == reports.report_dir
    assert defaults["WEEK06_PARTITION_START_DATE"] == partition_start({})
    assert defaults["WEEK06_OPERATOR"] == reports.operator


def test_secrets_are_passed_on_by_name(
    monkeypatch: pytest.MonkeyPatch, clean_environment: None, tmp_path: Path
) -> None:
    """A definition holds the variable's name; the value is looked up when a run needs it."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@db/week06")
    monkeypatch.setenv("MINIO_ACCESS_KEY", "k3y")
    monkeypatch.setenv("MINIO_SECRET_KEY", "s3cret2")
    resources: dict[str, Any] = dict(base_definitions().resources or {})
    assert resources["week06_postgres"].database_url == dg.EnvVar("DATABASE_URL")
    described = " ".join(repr(resource) for resource in resources.values())
    assert "s3cret" not in described
    assert "k3y" not in described
    init = resources["week06_postgres"].process_config_and_initialize()
    assert init.database_url == "postgresql://me:s3cret@db/week06"
