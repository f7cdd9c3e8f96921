"""`python -m pipelines.ingestion.doc_ingest`: land the documents that manifests declare.

A document lands in the object store under its SHA-256, then its row of metadata is written to `raw_doc_asset`, so
that a row never names an object that is not there. What the gate rejects or puts in quarantine does not land.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.ingestion.command import print_sources, run
from pipelines.ingestion.documents import DOCUMENT_CONTRACT, DocAsset
from pipelines.ingestion.gate import AssetJudgement, judge_manifest
from pipelines.ingestion.object_store import object_key
from pipelines.ingestion.result import IngestResult, SourceOutcome, outcome_of, outcome_of_problem
from pipelines.ingestion.seed_loader import OUTCOME_OF, add_manifest_options
from pipelines.ingestion.settings import release_of, store_of, warehouse_of
from pipelines.ingestion.warehouse import BatchStamp
from pipelines.manifests import Judgement, SourceSettings, scan_manifests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pipelines.ingestion.object_store import ObjectStore
    from pipelines.ingestion.warehouse import Warehouse
    from pipelines.manifests import Manifest, SourceAsset


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A judged document, its file, and the row it would become; no row when it may not land."""

    manifest_id: str
    judged: AssetJudgement
    path: Path | None
    row: DocAsset | None


def ingest_documents(
    settings: SourceSettings, store: ObjectStore, warehouse: Warehouse | None, stamp: BatchStamp
) -> IngestResult:
    """Land every document that may land, or without a warehouse only say which would.

    Raises: InputError when the manifest path is not there or holds no manifest; RefusedInputError when a file
    changed while it was landed; EnvironmentFault when store or warehouse cannot be had. No row is written then.
    """
    scan = scan_manifests(settings.manifest_path)
    candidates = [
        _candidate(manifest, asset, judged)
        for manifest in scan.manifests
        for asset, judged in zip(
            manifest.assets,
            judge_manifest(manifest, bucket=settings.bucket, data_folder=settings.data_folder).assets,
            strict=True,
        )
        if (asset.contract_ref or manifest.contract_ref) == DOCUMENT_CONTRACT
    ]
    newest: dict[str, DocAsset] = {}
    for found in candidates:
        row = found.row
        if row and (row.source_id not in newest or row.rank > newest[row.source_id].rank):
            newest[row.source_id] = row
    if warehouse is None:
        left_out = {}
    else:
        for found in candidates:
            if found.row and found.path and newest[found.row.source_id] is found.row:
                store.put_file(found.path, found.row.checksum_sha256)
        left_out = warehouse.write_documents(list(newest.values()), stamp)
    outcomes = [_outcome(found, newest, left_out) for found in candidates]
    return IngestResult((*outcomes, *(outcome_of_problem(problem) for problem in scan.problems)))


def _candidate(manifest: Manifest, asset: SourceAsset, judged: AssetJudgement) -> _Candidate:
    row = None
    if judged.judgement.rank < Judgement.QUARANTINE.rank and judged.sha256 and judged.size_bytes is not None:
        row = DocAsset(
            source_id=asset.source_id,
            manifest_id=manifest.manifest_id,
            batch_id=manifest.batch_id,
            asset_type=asset.asset_type,
            license_tag=manifest.license_tag,
            owner=manifest.owner,
            checksum_sha256=judged.sha256,
            object_key=object_key(judged.sha256),
            judgement=judged.judgement.value,
            reason_codes=tuple(sorted({reason.code for reason in judged.reasons})),
            metadata_status=asset.metadata_status,
            pii_scan_status=asset.pii_scan_status,
            size_bytes=judged.size_bytes,
            declared_at=manifest.created_at,
        )
    return _Candidate(manifest.manifest_id, judged, judged.path, row)


def _outcome(
    found: _Candidate, newest: Mapping[str, DocAsset], left_out: Mapping[str, tuple[str, str]]
) -> SourceOutcome:
    if found.row is None:
        return outcome_of(found.manifest_id, found.judged, OUTCOME_OF[found.judged.judgement])
    if newest[found.row.source_id] is not found.row:
        why = ("newer_declaration", f"{newest[found.row.source_id].manifest_id} declares it too, and is newer")
        return outcome_of(found.manifest_id, found.judged, "skip", why)
    if found.row.source_id in left_out:
        return outcome_of(found.manifest_id, found.judged, "skip", left_out[found.row.source_id])
    return outcome_of(found.manifest_id, found.judged, "success")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Land the documents of the manifests and print what came of it; 1 when a source is refused."""
    parser = argparse.ArgumentParser("python -m pipelines.ingestion.doc_ingest", description=__doc__)
    add_manifest_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="judge and count, write nothing")
    given = parser.parse_args(arguments)
    settings = SourceSettings(given.manifests, bucket=environ.get("MINIO_BUCKET"))
    warehouse = None if given.dry_run else warehouse_of(environ)
    stamp = BatchStamp(environ.get("TRACE_ID") or "doc_ingest", release_of(environ), datetime.now(UTC))
    return print_sources(ingest_documents(settings, store_of(environ), warehouse, stamp), as_json=given.json)


if __name__ == "__main__":
    run(main)
