"""The sample deliveries: the same bytes everywhere, and each day what its constant says it is."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pipelines.data_factory.inputs import admit_inputs, judge_inputs
from pipelines.ingestion.gate import judge_manifest
from pipelines.ingestion.ticket_reader import expect_partition
from pipelines.manifests import Judgement, SourceSettings, scan_manifests
from pipelines.partitions import partition_of
from pipelines.samples import (
    BAD_DAY,
    CLEAN_DAY,
    DAYS,
    EMPTY_DAY,
    INVALID_DAY,
    ORDINARY_DAY,
    make_deliveries,
)
from pipelines.tickets import InvalidTicket, Ticket, read_tickets

if TYPE_CHECKING:
    from pathlib import Path

# SHA-256 over path and contents of every file that make_deliveries(seed=20260417) writes, in path order.
GOLDEN = "c02274fe242f6053da35b78ac1d827a48f7c99f8170058f41a07fca79b45c85b"


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deliveries")
    make_deliveries(root)
    return root


def digest(root: Path) -> str:
    """Digest a folder by relative paths and contents."""
    whole = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def test_the_same_seed_gives_the_same_bytes_on_every_machine(deliveries: Path) -> None:
    """The digest is kept in this file; a change of the generator changes it on purpose or not at all."""
    found = digest(deliveries)
    if found != GOLDEN:
        print(f"The generator changed. If that is meant, set GOLDEN in {__file__} to:\n{found}")
    assert found == GOLDEN


def test_another_seed_gives_other_tickets(deliveries: Path, tmp_path: Path) -> None:
    """The seed is what decides."""
    make_deliveries(tmp_path, seed=1)
    assert digest(tmp_path) != digest(deliveries)


def test_writing_some_days_writes_them_as_if_all_were_written(deliveries: Path, tmp_path: Path) -> None:
    """Leaving later deliveries out shows the world before they came, and nothing else changes."""
    written = make_deliveries(tmp_path, days=(CLEAN_DAY,))
    assert [delivery.day for delivery in written] == [CLEAN_DAY] == [path.name for path in tmp_path.iterdir()]
    for name in ("manifest.json", "tickets.jsonl"):
        assert (tmp_path / CLEAN_DAY / name).read_bytes() == (deliveries / CLEAN_DAY / name).read_bytes()


def test_manifests_are_true_except_on_the_bad_day(deliveries: Path) -> None:
    """Size, checksum and path of every source hold, and the bad day's do not."""
    judgements = {m.delivery_day: judge_manifest(m) for m in scan_manifests(deliveries).manifests}
    assert tuple(judgements) == DAYS
    assert {day: judged.judgement for day, judged in judgements.items()} == {
        day: Judgement.REJECT if day == BAD_DAY else Judgement.ACCEPT for day in DAYS
    }
    assert [r.code for r in judgements[BAD_DAY].assets[0].reasons] == ["checksum_mismatch", "size_mismatch"]


def test_there_are_five_hundred_valid_tickets_to_ingest(deliveries: Path) -> None:
    """Counted over the partitions the gate lets through."""
    settings = SourceSettings(deliveries)
    admitted = [admit_inputs(settings, day) for day in DAYS if day != BAD_DAY]
    assert sum(expect_partition(i.sources, i.window).ticket_count for i in admitted) >= 500


@pytest.mark.parametrize(("day", "invalid"), [(INVALID_DAY, 7), (CLEAN_DAY, 0), (ORDINARY_DAY, 7), (EMPTY_DAY, 0)])
def test_each_day_is_what_its_constant_says(deliveries: Path, day: str, invalid: int) -> None:
    """Invalid, late and repeated tickets where they belong; the empty day has late tickets of others only."""
    inputs = judge_inputs(SourceSettings(deliveries), day)
    expected = expect_partition(inputs.sources, inputs.window)
    counts = expected.report.counts
    assert (inputs.judgement, counts.errors, counts.invalid_in_partition) == (Judgement.ACCEPT, 0, invalid)
    if day == EMPTY_DAY:
        assert (counts.in_partition, counts.late) == (0, 0)
        assert counts.skipped > 0
    else:
        assert counts.late > 0
        assert counts.in_partition > expected.event_count > expected.ticket_count > 0


def test_every_kind_of_breach_is_there(deliveries: Path) -> None:
    """Missing, null, not allowed, unknown, malformed, of a wrong type and too long: one of each."""
    codes = Counter(
        violation.code
        for line in read_tickets(deliveries / INVALID_DAY / "tickets.jsonl")
        if isinstance(line.content, InvalidTicket)
        for violation in line.content.violations
    )
    kinds = ("missing", "null", "not_allowed", "unknown_field", "malformed", "wrong_type", "too_long")
    assert codes == dict.fromkeys(kinds, 1)


def test_text_of_a_time_and_partition_disagree_somewhere(deliveries: Path) -> None:
    """So that membership by string prefix would be caught: some ticket's date text is not its partition."""
    tickets = [
        line.content
        for line in read_tickets(deliveries / CLEAN_DAY / "tickets.jsonl")
        if isinstance(line.content, Ticket)
    ]
    texts = [json.loads(ticket.payload)["created_at"][:10] for ticket in tickets]
    assert any(text != partition_of(t.created_at) for text, t in zip(texts, tickets, strict=True))
    seconds = {t.created_at.time().isoformat() for t in tickets if partition_of(t.created_at) == CLEAN_DAY}
    assert {"00:00:00", "23:59:59"} <= seconds


def test_versions_arrive_out_of_order_somewhere(deliveries: Path) -> None:
    """Some newer version is delivered before an older one, so that the last to arrive must not win."""
    seen: dict[str, object] = {}
    disorder = 0
    for day in DAYS:
        for line in read_tickets(deliveries / day / "tickets.jsonl"):
            if isinstance(line.content, Ticket):
                newest = seen.get(line.content.ticket_id)
                disorder += isinstance(newest, type(line.content.version_at)) and newest > line.content.version_at
                seen[line.content.ticket_id] = line.content.version_at
    assert disorder > 0
