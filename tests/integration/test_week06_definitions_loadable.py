"""The one entry point loads as Dagster loads it, with Week03's assets and Week06's beside each other."""

from __future__ import annotations

import dagster as dg


def test_week06_definitions_loadable() -> None:
    """`pipelines.definitions` has one `defs`, and every resource, job and asset of it can be resolved."""
    import pipelines.definitions as entry

    assert [name for name, value in vars(entry).items() if isinstance(value, dg.Definitions)] == ["defs"]
    dg.Definitions.validate_loadable(entry.defs)
    for job in ("week06_data_factory", "week06_observe_sources", "ingest_all"):
        assert entry.defs.resolve_job_def(job).name == job
    graph = entry.defs.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {"seed_manifests", "raw_doc_assets", "raw_ticket_events"} <= keys
    assert {"week06/source/seed_manifests", "week06/factory/manifest_gate"} <= keys
    assert {"week06_postgres", "week06_minio", "week06_reports"} <= (entry.defs.resources or {}).keys()
