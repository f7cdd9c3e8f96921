"""The tree is RFC 6962's tree, however the leaves arrive."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.errors import IntegrityError, LedgerError
from run_evidence.ledger.tlog.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    format_frontier,
    leaf_hash,
    node_hash,
    parse_frontier,
    parse_size,
    tree_root,
)
from tests.trust.reference import Reference

# The vectors every Certificate Transparency implementation tests with: eight inputs, the roots of the trees
# over the first 1..8 of them. Source: google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

hashes = st.binary(min_size=32, max_size=32)


def test_empty_tree_has_the_hash_of_the_empty_string() -> None:
    assert sha256(b"").digest() == EMPTY_ROOT
    assert Frontier.empty().root() == EMPTY_ROOT
    assert tree_root([]) == EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 9))
def test_published_certificate_transparency_roots(size: int) -> None:
    leaves = [leaf_hash(entry) for entry in CT_LEAVES[:size]]
    assert tree_root(leaves).hex() == CT_ROOTS[size - 1]
    assert Frontier.empty().extend(leaves).root().hex() == CT_ROOTS[size - 1]


def test_a_leaf_and_a_node_over_the_same_bytes_differ() -> None:
    """An entry that looks like two hashes must not pass for the node above them (second preimage)."""
    left, right = leaf_hash(b"l"), leaf_hash(b"r")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_every_tree_up_to_256_leaves_has_the_reference_root() -> None:
    reference = Reference([b"entry %d" % i for i in range(256)])
    leaves = [leaf_hash(entry) for entry in reference.entries]
    grown = Frontier.empty()
    for size in range(257):
        assert tree_root(leaves[:size]) == reference.root(size)
        assert grown.root() == reference.root(size)
        assert grown == Frontier.empty().extend(leaves[:size])
        grown = grown.extend(leaves[size : size + 1])


def test_frontier_holds_the_perfect_subtrees_largest_first() -> None:
    reference = Reference([b"%d" % i for i in range(13)])
    frontier = Frontier.empty().extend(map(leaf_hash, reference.entries))
    assert frontier.hashes == (reference.mth(0, 8), reference.mth(8, 12), reference.mth(12, 13))


@given(st.lists(hashes, max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_growing_in_any_cuts_gives_the_root_of_the_whole(leaves: list[bytes], cuts: list[int]) -> None:
    frontier, done = Frontier.empty(), 0
    for cut in [*sorted(cuts), len(leaves)]:
        frontier = frontier.extend(iter(leaves[done:cut]))
        done = max(done, cut)
        assert frontier.root() == tree_root(leaves[:done])
    assert frontier.size == len(leaves)


def test_growing_past_the_chunk_of_the_loop_gives_the_root_of_the_whole() -> None:
    """The iterable is consumed in pieces of 65,536; a frontier of odd size meets the seams unaligned."""
    leaves = [sha256(i.to_bytes(4, "big")).digest() for i in range(200_003)]
    assert Frontier.empty().extend(leaves[:3]).extend(iter(leaves[3:])).root() == tree_root(leaves)


@given(st.lists(hashes, max_size=40))
def test_frontier_text_round_trips(leaves: list[bytes]) -> None:
    frontier = Frontier.empty().extend(leaves)
    assert parse_frontier(format_frontier(frontier)) == frontier


@given(st.text(alphabet="0123456789abcdefA \n+-_٣", max_size=80) | st.text(max_size=80))
def test_frontier_parser_refuses_or_reads_exactly(text: str) -> None:
    """Whatever the text, the outcome is our error or a frontier whose only text form is that text."""
    try:
        frontier = parse_frontier(text)
    except LedgerError:
        return
    assert format_frontier(frontier) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0 " + "00" * 32,
        "01 " + "00" * 32,
        "1  " + "00" * 32,
        "1 " + "00" * 31,
        "1 " + "AA" * 32,
        "3 " + "00" * 32,
        "-1",
        "٣",
        "0\n",
        "9223372036854775808 " + "00" * 32,
        "9" * 5000,
    ],
)
def test_malformed_frontiers_are_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_frontier(text)


def test_sizes_reach_to_63_bits() -> None:
    assert parse_size(str(MAX_SIZE), "test") == MAX_SIZE
    with pytest.raises(IntegrityError, match="here: '9223372036854775808'"):
        parse_size(str(MAX_SIZE + 1), "here")


@pytest.mark.parametrize("wrong", [b"", b"x" * 31, b"x" * 33])
def test_leaf_hashes_of_a_wrong_length_are_refused(wrong: bytes) -> None:
    with pytest.raises(IntegrityError, match="hash 1 of 2"):
        Frontier.empty().extend([bytes(32), wrong])
    with pytest.raises(IntegrityError, match="hash 1 of 2"):
        tree_root([bytes(32), wrong])
    with pytest.raises(IntegrityError):
        Frontier(1, (wrong,))


def test_frontier_refuses_impossible_sizes() -> None:
    for size, count in [(-1, 0), (1, 0), (2, 2), (MAX_SIZE + 1, 1)]:
        with pytest.raises(IntegrityError):
            Frontier(size, (bytes(32),) * count)
