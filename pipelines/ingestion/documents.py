"""A landed document's row of metadata (`doc_asset_v1`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipelines.partitions import format_instant

if TYPE_CHECKING:
    from datetime import datetime

DOCUMENT_CONTRACT: Final = "omni://contracts/data/doc_asset/v1"


@dataclass(frozen=True, slots=True)
class DocAsset:
    """A document that may land: the row of metadata, field for field as `doc_asset_v1` names them."""

    source_id: str
    manifest_id: str
    batch_id: str
    asset_type: str
    license_tag: str
    owner: str
    checksum_sha256: str
    object_key: str
    judgement: str
    reason_codes: tuple[str, ...]
    metadata_status: str
    pii_scan_status: str
    size_bytes: int
    declared_at: datetime

    def to_document(self) -> dict[str, Any]:
        """Return the row as the JSON object the contract describes."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **values,
            "schema_version": "doc_asset_v1",
            "reason_codes": list(self.reason_codes),
            "declared_at": format_instant(self.declared_at),
        }

    @property
    def rank(self) -> tuple[datetime, str]:
        """What decides which of two declarations of a source is the newer."""
        return self.declared_at, self.manifest_id
