"""The manifest gate: every source a manifest declares is accepted, warned about, quarantined or rejected.

A manifest is not believed: size and SHA-256 of a local file are taken from the file. What a source that
cannot be read means is decided here, once:

* a source that is not there, or lies in object storage this factory has no client for, is **quarantined**
  (`source_not_available`): nothing is known against it and nothing for it, so it must not be ingested;
* a file that is there and differs from what the manifest says is **rejected** whatever the policy: the policy
  speaks about what is missing, not about what is wrong;
* a source outside the data folder, or behind a link in it, is **rejected** unread;
* a checksum of one repeated digit is a placeholder, which is a missing checksum. For a file that is there it
  is simply a wrong one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.manifests import TICKET_CONTRACT, Judgement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.manifests import Manifest, SourceAsset

_CHUNK_BYTES: Final = 1 << 20
_SCANNED: Final = frozenset({"clear", "redacted", "not_applicable"})
_CONTRACT_OF_MODALITY: Final = {
    "document": "omni://contracts/data/doc_asset/v1",
    "image": "omni://contracts/data/doc_asset/v1",
    "audio": "omni://contracts/data/audio_asset/v1",
    "video": "omni://contracts/data/video_asset/v1",
    "structured": TICKET_CONTRACT,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: a stable code, a sentence for a person, and the judgement it leads to."""

    code: str
    text: str
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class AssetJudgement:
    """One source as found. `path` is set when it is a local file; `sha256` and `size_bytes` were measured."""

    source_id: str
    path: Path | None
    size_bytes: int | None
    sha256: str | None
    reasons: tuple[Reason, ...]

    @property
    def judgement(self) -> Judgement:
        """The worst of the reasons; accept when there is none."""
        return worst(reason.judgement for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class ManifestJudgement:
    """A manifest with the judgement on each of its sources, in the manifest's order."""

    manifest: Manifest
    assets: tuple[AssetJudgement, ...]

    @property
    def judgement(self) -> Judgement:
        """The worst of its sources."""
        return worst(asset.judgement for asset in self.assets)


def worst(judgements: Iterator[Judgement]) -> Judgement:
    """Return the most severe judgement; accept when there is none."""
    return max(judgements, key=lambda judgement: judgement.rank, default=Judgement.ACCEPT)


def judge_manifest(
    manifest: Manifest, *, bucket: str | None = None, data_folder: Path | None = None
) -> ManifestJudgement:
    """Judge every source of a manifest by its gate policy.

    Every source has to lie in `data_folder`, the manifest's own folder when None. `bucket` names the configured
    object store in the reason for a source that lies in one.
    Cost: one read of every local source (for its SHA-256); constant memory.
    """
    return ManifestJudgement(
        manifest,
        tuple(
            _judge_asset(manifest, asset, bucket, data_folder or manifest.path.parent) for asset in manifest.assets
        ),
    )


def digest_file(path: Path) -> tuple[int, str]:
    """Read a file once and return its size in bytes and its SHA-256 in hex.

    Raises: OSError when it cannot be read.
    """
    size, digest = 0, hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def _judge_asset(manifest: Manifest, asset: SourceAsset, bucket: str | None, data_folder: Path) -> AssetJudgement:
    reasons = list(_declared_reasons(manifest, asset))
    path, refusal = _locate(manifest, asset, bucket, data_folder)
    measured: tuple[int, str] | None = None
    if path is not None:
        try:
            measured = digest_file(path)
        except OSError as error:
            path, refusal = None, _not_available(f"{path} cannot be read: {error.strerror}")
    if refusal is not None:
        reasons.append(refusal)
    reasons += _checksum_reasons(manifest, asset, measured)
    size, sha256 = measured or (None, None)
    return AssetJudgement(asset.source_id, path, size, sha256, tuple(reasons))


def _not_available(text: str) -> Reason:
    return Reason("source_not_available", text, Judgement.QUARANTINE)


def _locate(
    manifest: Manifest, asset: SourceAsset, bucket: str | None, data_folder: Path
) -> tuple[Path | None, Reason | None]:
    """Find a source's file: beside its manifest, or by a path that begins with the data folder's own name.

    Returns the file, or the reason why there is none. Where a path leads is decided by its text first, so that
    nothing outside the data folder is read.
    """
    source = asset.source_url_or_path
    if "://" in source:
        configured = f"the configured bucket is '{bucket}'" if bucket else "no bucket is configured"
        return None, _not_available(f"{source} lies in object storage, which is not read yet ({configured})")
    root = _by_text(data_folder)
    candidates = [manifest.path.parent / source]
    if Path(source).parts[:1] == (root.name,):
        candidates.append(root.parent / source)
    inside = [path for path in candidates if _by_text(path).is_relative_to(root)]
    if not inside:
        text = f"{source} lies outside the data folder {data_folder}"
        return None, Reason("source_outside_data_folder", text, Judgement.REJECT)
    path = next((path for path in inside if path.is_file()), None)
    if path is None:
        return None, _not_available(f"{inside[0]} is not there")
    below = _by_text(path).relative_to(root)
    if path.resolve() != root.resolve() / below:
        text = f"{path} leads through a link, and whoever sets links decides what is read"
        return None, Reason("source_through_link", text, Judgement.REJECT)
    return path, None


def _by_text(path: Path) -> Path:
    """Return an absolute path without `..`, as its text has it: no link is followed."""
    return Path(os.path.normpath(path.absolute()))


def _declared_reasons(manifest: Manifest, asset: SourceAsset) -> Iterator[Reason]:
    """Judge what the manifest says about a source, before looking at the source."""
    policy = manifest.gate_policy
    if manifest.license_tag == "unknown":
        yield Reason("unknown_license", "license_tag is 'unknown'", policy.on_unknown_license)
    if asset.metadata_status == "partial":
        yield Reason("partial_metadata", "metadata_status is 'partial'", policy.on_partial_metadata)
    elif asset.metadata_status != "complete":
        text = f"metadata_status is '{asset.metadata_status}'"
        yield Reason("missing_metadata", text, policy.on_missing_metadata)
    if asset.pii_scan_status not in _SCANNED:
        text = f"pii_scan_status is '{asset.pii_scan_status}': expected {', '.join(sorted(_SCANNED))}"
        yield Reason("pii_gap", text, policy.on_pii_gap)
    mismatch = _contract_mismatch(manifest, asset)
    if mismatch:
        yield Reason("contract_mismatch", mismatch, policy.on_contract_mismatch)


def _contract_mismatch(manifest: Manifest, asset: SourceAsset) -> str | None:
    contract = asset.contract_ref or manifest.contract_ref
    expected = _CONTRACT_OF_MODALITY.get(manifest.modality)  # a multimodal manifest may bind any
    if expected is not None and contract != expected:
        return f"modality '{manifest.modality}' is bound to {contract}: expected {expected}"
    if contract == TICKET_CONTRACT and asset.asset_type != "jsonl":
        return f"tickets are JSON Lines, but asset_type is '{asset.asset_type}': expected 'jsonl'"
    return None


def _checksum_reasons(manifest: Manifest, asset: SourceAsset, measured: tuple[int, str] | None) -> Iterator[Reason]:
    if asset.checksum_sha256 is None:
        yield Reason("missing_checksum", "checksum_sha256 is missing", manifest.gate_policy.on_missing_checksum)
    elif measured is None and len(set(asset.checksum_sha256)) == 1:
        text = f"checksum_sha256 is a placeholder ('{asset.checksum_sha256[0]}' 64 times)"
        yield Reason("missing_checksum", text, manifest.gate_policy.on_missing_checksum)
    elif measured is not None and measured[1] != asset.checksum_sha256:
        text = f"checksum_sha256: expected {asset.checksum_sha256}, the file has {measured[1]}"
        yield Reason("checksum_mismatch", text, Judgement.REJECT)
    if measured is not None and asset.size_bytes is not None and measured[0] != asset.size_bytes:
        text = f"size_bytes: expected {asset.size_bytes}, the file has {measured[0]}"
        yield Reason("size_mismatch", text, Judgement.REJECT)
