"""Which deliveries feed a partition, and which of them can stop it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.data_factory.inputs import (
    GateRejectedError,
    admit_inputs,
    judge_inputs,
    observe_sources,
)
from pipelines.manifests import SourceSettings
from run_evidence.ledger.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.data_factory.inputs import PartitionInputs

DAY = "2026-04-17"


def _codes(inputs: PartitionInputs) -> list[str]:
    return [reason.code for reason in inputs.reasons]


def _days(inputs: PartitionInputs) -> list[tuple[str, bool]]:
    return [(source.path.parent.name, source.late) for source in inputs.sources]


def test_a_partition_reads_its_own_delivery_and_two_later_ones(
    tmp_path: Path, deliver: Callable[..., Path]
) -> None:
    """Rows may arrive late by two days; earlier deliveries and much later ones cannot hold the day's rows."""
    for day in range(15, 22):
        deliver(tmp_path, f"2026-04-{day}", [])
    inputs = admit_inputs(SourceSettings(tmp_path), DAY)
    assert _days(inputs) == [("2026-04-17", False), ("2026-04-18", True), ("2026-04-19", True)]
    assert (inputs.manifest_id, inputs.batch_id) == ("manifest-tickets-test-20260417-001", "batch-20260417-001")


@pytest.mark.parametrize(
    ("delivered", "changes", "expected"),
    [
        ("2026-05-30", {"load_mode": "full_snapshot"}, [("2026-05-30", False)]),
        ("2026-04-16", {"load_mode": "full_snapshot"}, []),
        (
            "2026-05-30",
            {"selection_window": {"start_at": "2026-04-01T00:00:00Z", "end_at": "2026-04-17T00:00:01Z"}},
            [("2026-05-30", False)],
        ),
        (
            "2026-04-17",
            {"selection_window": {"cursor_start": "2026-04-01T00:00:00Z", "cursor_end": "2026-04-17T00:00:00Z"}},
            [],
        ),
        ("2026-04-17", {"modality": "document", "contract_ref": "omni://contracts/data/doc_asset/v1"}, []),
    ],
)
def test_what_a_manifest_covers(
    tmp_path: Path,
    deliver: Callable[..., Path],
    delivered: str,
    changes: dict[str, Any],
    expected: list[tuple[str, bool]],
) -> None:
    """A stated window decides, then a full snapshot's date; manifests of documents feed no tickets."""
    deliver(tmp_path, delivered, [], **changes)
    assert _days(judge_inputs(SourceSettings(tmp_path), DAY)) == expected


