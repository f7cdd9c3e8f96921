"""The factory's assets: each a thin wrap that calls plain functions and reports what they found.

Assets are built for given daily partitions, because the first partition is configuration. No annotations are
postponed in this module: Dagster reads the ones on asset functions when it builds them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg

from pipelines.data_factory.external_state import Absent, read_lakehouse, read_mart
from pipelines.data_factory.inputs import PartitionInputs, admit, admit_inputs, judge_inputs, observe_sources
from pipelines.data_factory.recovery import plan_backfill, write_plan
from pipelines.ingestion.asset_card import card
from pipelines.ingestion.assets import PARTITIONED_TICKETS
from pipelines.ingestion.failures import explained
from pipelines.ingestion.ticket_ingest import write_tickets
from pipelines.ingestion.ticket_reader import TicketCounts, TicketReader
from pipelines.ingestion.warehouse import BatchStamp
from pipelines.partitions import format_instant
from pipelines.resources import ObjectStoreResource, ReportsResource, WarehouseResource, optional_path
from run_evidence.ledger import UsageError
from run_evidence.sensors import skip

GROUP: Final = "week06_data_factory"
OWNERS: Final = ["team:data-platform"]

SEED_MANIFESTS: Final = dg.AssetKey(["week06", "source", "seed_manifests"])
MANIFEST_GATE: Final = dg.AssetKey(["week06", "factory", "manifest_gate"])
RAW_TICKET_EVENTS: Final = PARTITIONED_TICKETS
TICKET_FACT: Final = dg.AssetKey(["week06", "silver", "ticket_fact_partitioned"])
LAKEHOUSE_STATE: Final = dg.AssetKey(["week06", "external", "lakehouse_state"])
SUPPORT_KPI_MART: Final = dg.AssetKey(["week06", "external", "support_kpi_mart"])
BACKFILL_PLAN: Final = dg.AssetKey(["week06", "ops", "backfill_plan"])

# Optional state is read first, so that it is known, either way, before anything can fail.
_FIRST: Final = {"dagster/priority": "10"}


class IngestConfig(dg.Config):
    """How one run ingests. What is left out comes from `week06_reports`."""

    dry_run: bool | None = None
    limit: int | None = None


@dg.observable_source_asset(
    key=SEED_MANIFESTS,
    metadata={**card("retry", "ledger: observation"), "owner": OWNERS[0]},
    description="Observe the manifests and source files as they stand, all days together.",
    group_name=GROUP,
)
def seed_manifests(week06_reports: ReportsResource, week06_minio: ObjectStoreResource) -> dg.ObserveResult:
    """Observe the manifests and source files as they stand, all days together."""
    with explained():
        found = observe_sources(week06_reports.source_settings(week06_minio))
    return dg.ObserveResult(
        data_version=dg.DataVersion(found.snapshot_id),
        metadata={
            "manifest_count": found.manifest_count,
            "problems": dg.MetadataValue.json(list(found.problems)),
            "source_count": found.source_count,
            "source_not_available_count": found.source_not_available_count,
            "total_size_bytes": found.total_size_bytes,
            "source_snapshot_id": found.snapshot_id,
        },
    )


def factory_assets(daily: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Build the materializable and the optional assets for these daily partitions."""
    return [
        _manifest_gate(daily),
        _raw_ticket_events(daily),
        _ticket_fact(daily),
        _backfill_plan(daily),
        lakehouse_state,
        support_kpi_mart,
    ]


