"""The five checks of a partition, as plain functions over numbers that were counted apart from each other.

Each compares what the sources say, read again for the check, with what the warehouse holds. A finding passes
only when something was compared and agreed; `WARN` asks a person to look, `ERROR` holds what is downstream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pipelines.ingestion.ticket_reader import attribute_tickets
from pipelines.manifests import Judgement
from pipelines.tickets import REQUIRED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.data_factory.inputs import PartitionInputs
    from pipelines.ingestion.gate import Reason
    from pipelines.ingestion.ticket_reader import Expectation
    from pipelines.ingestion.warehouse import NullRates, PartitionState

Severity = Literal["WARN", "ERROR"]

_CORRECT: Final = "have the delivery corrected and sent again, then run this partition again"
_RUN_AGAIN: Final = "run this partition again, without a limit; the backfill plan says what is missing"
_ASK: Final = "ask the source whether that is so; a delivery that comes later takes another run"
_NEXT_STEPS: Final = {
    "bronze_without_silver": _RUN_AGAIN,
    "event_count_mismatch": _RUN_AGAIN,
    "row_count_mismatch": _RUN_AGAIN,
    "rows_missing": _RUN_AGAIN,
    "duplicate_ticket_id": "ask the source which of them is true",
    "partition_has_no_seed_rows": _ASK,
}


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """The result of one check: what was wrong, nothing exactly when it passed, and the numbers compared.

    `text` says it to a person, in one line with the next step; empty when it passed.
    """

    severity: Severity
    reason_codes: tuple[str, ...]
    numbers: Mapping[str, int]
    text: str
    gaps: tuple[str, ...] = ()
    """What a reconcile named, each in words, the explained ones too."""

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.reason_codes


def check_manifest_consistency(inputs: PartitionInputs) -> QualityFinding:
    """Hold the partition's own deliveries against their manifests: the verdicts, and every ticket's origin.

    Raises: InputError when a source cannot be read.
    """
    own = [reason for reason in inputs.reasons if reason.code != "late_delivery_left_out"]
    errors = _by_code(reason for reason in own if reason.judgement is Judgement.REJECT)
    warnings = _by_code(reason for reason in own if reason.judgement is not Judgement.ACCEPT)
    sources = [source for source in inputs.sources if not source.late]
    attribution = attribute_tickets(sources)
    for kind, count in (("source", attribution.foreign_source_count), ("batch", attribution.foreign_batch_count)):
        if count:
            text = f"{count} of {attribution.ticket_count} tickets name a {kind} their manifest does not declare"
            warnings[f"{kind}_id_not_declared"] = text
    return _finding(
        errors,
        warnings,
        declared_source_count=sum(len(judged.manifest.assets) for judged in inputs.own),
        admitted_source_count=len(sources),
        ticket_count=attribution.ticket_count,
        foreign_source_count=attribution.foreign_source_count,
        foreign_batch_count=attribution.foreign_batch_count,
    )


def check_row_count(expected: Expectation, current: PartitionState) -> QualityFinding:
    """Compare distinct valid tickets in the sources with the tickets in Silver, and Bronze with Silver."""
    counts = expected.report.counts
    errors: dict[str, str] = {}
    if expected.ticket_count != current.ticket_count:
        text = f"the sources have {expected.ticket_count} tickets, Silver has {current.ticket_count}"
        errors["row_count_mismatch"] = text
    if current.without_silver_count:
        errors["bronze_without_silver"] = f"{current.without_silver_count} tickets are in Bronze, not in Silver"
    nothing_valid = counts.invalid_in_partition > 0 and expected.ticket_count == 0
    return _finding(
        errors,
        {"no_valid_input_rows": f"none of the partition's tickets is valid{_first(expected)}"}
        if nothing_valid
        else {},
        source_ticket_count=expected.ticket_count,
        silver_ticket_count=current.ticket_count,
        bronze_ticket_count=current.event_ticket_count,
        bronze_without_silver_count=current.without_silver_count,
        invalid_row_count=counts.invalid_in_partition,
    )


def check_duplicates(expected: Expectation, current: PartitionState) -> QualityFinding:
    """Compare distinct events in the sources with Bronze: repeats must not add rows, nor swallow any.

    Warns when two payloads claim to be the same version of a ticket and disagree.
    """
    differs = f"the sources have {expected.event_count} distinct events, Bronze has {current.event_count}"
    contested = f"{expected.contested_count} ticket versions of one instant contradict each other"
    return _finding(
        {"event_count_mismatch": differs} if expected.event_count != current.event_count else {},
        {"duplicate_ticket_id": contested} if expected.contested_count else {},
        source_event_count=expected.event_count,
        bronze_event_count=current.event_count,
        repeated_row_count=expected.report.counts.in_partition - expected.event_count,
        contested_version_count=expected.contested_count,
    )


def check_null_rate(expected: Expectation, nulls: NullRates) -> QualityFinding:
    """Look for blanks in required fields: in Silver, where none may be, and among the rows that were refused.

    A partition without tickets has no null rate, so it does not pass.
    """
    refused = {
        breach: count
        for breach, count in expected.report.violations.items()
        if breach.partition(":")[0] in REQUIRED_FIELDS and breach.endswith((":missing", ":null"))
    }
    left_out = f"refused tickets lack required fields: {_listed(refused)}"
    warnings = {"required_field_nulls_detected": left_out} if refused else {}
    blank = _listed({column: count for column, count in nulls.null_counts.items() if count})
    if nulls.ticket_count == 0:
        warnings["no_valid_input_rows"] = "Silver has no ticket of this partition, so there is no rate"
    return _finding(
        {"required_field_nulls_detected": f"Silver has blanks in required fields: {blank}"} if blank else {},
        warnings,
        silver_ticket_count=nulls.ticket_count,
        refused_null_count=sum(refused.values()),
        **{f"{column}_null_count": count for column, count in nulls.null_counts.items()},
    )


def check_completeness(inputs: PartitionInputs, expected: Expectation, current: PartitionState) -> QualityFinding:
    """Ask whether everything the partition was sent is in it, and whether it was sent anything."""
    counts = expected.report.counts
    warnings = _by_code(reason for reason in inputs.reasons if reason.code == "late_delivery_left_out")
    if counts.in_partition == 0 and counts.invalid_in_partition == 0:
        warnings["partition_has_no_seed_rows"] = f"no ticket of {inputs.window.key} was delivered"
    if counts.invalid_in_partition:
        warnings["invalid_rows_rejected"] = f"tickets refused: {counts.invalid_in_partition}{_first(expected)}"
    missing = f"the sources have {expected.event_count} distinct events, Bronze has {current.event_count}"
    return _finding(
        {"rows_missing": missing} if current.event_count < expected.event_count else {},
        warnings,
        source_row_count=counts.in_partition,
        source_event_count=expected.event_count,
        bronze_event_count=current.event_count,
        invalid_row_count=counts.invalid_in_partition,
        late_row_count=counts.late,
    )


def _by_code(reasons: Iterable[Reason]) -> dict[str, str]:
    """Return the first sentence of each code."""
    texts: dict[str, str] = {}
    for reason in reasons:
        texts.setdefault(reason.code, reason.text)
    return texts


def _first(expected: Expectation) -> str:
    """Name the first line that was refused, and what is wrong with it; nothing when none was quoted."""
    return "".join(f", first {example}" for example in expected.report.examples[:1])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _finding(errors: Mapping[str, str], warnings: Mapping[str, str], **numbers: int) -> QualityFinding:
    found = dict(sorted({**warnings, **errors}.items()))
    steps = dict.fromkeys(_NEXT_STEPS.get(code, _CORRECT) for code in found)
    text = f"{'; '.join(found.values())}. Next step: {'; '.join(steps)}" if found else ""
    return QualityFinding("ERROR" if errors else "WARN", tuple(found), numbers, text)
