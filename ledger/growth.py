"""Proving from the tiles that one tree head is a prefix of another of the same log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ledger.checkpoint import Checkpoint
from ledger.errors import IntegrityError
from ledger.layout import Layout
from ledger.proof import check_consistency, prove_consistency, read_frontier
from ledger.tile_cache import TileCache

if TYPE_CHECKING:
    from ledger.handle import Ledger
    from ledger.log import Log


def prove_growth(layout: Layout, log: Callable[[], Log], old: Checkpoint, new: Checkpoint) -> tuple[bytes, ...]:
    """Return the consistency proof between two heads, checked against both.

    Tiles are a cache: where they do not lead from one head to the other they are made again from `log` (which
    is loaded only then) before the heads are blamed.

    Raises: IntegrityError when the old head is not a prefix of the new one, or the log not of the new head.
    """
    cache = TileCache(layout)
    try:
        return _checked(cache, old, new)
    except IntegrityError:
        cache.rebuild(log())
    try:
        return _checked(cache, old, new)
    except IntegrityError as error:
        raise IntegrityError(
            f"The head of {new.size} entries is not an extension of the one of {old.size}: {error}.",
            next_step="ledger verify",
        ) from None


def require_prefix(ledger: Ledger, log: Log, head: Checkpoint) -> None:
    """Pass if the log's first entries are those of `head`, which somebody kept; `log` has that many.

    Raises: IntegrityError when it is another log's, or the root is not that of these entries.
    """
    origin = ledger.require()
    if head.origin != origin:
        raise IntegrityError(f"The checkpoint is of {head.origin}, this ledger's log is {origin}.")
    cache = TileCache(ledger.layout)
    cache.catch_up(log)
    root = read_frontier(head.size, cache.reader(head.size)).root()
    if root != head.root:
        cache.rebuild(log)
        root = read_frontier(head.size, cache.reader(head.size)).root()
    if root != head.root:
        raise IntegrityError(
            f"The log's first {head.size} entries have root {root.hex()}, the checkpoint {head.root.hex()}.",
            next_step="ledger verify --since CHECKPOINT",
        )


def _checked(cache: TileCache, old: Checkpoint, new: Checkpoint) -> tuple[bytes, ...]:
    proof = prove_consistency(old.size, new.size, cache.reader(new.size))
    check_consistency(proof, old_size=old.size, new_size=new.size, old_root=old.root, new_root=new.root)
    return proof