def test_a_rejected_own_delivery_stops_the_partition(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """The error names the file and the reason, and carries the codes."""
    deliver(tmp_path, DAY, [], license_tag="unknown")
    with pytest.raises(GateRejectedError, match=r"manifest\.json: .*license_tag is 'unknown'") as caught:
        admit_inputs(SourceSettings(tmp_path), DAY)
    assert caught.value.reason_codes == ("unknown_license",)
    assert caught.value.inputs.batch_id == "batch-20260417-001"


@pytest.mark.parametrize(
    "changes", [{"license_tag": "unknown"}, {"source": {"pii_scan_status": "not_run"}}, {"owner": 1}]
)
def test_a_bad_later_delivery_is_left_out_and_said(
    tmp_path: Path, deliver: Callable[..., Path], changes: dict[str, Any]
) -> None:
    """Rejected, quarantined or broken: the partition goes on without it, with a reason that asks for a look."""
    deliver(tmp_path, DAY, [])
    deliver(tmp_path, "2026-04-18", [], **changes)
    inputs = admit_inputs(SourceSettings(tmp_path), DAY)
    assert _days(inputs) == [(DAY, False)]
    assert _codes(inputs) == ["late_delivery_left_out"]


def test_quarantined_sources_are_not_read_and_do_not_count_as_a_delivery(
    tmp_path: Path, deliver: Callable[..., Path]
) -> None:
    """A source that is not there leaves nothing to ingest; that is a rejection, not an empty partition."""
    deliver(tmp_path, DAY, [], source={"source_url_or_path": "s3://bucket/tickets.jsonl"})
    deliver(tmp_path, "2026-04-18", [])
    with pytest.raises(GateRejectedError) as caught:
        admit_inputs(SourceSettings(tmp_path), DAY)
    assert caught.value.reason_codes == ("source_not_available", "structured_manifest_missing_or_empty")


def test_a_day_nobody_declared_is_rejected(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """No manifest for a day is not the same as a manifest without rows."""
    deliver(tmp_path, "2026-03-01", [])
    with pytest.raises(GateRejectedError) as caught:
        admit_inputs(SourceSettings(tmp_path), DAY)
    assert caught.value.reason_codes == ("structured_manifest_missing_or_empty",)
    assert f"{tmp_path}: no delivery with a usable tickets file covers" in str(caught.value)
    assert caught.value.inputs.manifest_id is None


def test_a_manifest_that_hides_its_day_stops_every_day(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """It may be anybody's; one whose id can be read stops its own day only."""
    deliver(tmp_path, DAY, [])
    deliver(tmp_path, "2026-03-02", [], owner=None)
    admit_inputs(SourceSettings(tmp_path), DAY)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(GateRejectedError, match=r"broken\.json: expected a JSON object"):
        admit_inputs(SourceSettings(tmp_path), DAY)


def test_a_seed_file_replaces_the_declared_files_and_says_so(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """An operator's own file is read instead, under no manifest's name, with a warning."""
    deliver(tmp_path / "d", DAY, [])
    seed = tmp_path / "seed.jsonl"
    seed.write_text("")
    inputs = admit_inputs(SourceSettings(tmp_path / "d", ticket_seed_path=seed), DAY)
    assert [(s.path, s.batch_id) for s in inputs.sources] == [(seed, None)]
    assert _codes(inputs) == ["ticket_seed_path_overrides_manifest"]
    with pytest.raises(InputError, match="the ticket seed file cannot be read"):
        judge_inputs(SourceSettings(tmp_path / "d", ticket_seed_path=tmp_path / "gone"), DAY)


def test_the_snapshot_follows_contents_not_names(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """The same bytes under another name are the same input; one more byte is another one."""
    deliver(tmp_path / "a", DAY, [b"{}\n"])
    deliver(tmp_path / "b", DAY, [b"{}\n"])
    deliver(tmp_path / "c", DAY, [b"{}\n\n"])
    a, b, c = (judge_inputs(SourceSettings(tmp_path / name), DAY).snapshot_id for name in "abc")
    assert a == b != c


def test_observing_sources_judges_nothing_and_misses_nothing(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """Broken manifests and absent sources are counted, and a changed file changes the digest."""
    deliver(tmp_path, DAY, [b"{}\n"])
    deliver(tmp_path, "2026-04-18", [], source={"source_url_or_path": "gone.jsonl"})
    deliver(tmp_path, "2026-04-19", [], owner=None)
    found = observe_sources(SourceSettings(tmp_path))
    assert (found.manifest_count, len(found.problems)) == (2, 1)
    assert (found.source_count, found.source_not_available_count, found.total_size_bytes) == (2, 1, 3)
    (tmp_path / DAY / "tickets.jsonl").write_bytes(b"{ }\n")
    assert observe_sources(SourceSettings(tmp_path)).snapshot_id != found.snapshot_id


def test_a_flood_of_reasons_is_counted_and_quoted_in_part(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """A manifest of a thousand missing files does not become a message of a thousand lines."""
    gone = {"source_id": "s", "source_url_or_path": "gone.jsonl", "asset_type": "jsonl"}
    deliver(tmp_path, DAY, [], assets=[{**gone, "source_id": f"s{n}"} for n in range(1_000)])
    with pytest.raises(GateRejectedError, match=r"04-17: reject: .*: no delivery .*; and 2981 more$") as caught:
        admit_inputs(SourceSettings(tmp_path), DAY)
    assert len(caught.value.inputs.reasons) == 4_001


@pytest.mark.parametrize(
    ("second", "admitted", "codes"),
    [
        ({"checksum_sha256": "0" * 64}, [], ["late_delivery_left_out"]),
        ({"pii_scan_status": "not_run"}, ["tickets.jsonl"], ["late_delivery_left_out"]),
        ({}, ["tickets.jsonl", "second.jsonl"], []),
    ],
)
def test_one_bad_source_of_a_later_delivery(
    tmp_path: Path, deliver: Callable[..., Path], second: dict[str, Any], admitted: list[str], codes: list[str]
) -> None:
    """A wrong file discredits its whole delivery; a quarantined one only stays out itself. Both are reported."""
    deliver(tmp_path, DAY, [])
    assets = [
        {
            "source_id": name,
            "source_url_or_path": name,
            "asset_type": "jsonl",
            "checksum_sha256": hashlib.sha256(b"\n").hexdigest(),
            "metadata_status": "complete",
            "pii_scan_status": "clear",
            **changes,
        }
        for name, changes in (("tickets.jsonl", {}), ("second.jsonl", second))
    ]
    path = deliver(tmp_path, "2026-04-18", [b"\n"], assets=assets)
    path.with_name("second.jsonl").write_bytes(b"\n")
    inputs = admit_inputs(SourceSettings(tmp_path), DAY)
    assert [source.path.name for source in inputs.sources if source.late] == admitted
    assert _codes(inputs) == codes
