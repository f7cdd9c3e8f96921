"""Proving that one checkpoint of a log is a prefix of another, from the tiles and the entries."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.storage.tile_cache import TileCache, leaves
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.merkle import Frontier
from run_evidence.ledger.tlog.proof import check_consistency, prove_consistency, read_frontier

if TYPE_CHECKING:
    from run_evidence.ledger.storage.log import Log

_LEAVES_AT_ONCE = 1 << 16


def prove_extension(store: Store, log: Callable[[], Log], old: Checkpoint, new: Checkpoint) -> tuple[bytes, ...]:
    """Return the consistency proof between two checkpoints, checked against both.

    Tiles are a cache: where they do not lead from one checkpoint to the other they are made again from `log` (which
    is loaded only then) before the checkpoints are blamed.

    Raises: IntegrityError when the old checkpoint is not a prefix of the new one, or the log not of the new head.
    """
    cache = TileCache(store)
    try:
        return cache.ask(log, lambda: _checked(cache, old, new))
    except IntegrityError as error:
        raise IntegrityError(
            f"The checkpoint of {new.size} entries is not an extension of the one of {old.size}: {error}.",
            next_step="ledger verify",
        ) from None


def calculate_checkpoint(store: Store, log: Log, origin: str, size: int) -> Checkpoint:
    """Calculate the checkpoint over the first `size` entries of the log; it has that many.

    From the tiles where there are any or some can be written, else from the entries. What tiles say is not
    compared with anything: the caller does. Raises: IntegrityError when a segment cannot be read.
    """
    cache = TileCache(store)

    def asked() -> Checkpoint:
        cache.catch_up(log)
        return Checkpoint(origin, size, read_frontier(size, cache.reader(size)).root())

    try:
        return cache.ask(lambda: log, asked)
    except OSError:  # a cache that can neither be read nor written, as in a copy on a read-only disk
        return calculate_from_entries(log, origin, size)[0]


def calculate_from_entries(log: Log, origin: str, *sizes: int) -> tuple[Checkpoint, ...]:
    """Calculate the checkpoints of these sizes, ascending, without tiles.

    Cost: all entries up to the last are read.
    """
    found, frontier, hashes = [], Frontier.empty(), leaves(log, 0)
    for size in sizes:
        while chunk := list(islice(hashes, min(_LEAVES_AT_ONCE, size - frontier.size))):
            frontier = frontier.extend(chunk)
        found.append(Checkpoint(origin, size, frontier.root()))
    return tuple(found)


def stated_end(log: Log, origin: str) -> Checkpoint:
    """Return the checkpoint over all of the log as its last segment states it.

    What tiles say has to lead there: of a log that was exchanged without them they are those of the other one.
    Raises: IntegrityError when the segment cannot be read.
    """
    from run_evidence.ledger.storage.segment import stated_frontier  # brings Arrow, which few questions need

    frontier = stated_frontier(log.segments[-1]) if log.segments else Frontier.empty()
    return Checkpoint(origin, frontier.size, frontier.root())


def require_prefix(store: Store, origin: str, log: Log, head: Checkpoint) -> None:
    """Pass if the log's first entries are those of `head`, which somebody kept; `log` has that many.

    Raises: IntegrityError when it is another log's, or the root is not that of these entries.
    """
    if head.origin != origin:
        raise IntegrityError(f"The checkpoint is of {head.origin}, this ledger's log is {origin}.")
    try:
        TileCache(store).catch_up(log)
        prove_extension(store, lambda: log, head, stated_end(log, origin))
    except (IntegrityError, OSError):  # tiles of another history, or such as can neither be read nor made
        pass
    else:
        return
    (calculated,) = calculate_from_entries(log, origin, head.size)  # before the log is blamed for its tiles
    if calculated != head:
        raise IntegrityError(
            f"The log's first {head.size} entries have root {calculated.root.hex()}, "
            f"the checkpoint {head.root.hex()}.",
            next_step="ledger verify --since CHECKPOINT",
        )


def _checked(cache: TileCache, old: Checkpoint, new: Checkpoint) -> tuple[bytes, ...]:
    proof = prove_consistency(old.size, new.size, cache.reader(new.size))
    check_consistency(proof, old_size=old.size, new_size=new.size, old_root=old.root, new_root=new.root)
    return proof
