"""What was done to the data of assets, by whom and when: what makes evidence older than what it speaks of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from run_evidence.evidence.document import timestamp

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix

_SHORT_ID: Final = 8
_MADE: Final = "asset.materialized.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChange:
    """A materialization or a wipe (of `partitions`, empty for all) of an asset. `occurred_at` in microseconds."""

    asset_key: str
    partition: str | None
    run_id: str
    event_id: str
    event_type: str
    occurred_at: int
    wiped: frozenset[str]

    def touches(self, asset_key: str, partition: str | None) -> bool:
        """Tell whether it was done to the data of an asset in a partition."""
        if self.asset_key != asset_key:
            return False
        if self.event_type == _MADE:
            return self.partition == partition
        return not self.wiped or partition is None or partition in self.wiped

    @property
    def sentence(self) -> str:
        """Say what was done, by whom and when."""
        when = timestamp(self.occurred_at)
        if self.event_type != _MADE:
            return f"wiped at {when}"
        by = f"by run {self.run_id[:_SHORT_ID]}" if self.run_id else "from outside"
        return f"materialized {by} at {when}"


def read_changes(prefix: Prefix, items: Iterable[tuple[str, str | None]]) -> tuple[DataChange, ...]:
    """Read what was done to these assets in these partitions, in order.

    A wipe whose partitions cannot be read is of all of them.
    """
    wanted = set(items)
    keys = sorted({key for key, _ in wanted})
    partitions = sorted({partition for _, partition in wanted if partition is not None})
    rows = prefix.select("data_changes", asset_keys=keys, partitions=partitions) if keys else []
    names = DataChange.__slots__[:-1]
    return tuple(
        DataChange(**dict(zip(names, about, strict=True)), wiped=frozenset(orjson.loads(wiped or "[]")))
        for *about, wiped in rows
    )
