"""`python -m pipelines.pages`: the pages that the lessons ask people to write, derived instead.

The asset graph and the cards come from the definitions; the two smoke reports from an ingest of the seed data,
which is run for them, and from the ledger that it leaves. A test fails when one is stale.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from pipelines.data_factory.assets import GROUP
from pipelines.data_factory.reporting import OPTIONAL
from pipelines.definitions import base_definitions
from pipelines.ingestion.assets import INGEST_JOB, INGESTION_GROUP
from pipelines.ingestion.seed_loader import load_seeds
from pipelines.ingestion.ticket_ingest import ingest_batch, source_of_file
from pipelines.ingestion.warehouse import BatchStamp
from pipelines.manifests import SourceSettings
from pipelines.seed_data import BATCH_ID, TICKETS
from run_evidence.ledger import Ledger, open_snapshot
from run_evidence.sensors.capture.capture import CaptureContext
from run_evidence.sensors.sync import sync_runs

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

HEAD: Final = "<!-- Made by `python -m pipelines.pages`; edit the code. -->\n\n"
GRAPH_PAGE: Final = "docs/blueprints/week06/week06-asset-graph.md"
CARDS: Final = "docs/assets"
INGEST_PAGE: Final = "reports/week03/batch_ingest_smoke_report.md"
MATERIALIZATION_PAGE: Final = "reports/week03/dagster_materialization_smoke_report.md"
# Deliveries are judged by when they came; the smoke run reads seed data that came on this day.
_NOW: Final = datetime(2026, 4, 18, tzinfo=UTC)
_OPTIONAL_KEYS: Final = {dependency.asset_key for dependency in OPTIONAL}
_OUTCOMES: Final = (
    "SELECT asset_key, outcome, coalesce(reason_code, '') FROM outcomes WHERE job_name = $job AND planned "
    "ORDER BY asset_key"
)
_METADATA_WANTED: Final = {
    "seed_manifests": ("success_count", "skip_count", "fail_count"),
    "raw_doc_assets": ("success_count", "skip_count", "fail_count"),
    "raw_ticket_events": ("counts", "batch_count"),
}


def asset_graph_page(definitions: dg.Definitions) -> str:
    """Return Week06's asset graph by kind, its jobs, resources and what it may do without."""
    graph = definitions.resolve_asset_graph()
    keys = [key for key in _keys(graph) if graph.get(key).group_name == GROUP]
    kinds = ("materializable", "observable", "external / optional")
    titles = ("Core materializable assets", "Observable source assets", "External / optional assets")
    lines = [f"{HEAD}# The asset graph of Week06\n"]
    for kind, title in zip(kinds, titles, strict=True):
        rows = [
            [_link(key, "../../assets"), _names(graph.get(key).parent_keys), _resources(graph, key)]
            for key in keys
            if _kind(graph, key) == kind
        ]
        lines.append(f"## {title}\n\n{_table(['asset', 'upstream', 'resources'], rows)}")
    jobs = [
        [f"`{job.name}`", _names(job.asset_layer.executable_asset_keys)]
        for job in definitions.get_repository_def().get_all_jobs()
        if not job.name.startswith("__") and set(job.asset_layer.executable_asset_keys) & set(keys)
    ]
    lines.append(f"## Jobs\n\n{_table(['job', 'selects'], sorted(jobs))}")
    needed = sorted({name for key in keys for name in _resource_names(graph, key)})
    lines.append("## Required resources\n\n" + "\n".join(f"- `{name}`" for name in needed) + "\n")
    skips = [[f"`{each.asset_key}`", f"`{each.reason_code}`", each.reason] for each in OPTIONAL]
    lines.append(f"## Known skipped dependencies\n\n{_table(['asset', 'reason code', 'meaning'], skips)}")
    return "\n".join(lines)


def asset_cards(definitions: dg.Definitions) -> dict[str, str]:
    """Return the card of every asset by its path below the checkout's root, and a page that lists them."""
    graph = definitions.resolve_asset_graph()
    cards = {f"{CARDS}/{_file(key)}": _card(graph, key) for key in _keys(graph)}
    rows = [[_link(key, "."), graph.get(key).group_name or "", _kind(graph, key)] for key in _keys(graph)]
    listed = f"{HEAD}# Asset cards\n\n{_table(['asset', 'group', 'materialization_type'], rows)}"
    return {**cards, f"{CARDS}/README.md": listed}


def _card(graph: AssetGraph, key: dg.AssetKey) -> str:
    node = graph.get(key)
    fields = {
        "asset_key": f"`{key.to_user_string()}`",
        "group": node.group_name or "",
        "owner": ", ".join(node.owners) or str(node.metadata["owner"]),
        "partition_def": _partitions(node.partitions_def),
        "upstream": _names(node.parent_keys),
        "downstream": _names(node.child_keys),
        "materialization_type": _kind(graph, key),
        "checks": ", ".join(sorted(f"`{check.name}`" for check in node.check_keys)) or "none",
        "evidence": str(node.metadata["evidence"]),
        "failure_mode": str(node.metadata["failure_mode"]),
    }
    table = _table(["field", "value"], [[name, value] for name, value in fields.items()])
    return f"{HEAD}# {key.to_user_string()}\n\n{node.description}\n\n{table}"


