"""The tree's hashes kept beside the log as C2SP tiles, so that a proof reads a handful of small files.

A cache and nothing more: it is made from the entries, any process can make it again, and what is proved
from it is checked against a checkpoint before it is handed out. `tile/frontier` says how far it reaches; it
is written last, so a crash leaves tiles that nobody counts on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.layout import TILES
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.merkle import HASH_BYTES, Frontier, format_frontier, leaf_hash, parse_frontier
from run_evidence.ledger.tlog.tiles import TILE_WIDTH, Tile, TileEdge, TileReader, tile_path

if TYPE_CHECKING:
    from run_evidence.ledger.storage.log import Log

FRONTIER = f"{TILES}/frontier"
T = TypeVar("T")
_LEAVES_AT_ONCE = 1 << 16


@dataclass(slots=True)
class TileCache:
    """The tiles under `<ledger>/tile/`."""

    store: Store
    _rebuilt: bool = field(default=False, init=False)

    def frontier(self) -> Frontier:
        """Return how far the tiles reach; the empty tree where there are none or the note of it is damaged."""
        try:
            return parse_reach(self.store.read(FRONTIER))
        except (OSError, IntegrityError):
            return Frontier.empty()

    def fetch(self, tile: Tile) -> bytes:
        """Return the bytes of a tile of this width, cut from a wider one where only that is kept.

        Raises: IntegrityError when there is none.
        """
        full = tile_path(Tile(tile.level, tile.index))
        wanted = tile.width * HASH_BYTES
        for name in (tile_path(tile), full, *self._wide_enough(f"{full}.p", tile.width)):
            try:
                data = self.store.read(name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if len(data) >= wanted:
                return data[:wanted]
        raise IntegrityError(f"{tile_path(tile)} is not in the cache", next_step="ledger prove makes it again")

    def _wide_enough(self, partials: str, width: int) -> list[str]:
        try:
            widths = (int(name) for name in self.store.names(partials) if name.isdecimal())
        except NotADirectoryError:
            return []
        return [f"{partials}/{found}" for found in sorted(widths) if found >= width]

    def edge(self, at: Frontier) -> TileEdge | None:
        """Return the right edge of the tiles; `None` unless they end exactly there and can be read."""
        if self.frontier() != at:
            return None
        try:
            edge = TileEdge.read(at.size, self.fetch)
        except (OSError, IntegrityError):
            return None
        return edge if edge.frontier() == at else None

    def catch_up(self, log: Log) -> Frontier:
        """Bring the tiles to the end of the log, from its entries; returns the frontier there.

        Raises: IntegrityError when a segment cannot be read.
        """
        at = self.frontier()
        if at.size > log.size or not self._complete(at):
            return self.rebuild(log)
        if at.size == log.size:
            return at
        return self._grow(TileEdge.read(at.size, self.fetch), leaves(log, at.size))

    def rebuild(self, log: Log) -> Frontier:
        """Make all tiles again, whatever is there."""
        self.store.remove([FRONTIER])
        # What is left of a longer tree would otherwise be cut to size and served.
        self.store.clear(TILES)
        return self._grow(TileEdge.empty(), leaves(log, 0))

    def ask(self, log: Callable[[], Log], question: Callable[[], T]) -> T:
        """Return what `question` makes of the tiles.

        Where it raises IntegrityError, because a tile is missing or wrong, all are made again from `log` (which is
        loaded only then), once in the life of this object, and it is called once more. Raises: what that raises.
        """
        try:
            return question()
        except IntegrityError:
            if self._rebuilt:
                raise
            self.rebuild(log())
            self._rebuilt = True
        return question()

    def reader(self, size: int) -> TileReader:
        """Return a hash reader over the first `size` leaves; the caller has caught up to there."""
        return TileReader(size, self.fetch)

    def _complete(self, at: Frontier) -> bool:
        """Tell whether the right edge is there and is what the note says; what lies left of it is trusted later."""
        return self.edge(at) is not None

    def _grow(self, edge: TileEdge, leaves: Iterator[bytes]) -> Frontier:
        old = edge
        while chunk := list(islice(leaves, _LEAVES_AT_ONCE)):
            edge, full = edge.extend(chunk)
            self.add(full)
        return self.finish(old, edge)

    def add(self, full: Iterable[tuple[Tile, bytes]]) -> None:
        """Write tiles; nobody counts on them before `finish`."""
        for tile, data in full:
            self.store.replace(tile_path(tile), data, durable=False)

    def finish(self, old: TileEdge, new: TileEdge) -> Frontier:
        """Write the new right edge behind tiles that were added, and the note that they reach it."""
        partial = new.partial_tiles()
        self.add(partial)
        frontier = new.frontier()
        self.store.replace(FRONTIER, f"{format_frontier(frontier)}\n".encode(), durable=False)
        self._drop_narrower(old, {tile for tile, _ in partial})
        return frontier

    def _drop_narrower(self, old: TileEdge, kept: set[Tile]) -> None:
        """Remove the partial tiles that a wider one, or the full one, has taken the place of."""
        narrower = (tile for tile, _ in old.partial_tiles() if tile not in kept and tile.width < TILE_WIDTH)
        self.store.remove([tile_path(tile) for tile in narrower])


class GrowingTiles:
    """A tree that a seal extends, with its tiles where the cache ends where the seal begins.

    It holds the new tiles in memory, 33 bytes for each leaf, until the seal is committed.
    """

    def __init__(self, cache: TileCache, before: Frontier) -> None:
        self._cache = cache
        self._frontier = before
        self._old = self._edge = cache.edge(before)
        self._full: list[tuple[Tile, bytes]] = []

    @property
    def size(self) -> int:
        """The number of leaves so far."""
        return self._frontier.size if self._edge is None else self._edge.size

    def grow(self, hashes: Sequence[bytes]) -> None:
        """Append leaves, given by their hashes."""
        if self._edge is None:
            self._frontier = self._frontier.extend(hashes)
        else:
            self._edge, full = self._edge.extend(hashes)
            self._full += full

    def frontier(self) -> Frontier:
        """Return the frontier of all leaves so far."""
        return self._frontier if self._edge is None else self._edge.frontier()

    def keep(self) -> None:
        """Write the tiles of the leaves that were appended; nothing where the cache ended elsewhere."""
        if self._old is not None and self._edge is not None:
            self._cache.add(self._full)
            self._cache.finish(self._old, self._edge)


def parse_reach(note: bytes) -> Frontier:
    """Read `tile/frontier`: a frontier and a newline. Raises: IntegrityError for anything else."""
    text = note.decode("ascii", "replace")
    if not text.endswith("\n"):
        raise IntegrityError("the note how far the tiles reach does not end with a newline")
    return parse_frontier(text[:-1])


def leaves(log: Log, first: int) -> Iterator[bytes]:
    """Yield the leaf hashes of the log from entry `first` on, one row group in memory at a time."""
    from run_evidence.ledger.storage.segment import read_batches  # brings Arrow, which a proof does without

    for segment in log.segments:
        if segment.end <= first:
            continue
        at = segment.first_index
        for batch in read_batches(segment, ["entry"]):
            entries = batch.column("entry").to_pylist()
            for entry in entries[max(first - at, 0) :]:
                yield leaf_hash(entry or b"")
            at += len(entries)
