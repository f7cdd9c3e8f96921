"""Verifying the tree: built anew from leaf hashes, held against every checkpoint and every tile on the way."""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence
from typing import Final

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.layout import TILES
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.storage.tile_cache import FRONTIER, parse_reach
from run_evidence.ledger.tlog.merkle import HASH_BYTES, Frontier
from run_evidence.ledger.tlog.tiles import TILE_WIDTH, Tile, TileEdge, tile_path
from run_evidence.ledger.verification.findings import Finding, Verification

_CACHE: Final = "tile/ is a cache: remove it, and it is made again"


def read_cache_note(store: Store, result: Verification) -> Frontier | None:
    """Return how far the tiles say they reach; `None` where there are none, or, with a finding, nonsense."""
    content = _read(store, FRONTIER, result)
    try:
        return None if content is None else parse_reach(content)
    except IntegrityError as error:
        result.add(Finding(FRONTIER, f"{error} ({_CACHE})"))
        return None


def _read(store: Store, where: str, result: Verification) -> bytes | None:
    """Return an object of the cache; `None` where there is none, or, with a finding, something else."""
    try:
        return store.read(where)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IntegrityError as error:
        result.add(Finding(where, str(error), kind="not read", next_step=_CACHE))
        return None


class GrowingTree:
    """The tree of a log, grown leaf by leaf; remembers its frontier at the sizes it was asked for.

    Tiles that are there are compared with those that come out; missing ones are no fault of the log. Memory
    does not grow with it.
    """

    def __init__(self, store: Store, stops: Collection[int], result: Verification) -> None:
        self.at: dict[int, Frontier] = {0: Frontier.empty()}
        self._store = store
        self._has_tiles = store.stat(TILES) is not None
        self._stops = sorted({size for size in stops if size > 0}, reverse=True)
        self._edge = TileEdge.empty()
        self._result = result

    @property
    def size(self) -> int:
        """The number of leaves so far."""
        return self._edge.size

    def frontier(self) -> Frontier:
        """Return the frontier of all leaves so far."""
        return self._edge.frontier()

    def grow(self, leaf_hashes: Sequence[bytes]) -> None:
        """Append leaves, stopping at each size that was asked for."""
        done = 0
        end = self._edge.size + len(leaf_hashes)
        while done < len(leaf_hashes):
            stop = self._stops[-1] if self._stops and self._stops[-1] <= end else end
            piece = leaf_hashes[done : done + stop - self._edge.size]
            self._edge, full = self._edge.extend(piece)
            done += len(piece)
            for tile, data in full:
                self._compare(tile, data)
            if self._stops and self._edge.size == self._stops[-1]:
                self.at[self._stops.pop()] = self._edge.frontier()

    def finish(self) -> None:
        """Compare the tiles at the right edge."""
        for tile, data in self._edge.partial_tiles():
            self._compare(tile, data)

    def _compare(self, tile: Tile, data: bytes) -> None:
        if not self._has_tiles:
            return
        full = tile_path(Tile(tile.level, tile.index))
        found = [(f"{full}.p/{width}", int(width)) for width in self._partials(full) if width.isdecimal()]
        if len(data) == TILE_WIDTH * HASH_BYTES:
            found.append((full, TILE_WIDTH))
        for name, width in found:
            expected = data[: width * HASH_BYTES]
            if len(expected) < width * HASH_BYTES:  # of a tree that has grown since the log was loaded
                continue
            stored = _read(self._store, name, self._result)
            if stored is None:
                continue
            self._result.tiles += 1
            if stored != expected:
                self._differs(name, tile, stored, expected)

    def _partials(self, full: str) -> list[str]:
        folder = f"{full}.p"
        try:
            return self._store.names(folder)
        except NotADirectoryError:
            return []
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self._result.add(Finding(folder, "symbolic links lead in a circle", kind="not read", next_step=_CACHE))
            return []

    def _differs(self, where: str, tile: Tile, stored: bytes, expected: bytes) -> None:
        if len(stored) != len(expected):
            problem = "the tile has another length than its name says"
            self._result.add(Finding(where, problem, None, str(len(expected)), str(len(stored))))
            return
        ours, theirs = (
            [data[i : i + HASH_BYTES] for i in range(0, len(expected), HASH_BYTES)] for data in (expected, stored)
        )
        at = next(i for i, (want, have) in enumerate(zip(ours, theirs, strict=True)) if want != have)
        index = tile.index * TILE_WIDTH + at if tile.level == 0 else None
        problem = f"hash {at} of the tile is not that of the entries"
        self._result.add(Finding(where, problem, index, ours[at].hex(), theirs[at].hex()))
