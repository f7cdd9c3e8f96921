"""The factory's asset checks: each a thin wrap over plain functions, for the partition that ran.

Five ask whether the result is sound (`quality`), one whether declaration and result close (`reconciliation`). None
blocks: a finding is evidence for the gate downstream, not a reason to stop collecting it.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import dagster as dg

from pipelines.data_factory.assets import MANIFEST_GATE, RAW_TICKET_EVENTS, TICKET_FACT
from pipelines.data_factory.inputs import PartitionInputs, admit_inputs, judge_inputs
from pipelines.data_factory.quality import (
    QualityFinding,
    check_completeness,
    check_duplicates,
    check_manifest_consistency,
    check_null_rate,
    check_row_count,
)
from pipelines.data_factory.reconciliation import check_reconciled, reconcile_partition
from pipelines.ingestion.failures import explained
from pipelines.ingestion.ticket_reader import Expectation, expect_partition
from pipelines.ingestion.warehouse import Warehouse
from pipelines.manifests import SourceSettings
from pipelines.resources import ObjectStoreResource, ReportsResource, WarehouseResource


class Partition:
    """One partition as a check sees it: its sources, read again, and the database.

    The sources are read for each check: one that trusted the asset's own counts could not find it wrong.
    """

    def __init__(self, key: str, settings: SourceSettings, database: WarehouseResource) -> None:
        self.key = key
        self.settings = settings
        self._database = database

    def judged(self) -> PartitionInputs:
        """Return the partition's deliveries, the rejected ones among them."""
        return judge_inputs(self.settings, self.key)

    @cached_property
    def inputs(self) -> PartitionInputs:
        """Return the deliveries that were let in."""
        return admit_inputs(self.settings, self.key)

    @cached_property
    def expected(self) -> Expectation:
        """Return what the sources have for the partition."""
        return expect_partition(self.inputs.sources, self.inputs.window)

    @cached_property
    def warehouse(self) -> Warehouse:
        """Return the database, open."""
        return self._database.open()


def manifest_consistency(partition: Partition) -> QualityFinding:
    """Hold the partition's deliveries against their manifests once more, ticket by ticket."""
    return check_manifest_consistency(partition.judged())


def row_count_output_count(partition: Partition) -> QualityFinding:
    """Compare the tickets in the sources with the tickets in Silver."""
    return check_row_count(partition.expected, partition.warehouse.partition_state(partition.inputs.window))


def duplicate_idempotency(partition: Partition) -> QualityFinding:
    """Compare the distinct events in the sources with the events in Bronze."""
    return check_duplicates(partition.expected, partition.warehouse.partition_state(partition.inputs.window))


def required_field_null_rate(partition: Partition) -> QualityFinding:
    """Look for blanks in required fields, in Silver and among the rows that were refused."""
    return check_null_rate(partition.expected, partition.warehouse.null_rates(partition.inputs.window))


def partition_completeness(partition: Partition) -> QualityFinding:
    """Ask whether everything the partition was sent is in it, and whether it was sent anything."""
    state = partition.warehouse.partition_state(partition.inputs.window)
    return check_completeness(partition.inputs, partition.expected, state)


def source_to_silver_reconcile(partition: Partition) -> QualityFinding:
    """Follow every declared row to Silver, and every row of Silver back; name each gap.

    At the silver partition, for there the counts are final. The ledger is left out: it gets this run's own word
    while the run goes on. `python -m pipelines.reconcile` has it.
    """
    return check_reconciled(reconcile_partition(partition.settings, partition.warehouse, partition.key))


def _check(asset: dg.AssetKey, find: Callable[[Partition], QualityFinding]) -> dg.AssetChecksDefinition:
    """Return the check of an asset that has the name and the docstring of what finds its result."""

    @dg.asset_check(asset=asset, name=find.__name__, description=find.__doc__)
    def check(
        context: dg.AssetCheckExecutionContext,
        week06_reports: ReportsResource,
        week06_minio: ObjectStoreResource,
        week06_postgres: WarehouseResource,
    ) -> dg.AssetCheckResult:
        settings = week06_reports.source_settings(week06_minio)
        with explained():
            return _result(context, find(Partition(context.partition_key, settings, week06_postgres)))

    return check


FACTORY_CHECKS = [
    _check(MANIFEST_GATE, manifest_consistency),
    _check(TICKET_FACT, row_count_output_count),
    _check(RAW_TICKET_EVENTS, duplicate_idempotency),
    _check(TICKET_FACT, required_field_null_rate),
    _check(RAW_TICKET_EVENTS, partition_completeness),
    _check(TICKET_FACT, source_to_silver_reconcile),
]


def _result(context: dg.AssetCheckExecutionContext, finding: QualityFinding) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "reason_codes": dg.MetadataValue.json(list(finding.reason_codes)),
        "partition_key": context.partition_key,
        **finding.numbers,
    }
    if finding.gaps:
        metadata["gaps"] = dg.MetadataValue.json(list(finding.gaps))
    return dg.AssetCheckResult(
        passed=finding.passed,
        severity=dg.AssetCheckSeverity(finding.severity),
        description=finding.text or None,
        metadata=metadata,
    )
