"""The five checks of a partition, as plain functions over numbers that were counted apart from each other.

Each compares what the sources say, read again for the check, with what the warehouse holds. A finding passes
only when something was compared and agreed; `WARN` asks a person to look, `ERROR` holds what is downstream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.ingest import attribute_tickets
from pipelines.manifests import Judgement
from pipelines.tickets import REQUIRED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.ingest import Expectation
    from pipelines.inputs import PartitionInputs
    from pipelines.warehouse import NullRates, PartitionState

Severity = Literal["WARN", "ERROR"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: what was wrong, nothing exactly when it passed, and the numbers compared."""

    severity: Severity
    reason_codes: tuple[str, ...]
    numbers: Mapping[str, int]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.reason_codes


def check_manifest_consistency(inputs: PartitionInputs) -> Finding:
    """Hold the partition's own deliveries against their manifests: the verdicts, and every ticket's origin.

    Raises: InputError when a source cannot be read.
    """
    own = [reason for reason in inputs.reasons if reason.code != "late_delivery_left_out"]
    errors = {reason.code for reason in own if reason.judgement is Judgement.REJECT}
    warnings = {reason.code for reason in own if reason.judgement is not Judgement.ACCEPT} - errors
    sources = [source for source in inputs.sources if not source.late]
    attribution = attribute_tickets(sources)
    if attribution.foreign_source_count:
        warnings.add("source_id_not_declared")
    if attribution.foreign_batch_count:
        warnings.add("batch_id_not_declared")
    return _finding(
        errors,
        warnings,
        declared_source_count=sum(len(judged.manifest.assets) for judged in inputs.own),
        admitted_source_count=len(sources),
        ticket_count=attribution.ticket_count,
        foreign_source_count=attribution.foreign_source_count,
        foreign_batch_count=attribution.foreign_batch_count,
    )


def check_row_count(expected: Expectation, current: PartitionState) -> Finding:
    """Compare distinct valid tickets in the sources with the tickets in Silver, and Bronze with Silver."""
    counts = expected.report.counts
    errors = set()
    if expected.ticket_count != current.ticket_count:
        errors.add("row_count_mismatch")
    if current.without_silver_count:
        errors.add("bronze_without_silver")
    nothing_valid = counts.invalid_in_partition > 0 and expected.ticket_count == 0
    return _finding(
        errors,
        {"no_valid_input_rows"} if nothing_valid else set(),
        source_ticket_count=expected.ticket_count,
        silver_ticket_count=current.ticket_count,
        bronze_ticket_count=current.event_ticket_count,
        bronze_without_silver_count=current.without_silver_count,
        invalid_row_count=counts.invalid_in_partition,
    )


def check_duplicates(expected: Expectation, current: PartitionState) -> Finding:
    """Compare distinct events in the sources with Bronze: repeats must not add rows, nor swallow any.

    Warns when two payloads claim to be the same version of a ticket and disagree.
    """
    return _finding(
        {"event_count_mismatch"} if expected.event_count != current.event_count else set(),
        {"duplicate_ticket_id"} if expected.contested_count else set(),
        source_event_count=expected.event_count,
        bronze_event_count=current.event_count,
        repeated_row_count=expected.report.counts.in_partition - expected.event_count,
        contested_version_count=expected.contested_count,
    )


def check_null_rate(expected: Expectation, nulls: NullRates) -> Finding:
    """Look for blanks in required fields: in Silver, where none may be, and among the rows that were refused.

    A partition without tickets has no null rate, so it does not pass.
    """
    refused = sum(
        count
        for breach, count in expected.report.violations.items()
        if breach.partition(":")[0] in REQUIRED_FIELDS and breach.endswith((":missing", ":null"))
    )
    warnings = {"required_field_nulls_detected"} if refused else set()
    if nulls.ticket_count == 0:
        warnings.add("no_valid_input_rows")
    return _finding(
        {"required_field_nulls_detected"} if any(nulls.null_counts.values()) else set(),
        warnings,
        silver_ticket_count=nulls.ticket_count,
        refused_null_count=refused,
        **{f"{column}_null_count": count for column, count in nulls.null_counts.items()},
    )


def check_completeness(inputs: PartitionInputs, expected: Expectation, current: PartitionState) -> Finding:
    """Ask whether everything the partition was sent is in it, and whether it was sent anything."""
    counts = expected.report.counts
    warnings = set()
    if counts.in_partition == 0 and counts.invalid_in_partition == 0:
        warnings.add("partition_has_no_seed_rows")
    if counts.invalid_in_partition:
        warnings.add("invalid_rows_rejected")
    if any(reason.code == "late_delivery_left_out" for reason in inputs.reasons):
        warnings.add("late_delivery_left_out")
    return _finding(
        {"rows_missing"} if current.event_count < expected.event_count else set(),
        warnings,
        source_row_count=counts.in_partition,
        source_event_count=expected.event_count,
        bronze_event_count=current.event_count,
        invalid_row_count=counts.invalid_in_partition,
        late_row_count=counts.late,
    )


def _finding(errors: set[str], warnings: set[str], **numbers: int) -> Finding:
    return Finding("ERROR" if errors else "WARN", tuple(sorted(errors | warnings)), numbers)