def _manifest_gate(daily: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=MANIFEST_GATE,
        metadata=card("hold", "ledger: materialization and checks"),
        deps=[SEED_MANIFESTS],
        partitions_def=daily,
        group_name=GROUP,
        owners=OWNERS,
    )
    def manifest_gate(
        context: dg.AssetExecutionContext,
        week06_reports: ReportsResource,
        week06_minio: ObjectStoreResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Read and judge what the partition's manifests declare; a rejected manifest fails."""
        with explained():
            inputs = judge_inputs(week06_reports.source_settings(week06_minio), _partition(context))
            if inputs.batch_id and "batch_id" not in context.run.tags:
                context.instance.add_run_tags(context.run.run_id, {"batch_id": inputs.batch_id})
            admit(inputs)
        return dg.MaterializeResult(
            metadata={
                **_input_metadata(inputs),
                "judgement": inputs.judgement.value,
                "reasons": dg.MetadataValue.json(inputs.quoted_reasons()),
            }
        )

    return manifest_gate


def _raw_ticket_events(daily: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=RAW_TICKET_EVENTS,
        metadata=card("replay", "ledger: materialization and checks; ticket_quarantine"),
        deps=[MANIFEST_GATE],
        partitions_def=daily,
        group_name=GROUP,
        owners=OWNERS,
        output_required=False,
    )
    def raw_ticket_events_partitioned(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        week06_reports: ReportsResource,
        week06_minio: ObjectStoreResource,
        week06_postgres: WarehouseResource,
    ) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
        """Ingest this partition's tickets, Bronze and Silver in one transaction; or, dry, only count them."""
        with explained():
            inputs = admit_inputs(week06_reports.source_settings(week06_minio), _partition(context))
            limit = week06_reports.limit if config.limit is None else config.limit
            reader = TicketReader(inputs.sources, inputs.window, limit)
            dry_run = week06_reports.dry_run if config.dry_run is None else config.dry_run
            if dry_run:
                _explain_only(context, inputs, reader)
                return
            warehouse = week06_postgres.open()
            outcome = write_tickets(warehouse, reader, _stamp(context, week06_reports))
            state = warehouse.partition_state(inputs.window)
        counts = reader.report().counts.written(inserted=outcome.inserted, updated=outcome.updated)
        yield dg.MaterializeResult(
            metadata={
                **_input_metadata(inputs),
                **_read_metadata(reader, counts),
                "output_row_count": state.event_count,
                "output_snapshot_id": state.snapshot_id,
            }
        )

    return raw_ticket_events_partitioned


def _ticket_fact(daily: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=TICKET_FACT,
        metadata=card("replay", "ledger: materialization and checks; reports/week06/run_evidence/"),
        deps=[RAW_TICKET_EVENTS],
        partitions_def=daily,
        group_name=GROUP,
        owners=OWNERS,
    )
    def ticket_fact_partitioned(
        context: dg.AssetExecutionContext,
        week06_reports: ReportsResource,
        week06_minio: ObjectStoreResource,
        week06_postgres: WarehouseResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Hand over the partition's ticket facts, after making sure that every Bronze ticket has one."""
        with explained():
            inputs = judge_inputs(week06_reports.source_settings(week06_minio), _partition(context))
            state = week06_postgres.open().partition_state(inputs.window)
        if state.without_silver_count:
            raise dg.Failure(
                f"{state.without_silver_count} tickets of {context.partition_key} are in Bronze, not in Silver\n"
                "Next step: replay the partition",
                metadata={"reason_codes": dg.MetadataValue.json(["bronze_without_silver"])},
            )
        return dg.MaterializeResult(
            metadata={
                **_input_metadata(inputs),
                "input_row_count": state.event_ticket_count,
                "output_row_count": state.ticket_count,
                "output_snapshot_id": state.snapshot_id,
            }
        )

    return ticket_fact_partitioned


def _backfill_plan(daily: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=BACKFILL_PLAN,
        metadata=card("retry", "ledger: materialization; reports/week06/backfill/"),
        deps=[MANIFEST_GATE],
        partitions_def=daily,
        group_name=GROUP,
        owners=OWNERS,
    )
    def backfill_plan(
        context: dg.AssetExecutionContext,
        week06_reports: ReportsResource,
        week06_minio: ObjectStoreResource,
        week06_postgres: WarehouseResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Plan, without doing it, what this partition needs to be complete, as of this step."""
        with explained():
            plan = plan_backfill(
                week06_reports.source_settings(week06_minio),
                week06_postgres.open(),
                _partition(context),
                operator=week06_reports.operator,
                now=datetime.now(UTC),
            )
            path = write_plan(plan, Path(week06_reports.report_dir), context.run.run_id)
        known = {name: value for name, value in plan.to_document().items() if value is not None}
        return dg.MaterializeResult(metadata={**known, "report_path": dg.MetadataValue.path(str(path))})

    return backfill_plan


@dg.asset(
    key=LAKEHOUSE_STATE,
    metadata=card("retry", "ledger: observation or skip"),
    group_name=GROUP,
    owners=OWNERS,
    output_required=False,
    op_tags=_FIRST,
)
def lakehouse_state(
    context: dg.AssetExecutionContext, week06_reports: ReportsResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Look at Week04's lakehouse: an observation of its snapshot, or a skip that says why there is none."""
    with explained():
        state = read_lakehouse(
            enabled=week06_reports.lakehouse_enabled,
            report_path=optional_path(week06_reports.week04_report_path),
            partition=_partition_if_any(context),
        )
    if isinstance(state, Absent):
        skip(context, reason_code=state.reason_code, text=state.text, outcome=state.outcome)
    else:
        metadata: dict[str, Any] = {
            "lakehouse_snapshot_id": state.snapshot_id,
            "report_path": dg.MetadataValue.path(str(state.report_path)),
            **_as_of(state.as_of),
        }
        context.log_event(dg.AssetObservation(LAKEHOUSE_STATE, metadata=metadata))
    yield from ()  # never a product of ours: no output, in either case


@dg.asset(
    key=SUPPORT_KPI_MART,
    metadata=card("retry", "ledger: observation or skip"),
    group_name=GROUP,
    owners=OWNERS,
    output_required=False,
    op_tags=_FIRST,
)
def support_kpi_mart(
    context: dg.AssetExecutionContext, week06_reports: ReportsResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Look at Week05's semantic mart: an observation of its last build, or a skip that says why not."""
    with explained():
        state = read_mart(
            enabled=week06_reports.analytics_enabled,
            run_results_path=optional_path(week06_reports.week05_run_results_path),
            metric_registry_path=optional_path(week06_reports.metric_registry_path),
            partition=_partition_if_any(context),
        )
    if isinstance(state, Absent):
        skip(context, reason_code=state.reason_code, text=state.text, outcome=state.outcome)
    else:
        metadata: dict[str, Any] = {
            "dbt_invocation_id": state.invocation_id,
            "semantic_metric_count": state.metric_count,
            "report_path": dg.MetadataValue.path(str(state.run_results_path)),
            **_as_of(state.as_of),
        }
        if state.failed_node_count is not None:
            metadata["failed_node_count"] = state.failed_node_count
        context.log_event(dg.AssetObservation(SUPPORT_KPI_MART, metadata=metadata))
    yield from ()


def _explain_only(context: dg.AssetExecutionContext, inputs: PartitionInputs, reader: TicketReader) -> None:
    """Read everything, write nothing, and say so: an observation with the counts, and a skip."""
    for _ in reader:
        pass
    counts = reader.report().counts
    context.log_event(
        dg.AssetObservation(
            RAW_TICKET_EVENTS,
            partition=context.partition_key,
            metadata={**_input_metadata(inputs), **_read_metadata(reader, counts), "dry_run": True},
        )
    )
    text = (
        f"dry run: {counts.in_partition} tickets of {context.partition_key} would be ingested, "
        f"{counts.invalid_in_partition} refused; nothing was written"
    )
    skip(context, reason_code="dry_run_no_db_write", text=text)


def _partition(context: dg.AssetExecutionContext) -> str:
    """Return the run's partition. Raises: UsageError for a run that has none."""
    if not context.has_partition_key:
        raise UsageError(
            "this run has no partition, and the factory works on one day at a time",
            next_step="""launch it with one (--tags '{"dagster/partition": "2026-04-17"}'), """
            "or set WEEK06_DEFAULT_PARTITION",
        )
    return str(context.partition_key)


def _partition_if_any(context: dg.AssetExecutionContext) -> str | None:
    """Return the run's partition, for an asset that itself has none; None for a run without one."""
    return context.run.tags.get("dagster/partition")


def _as_of(instant: datetime | None) -> dict[str, str]:
    """Say when a neighbour's report was made, where it says so itself."""
    return {"as_of": format_instant(instant)} if instant else {}


def _stamp(context: dg.AssetExecutionContext, reports: ReportsResource) -> BatchStamp:
    release_id = context.run.tags.get("release_id") or reports.data_release_id
    return BatchStamp(context.run.run_id, release_id, datetime.now(UTC))


def _input_metadata(inputs: PartitionInputs) -> dict[str, Any]:
    """Name the input: manifest and batch where there is one, digest, and whatever the gate had to say."""
    named = {"manifest_id": inputs.manifest_id, "batch_id": inputs.batch_id}
    return {
        **{name: value for name, value in named.items() if value is not None},
        "source_snapshot_id": inputs.snapshot_id,
        "source_count": len(inputs.sources),
        "reason_codes": dg.MetadataValue.json(sorted({reason.code for reason in inputs.reasons})),
    }


def _read_metadata(reader: TicketReader, counts: TicketCounts) -> dict[str, Any]:
    """Account for every line that was read."""
    report = reader.report()
    return {
        "input_row_count": counts.in_partition,
        "counts": dg.MetadataValue.json(counts.to_document()),
        "violations": dg.MetadataValue.json(report.violations),
        "examples": dg.MetadataValue.json(list(report.examples)),
        "tickets_of_other_partitions": dg.MetadataValue.json(report.elsewhere),
        "limit_reached": report.limit_reached,
    }
