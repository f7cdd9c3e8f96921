"""What the view `partitions` starts from: the partitions that assets have by their definitions, counted out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from run_evidence.ledger.errors import LedgerError
from run_evidence.ledger.model.canonical import Json
from run_evidence.ledger.model.event import blob_name
from run_evidence.ledger.model.extent import Extent, partition_keys, read_extent
from run_evidence.ledger.storage.search import sql_text

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.query.as_of import AsOf
    from run_evidence.ledger.query.snapshot import Snapshot


def partition_rows(ledger: Ledger, snapshot: Snapshot, as_of: AsOf) -> list[dict[str, Json]]:
    """Return for each extent that holds the assets it is of, and its keys; `null` where they are not known.

    Windows are counted out up to now, or up to what is asked: the time named, or the last entry's of a prefix.
    Of each asset the last declaration counts; one that cannot be read makes its partitions not known.
    """
    declared = snapshot.rows(sql_text("declared_partitions"))
    of_asset: dict[str, tuple[str, Extent | None]] = {}
    for digest, asset_keys, text in declared:
        extent = _extent(ledger, text)
        of_asset |= dict.fromkeys(asset_keys or (), (digest or "", extent))
    if not of_asset:
        return []
    now = _time_of(ledger, snapshot, as_of)
    together: dict[tuple[str, Extent | None], list[str]] = {}
    for asset_key, declaration in of_asset.items():
        together.setdefault(declaration, []).append(asset_key)
    return [_row(extent, keys, now) for (_, extent), keys in together.items()]


def _extent(ledger: Ledger, text: str) -> Extent | None:
    try:
        sha256 = blob_name(text)
        data: Any = orjson.loads(text if sha256 is None else ledger.payload(sha256))
        return read_extent(data["extent"])
    except (LedgerError, LookupError, TypeError, ValueError):
        return None


def _time_of(ledger: Ledger, snapshot: Snapshot, as_of: AsOf) -> int:
    by = [moment for moment in (as_of.recorded_by, as_of.occurred_by) if moment is not None]
    if by or as_of.size is None:
        return min(by, default=ledger.clock())
    ((newest,),) = snapshot.rows("SELECT max(epoch_us(recorded_at)) FROM events")
    return newest or 0


def _row(extent: Extent | None, asset_keys: list[str], now: int) -> dict[str, Json]:
    try:
        keys = partition_keys(extent, now) if extent else None
    except LedgerError:
        keys = None
    named: list[Json] = list(asset_keys)
    listed: list[Json] | None = None if keys is None else list(keys)
    return {"asset_keys": named, "definition": extent.kind if extent else "other", "keys": listed}
