"""What other programs do with tiles: read a path, list the tiles of a tree, take a bundle apart. Source: C2SP."""

from __future__ import annotations

import re
from collections.abc import Iterator

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.tlog.merkle import MAX_SIZE
from run_evidence.ledger.tlog.tiles import ENTRIES, TILE_HEIGHT, TILE_WIDTH, Tile, tile_path

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?")


def parse_tile_path(path: str) -> Tile:
    """Read what `tile_path` wrote; there is exactly one path for each tile.

    Raises: IntegrityError for anything else.
    """
    if found := _PATH.fullmatch(path):
        level, number, width = found.groups()
        index = number.replace("x", "").replace("/", "")
        if len(index) <= len(str(MAX_SIZE)) + 2:  # else a path of any length would become a number
            tile = Tile(
                ENTRIES if level == "entries" else int(level), int(index), int(width) if width else TILE_WIDTH
            )
            if tile_path(tile) == path:
                return tile
    raise IntegrityError(f"not the path of a tile: {path[:200]!r}")


def new_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the hash tiles a tree of `new_size` has and one of `old_size` has not, by level, then index.

    From 0 these are all its tiles. A partial tile comes in the width it has at `new_size` only.

    Raises: UsageError if new_size is below old_size.
    """
    _require_growth(old_size, new_size)
    for level in range(-(-new_size.bit_length() // TILE_HEIGHT)):
        yield from _new_in_level(level, old_size >> TILE_HEIGHT * level, new_size >> TILE_HEIGHT * level)


def new_bundles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the entry bundles a tree of `new_size` has and one of `old_size` has not, by index.

    A bundle holds entries 256·index up to 256·index + width. Raises: UsageError if the tree shrinks.
    """
    _require_growth(old_size, new_size)
    yield from _new_in_level(ENTRIES, old_size, new_size)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Return the `width` entries of a bundle.

    Raises: IntegrityError if it ends early, or has bytes after the last entry.
    """
    entries: list[bytes] = []
    at = 0
    while len(entries) < width:
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise IntegrityError(f"entry bundle of {len(data)} bytes ends within entry {len(entries)} of {width}")
        entries.append(data[start:at])
    if at != len(data):
        raise IntegrityError(f"entry bundle has {len(data) - at} bytes after its {width} entries")
    return entries


def _new_in_level(level: int, old_count: int, new_count: int) -> Iterator[Tile]:
    """Yield the tiles of one level that appear or widen as it grows from `old_count` hashes."""
    for index in range(old_count >> TILE_HEIGHT, new_count >> TILE_HEIGHT):
        yield Tile(level, index)
    width = new_count & (TILE_WIDTH - 1)
    if width and new_count > old_count:
        yield Tile(level, new_count >> TILE_HEIGHT, width)


def _require_growth(old_size: int, new_size: int) -> None:
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise UsageError(f"no tiles lead from size {old_size} to size {new_size}: a log only grows")
