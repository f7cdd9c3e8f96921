"""Every line of a partition's sources is accounted for, and the counts reconcile."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ingestion.ticket_reader import (
    MAX_EXAMPLES,
    TicketReader,
    TicketReadError,
    TicketSource,
    attribute_tickets,
    expect_partition,
)
from pipelines.partitions import daily_window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = daily_window("2026-04-17")


def source(path: Path, lines: list[bytes], *, late: bool = False) -> TicketSource:
    """Write lines to a file and declare it as a source."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return TicketSource(path, "0" * 64, 0, late, "batch-20260417-001", "structured:tickets:test")


@given(
    own=st.lists(st.sampled_from(["ours", "theirs", "invalid", "unreadable"]), max_size=12),
    late=st.lists(st.sampled_from(["ours", "theirs", "invalid"]), max_size=12),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_counts_reconcile_whatever_the_lines_are(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]], own: list[str], late: list[str]
) -> None:
    """Lines read = valid + invalid + errors, and valid = in_partition + skipped; late ones are the later file's."""
    kinds = {
        "ours": json.dumps(ticket()).encode(),
        "theirs": json.dumps(ticket(created_at="2026-04-16T23:59:59Z")).encode(),
        "invalid": json.dumps(ticket(owner=None)).encode(),
        "unreadable": b"{",
    }
    sources = [
        source(tmp_path / "own.jsonl", [kinds[kind] for kind in own]),
        source(tmp_path / "late.jsonl", [kinds[kind] for kind in late], late=True),
    ]
    reader = TicketReader(sources, DAY)
    try:
        yielded = sum(1 for _ in reader)
        assert "unreadable" not in own
        assert yielded == reader.report().counts.in_partition
    except TicketReadError:
        assert "unreadable" in own
    counts, expected = reader.report().counts, Counter(own + late)
    assert counts.total == len(own) + len(late) == counts.valid + counts.invalid + counts.errors
    assert counts.valid == counts.in_partition + counts.skipped
    assert counts.in_partition == expected["ours"]
    assert counts.skipped == expected["theirs"]
    assert counts.errors == expected["unreadable"]
    assert counts.invalid == counts.invalid_in_partition == expected["invalid"]
    assert counts.late == late.count("ours")
    assert (counts.inserted, counts.updated, counts.duplicates) == (None, None, None)


def test_an_unreadable_line_is_named_with_file_and_line(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]]
) -> None:
    """The file is read to its end, so that all such lines are counted, and then it is an error."""
    good = json.dumps(ticket()).encode()
    reader = TicketReader([source(tmp_path / "t.jsonl", [good, b"{", good, b"}"])], DAY)
    with pytest.raises(TicketReadError, match=r"t\.jsonl:2: not JSON: .* \(and 1 more such lines\)") as caught:
        list(reader)
    assert caught.value.report.counts.errors == 2
    assert caught.value.report.counts.in_partition == 2
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("created_at", "late", "ours"),
    [
        ("2026-04-17T10:00:00Z", False, True),
        ("2026-04-17T10:00:00Z", True, True),
        ("2026-04-18T10:00:00Z", False, False),
        ("2026-04-18T10:00:00Z", True, False),
        ("no time", False, True),
        ("no time", True, False),
    ],
)
def test_an_invalid_ticket_belongs_to_its_day_or_else_to_its_delivery(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]], created_at: str, late: bool, ours: bool
) -> None:
    """Reading a later delivery must not blame its invalid tickets on this partition."""
    line = json.dumps(ticket(created_at=created_at, owner=None)).encode()
    reader = TicketReader([source(tmp_path / "t.jsonl", [line], late=late)], DAY)
    assert list(reader) == []
    report = reader.report()
    assert (report.counts.invalid, report.counts.invalid_in_partition) == (1, int(ours))
    assert ("owner:null" in report.violations) == ours
    assert len(report.examples) == int(ours)


def test_reasons_are_counted_in_full_and_quoted_in_part(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]]
) -> None:
    """A delivery of nothing but invalid tickets does not flood the report, and its counts are exact."""
    line = json.dumps(ticket(owner=None, status="waiting")).encode()
    reader = TicketReader([source(tmp_path / "t.jsonl", [line] * 50)], DAY)
    list(reader)
    report = reader.report()
    assert report.violations == {"owner:null": 50, "status:not_allowed": 50}
    assert len(report.examples) == MAX_EXAMPLES
    assert report.examples[0].endswith(
        "t.jsonl:1: status: expected one of open, pending, in_progress, resolved, "
        "closed, escalated, got 'waiting'; owner: must not be null"
    )


@pytest.mark.parametrize(("limit", "total", "reached"), [(0, 0, True), (2, 2, True), (3, 3, False), (9, 3, False)])
def test_a_limit_bounds_lines_read_and_is_reported_when_it_cut_something(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]], limit: int, total: int, reached: bool
) -> None:
    """A limit that left nothing out was not reached; the limit holds over all files together."""
    line = json.dumps(ticket()).encode()
    sources = [source(tmp_path / "a.jsonl", [line]), source(tmp_path / "b.jsonl", [line, line])]
    reader = TicketReader(sources, DAY, limit)
    list(reader)
    assert (reader.report().counts.total, reader.report().limit_reached) == (total, reached)


def test_skipped_tickets_are_counted_by_their_own_day(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]]
) -> None:
    """Whoever wonders where a row went finds the partition it belongs to."""
    days = ["2026-04-16T10:00:00Z", "2026-04-16T23:00:00Z", "2026-04-18T00:00:00Z"]
    lines = [json.dumps(ticket(created_at=day)).encode() for day in days]
    reader = TicketReader([source(tmp_path / "t.jsonl", lines)], DAY)
    list(reader)
    assert reader.report().elsewhere == {"2026-04-16": 2, "2026-04-18": 1}


def test_expectations_count_events_tickets_and_contradictions(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]]
) -> None:
    """A repeat is no new event; a newer version is; the same ticket in another batch is no contradiction."""
    rows = [
        ticket(),
        ticket(),
        ticket(ingest_batch_id="batch-20260418-001"),
        ticket(status="closed", updated_at="2026-04-17T09:00:00Z"),
        ticket(ticket_id="TKT-20260417-000002"),
        ticket(ticket_id="TKT-20260417-000002", priority="p4_low"),
    ]
    lines = [json.dumps(row).encode() for row in rows]
    expected = expect_partition([source(tmp_path / "t.jsonl", lines)], DAY)
    assert (expected.event_count, expected.ticket_count, expected.contested_count) == (5, 2, 1)


def test_tickets_that_name_another_origin_are_counted(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]]
) -> None:
    """Each ticket is held against the manifest it was delivered with."""
    rows = [ticket(), ticket(source_id="other"), ticket(ingest_batch_id="batch-1"), ticket(owner=None)]
    found = attribute_tickets([source(tmp_path / "t.jsonl", [json.dumps(row).encode() for row in rows])])
    assert (found.ticket_count, found.foreign_source_count, found.foreign_batch_count) == (3, 1, 1)
