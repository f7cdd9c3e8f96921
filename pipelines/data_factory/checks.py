"""The factory's asset checks: each a thin wrap over `pipelines.data_factory.quality`, for the partition that ran.

None blocks: a finding is evidence for the gate downstream, not a reason to stop collecting it.
"""

from typing import Any

import dagster as dg

from pipelines.data_factory.assets import MANIFEST_GATE, RAW_TICKET_EVENTS, TICKET_FACT
from pipelines.data_factory.inputs import PartitionInputs, admit_inputs, judge_inputs
from pipelines.data_factory.quality import (
    Finding,
    check_completeness,
    check_duplicates,
    check_manifest_consistency,
    check_null_rate,
    check_row_count,
)
from pipelines.ingestion.failures import explained
from pipelines.ingestion.ticket_reader import Expectation, expect_partition
from pipelines.resources import ObjectStoreResource, ReportsResource, WarehouseResource


@dg.asset_check(asset=MANIFEST_GATE)
def manifest_consistency(
    context: dg.AssetCheckExecutionContext,
    week06_reports: ReportsResource,
    week06_minio: ObjectStoreResource,
) -> dg.AssetCheckResult:
    """Hold the partition's deliveries against their manifests once more, ticket by ticket."""
    with explained():
        inputs = judge_inputs(week06_reports.source_settings(week06_minio), context.partition_key)
        return _result(context, check_manifest_consistency(inputs))


@dg.asset_check(asset=TICKET_FACT)
def row_count_output_count(
    context: dg.AssetCheckExecutionContext,
    week06_reports: ReportsResource,
    week06_minio: ObjectStoreResource,
    week06_postgres: WarehouseResource,
) -> dg.AssetCheckResult:
    """Compare the tickets in the sources with the tickets in Silver."""
    with explained():
        inputs, expected = _expected(context, week06_reports, week06_minio)
        state = week06_postgres.open().partition_state(inputs.window)
        return _result(context, check_row_count(expected, state))


@dg.asset_check(asset=RAW_TICKET_EVENTS)
def duplicate_idempotency(
    context: dg.AssetCheckExecutionContext,
    week06_reports: ReportsResource,
    week06_minio: ObjectStoreResource,
    week06_postgres: WarehouseResource,
) -> dg.AssetCheckResult:
    """Compare the distinct events in the sources with the events in Bronze."""
    with explained():
        inputs, expected = _expected(context, week06_reports, week06_minio)
        state = week06_postgres.open().partition_state(inputs.window)
        return _result(context, check_duplicates(expected, state))


@dg.asset_check(asset=TICKET_FACT)
def required_field_null_rate(
    context: dg.AssetCheckExecutionContext,
    week06_reports: ReportsResource,
    week06_minio: ObjectStoreResource,
    week06_postgres: WarehouseResource,
) -> dg.AssetCheckResult:
    """Look for blanks in required fields, in Silver and among the rows that were refused."""
    with explained():
        inputs, expected = _expected(context, week06_reports, week06_minio)
        return _result(context, check_null_rate(expected, week06_postgres.open().null_rates(inputs.window)))


@dg.asset_check(asset=RAW_TICKET_EVENTS)
def partition_completeness(
    context: dg.AssetCheckExecutionContext,
    week06_reports: ReportsResource,
    week06_minio: ObjectStoreResource,
    week06_postgres: WarehouseResource,
) -> dg.AssetCheckResult:
    """Ask whether everything the partition was sent is in it, and whether it was sent anything."""
    with explained():
        inputs, expected = _expected(context, week06_reports, week06_minio)
        state = week06_postgres.open().partition_state(inputs.window)
        return _result(context, check_completeness(inputs, expected, state))


FACTORY_CHECKS = [
    manifest_consistency,
    row_count_output_count,
    duplicate_idempotency,
    required_field_null_rate,
    partition_completeness,
]


def _expected(
    context: dg.AssetCheckExecutionContext, reports: ReportsResource, store: ObjectStoreResource
) -> tuple[PartitionInputs, Expectation]:
    """Read the sources again: a check that trusted the asset's own counts could not find it wrong."""
    inputs = admit_inputs(reports.source_settings(store), context.partition_key)
    return inputs, expect_partition(inputs.sources, inputs.window)


def _result(context: dg.AssetCheckExecutionContext, finding: Finding) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "reason_codes": dg.MetadataValue.json(list(finding.reason_codes)),
        "partition_key": context.partition_key,
        **finding.numbers,
    }
    return dg.AssetCheckResult(
        passed=finding.passed,
        severity=dg.AssetCheckSeverity(finding.severity),
        description=finding.text or None,
        metadata=metadata,
    )
