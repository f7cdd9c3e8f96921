"""The graph is the course contract's: these assets, edges, partitions, checks and jobs, and no others."""

from __future__ import annotations

import dagster as dg
import pytest

from pipelines.definitions import DATA_FACTORY_JOB, OBSERVE_JOB, base_definitions

EXTERNAL = {"week06/external/lakehouse_state", "week06/external/support_kpi_mart"}
CORE = {
    "week06/factory/manifest_gate": {"week06/source/seed_manifests"},
    "week06/ingestion/raw_ticket_events_partitioned": {"week06/factory/manifest_gate"},
    "week06/silver/ticket_fact_partitioned": {"week06/ingestion/raw_ticket_events_partitioned"},
    "week06/ops/backfill_plan": {"week06/factory/manifest_gate"},
    "week06/ops/run_evidence_report": {"week06/silver/ticket_fact_partitioned", "week06/ops/backfill_plan"},
    "week06/ops/data_factory_delivery_summary": {"week06/ops/run_evidence_report"},
}


@pytest.fixture
def definitions(clean_environment: None) -> dg.Definitions:
    return base_definitions()


def _keys(keys: object) -> set[str]:
    assert isinstance(keys, set | frozenset)
    return {key.to_user_string() for key in keys}


def test_the_graph(definitions: dg.Definitions) -> None:
    """The core chain has exactly its edges; the optional neighbours have none on either side."""
    graph = definitions.resolve_asset_graph()
    edges = {key: _keys(graph.get(dg.AssetKey.from_user_string(key)).parent_keys) for key in CORE}
    assert edges == CORE
    for key in EXTERNAL:
        node = graph.get(dg.AssetKey.from_user_string(key))
        assert not node.parent_keys
        assert not node.child_keys


def test_groups_and_partitions(definitions: dg.Definitions) -> None:
    """One group; daily UTC partitions from the first of March everywhere but at the optional neighbours."""
    graph = definitions.resolve_asset_graph()
    for key in (*CORE, *EXTERNAL, "week06/source/seed_manifests"):
        assert graph.get(dg.AssetKey.from_user_string(key)).group_name == "week06_data_factory"
    daily = dg.DailyPartitionsDefinition(start_date="2026-03-01", timezone="UTC")
    for key in CORE:
        assert graph.get(dg.AssetKey.from_user_string(key)).partitions_def == daily
    for key in EXTERNAL:
        assert graph.get(dg.AssetKey.from_user_string(key)).partitions_def is None


def test_the_first_partition_is_configuration(monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    """It is read when the definitions are built, not when a module is imported."""
    monkeypatch.setenv("WEEK06_PARTITION_START_DATE", "2026-04-10")
    job = base_definitions().resolve_job_def(DATA_FACTORY_JOB)
    assert job.partitions_def is not None
    assert job.partitions_def.get_first_partition_key() == "2026-04-10"


def test_the_core_job_selects_regular_assets_and_their_checks(definitions: dg.Definitions) -> None:
    """Observation is a job of its own."""
    core = definitions.resolve_job_def(DATA_FACTORY_JOB).asset_layer
    assert _keys(core.executable_asset_keys) == CORE.keys() | EXTERNAL
    observed = definitions.resolve_job_def(OBSERVE_JOB).asset_layer
    assert _keys(observed.executable_asset_keys) == {"week06/source/seed_manifests"}


def test_week03_stands_beside_week06(definitions: dg.Definitions) -> None:
    """Its three keys, group and job share nothing with Week06's, and have no partitions."""
    graph = definitions.resolve_asset_graph()
    ingest = {
        "seed_manifests": set(),
        "raw_doc_assets": {"seed_manifests"},
        "raw_ticket_events": {"seed_manifests"},
    }
    for key, parents in ingest.items():
        node = graph.get(dg.AssetKey.from_user_string(key))
        assert _keys(node.parent_keys) == parents
        assert not _keys(node.child_keys) - ingest.keys()
        assert (node.group_name, node.partitions_def) == ("ingestion", None)
    layer = definitions.resolve_job_def("ingest_all").asset_layer
    assert _keys(layer.executable_asset_keys) == ingest.keys()


def test_the_checks_do_not_block(definitions: dg.Definitions) -> None:
    """Five of soundness, one that reconciles: a finding is evidence for the gate. No job has the ledger's own."""
    graph = definitions.resolve_asset_graph()
    of_job = definitions.resolve_job_def(DATA_FACTORY_JOB).asset_layer.asset_graph.asset_check_keys
    (verdict,) = graph.asset_check_keys - of_job
    assert (verdict.asset_key.to_user_string(), verdict.name) == (
        "week06/ops/run_evidence_report",
        "ledger_verdict",
    )
    specs = [graph.get_check_spec(key) for key in of_job]
    assert {spec.name: spec.asset_key.to_user_string() for spec in specs} == {
        "manifest_consistency": "week06/factory/manifest_gate",
        "duplicate_idempotency": "week06/ingestion/raw_ticket_events_partitioned",
        "partition_completeness": "week06/ingestion/raw_ticket_events_partitioned",
        "row_count_output_count": "week06/silver/ticket_fact_partitioned",
        "required_field_null_rate": "week06/silver/ticket_fact_partitioned",
        "source_to_silver_reconcile": "week06/silver/ticket_fact_partitioned",
    }
    assert not any(spec.blocking for spec in specs)


def test_the_days_can_be_scheduled_and_are_not(definitions: dg.Definitions) -> None:
    """The schedule is there to be switched on."""
    (schedule,) = definitions.get_repository_def().schedule_defs
    assert (schedule.name, schedule.job_name) == ("week06_data_factory_daily", DATA_FACTORY_JOB)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_definitions_can_be_loaded(definitions: dg.Definitions) -> None:
    """Dagster's own validation finds nothing wrong: every resource an asset needs is there."""
    dg.Definitions.validate_loadable(definitions)
