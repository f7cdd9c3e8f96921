"""A manifest is read or refused; a refusal names the file, the field, what was expected and the next step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.manifests import Judgement, ManifestGatePolicy, scan_manifests
from run_evidence.ledger.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = "2026-04-17"


def test_a_true_manifest_is_read(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """Every field that later judgements need comes out typed; the delivery day is the date in the id."""
    path = deliver(tmp_path, DAY, [], gate_policy={"on_missing_checksum": "reject"})
    (manifest,) = scan_manifests(tmp_path).manifests
    assert manifest.path == path
    assert manifest.delivery_day == DAY
    assert manifest.batch_id == "batch-20260417-001"
    assert manifest.gate_policy == ManifestGatePolicy(on_missing_checksum=Judgement.REJECT)
    assert manifest.assets[0].asset_type == "jsonl"
    assert manifest.selection_window is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"manifest_id": "(left out)"}, "'manifest_id'"),
        ({"manifest_id": "tickets-20260417-001"}, "'manifest_id'"),
        ({"manifest_id": "manifest-tickets-20260230-001"}, "'manifest_id'"),
        ({"batch_id": ""}, "'batch_id'"),
        ({"batch_id": 7}, "'batch_id'"),
        ({"modality": "hologram"}, "'modality'"),
        ({"source_type": None}, "'source_type'"),
        ({"license_tag": "mit"}, "'license_tag'"),
        ({"contract_ref": "omni://contracts/data/ticket/v2"}, "'contract_ref'"),
        ({"load_mode": "now and then"}, "'load_mode'"),
        ({"created_at": "2026-04-17"}, "'created_at'"),
        ({"owner": "(left out)"}, "'owner'"),
        ({"assets": []}, "'assets'"),
        ({"assets": "tickets.jsonl"}, "'assets'"),
        ({"assets": [3]}, "'assets'"),
        ({"gate_policy": {"on_missing_checksum": "shrug"}}, "'gate_policy.on_missing_checksum'"),
        ({"gate_policy": {"on_mising_checksum": "reject"}}, "'gate_policy.on_mising_checksum'"),
        ({"gate_policy": ["reject"]}, "'gate_policy'"),
        ({"source": {"size_bytes": -1}}, r"'assets\[0\].size_bytes'"),
        ({"source": {"size_bytes": True}}, r"'assets\[0\].size_bytes'"),
        ({"source": {"checksum_sha256": "ABC"}}, r"'assets\[0\].checksum_sha256'"),
        ({"source": {"source_id": None}}, r"'assets\[0\].source_id'"),
        ({"source": {"metadata_status": "so-so"}}, r"'assets\[0\].metadata_status'"),
        ({"source": {"pii_scan_status": 1}}, r"'assets\[0\].pii_scan_status'"),
        ({"source": {"contract_ref": "none"}}, r"'assets\[0\].contract_ref'"),
        (
            {"selection_window": {"start_at": "2026-04-18T00:00:00Z", "end_at": "2026-04-17T00:00:00Z"}},
            "'selection_window.end_at'",
        ),
        ({"selection_window": {"start_at": "x", "end_at": "y"}}, "'selection_window.start_at'"),
    ],
)
def test_a_broken_field_is_named_with_its_file(
    tmp_path: Path, deliver: Callable[..., Path], changes: dict[str, Any], field: str
) -> None:
    """The one problem of the scan says which file, which field, what was expected, what to do."""
    path = deliver(tmp_path, DAY, [], **changes)
    scan = scan_manifests(tmp_path)
    assert scan.manifests == ()
    (problem,) = scan.problems
    assert problem.path == path
    with pytest.raises(InputError, match=rf"manifest\.json: field {field}: expected .+, got .+"):
        raise problem.error
    assert problem.error.next_step


@pytest.mark.parametrize("contents", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_a_file_that_is_no_json_object_is_a_problem_not_a_gap(tmp_path: Path, contents: bytes) -> None:
    """A file that cannot be read at all may be a manifest somebody broke; it is never passed over."""
    (tmp_path / "manifest.json").write_bytes(contents)
    (problem,) = scan_manifests(tmp_path).problems
    assert "manifest.json" in str(problem.error)
    assert "expected a JSON object" in str(problem.error)
    assert problem.delivery_day is None


def test_a_broken_manifest_keeps_its_day_where_its_id_can_be_read(
    tmp_path: Path, deliver: Callable[..., Path]
) -> None:
    """So that it stops its own partition and not every one."""
    deliver(tmp_path, DAY, [], owner=None)
    assert scan_manifests(tmp_path).problems[0].delivery_day == DAY


def test_other_json_in_a_folder_is_not_a_manifest(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """A folder may hold schemas and reports; one named directly must be a manifest."""
    deliver(tmp_path, DAY, [])
    other = tmp_path / "schema.json"
    other.write_text(json.dumps({"title": "SourceManifest"}))
    scan = scan_manifests(tmp_path)
    assert (len(scan.manifests), scan.problems) == (1, ())
    (problem,) = scan_manifests(other).problems
    assert "'schema_version'" in str(problem.error)


def test_an_id_used_twice_is_a_problem(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """Two files with one id cannot both be the declaration; the message names the other file."""
    deliver(tmp_path / "a", DAY, [])
    deliver(tmp_path / "b", DAY, [])
    scan = scan_manifests(tmp_path)
    assert len(scan.manifests) == 1
    assert "is already used by" in str(scan.problems[0].error)


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    """A missing folder and an empty one are errors, not an empty list."""
    with pytest.raises(InputError, match="no such manifest file or folder"):
        scan_manifests(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no manifest found"):
        scan_manifests(tmp_path)
