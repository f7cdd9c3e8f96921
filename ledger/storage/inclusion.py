"""Audit paths from the tile cache, checked before they are handed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.storage.tile_cache import TileCache
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.proof import check_inclusion, check_inclusions, prove_inclusion, prove_inclusions
from run_evidence.ledger.tlog.tiles import Tile, TileReader

if TYPE_CHECKING:
    from run_evidence.ledger.storage.log import Log


class AuditPaths:
    """Paths under one checkpoint, each tile read once. Where none leads to its root, all are made again, once."""

    def __init__(self, store: Store, log: Log, checkpoint: Checkpoint) -> None:
        self._cache = TileCache(store)
        self._log = log
        self._checkpoint = checkpoint
        self._tiles: dict[Tile, bytes] = {}

    def path(self, index: int, leaf: bytes) -> tuple[bytes, ...]:
        """Return the audit path of a leaf hash. Raises: IntegrityError when it is not under the checkpoint."""
        return self._cache.ask(lambda: self._log, lambda: self._checked(index, leaf))

    def shared(self, leaves: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        """Return the multi-proof of leaf hashes by index, ascending. Raises: IntegrityError as `path` does."""
        return self._cache.ask(lambda: self._log, lambda: self._checked_together(leaves))

    def _checked_together(self, leaves: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        size, root = self._checkpoint.size, self._checkpoint.root
        try:
            hashes = prove_inclusions([index for index, _ in leaves], size, TileReader(size, self._fetch))
            check_inclusions(hashes, leaves=leaves, size=size, root=root)
        except IntegrityError:
            self._tiles.clear()
            raise
        return hashes

    def _checked(self, index: int, leaf: bytes) -> tuple[bytes, ...]:
        size, root = self._checkpoint.size, self._checkpoint.root
        try:
            path = prove_inclusion(index, size, TileReader(size, self._fetch))
            check_inclusion(path, leaf=leaf, index=index, size=size, root=root)
        except IntegrityError:
            self._tiles.clear()
            raise
        return path

    def _fetch(self, tile: Tile) -> bytes:
        if tile not in self._tiles:
            self._tiles[tile] = self._cache.fetch(tile)
        return self._tiles[tile]
