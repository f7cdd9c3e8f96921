"""The tree laid out as tiles of 256 hashes: what they are called, what is in them, how they grow.

A tile of level L holds hashes of tree level 8·L; the levels between are hashed again from them. Full tiles
never change, so a log is published as files, and a proof reads a handful of them. Nothing here touches a
disk or a network: the caller brings a function that fetches the bytes of a tile.

Source: C2SP tlog-tiles, Merkle Tree, Partial Tiles and Log entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from run_evidence.ledger.errors import InputError, IntegrityError, UsageError
from run_evidence.ledger.tlog.merkle import HASH_BYTES, MAX_SIZE, Frontier, parent_level, require_hashes, tree_root

if TYPE_CHECKING:
    from run_evidence.ledger.tlog.proof import NodeId

TILE_WIDTH = 256
TILE_HEIGHT = 8
ENTRIES = -1
"""The level of entry bundles, as in Go's tlog: the entries themselves, in the grouping of level 0."""

MAX_ENTRY_BYTES = 0xFFFF

_MAX_LEVEL = 63
_TILE_BYTES = TILE_WIDTH * HASH_BYTES


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile: its level (or ENTRIES), its index in the level, and its width in hashes (or entries), 1..256.

    Hash i of the tile is the root over leaves (256·index + i)·256^level up to (256·index + i + 1)·256^level.

    Raises: IntegrityError for numbers no tile has.
    """

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        in_range = ENTRIES <= self.level <= _MAX_LEVEL and 0 <= self.index <= MAX_SIZE
        if not in_range or not 1 <= self.width <= TILE_WIDTH:
            raise IntegrityError(f"no tile has level {self.level}, index {self.index}, width {self.width}")


Fetch: TypeAlias = Callable[[Tile], bytes]
"""Returns the bytes of a tile of exactly this width, from wherever they are kept."""


def tile_path(tile: Tile) -> str:
    """Return the tile's path below the log's prefix: `tile/0/x001/234`, `tile/entries/000.p/5`."""
    digits = str(tile.index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    number = "".join(f"x{group}/" for group in groups[:-1]) + groups[-1]
    partial = f".p/{tile.width}" if tile.width < TILE_WIDTH else ""
    return f"tile/{'entries' if tile.level == ENTRIES else tile.level}/{number}{partial}"


def tile_hashes(tile: Tile, data: bytes) -> list[bytes]:
    """Return the hashes in the bytes of a tile. Raises: IntegrityError if they are too few or too many."""
    if len(data) != tile.width * HASH_BYTES:
        expected = tile.width * HASH_BYTES
        raise IntegrityError(f"{tile_path(tile)}: must be {expected} bytes, got {len(data)}")
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def locate(node: NodeId, size: int) -> tuple[Tile, int, int]:
    """Return where the tiles of a tree of `size` leaves have a node: the tile, and [first, end) in it.

    The node's hash is the root over those hashes of the tile, 1 to 128 of them.

    Raises: UsageError if that tree has no such node, or it is not complete yet.
    """
    if node.level < 0 or not 0 <= node.index < size >> node.level:
        raise UsageError(f"a tree of {size} leaves has no complete node {node.index} on level {node.level}")
    tile_level, height = divmod(node.level, TILE_HEIGHT)
    count = size >> TILE_HEIGHT * tile_level
    end = (node.index + 1) << height  # counted in hashes of the tile's own level
    index = (end - 1) >> TILE_HEIGHT
    base = index << TILE_HEIGHT
    return Tile(tile_level, index, min(TILE_WIDTH, count - base)), end - (1 << height) - base, end - base


@dataclass(frozen=True, slots=True)
class TileReader:
    """The hash reader of `ledger.tlog.proof` over the tiles of a tree of `size` leaves.

    Each call fetches every tile it needs once, and no other. It verifies nothing but lengths: what comes out
    is worth what the tiles are, so check the proof made from it against a signed root.
    """

    size: int
    fetch: Fetch

    def __call__(self, nodes: Sequence[NodeId]) -> list[bytes]:
        """Return the hash of each node.

        Raises: UsageError for a node outside the tree; IntegrityError for a tile of a wrong length.
        """
        tiles: dict[Tile, list[bytes]] = {}
        hashes = []
        for node in nodes:
            tile, first, end = locate(node, self.size)
            if tile not in tiles:
                tiles[tile] = tile_hashes(tile, self.fetch(tile))
            hashes.append(tree_root(tiles[tile][first:end]))
        return hashes


@dataclass(frozen=True, slots=True)
class TileEdge:
    """The partial tiles at the right edge of a tree: all that is needed to grow its tiles.

    `rows[L]` has the bytes of the partial tile of level L, empty where the level ends with a full tile.

    Raises: IntegrityError if size and rows cannot belong together.
    """

    size: int
    rows: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise IntegrityError(f"tree size {self.size} is outside 0..{MAX_SIZE}")
        expected = [width * HASH_BYTES for width in _partial_widths(self.size)]
        if [len(row) for row in self.rows] != expected:
            raise IntegrityError(f"the partial tiles of a tree of {self.size} leaves have {expected} bytes")

    @classmethod
    def empty(cls) -> TileEdge:
        """Return the edge of the tree with no leaves."""
        return cls(0, ())

    @classmethod
    def read(cls, size: int, fetch: Fetch) -> TileEdge:
        """Return the edge of a tree whose tiles are kept elsewhere; fetches its partial tiles only."""
        widths = enumerate(_partial_widths(size))
        edges = [(Tile(level, size >> TILE_HEIGHT * (level + 1), w) if w else None) for level, w in widths]
        return cls(size, tuple(fetch(tile) if tile else b"" for tile in edges))

    def extend(self, leaf_hashes: Sequence[bytes]) -> tuple[TileEdge, list[tuple[Tile, bytes]]]:
        """Return the edge after appending `leaf_hashes`, and the tiles that became full, lower levels first.

        A tree of any size is tiled in constant memory by calling this with its leaves in pieces, and
        `partial_tiles` once at the end. Cost: one SHA-256 for each leaf.

        Raises: IntegrityError if a leaf hash is not 32 bytes.
        """
        require_hashes(leaf_hashes)
        rows, level = list(self.rows), 0
        full: list[tuple[Tile, bytes]] = []
        size = self.size + len(leaf_hashes)
        added = b"".join(leaf_hashes)
        while level < _levels(size):
            data = (rows[level] if level < len(rows) else b"") + added
            first, complete = self.size >> TILE_HEIGHT * (level + 1), len(data) // _TILE_BYTES
            pieces = [data[i * _TILE_BYTES : (i + 1) * _TILE_BYTES] for i in range(complete)]
            full += zip([Tile(level, first + i) for i in range(complete)], pieces, strict=True)
            rows[level : level + 1] = [data[complete * _TILE_BYTES :]]
            nodes = [data[i : i + HASH_BYTES] for i in range(0, complete * _TILE_BYTES, HASH_BYTES)]
            for _ in range(TILE_HEIGHT):
                nodes = parent_level(nodes)
            added = b"".join(nodes)
            level += 1
        return TileEdge(size, tuple(rows)), full

    def partial_tiles(self) -> list[tuple[Tile, bytes]]:
        """Return the partial tiles a checkpoint of this size needs, lower levels first."""
        return [
            (Tile(level, self.size >> TILE_HEIGHT * (level + 1), len(row) // HASH_BYTES), row)
            for level, row in enumerate(self.rows)
            if row
        ]

    def frontier(self) -> Frontier:
        """Return the frontier of the same tree, to hold these tiles against the root of a checkpoint."""
        hashes: tuple[bytes, ...] = ()
        for tile, row in reversed(self.partial_tiles()):
            hashes += Frontier.empty().extend(tile_hashes(tile, row)).hashes
        return Frontier(self.size, hashes)


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return an entry bundle: each entry after its length in two bytes, big-endian.

    Raises: InputError for an entry above 65,535 bytes; UsageError unless there are 1 to 256 entries.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise UsageError(f"an entry bundle has 1 to {TILE_WIDTH} entries, got {len(entries)}")
    for position, entry in enumerate(entries):
        if len(entry) > MAX_ENTRY_BYTES:
            raise InputError(
                f"entry {position} of the bundle has {len(entry)} bytes, at most {MAX_ENTRY_BYTES} fit",
                next_step="store the payload beside the log under its digest",
            )
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def _levels(size: int) -> int:
    """Return how many levels of tiles a tree has: as long as size >> 8·level is not 0."""
    return -(-size.bit_length() // TILE_HEIGHT)


def _partial_widths(size: int) -> Iterable[int]:
    return [size >> TILE_HEIGHT * level & (TILE_WIDTH - 1) for level in range(_levels(size))]
