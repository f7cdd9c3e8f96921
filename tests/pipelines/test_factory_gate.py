"""The gate's judgement table: what is declared, what is found and the policy decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipelines.ingestion.gate import judge_manifest
from pipelines.manifests import Judgement, scan_manifests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.ingestion.gate import ManifestJudgement

DAY = "2026-04-17"
S3 = "s3://omni-raw-tickets/tickets.jsonl"


@pytest.fixture
def judge(
    tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., dict[str, Any]]
) -> Callable[..., ManifestJudgement]:
    def judge(**changes: Any) -> ManifestJudgement:
        deliver(tmp_path, DAY, [ticket()], **changes)
        (manifest,) = scan_manifests(tmp_path).manifests
        return judge_manifest(manifest, bucket="omni-raw")

    return judge


@pytest.mark.parametrize(
    ("changes", "codes", "judgement"),
    [
        ({}, [], "accept"),
        ({"license_tag": "unknown"}, ["unknown_license"], "reject"),
        ({"license_tag": "unknown", "gate_policy": {"on_unknown_license": "warn"}}, ["unknown_license"], "warn"),
        ({"source": {"metadata_status": "partial"}}, ["partial_metadata"], "warn"),
        ({"source": {"metadata_status": "missing"}}, ["missing_metadata"], "quarantine"),
        ({"source": {"metadata_status": None}}, ["missing_metadata"], "quarantine"),
        ({"source": {"pii_scan_status": "not_run"}}, ["pii_gap"], "quarantine"),
        ({"source": {"pii_scan_status": "suspected"}}, ["pii_gap"], "quarantine"),
        ({"source": {"pii_scan_status": None}}, ["pii_gap"], "quarantine"),
        ({"source": {"pii_scan_status": "not_applicable"}}, [], "accept"),
        ({"contract_ref": "omni://contracts/data/doc_asset/v1"}, ["contract_mismatch"], "reject"),
        ({"source": {"contract_ref": "omni://contracts/data/audio_asset/v1"}}, ["contract_mismatch"], "reject"),
        ({"source": {"asset_type": "csv"}}, ["contract_mismatch"], "reject"),
        ({"source": {"checksum_sha256": None}}, ["missing_checksum"], "warn"),
        (
            {"source": {"checksum_sha256": None}, "gate_policy": {"on_missing_checksum": "quarantine"}},
            ["missing_checksum"],
            "quarantine",
        ),
        ({"source": {"checksum_sha256": "4" * 64}}, ["checksum_mismatch"], "reject"),
        ({"source": {"checksum_sha256": "ab" * 32}}, ["checksum_mismatch"], "reject"),
        ({"source": {"size_bytes": 1}}, ["size_mismatch"], "reject"),
        ({"source": {"size_bytes": None}}, [], "accept"),
        ({"source": {"source_url_or_path": "gone.jsonl"}}, ["source_not_available"], "quarantine"),
        ({"source": {"source_url_or_path": "."}}, ["source_not_available"], "quarantine"),
        ({"source": {"source_url_or_path": S3}}, ["source_not_available"], "quarantine"),
        (
            {"source": {"source_url_or_path": S3, "checksum_sha256": "5" * 64}},
            ["source_not_available", "missing_checksum"],
            "quarantine",
        ),
        (
            {
                "source": {"source_url_or_path": S3, "checksum_sha256": "5" * 64},
                "gate_policy": {"on_missing_checksum": "reject"},
            },
            ["source_not_available", "missing_checksum"],
            "reject",
        ),
        (
            {"source": {"metadata_status": "partial", "pii_scan_status": "not_run"}},
            ["partial_metadata", "pii_gap"],
            "quarantine",
        ),
    ],
)
def test_the_judgement_table(
    judge: Callable[..., ManifestJudgement], changes: dict[str, Any], codes: list[str], judgement: str
) -> None:
    """Each finding has its code, and the worst of them is the judgement."""
    judged = judge(**changes)
    assert [reason.code for reason in judged.assets[0].reasons] == codes
    assert judged.judgement == judgement


def test_policy_cannot_excuse_a_wrong_checksum(judge: Callable[..., ManifestJudgement]) -> None:
    """The policy speaks of what is missing; a file that differs from its declaration is rejected regardless."""
    policy = {"on_missing_checksum": "accept", "on_contract_mismatch": "accept"}
    judged = judge(source={"checksum_sha256": "0" * 64}, gate_policy=policy)
    assert judged.judgement is Judgement.REJECT


def test_a_truncated_file_is_found(
    tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., dict[str, Any]]
) -> None:
    """Cutting one byte off a delivery changes size and checksum, and both are named with both values."""
    path = deliver(tmp_path, DAY, [ticket()])
    tickets = path.with_name("tickets.jsonl")
    tickets.write_bytes(tickets.read_bytes()[:-1])
    (manifest,) = scan_manifests(tmp_path).manifests
    reasons = judge_manifest(manifest).assets[0].reasons
    assert [reason.code for reason in reasons] == ["checksum_mismatch", "size_mismatch"]
    size = manifest.assets[0].size_bytes
    assert size is not None
    assert reasons[1].text == f"size_bytes: expected {size}, the file has {size - 1}"


def test_an_unreadable_file_is_not_available(tmp_path: Path, judge: Callable[..., ManifestJudgement]) -> None:
    """A path that exists and is no file gives no measurement, and no measurement is invented."""
    asset = judge(source={"source_url_or_path": "../"}).assets[0]
    assert (asset.path, asset.sha256, asset.size_bytes) == (None, None, None)


def test_a_source_in_object_storage_names_the_configured_bucket(
    judge: Callable[..., ManifestJudgement],
) -> None:
    """Whoever reads the reason sees which store was configured."""
    text = judge(source={"source_url_or_path": S3}).assets[0].reasons[0].text
    assert S3 in text
    assert "'omni-raw'" in text
