"""Week03's assets and job: thin wraps over the three ingests, without partitions.

They stand beside Week06's, under keys of their own. No annotations are postponed in this module: Dagster reads the
ones on asset functions when it builds them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from pipelines.ingestion.asset_card import card
from pipelines.ingestion.doc_ingest import ingest_documents
from pipelines.ingestion.failures import explained
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.ingestion.result import IngestResult
from pipelines.ingestion.seed_loader import load_seeds
from pipelines.ingestion.ticket_ingest import TicketSummary, ingest_manifests
from pipelines.ingestion.ticket_reader import ReadReport
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.partitions import daily_window
from pipelines.resources import ObjectStoreResource, ReportsResource, WarehouseResource
from run_evidence.sensors import skip

INGESTION_GROUP: Final = "ingestion"
INGEST_JOB: Final = "ingest_all"
OWNERS: Final = ["team:data-platform"]

SEEDS: Final = dg.AssetKey(["seed_manifests"])
RAW_DOCS: Final = dg.AssetKey(["raw_doc_assets"])
RAW_TICKETS: Final = dg.AssetKey(["raw_ticket_events"])

# Week06's asset of the same rows, a partition at a time: late tickets that are written here change its partitions.
PARTITIONED_TICKETS: Final = dg.AssetKey(["week06", "ingestion", "raw_ticket_events_partitioned"])

_DRY_RUN: Final = "dry_run_no_db_write"


@dg.asset(key=SEEDS, metadata=card("hold", "ledger: materialization"), group_name=INGESTION_GROUP, owners=OWNERS)
def seed_manifests(week06_reports: ReportsResource, week06_minio: ObjectStoreResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Read every seed manifest and judge every source it declares; one that is refused fails this asset."""
    with explained():
        result = load_seeds(week06_reports.source_settings(week06_minio))
        _refuse(result)
    return dg.MaterializeResult(metadata=_metadata(result))


