"""Tiles are the tree: from them come the same hashes, proofs and roots, and they grow without their past."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.errors import InputError, IntegrityError, LedgerError, UsageError
from run_evidence.ledger.tlog.merkle import MAX_SIZE, leaf_hash
from run_evidence.ledger.tlog.proof import NodeId, prove_consistency, prove_inclusion, read_frontier
from run_evidence.ledger.tlog.tiles import (
    ENTRIES,
    Tile,
    TileEdge,
    TileReader,
    encode_bundle,
    locate,
    tile_hashes,
    tile_path,
)
from tests.trust.reference import Reference
from tests.trust.tile_reference import decode_bundle, new_bundles, new_tiles, parse_tile_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIZE = 70_000
REFERENCE = Reference([b"%d" % i for i in range(SIZE)])
LEAVES = [leaf_hash(entry) for entry in REFERENCE.entries]

# Where levels of tiles begin, end and overflow.
CUTS = [0, 1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 65_792, SIZE]


def grown(sizes: Iterable[int]) -> dict[Tile, bytes]:
    """Return all tiles of a tree that was published at each of `sizes` in turn."""
    store: dict[Tile, bytes] = {}
    edge = TileEdge.empty()
    for size in sizes:
        edge, full = edge.extend(LEAVES[edge.size : size])
        store.update(full)
        store.update(edge.partial_tiles())
    return store


STORE = grown(CUTS)


def counting(fetched: Counter[Tile]) -> Callable[[Tile], bytes]:
    def fetch(tile: Tile) -> bytes:
        fetched[tile] += 1
        return STORE[tile]

    return fetch


# --- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(3, 1000), "tile/3/x001/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(63, 1234067, 1), "tile/63/x001/x234/067.p/1"),
        (Tile(ENTRIES, 1234067), "tile/entries/x001/x234/067"),
        (Tile(ENTRIES, 0, 255), "tile/entries/000.p/255"),
    ],
)
def test_paths_of_the_specification(tile: Tile, path: str) -> None:
    assert tile_path(tile) == path
    assert parse_tile_path(path) == tile


@given(st.builds(Tile, st.integers(ENTRIES, 63), st.integers(0, MAX_SIZE), st.integers(1, 256)))
def test_paths_round_trip(tile: Tile) -> None:
    assert parse_tile_path(tile_path(tile)) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/x000/001",
        "tile/0/001/001",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/" + "x999/" * 7 + "999",
        "tile/0/" + "x000/" * 2000 + "000",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(IntegrityError):
        parse_tile_path(path)


@given(st.text(max_size=40) | st.text(alphabet="0129x/.p", max_size=20).map("tile/0/".__add__))
def test_path_parser_refuses_or_reads_exactly(path: str) -> None:
    """Whatever the text, the outcome is our error or a tile whose only path is that text."""
    try:
        tile = parse_tile_path(path)
    except LedgerError:
        return
    assert tile_path(tile) == path


@pytest.mark.parametrize(("level", "index", "width"), [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_numbers_no_tile_has_are_refused(level: int, index: int, width: int) -> None:
    with pytest.raises(IntegrityError):
        Tile(level, index, width)


# --- which tiles a tree has -----------------------------------------------------------------------------


def test_the_tiles_of_a_tree_of_70_000() -> None:
    """The example of the specification, section Partial Tiles."""
    tiles = list(new_tiles(0, 70_000))
    assert Counter((tile.level, tile.width) for tile in tiles) == {
        (0, 256): 273,
        (0, 112): 1,
        (1, 256): 1,
        (1, 17): 1,
        (2, 1): 1,
    }
    assert set(new_tiles(0, 256)) == {Tile(0, 0), Tile(1, 0, 1)}
    assert not list(new_tiles(0, 0))


@given(st.integers(0, 700), st.integers(0, 700))
def test_new_tiles_are_the_difference(one: int, other: int) -> None:
    old, new = sorted([one, other])
    assert set(new_tiles(old, new)) == set(new_tiles(0, new)) - set(new_tiles(0, old))
    assert set(new_bundles(old, new)) == {
        Tile(ENTRIES, tile.index, tile.width) for tile in new_tiles(old, new) if tile.level == 0
    }


def test_a_tree_does_not_shrink() -> None:
    for tiles in (new_tiles, new_bundles):
        with pytest.raises(UsageError, match="only grows"):
            list(tiles(2, 1))


# --- what is in them ------------------------------------------------------------------------------------


def test_every_hash_of_every_tile_is_the_hash_of_the_specification() -> None:
    """Hash i of tile n on level l is MTH(D[(256n + i)·256^l : (256n + i + 1)·256^l])."""
    for tile, data in STORE.items():
        span = 256**tile.level
        for i, value in enumerate(tile_hashes(tile, data)):
            start = (tile.index * 256 + i) * span
            assert value == REFERENCE.mth(start, start + span)


@pytest.mark.parametrize("size", CUTS)
def test_growing_writes_the_tiles_of_every_published_size_and_no_others(size: int) -> None:
    assert set(new_tiles(0, size)) <= set(STORE)
    assert set(STORE) == set().union(*(new_tiles(0, cut) for cut in CUTS))


@given(st.lists(st.integers(0, 1400), max_size=5))
def test_tiles_do_not_depend_on_how_the_tree_grew(cuts: list[int]) -> None:
    sizes = [*sorted(cuts), 1400]
    store, at_once = grown(sizes), grown([1400])
    assert {tile: store[tile] for tile in at_once} == at_once


@pytest.mark.parametrize("size", CUTS)
def test_the_edge_is_read_back_from_the_partial_tiles_alone(size: int) -> None:
    fetched: Counter[Tile] = Counter()
    edge = TileEdge.read(size, counting(fetched))
    assert set(fetched) == {tile for tile in new_tiles(0, size) if tile.width < 256}
    assert set(fetched.values()) <= {1}
    assert edge == TileEdge.empty().extend(LEAVES[:size])[0]
    assert edge.frontier().root() == REFERENCE.root(size)


def test_edges_that_cannot_be_are_refused() -> None:
    for size, rows in [(-1, ()), (1, ()), (1, (bytes(31),)), (256, (bytes(32),)), (0, (b"",))]:
        with pytest.raises(IntegrityError):
            TileEdge(size, rows)
    with pytest.raises(IntegrityError, match="hash 1 of 2"):
        TileEdge.empty().extend([bytes(32), bytes(31)])


def test_a_tile_of_another_length_is_refused() -> None:
    for data in (b"", bytes(31), bytes(33), bytes(64)):
        with pytest.raises(IntegrityError, match=r"tile/0/000\.p/1: must be 32 bytes"):
            tile_hashes(Tile(0, 0, 1), data)


# --- reading the tree through them ----------------------------------------------------------------------


@pytest.mark.parametrize("size", CUTS)
def test_every_complete_node_is_found(size: int) -> None:
    reader = TileReader(size, STORE.__getitem__)
    for level in range(size.bit_length()):
        count = size >> level
        for index in {0, 1, count // 3, count // 2, count - 2, count - 1} & set(range(count)):
            (value,) = reader([NodeId(level, index)])
            assert value == REFERENCE.mth(index << level, (index + 1) << level)


@pytest.mark.parametrize("size", CUTS)
def test_nodes_outside_the_tree_or_not_complete_are_refused(size: int) -> None:
    for level in range(12):
        for index in (size >> level, (size >> level) + 300, -1):
            with pytest.raises(UsageError, match="no complete node"):
                locate(NodeId(level, index), size)
    with pytest.raises(UsageError, match="no complete node"):
        locate(NodeId(-1, 0), size)


@pytest.mark.parametrize("size", [1, 5, 256, 257, 700, SIZE])
def test_proofs_from_tiles_are_the_reference_s_proofs(size: int) -> None:
    reader = TileReader(size, STORE.__getitem__) if size in CUTS else TileReader(size, grown([size]).__getitem__)
    assert read_frontier(size, reader).root() == REFERENCE.root(size)
    for index in {0, 1, size // 3, size // 2, size - 1} & set(range(size)):
        assert list(prove_inclusion(index, size, reader)) == REFERENCE.path(index, 0, size)
        assert list(prove_consistency(index + 1, size, reader)) == REFERENCE.proof(index + 1, size)


@pytest.mark.parametrize("index", [0, 255, 256, 35_000, 65_535, 65_536, SIZE - 1])
def test_a_proof_reads_no_tile_twice_and_few_of_them(index: int) -> None:
    """Three levels of tiles: one on the path and one at the right edge of each, at most."""
    fetched: Counter[Tile] = Counter()
    prove_inclusion(index, SIZE, TileReader(SIZE, counting(fetched)))
    assert set(fetched.values()) == {1}
    assert len(fetched) <= 5
    assert set(fetched) <= set(new_tiles(0, SIZE))


# --- entry bundles --------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


def test_the_largest_entry_fits_and_no_larger_one() -> None:
    largest = bytes(65_535)
    assert decode_bundle(encode_bundle([largest]), 1) == [largest]
    with pytest.raises(InputError, match="entry 1 of the bundle has 65536 bytes"):
        encode_bundle([b"", largest + b"x"])


@pytest.mark.parametrize("count", [0, 257])
def test_bundles_of_no_or_too_many_entries_are_not_written(count: int) -> None:
    with pytest.raises(UsageError, match=f"got {count}"):
        encode_bundle([b""] * count)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6), st.data())
def test_bundles_cut_or_extended_are_refused(entries: list[bytes], data: st.DataObject) -> None:
    bundle, width = encode_bundle(entries), len(entries)
    cut = data.draw(st.integers(0, len(bundle) - 1))
    for wrong in (bundle[:cut], bundle + b"\0", bundle + b"\0\0"):
        with pytest.raises(IntegrityError):
            decode_bundle(wrong, width)
    for other in (width - 1, width + 1):
        with pytest.raises(IntegrityError):
            decode_bundle(bundle, other)


@given(st.binary(max_size=60), st.integers(1, 256))
def test_bundle_parser_refuses_or_reads_exactly(data: bytes, width: int) -> None:
    try:
        entries = decode_bundle(data, width)
    except LedgerError:
        return
    assert encode_bundle(entries) == data
