"""Documents land whole, once, by the same judgement as everything else; the newest declaration wins."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from pipelines.contract import CONTRACTS
from pipelines.ingestion.doc_ingest import ingest_documents
from pipelines.ingestion.documents import DocAsset
from pipelines.ingestion.object_store import FolderObjectStore, object_key
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.manifests import SourceSettings

if TYPE_CHECKING:
    from pipelines.ingestion.databases import Database
    from pipelines.ingestion.result import IngestResult

STAMP = BatchStamp("run-1", "release-1", datetime(2026, 4, 18, tzinfo=UTC))
DOCUMENT = "omni://contracts/data/doc_asset/v1"


@pytest.fixture
def declare(tmp_path: Path, deliver: Callable[..., Path]) -> Callable[..., Path]:
    """Deliver one document with a true manifest, some fields of it and of its source changed."""

    def write(day: str, contents: bytes, *, source: dict[str, Any] | None = None, **changes: Any) -> Path:
        named = {"source_id": "doc:1", "asset_type": "pdf", **(source or {})}
        document = {"modality": "document", "source_type": "manual", "contract_ref": DOCUMENT}
        return deliver(tmp_path / "in", day, [contents], source=named, **{**document, **changes})

    return write


@pytest.fixture
def ingest(tmp_path: Path, database: Database) -> Callable[[], IngestResult]:
    store, warehouse = FolderObjectStore(tmp_path / "objects"), Warehouse(database)
    return lambda: ingest_documents(SourceSettings(tmp_path / "in"), store, warehouse, STAMP)


def _rows(database: Database) -> list[tuple[Any, ...]]:
    with database.reading() as run:
        return run("SELECT source_id, checksum_sha256, object_key, reason_codes FROM raw_doc_asset ORDER BY 1")


def _told(result: IngestResult) -> list[tuple[str, tuple[str, ...]]]:
    return [(found.outcome, found.reason_codes) for found in result.outcomes]


def test_a_document_lands_under_its_digest_with_its_row(
    tmp_path: Path, database: Database, declare: Callable[..., Path], ingest: Callable[[], IngestResult]
) -> None:
    """Again, it changes nothing and is counted as left out."""
    declare("2026-04-17", b"first", source={"metadata_status": "partial"})
    assert _told(ingest()) == [("success", ("partial_metadata",))]
    ((source_id, sha256, key, codes),) = _rows(database)
    assert (source_id, key, codes) == ("doc:1", object_key(sha256), "partial_metadata")
    assert (tmp_path / "objects" / key).read_bytes() == b"first"
    assert _told(ingest()) == [("skip", ("partial_metadata", "already_landed"))]
    assert len(_rows(database)) == 1


def test_the_newest_declaration_wins_whatever_the_order(
    tmp_path: Path, database: Database, declare: Callable[..., Path], ingest: Callable[[], IngestResult]
) -> None:
    """An older manifest that comes later leaves the row alone, in one ingest and over several."""
    newer = declare("2026-04-18", b"newer")
    ingest()
    before = _rows(database)
    declare("2026-04-17", b"older")
    assert _told(ingest()) == [("skip", ("newer_declaration",)), ("skip", ("already_landed",))]
    newer.unlink()
    assert _told(ingest()) == [("skip", ("newer_already_landed",))]
    assert _rows(database) == before
    declare("2026-04-19", b"newest")
    assert _told(ingest()) == [("skip", ("newer_declaration",)), ("success", ())]
    assert _rows(database) != before


@pytest.mark.parametrize(
    ("changes", "outcome", "code"),
    [
        ({"source": {"pii_scan_status": "not_run"}}, "skip", "pii_gap"),
        ({"source": {"source_url_or_path": "gone.pdf"}}, "skip", "source_not_available"),
        ({"source": {"checksum_sha256": "0" * 64}}, "fail", "checksum_mismatch"),
        ({"source": {"size_bytes": 1}}, "fail", "size_mismatch"),
        ({"license_tag": "unknown"}, "fail", "unknown_license"),
        ({"modality": "audio"}, "fail", "contract_mismatch"),
        ({"owner": ""}, "fail", "manifest_invalid"),
    ],
)
def test_what_may_not_land_leaves_neither_object_nor_row(
    tmp_path: Path,
    database: Database,
    declare: Callable[..., Path],
    ingest: Callable[[], IngestResult],
    changes: dict[str, Any],
    outcome: str,
    code: str,
) -> None:
    declare("2026-04-17", b"document", **changes)
    ((told, codes),) = _told(ingest())
    assert told == outcome
    assert code in codes
    assert _rows(database) == []
    assert not (tmp_path / "objects").exists()


def test_a_row_keeps_its_contract() -> None:
    schema = json.loads((CONTRACTS / "doc_asset_contract.json").read_text(encoding="utf-8"))
    row = DocAsset(
        *("doc:1", "manifest-x-20260417-001", "b", "pdf", "cc_by", "o", "a" * 64, object_key("a" * 64), "accept"),
        *((), "complete", "clear", 3, datetime(2026, 4, 17, tzinfo=UTC)),  # type: ignore[arg-type]
    )
    Draft202012Validator(schema).validate(row.to_document())
