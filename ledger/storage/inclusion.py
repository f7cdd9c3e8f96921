"""Audit paths from the tile cache, checked before they are handed out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.layout import Layout
from run_evidence.ledger.storage.tile_cache import TileCache
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.proof import check_inclusion, prove_inclusion

if TYPE_CHECKING:
    from run_evidence.ledger.storage.log import Log


@dataclass(slots=True)
class AuditPaths:
    """Paths under one checkpoint. Where the tiles give no path to its root they are made again, once."""

    layout: Layout
    log: Log
    head: Checkpoint
    _rebuilt: bool = field(default=False, init=False)

    def path(self, index: int, leaf: bytes) -> tuple[bytes, ...]:
        """Return the audit path of a leaf hash. Raises: IntegrityError when it is not under the head."""
        try:
            return self._checked(index, leaf)
        except IntegrityError:
            if self._rebuilt:
                raise
            TileCache(self.layout).rebuild(self.log)
            self._rebuilt = True
        return self._checked(index, leaf)

    def _checked(self, index: int, leaf: bytes) -> tuple[bytes, ...]:
        size, root = self.head.size, self.head.root
        path = prove_inclusion(index, size, TileCache(self.layout).reader(size))
        check_inclusion(path, leaf=leaf, index=index, size=size, root=root)
        return path