@dg.asset(
    key=RAW_DOCS,
    metadata=card("replay", "ledger: materialization; raw_doc_asset"),
    deps=[SEEDS],
    group_name=INGESTION_GROUP,
    owners=OWNERS,
    output_required=False,
)
def raw_doc_assets(
    context: dg.AssetExecutionContext,
    week06_reports: ReportsResource,
    week06_minio: ObjectStoreResource,
    week06_postgres: WarehouseResource,
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Land the documents in the object store, and their rows of metadata in `raw_doc_asset`."""
    dry_run = week06_reports.dry_run
    with explained():
        settings = week06_reports.source_settings(week06_minio)
        warehouse = None if dry_run else week06_postgres.open()
        result = ingest_documents(settings, week06_minio.open(), warehouse, _stamp(context, week06_reports))
        _refuse(result)
    if dry_run:
        text = f"dry run: {result.success_count} documents would land; nothing was written"
        _explain_only(context, RAW_DOCS, _metadata(result), text)
        return
    yield dg.MaterializeResult(metadata=_metadata(result))


@dg.asset(
    key=RAW_TICKETS,
    metadata=card("replay", "ledger: materialization; ticket_quarantine"),
    deps=[SEEDS],
    group_name=INGESTION_GROUP,
    owners=OWNERS,
    output_required=False,
)
def raw_ticket_events(
    context: dg.AssetExecutionContext,
    week06_reports: ReportsResource,
    week06_minio: ObjectStoreResource,
    week06_postgres: WarehouseResource,
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Ingest the tickets of all manifests, each manifest's in one transaction: Bronze, Silver and quarantine."""
    dry_run = week06_reports.dry_run
    with explained():
        warehouse = None if dry_run else week06_postgres.open()
        settings, stamp = week06_reports.source_settings(week06_minio), _stamp(context, week06_reports)
        try:
            done = ingest_manifests(settings, warehouse, stamp, week06_reports.limit)
        except RefusedInputError:  # of one delivery; the others were written
            _tell_late(context, warehouse)
            raise
        _tell_late(context, warehouse)
        if not done:
            raise RefusedInputError(
                "no manifest declares a tickets file that may be read",
                next_step="python -m pipelines.ingestion.seed_loader says what is wrong with each",
                reason_codes=["structured_manifest_missing_or_empty"],
            )
    batches = {batch_id: (summary, reader.report()) for batch_id, (summary, reader) in done.items()}
    metadata = _ticket_metadata(batches)
    if dry_run:
        valid = sum(summary.valid for summary, _ in batches.values())
        _explain_only(context, RAW_TICKETS, metadata, f"dry run: {valid} tickets were read; nothing was written")
        return
    yield dg.MaterializeResult(metadata=metadata)


INGESTION_ASSETS: Final = [seed_manifests, raw_doc_assets, raw_ticket_events]


def ingest_job() -> Any:
    """Build Week03's job: all its assets, without partitions."""
    return dg.define_asset_job(INGEST_JOB, selection=dg.AssetSelection.groups(INGESTION_GROUP))


def _refuse(result: IngestResult) -> None:
    """Raise RefusedInputError when a source was refused: a refused declaration does not turn green."""
    if result.fail_count:
        refused = [found for found in result.outcomes if found.outcome == "fail"]
        reasons = [f"{found.source_id or found.manifest}: {'; '.join(found.reasons)}" for found in refused]
        raise RefusedInputError(
            f"{result.fail_count} of {len(result.outcomes)} sources are refused: {reasons[0]}",
            next_step="have the manifest or the delivery corrected, then run this again",
            reason_codes=list(dict.fromkeys(code for found in refused for code in found.reason_codes)),
            details={"reasons": reasons[:20]},
        )


def _tell_late(context: dg.AssetExecutionContext, warehouse: Warehouse | None) -> None:
    """Report each partition that late tickets changed as what it is: made anew, by this run.

    Who is killed between the write and this finds them untold next time.
    """
    if warehouse is None:
        return
    late = warehouse.untold_late_partitions()
    for each in late:
        state = warehouse.partition_state(daily_window(each.partition_key))
        context.log_event(
            dg.AssetMaterialization(
                PARTITIONED_TICKETS,
                description=f"{each.ticket_count} late tickets, of {each.batch_ids}",
                partition=each.partition_key,
                metadata={
                    "late_row_count": each.ticket_count,
                    "late_batch_ids": each.batch_ids,
                    "output_row_count": state.event_count,
                    "output_snapshot_id": state.snapshot_id,
                },
                tags={"dagster/data_version": f"{state.event_count}-{state.snapshot_id}"},
            )
        )
    if late:
        warehouse.tell_late_partitions(late, context.run.run_id)


def _explain_only(context: dg.AssetExecutionContext, key: dg.AssetKey, metadata: dict[str, Any], text: str) -> None:
    context.log_event(dg.AssetObservation(key, metadata={**metadata, "dry_run": True}))
    skip(context, reason_code=_DRY_RUN, text=text)


def _metadata(result: IngestResult) -> dict[str, Any]:
    return {
        "success_count": result.success_count,
        "skip_count": result.skip_count,
        "fail_count": result.fail_count,
        "judgements": dg.MetadataValue.json(result.judgement_counts),
        "reason_codes": dg.MetadataValue.json(result.reason_codes),
    }


def _ticket_metadata(batches: dict[str, tuple[TicketSummary, ReadReport]]) -> dict[str, Any]:
    names = ("total", "valid", "invalid", "inserted", "duplicates", "skipped", "errors")
    totals = {name: sum(getattr(summary, name) for summary, _ in batches.values()) for name in names}
    examples = [example for _, report in batches.values() for example in report.examples]
    return {
        "batch_count": len(batches),
        "counts": dg.MetadataValue.json(totals),
        "batches": dg.MetadataValue.json({batch: summary.to_document() for batch, (summary, _) in batches.items()}),
        "examples": dg.MetadataValue.json(examples[:20]),
        "reason_codes": dg.MetadataValue.json(["invalid_rows_rejected"] if totals["invalid"] else []),
    }


def _stamp(context: dg.AssetExecutionContext, reports: ReportsResource) -> BatchStamp:
    release_id = context.run.tags.get("release_id") or reports.data_release_id
    return BatchStamp(context.run.run_id, release_id, datetime.now(UTC))
