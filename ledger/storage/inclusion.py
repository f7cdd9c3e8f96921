"""Audit paths from the tile cache, checked before they are handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.storage.tile_cache import TileCache
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.proof import check_inclusion, prove_inclusion

if TYPE_CHECKING:
    from run_evidence.ledger.storage.log import Log


class AuditPaths:
    """Paths under one checkpoint. Where the tiles give no path to its root they are made again, once."""

    def __init__(self, store: Store, log: Log, checkpoint: Checkpoint) -> None:
        self._cache = TileCache(store)
        self._log = log
        self._checkpoint = checkpoint

    def path(self, index: int, leaf: bytes) -> tuple[bytes, ...]:
        """Return the audit path of a leaf hash. Raises: IntegrityError when it is not under the checkpoint."""
        return self._cache.ask(lambda: self._log, lambda: self._checked(index, leaf))

    def _checked(self, index: int, leaf: bytes) -> tuple[bytes, ...]:
        size, root = self._checkpoint.size, self._checkpoint.root
        path = prove_inclusion(index, size, self._cache.reader(size))
        check_inclusion(path, leaf=leaf, index=index, size=size, root=root)
        return path
