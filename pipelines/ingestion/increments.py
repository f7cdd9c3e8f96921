"""How far a source was taken that is delivered increment by increment, and what came late behind that.

A manifest with `load_mode` `incremental_cursor` moves its sources' **cursor** to the end of what it was selected by
(`cursor_end`, else when it was made), in the transaction that writes its tickets and never back. The **watermark**
is the end of the last day that was delivered whole: of the manifest's own day, or where it states a window of the
last whole day in it. A ticket that is new and was created before the watermark is **late**: its partition was
complete, as the source had said, and is another one now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.partitions import daily_window, format_instant, partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.manifests import Manifest

INCREMENTAL = "incremental_cursor"


@dataclass(frozen=True, slots=True)
class IngestCursor:
    """How far a source was taken, and the instant before which its partitions were delivered whole."""

    source_id: str
    cursor_at: datetime
    watermark_at: datetime

    def to_document(self) -> dict[str, str]:
        """Return both as RFC 3339 texts."""
        return {"cursor_at": format_instant(self.cursor_at), "watermark_at": format_instant(self.watermark_at)}


@dataclass(frozen=True, slots=True)
class Increment:
    """What one delivery adds to its sources: rows from `starts_at` (None when it does not say) up to `cursor_at`.

    Without `whole` not all of it is read, so the cursor stays where it was.
    """

    manifest_id: str
    batch_id: str
    source_ids: tuple[str, ...]
    starts_at: datetime | None
    cursor_at: datetime
    watermark_at: datetime
    whole: bool = True

    def gap_behind(self, cursors: Sequence[IngestCursor]) -> str | None:
        """Say which rows nobody delivered between a source's cursor and this; None when there are none."""
        for cursor in cursors:
            if self.starts_at is not None and cursor.cursor_at < self.starts_at:
                return (
                    f"{self.manifest_id}: {cursor.source_id} was taken up to {format_instant(cursor.cursor_at)}, "
                    f"and this delivery begins at {format_instant(self.starts_at)}"
                )
        return None


@dataclass(frozen=True, slots=True)
class LatePartition:
    """A partition that late tickets were written to, how many, and the batches they came with."""

    partition_key: str
    ticket_count: int
    batch_ids: str


def increment_of(manifest: Manifest, source_ids: Sequence[str], *, whole: bool = True) -> Increment | None:
    """Return what a manifest adds to these of its sources; None when it is not incremental."""
    if manifest.load_mode != INCREMENTAL or not source_ids:
        return None
    window = manifest.selection_window
    return Increment(
        manifest_id=manifest.manifest_id,
        batch_id=manifest.batch_id,
        source_ids=tuple(sorted(source_ids)),
        starts_at=window.start if window else None,
        cursor_at=window.end if window else manifest.created_at,
        watermark_at=_day_of(window.end) if window else daily_window(manifest.delivery_day).end,
        whole=whole,
    )


def _day_of(instant: datetime) -> datetime:
    """Return when the UTC day of an instant begins."""
    return daily_window(partition_of(instant.astimezone(UTC))).start
