"""A ledger's log as C2SP `tlog-tiles`: files that any transparency-log tool reads and verifies.

`checkpoint`, `tile/<level>/…` and `tile/entries/…`, written so that whoever reads while it grows finds what the
checkpoint needs: tiles and bundles first, the checkpoint last.

Source: C2SP tlog-tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError, UsageError
from run_evidence.ledger.storage.checkpoints import newest_checkpoint, read_checkpoint_file
from run_evidence.ledger.storage.files import flush_everything
from run_evidence.ledger.storage.folder import FolderStore
from run_evidence.ledger.storage.layout import TILES
from run_evidence.ledger.storage.segment import entries
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint
from run_evidence.ledger.tlog.merkle import EMPTY_ROOT, leaf_hash
from run_evidence.ledger.tlog.tiles import ENTRIES, TILE_WIDTH, Tile, TileEdge, encode_bundle, tile_path

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.storage.log import Log

_BUNDLES_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote: the size it had before and has now, files written, and whether it is signed."""

    before: int
    size: int
    files: int
    signed: bool


def export_tlog(ledger: Ledger, target: Path) -> Exported:
    """Write the log, or what is new of it, to the folder `target`.

    Every entry is hashed on the way and the tree held against the checkpoint, so a damaged ledger does not become
    an export that looks well; then the checkpoint is not written. Memory does not grow with the log.

    Raises: UsageError when nothing is sealed, or the folder holds another log or something else; IntegrityError
    when the entries do not give the checkpoint, or what the folder has is no prefix of the log.
    """
    ledger.require()
    head = newest_checkpoint(ledger.store)
    if head is None:
        raise UsageError("There is no checkpoint yet: nothing is sealed.", next_step="ledger seal")
    folder = FolderStore(target)
    old = _present(head, folder)
    try:
        edge, files = _write(ledger.log(), folder, _edge(old, folder), head.checkpoint.size)
        if edge.frontier().root() != head.checkpoint.root:
            raise IntegrityError(
                f"The entries behind {old.size} lead to root {edge.frontier().root().hex()}, the checkpoint of "
                f"{head.checkpoint.size} has {head.checkpoint.root.hex()}; the checkpoint was not written.",
                next_step="ledger verify",
            )
        flush_everything()  # once for all of it; what the checkpoint needs is there before the checkpoint
        folder.replace("checkpoint", head.message)
    except OSError as error:
        raise EnvironmentFault(f"The export to {target} stopped: {error.strerror} ({error.filename}).") from None
    return Exported(old.size, head.checkpoint.size, files, bool(head.signatures))


def _present(head: StoredCheckpoint, folder: FolderStore) -> Checkpoint:
    """Return the checkpoint of what the folder has already; the empty tree where it has nothing."""
    new = head.checkpoint
    nothing = Checkpoint(new.origin, 0, EMPTY_ROOT)
    target = folder.root
    try:
        there = folder.names()
    except NotADirectoryError:
        raise UsageError(f"{target} is a file.", next_step="name an empty folder") from None
    if "checkpoint" not in there:
        if set(there) - {TILES}:
            raise UsageError(
                f"{target} holds something else than an exported log.", next_step="name an empty folder"
            )
        return nothing  # or an export that stopped before its first checkpoint
    old = read_checkpoint_file(folder.path("checkpoint")).checkpoint
    if old.origin != new.origin or old.size > new.size:
        raise UsageError(
            f"{target} has {old.size} entries of {old.origin}; this log has {new.size} of {new.origin}.",
            next_step="name another folder; an export only grows",
        )
    return old


def _edge(old: Checkpoint, folder: FolderStore) -> TileEdge:
    """Return the right edge of the tree in the folder, held against its checkpoint."""

    def fetch(tile: Tile) -> bytes:
        try:
            return folder.read(tile_path(tile), follow=True)
        except FileNotFoundError:
            raise IntegrityError(f"{folder.path(tile_path(tile))} is missing", next_step="export anew") from None

    edge = TileEdge.read(old.size, fetch)
    if edge.frontier().root() != old.root:
        raise IntegrityError(
            f"The tiles in {folder.root} do not give its checkpoint of {old.size} entries.",
            next_step="export to another folder",
        )
    return edge


def _write(log: Log, folder: FolderStore, edge: TileEdge, size: int) -> tuple[TileEdge, int]:
    """Write the entries from the edge up to `size`; return the edge there and how many files it took."""
    if edge.size == size:
        return edge, 0
    start = edge.size // TILE_WIDTH * TILE_WIDTH  # a partial bundle is written anew, with its first entries
    found = entries(log, start, size)
    files = 0
    while group := list(islice(found, TILE_WIDTH * _BUNDLES_AT_ONCE)):
        leaves = list(map(leaf_hash, group))
        known = edge.size - start
        if known and b"".join(leaves[:known]) != edge.rows[0]:
            raise IntegrityError(
                f"Entries {start} to {edge.size - 1} are not those in {folder.root}.", next_step="ledger verify"
            )
        edge, full = edge.extend(leaves[known:])
        bundles = [
            (Tile(ENTRIES, (start + i) // TILE_WIDTH, len(group[i : i + TILE_WIDTH])), group[i : i + TILE_WIDTH])
            for i in range(0, len(group), TILE_WIDTH)
        ]
        for tile, data in [*full, *((bundle, encode_bundle(part)) for bundle, part in bundles)]:
            folder.replace(tile_path(tile), data, durable=False)
            files += 1
        start += len(group)
    for tile, data in edge.partial_tiles():
        folder.replace(tile_path(tile), data, durable=False)
        files += 1
    return edge, files
