"""Each of the five checks passes on a sound partition, and fails for each thing it is there to find."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.data_factory.inputs import judge_inputs
from pipelines.data_factory.quality import (
    QualityFinding,
    check_completeness,
    check_duplicates,
    check_manifest_consistency,
    check_null_rate,
    check_row_count,
)
from pipelines.ingestion.ticket_reader import Expectation, ReadReport, TicketCounts
from pipelines.ingestion.warehouse import NullRates, PartitionState
from pipelines.manifests import SourceSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = "2026-04-17"
READ = ReadReport(TicketCounts(total=4, valid=4, in_partition=4), {}, {}, (), limit_reached=False)
EXPECTED = Expectation(event_count=3, ticket_count=2, contested_count=0, report=READ)
STATE = PartitionState(event_count=3, event_ticket_count=2, without_silver_count=0, ticket_count=2, snapshot_id="0")


def expected(violations: dict[str, int] | None = None, **changes: int) -> Expectation:
    """Give the sound expectation, with some counts of the read or of itself changed."""
    own = {name: changes.pop(name) for name in list(changes) if name in Expectation.__dataclass_fields__}
    counts = replace(READ.counts, **changes)
    return replace(EXPECTED, **own, report=replace(READ, counts=counts, violations=violations or {}))


def verdict(finding: QualityFinding) -> tuple[str, ...]:
    """Severity and reason codes of a finding; nothing when it passed, and else words and a next step as well."""
    assert finding.passed == (finding.text == "")
    assert finding.passed or " Next step: " in finding.text
    assert "\n" not in finding.text, "a person is shown the first line"
    return () if finding.passed else (finding.severity, *finding.reason_codes)


@pytest.mark.parametrize(
    ("source", "state", "said"),
    [
        (EXPECTED, STATE, ()),
        (EXPECTED, replace(STATE, ticket_count=1), ("ERROR", "row_count_mismatch")),
        (EXPECTED, replace(STATE, ticket_count=3), ("ERROR", "row_count_mismatch")),
        (
            EXPECTED,
            replace(STATE, ticket_count=1, without_silver_count=1),
            ("ERROR", "bronze_without_silver", "row_count_mismatch"),
        ),
        (expected(ticket_count=0), replace(STATE, ticket_count=0), ()),
        (
            expected(ticket_count=0, invalid_in_partition=9),
            replace(STATE, ticket_count=0),
            ("WARN", "no_valid_input_rows"),
        ),
    ],
)
def test_row_counts(source: Expectation, state: PartitionState, said: tuple[str, ...]) -> None:
    """Tickets in the sources against tickets in Silver; too many is as wrong as too few."""
    assert verdict(check_row_count(source, state)) == said


@pytest.mark.parametrize(
    ("source", "state", "said"),
    [
        (EXPECTED, STATE, ()),
        (EXPECTED, replace(STATE, event_count=4), ("ERROR", "event_count_mismatch")),
        (EXPECTED, replace(STATE, event_count=2), ("ERROR", "event_count_mismatch")),
        (expected(contested_count=1), STATE, ("WARN", "duplicate_ticket_id")),
    ],
)
def test_duplicates(source: Expectation, state: PartitionState, said: tuple[str, ...]) -> None:
    """Distinct events in the sources against events in Bronze."""
    finding = check_duplicates(source, state)
    assert verdict(finding) == said
    assert finding.numbers["repeated_row_count"] == 1


@pytest.mark.parametrize(
    ("source", "nulls", "said"),
    [
        (EXPECTED, NullRates(2, {"owner": 0}), ()),
        (EXPECTED, NullRates(2, {"owner": 1}), ("ERROR", "required_field_nulls_detected")),
        (expected({"owner:null": 2}), NullRates(2, {"owner": 0}), ("WARN", "required_field_nulls_detected")),
        (expected({"owner:missing": 2}), NullRates(2, {"owner": 0}), ("WARN", "required_field_nulls_detected")),
        (expected({"org_id:null": 2, "owner:wrong_type": 1}), NullRates(2, {"owner": 0}), ()),
        (EXPECTED, NullRates(0, {"owner": 0}), ("WARN", "no_valid_input_rows")),
    ],
)
def test_null_rates(source: Expectation, nulls: NullRates, said: tuple[str, ...]) -> None:
    """Blanks in Silver are an error, refused rows with blanks a warning, and no rows are no pass."""
    assert verdict(check_null_rate(source, nulls)) == said


@pytest.mark.parametrize(
    ("source", "state", "said"),
    [
        (EXPECTED, STATE, ()),
        (
            expected(in_partition=0, event_count=0),
            replace(STATE, event_count=0),
            ("WARN", "partition_has_no_seed_rows"),
        ),
        (expected(invalid_in_partition=1), STATE, ("WARN", "invalid_rows_rejected")),
        (EXPECTED, replace(STATE, event_count=2), ("ERROR", "rows_missing")),
    ],
)
def test_completeness(
    tmp_path: Path, deliver: Callable[..., Path], source: Expectation, state: PartitionState, said: tuple[str, ...]
) -> None:
    """Whether everything that was sent is there, and whether anything was sent."""
    deliver(tmp_path, DAY, [])
    assert verdict(check_completeness(judge_inputs(SourceSettings(tmp_path), DAY), source, state)) == said


def test_completeness_without_a_later_delivery(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """A later delivery that was left out may have carried late rows."""
    deliver(tmp_path, DAY, [])
    deliver(tmp_path, "2026-04-18", [], license_tag="unknown")
    inputs = judge_inputs(SourceSettings(tmp_path), DAY)
    assert verdict(check_completeness(inputs, EXPECTED, STATE)) == ("WARN", "late_delivery_left_out")
    assert verdict(check_manifest_consistency(inputs)) == ()


@pytest.mark.parametrize(
    ("row", "changes", "said"),
    [
        ({}, {}, ()),
        ({"source_id": "elsewhere"}, {}, ("WARN", "source_id_not_declared")),
        ({"ingest_batch_id": "batch-20260416-001"}, {}, ("WARN", "batch_id_not_declared")),
        ({}, {"source": {"metadata_status": "partial"}}, ("WARN", "partial_metadata")),
        ({}, {"license_tag": "unknown"}, ("ERROR", "unknown_license")),
    ],
)
def test_manifest_consistency(
    tmp_path: Path,
    deliver: Callable[..., Path],
    ticket: Callable[..., dict[str, Any]],
    row: dict[str, Any],
    changes: dict[str, Any],
    said: tuple[str, ...],
) -> None:
    """A manifest's warnings stay visible, and tickets must come from the source and batch it names."""
    deliver(tmp_path, DAY, [ticket(**row)], **changes)
    assert verdict(check_manifest_consistency(judge_inputs(SourceSettings(tmp_path), DAY))) == said


def test_a_file_changed_after_the_gate_is_found(
    tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., dict[str, Any]]
) -> None:
    """The check measures the file again and does not trust the gate's verdict."""
    path = deliver(tmp_path, DAY, [ticket()])
    with path.with_name("tickets.jsonl").open("ab") as file:
        file.write(json.dumps(ticket(ticket_id="TKT-20260417-000002")).encode())
    finding = check_manifest_consistency(judge_inputs(SourceSettings(tmp_path), DAY))
    assert verdict(finding) == ("ERROR", "checksum_mismatch", "size_mismatch")
    assert (finding.numbers["declared_source_count"], finding.numbers["admitted_source_count"]) == (1, 0)