def batch_ingest_page(data: Path) -> str:
    """Return what a dry run of the seed data counts, what it may hide, and what to look at next."""
    settings = SourceSettings(data / "seed_manifests")
    result = load_seeds(settings)
    sources = [
        [found.manifest, found.source_id or "", found.judgement, found.outcome, ", ".join(found.reason_codes)]
        for found in result.outcomes
    ]
    source = source_of_file(data / TICKETS, BATCH_ID, _NOW)
    summary, reader = ingest_batch(None, [source], BatchStamp("smoke", None, _NOW))
    counts = "\n".join(f"- {name}: {count}" for name, count in summary.to_document().items())
    breaches = [[f"`{breach}`", str(count)] for breach, count in reader.report().violations.items()]
    return (
        f"{HEAD}# Smoke report: batch ingest, Week03\n\n"
        f"## Which source\n\n`data/{TICKETS}`, {source.size_bytes} bytes, as `{BATCH_ID}`, "
        f"SHA-256 `{source.sha256}`; declared by `data/seed_manifests`.\n\n"
        f"{_table(['manifest', 'source', 'judgement', 'outcome', 'reasons'], sources)}\n"
        f"success {result.success_count} / skip {result.skip_count} / fail {result.fail_count}\n\n"
        f"## What the dry run counted\n\n{counts}\n\nNothing was written, and nothing is proved about a write.\n\n"
        f"## Which quiet failure is feared\n\n"
        f"A line that is refused and not missed. Of these, {summary.invalid} lines were refused:\n\n"
        f"{_table(['breach', 'lines'], breaches)}\n"
        f"A source that is in quarantine and not missed: {result.skip_count} of {len(result.outcomes)}.\n\n"
        "## What to check next\n\n"
        "1. `ticket_quarantine` after a real ingest has the same lines.\n"
        "2. A second ingest inserts 0.\n"
        "3. Whoever owns a source in quarantine knows of it.\n"
    )


def materialization_page(data: Path) -> str:
    """Run Week03's job once on the seed data, on an instance of its own, and return what the ledger has of it."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral(folder) as instance:
        root = Path(folder)
        job = base_definitions().resolve_job_def(INGEST_JOB)
        result = job.execute_in_process(
            instance=instance, resources=_smoke_resources(data, root), raise_on_error=False
        )
        ledger = Ledger(root / "ledger")
        sync_runs(instance, CaptureContext(ledger, grace_seconds=0.0))
        with open_snapshot(ledger) as snapshot:
            outcomes = snapshot.rows(_OUTCOMES, {"job": INGEST_JOB})
            (run,) = snapshot.rows("SELECT verdict, strftime(started_at, '%Y-%m-%d') FROM runs")
        metadata = {
            event.asset_key.path[-1]: set(event.materialization.metadata)
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }
    rows = [
        [f"`{key}`", outcome, code or "–", _missing(key, metadata.get(key, set()))]
        for key, outcome, code in outcomes
    ]
    planned = sorted(key for key in _METADATA_WANTED if key not in {key for key, _, _ in outcomes})
    return (
        f"{HEAD}# Smoke report: Dagster materialization, Week03\n\n"
        f"- date: {run[1]}\n- inputs: `data/seed_manifests`\n- job: `{INGEST_JOB}`, group `{INGESTION_GROUP}`\n"
        f"- verdict of the ledger: {run[0]}\n\n"
        f"## Assets seen\n\n{_table(['asset', 'outcome', 'reason', 'missing metadata'], rows)}\n"
        f"## Still planned\n\n{', '.join(planned) or 'nothing: every asset of the job has an outcome'}\n"
    )


def _smoke_resources(data: Path, root: Path) -> dict[str, Any]:
    from pipelines.resources import ObjectStoreResource, ReportsResource, WarehouseResource

    return {
        "week06_postgres": WarehouseResource(database_url=f"duckdb:///{root / 'warehouse.duckdb'}"),
        "week06_minio": ObjectStoreResource(folder=str(root / "objects")),
        "week06_reports": ReportsResource(manifest_path=str(data / "seed_manifests")),
    }


def _missing(key: str, found: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in _METADATA_WANTED.get(key, ()) if name not in found) or "none"


def _keys(graph: AssetGraph) -> list[dg.AssetKey]:
    return sorted(graph.get_all_asset_keys(), key=lambda key: list(key.path))


def _kind(graph: AssetGraph, key: dg.AssetKey) -> str:
    if key.to_user_string() in _OPTIONAL_KEYS:
        return "external / optional"
    return "materializable" if graph.get(key).is_materializable else "observable"


def _partitions(definition: dg.PartitionsDefinition[Any] | None) -> str:
    if isinstance(definition, dg.DailyPartitionsDefinition):
        return f"daily, UTC, from {definition.start.date().isoformat()}"
    return "none" if definition is None else str(definition)


def _resource_names(graph: AssetGraph, key: dg.AssetKey) -> list[str]:
    names = graph.get(key).assets_def.required_resource_keys
    return sorted(name for name in names if name != "io_manager")


def _resources(graph: AssetGraph, key: dg.AssetKey) -> str:
    return ", ".join(f"`{name}`" for name in _resource_names(graph, key)) or "none"


def _names(keys: Any) -> str:
    return ", ".join(sorted(f"`{key.to_user_string()}`" for key in keys)) or "none"


def _file(key: dg.AssetKey) -> str:
    return "-".join(key.path) + ".md"


def _link(key: dg.AssetKey, folder: str) -> str:
    return f"[{key.to_user_string()}]({folder}/{_file(key)})"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def pages(data: Path) -> dict[str, Callable[[], str]]:
    """Return what makes each page, by its path below the checkout's root."""
    definitions = base_definitions()
    cards = asset_cards(definitions)
    return {
        GRAPH_PAGE: lambda: asset_graph_page(definitions),
        **{path: partial(str, text) for path, text in cards.items()},
        INGEST_PAGE: lambda: batch_ingest_page(data),
        MATERIALIZATION_PAGE: lambda: materialization_page(data),
    }


def main() -> None:
    """Write every page below the working directory."""
    argparse.ArgumentParser("python -m pipelines.pages", description=__doc__).parse_args()
    for name, make in pages(Path("data")).items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
