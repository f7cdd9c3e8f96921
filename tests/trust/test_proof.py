"""A proof is accepted exactly when RFC 6962 says so."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.tlog.merkle import EMPTY_ROOT, MAX_SIZE, node_hash, parent_level
from run_evidence.ledger.tlog.proof import (
    NodeId,
    check_consistency,
    check_inclusion,
    check_inclusions,
    prove_consistency,
    prove_inclusion,
    prove_inclusions,
    read_frontier,
)
from tests.trust.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = 256
REFERENCE = Reference([b"entry %d" % i for i in range(SIZES)])


class MemoryReader:
    """Serves the complete nodes of one tree, and refuses any other with a KeyError."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.nodes: dict[NodeId, bytes] = {}
        self.calls = 0
        level, row = 0, list(leaves)
        while row:
            self.nodes.update({NodeId(level, i): value for i, value in enumerate(row)})
            row = parent_level(row[: len(row) // 2 * 2])
            level += 1

    def __call__(self, nodes: Sequence[NodeId]) -> list[bytes]:
        self.calls += 1
        return [self.nodes[node] for node in nodes]


def reader_for(size: int) -> MemoryReader:
    return MemoryReader([REFERENCE.leaf(i) for i in range(size)])


def test_every_inclusion_proof_up_to_256_leaves() -> None:
    """Every path is the reference's path, is accepted, and comes from one call to the reader."""
    for size in range(1, SIZES + 1):
        reader, root = reader_for(size), REFERENCE.root(size)
        for index in range(size):
            reader.calls = 0
            proof = prove_inclusion(index, size, reader)
            assert reader.calls <= 1
            assert list(proof) == REFERENCE.path(index, 0, size)
            check_inclusion(proof, leaf=REFERENCE.leaf(index), index=index, size=size, root=root)


def test_every_consistency_proof_up_to_256_leaves() -> None:
    """Every proof is the reference's proof, is accepted, and comes from one call to the reader."""
    for new in range(SIZES + 1):
        reader = reader_for(new)
        for old in range(new + 1):
            reader.calls = 0
            proof = prove_consistency(old, new, reader)
            assert reader.calls <= 1
            assert list(proof) == (REFERENCE.proof(old, new) if old else [])
            roots = {"old_root": REFERENCE.root(old), "new_root": REFERENCE.root(new)}
            check_consistency(proof, old_size=old, new_size=new, **roots)


def test_no_inclusion_proof_fits_another_place() -> None:
    """In all trees up to 40 leaves a path is accepted for its own index and size, and for no other."""
    for size in range(1, 41):
        reader = reader_for(size)
        for index in range(size):
            proof = prove_inclusion(index, size, reader)
            leaf, root = REFERENCE.leaf(index), REFERENCE.root(size)
            for other in [i for i in range(-1, size + 1) if i != index]:
                with pytest.raises(IntegrityError):
                    check_inclusion(proof, leaf=leaf, index=other, size=size, root=root)


def test_no_consistency_proof_fits_swapped_or_unequal_roots() -> None:
    for new in range(1, 41):
        for old in range(new):
            proof = prove_consistency(old, new, reader_for(new))
            right = {"old_root": REFERENCE.root(old), "new_root": REFERENCE.root(new)}
            swapped = {"old_root": REFERENCE.root(new), "new_root": REFERENCE.root(old)}
            with pytest.raises(IntegrityError):
                check_consistency(proof, old_size=old, new_size=new, **swapped)
            with pytest.raises(IntegrityError):
                check_consistency(proof, old_size=new, new_size=old, **right)
            if old:
                with pytest.raises(IntegrityError):
                    check_consistency(proof, old_size=old, new_size=new, **right | {"new_root": bytes(32)})


def test_read_frontier_gives_every_root() -> None:
    for size in range(SIZES + 1):
        assert read_frontier(size, reader_for(size)).root() == REFERENCE.root(size)


# --- mutated proofs -------------------------------------------------------------------------------------

positions = st.integers(0, 2**32)


def mutations(proof: Sequence[bytes], at: int, bit: int) -> list[list[bytes]]:
    """Return the proof with one bit flipped, cut, extended, repeated and reordered."""
    changed = [[*proof, bytes(32)], [bytes(32), *proof]]
    if not proof:
        return changed
    where = at % len(proof)
    flipped = list(proof)
    value = bytearray(flipped[where])
    value[bit // 8] ^= 1 << bit % 8
    flipped[where] = bytes(value)
    changed += [
        flipped,
        list(proof[:-1]),
        list(proof[1:]),
        [*proof[:where], *proof[where + 1 :]],
        [*proof, proof[where]],
        [*proof[:where], proof[where], *proof[where:]],
        [value[:31] for value in proof],
    ]
    if list(proof) != list(proof)[::-1]:
        changed.append(list(proof)[::-1])
    return changed


@given(st.data(), positions, st.integers(0, 255))
def test_mutated_inclusion_proofs_are_refused(data: st.DataObject, at: int, bit: int) -> None:
    size = data.draw(st.integers(1, SIZES))
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, reader_for(size))
    for wrong in mutations(proof, at, bit):
        with pytest.raises(IntegrityError):
            check_inclusion(wrong, leaf=REFERENCE.leaf(index), index=index, size=size, root=REFERENCE.root(size))


@given(st.data(), positions, st.integers(0, 255))
def test_mutated_consistency_proofs_are_refused(data: st.DataObject, at: int, bit: int) -> None:
    new = data.draw(st.integers(1, SIZES))
    old = data.draw(st.integers(0, new))
    proof = prove_consistency(old, new, reader_for(new))
    for wrong in mutations(proof, at, bit):
        with pytest.raises(IntegrityError):
            check_consistency(
                wrong,
                old_size=old,
                new_size=new,
                old_root=REFERENCE.root(old),
                new_root=REFERENCE.root(new),
            )


@given(st.integers(1, SIZES), st.data())
def test_another_leaf_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, reader_for(size))
    with pytest.raises(IntegrityError, match="leads to root"):
        check_inclusion(proof, leaf=bytes(32), index=index, size=size, root=REFERENCE.root(size))


def test_an_interior_node_does_not_pass_for_a_leaf() -> None:
    """Presenting the node above leaves 0 and 1 as leaf 0 of a tree half the size leads nowhere."""
    node = node_hash(REFERENCE.leaf(0), REFERENCE.leaf(1))
    proof = prove_inclusion(0, 8, reader_for(8))
    with pytest.raises(IntegrityError, match="must have 3 hashes, got 2"):
        check_inclusion(proof[1:], leaf=node, index=0, size=8, root=REFERENCE.root(8))


@given(st.integers(1, MAX_SIZE), st.data())
@settings(max_examples=300)
def test_checkers_know_the_length_of_every_proof_in_any_tree(size: int, data: st.DataObject) -> None:
    """In trees far too large to hold, the number of hashes demanded is what the prover would make."""
    index = data.draw(st.integers(0, size - 1))
    blank = lambda nodes: [bytes(32)] * len(nodes)  # noqa: E731 - the shape is under test, not the hashes
    path = prove_inclusion(index, size, blank)
    with pytest.raises(IntegrityError, match="must have"):
        check_inclusion([*path, bytes(32)], leaf=bytes(32), index=index, size=size, root=EMPTY_ROOT)
    with pytest.raises(IntegrityError, match="leads to root"):
        check_inclusion(path, leaf=bytes(32), index=index, size=size, root=EMPTY_ROOT)
    grown = prove_consistency(index + 1, size, blank)
    with pytest.raises(IntegrityError, match="has root"):
        check_consistency(grown, old_size=index + 1, new_size=size, old_root=EMPTY_ROOT, new_root=bytes(32))


# --- arguments that make no sense -----------------------------------------------------------------------


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 5), (5, 5), (0, MAX_SIZE + 1)])
def test_a_leaf_outside_the_tree_can_be_neither_proved_nor_checked(index: int, size: int) -> None:
    with pytest.raises(UsageError):
        prove_inclusion(index, size, reader_for(8))
    with pytest.raises(IntegrityError, match="no such leaf"):
        check_inclusion([], leaf=bytes(32), index=index, size=size, root=bytes(32))


@pytest.mark.parametrize(("old", "new"), [(6, 5), (-1, 5), (1, MAX_SIZE + 1)])
def test_a_log_that_shrinks_can_be_neither_proved_nor_checked(old: int, new: int) -> None:
    with pytest.raises(UsageError):
        prove_consistency(old, new, reader_for(8))
    with pytest.raises(IntegrityError, match="only grows"):
        check_consistency([], old_size=old, new_size=new, old_root=bytes(32), new_root=bytes(32))


def test_two_roots_for_one_size_are_called_a_fork() -> None:
    with pytest.raises(IntegrityError, match="forked"):
        check_consistency([], old_size=5, new_size=5, old_root=bytes(32), new_root=REFERENCE.root(5))


def test_the_empty_tree_has_one_root() -> None:
    check_consistency([], old_size=0, new_size=5, old_root=EMPTY_ROOT, new_root=REFERENCE.root(5))
    with pytest.raises(IntegrityError, match="the old tree is empty"):
        check_consistency([], old_size=0, new_size=5, old_root=bytes(32), new_root=REFERENCE.root(5))


def test_roots_and_leaves_of_a_wrong_length_are_refused() -> None:
    with pytest.raises(IntegrityError, match="32 bytes"):
        check_inclusion([], leaf=b"x", index=0, size=1, root=b"x")
    with pytest.raises(IntegrityError, match="32 bytes"):
        check_consistency([], old_size=1, new_size=1, old_root=b"", new_root=b"")


def test_a_reader_that_leaves_hashes_out_is_refused() -> None:
    with pytest.raises(IntegrityError, match="returned 1 hashes for 2 nodes"):
        prove_inclusion(0, 3, lambda _: [bytes(32)])


# --- published proofs -----------------------------------------------------------------------------------

# Over the eight Certificate Transparency test inputs.
# Source: transparency-dev/merkle, testdata/inclusion/*/happy-path.json (index, size, root, leaf, proof).
PUBLISHED_INCLUSION = [
    (
        0,
        8,
        "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
        "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
        [
            "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=",
            "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=",
            "a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ=",
        ],
    ),
    (
        5,
        8,
        "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
        "QnGia+DYqE8L1UyMMC58s6O10fpngKQLzOKHNHfatlg=",
        [
            "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=",
            "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=",
            "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
        ],
    ),
    (
        2,
        3,
        "rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=",
        "ApjRIpBtz8EIkstTpzmS/FufST6kybrbJ7eRtBJ6f+c=",
        ["+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU="],
    ),
    (
        1,
        5,
        "Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=",
        "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=",
        [
            "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
            "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=",
            "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=",
        ],
    ),
]

# Source: transparency-dev/merkle, testdata/consistency/*/happy-path.json (sizes, roots, proof); the last is
# the answer of the Google Argon 2020 CT log in golang/mod, sumdb/tlog/testdata/argon2020.
PUBLISHED_CONSISTENCY = [
    (
        1,
        8,
        "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
        "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
        [
            "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=",
            "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=",
            "a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ=",
        ],
    ),
    (
        6,
        8,
        "duZ9rbzfHhDht03cYIq9L5jfsW+851J3tSMqEn8gh+8=",
        "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
        [
            "DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o=",
            "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=",
            "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
        ],
    ),
    (
        2,
        5,
        "+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=",
        "Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=",
        [
            "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=",
            "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=",
        ],
    ),
    (
        6,
        7,
        "duZ9rbzfHhDht03cYIq9L5jfsW+851J3tSMqEn8gh+8=",
        "3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=",
        [
            "DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o=",
            "sIaT7C5yFZcTBkHoIR5+7cy0wmQTlj7ubB4u0W/7Gl8=",
            "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
        ],
    ),
    (
        3654490,
        961984013,
        "AuIZ5V6sDUj1vn3Y1K85oOaQ7y+FJJKtyRTl1edIKBQ=",
        "dwlueapdd7LaOEnX2W2Wp9v2XE+KzejHRQGHwEx0oaM=",
        [
            "80Sfbj6UQEdVSZCSIgh9NMPj3vCBzcc1A48B2crJSWg=",
            "FZcrgAHUk6nNPviJZq8kEK6jCG1d18pJOFE45ZDc1TQ=",
            "Q67reWXmPBo1UfmwBap4Xi9PMPfFdUSSw3WGlRZdG7k=",
            "eJ7CyhR4PxzBxDIsWgrVYW1eFUb9ndgf46tFmiqVrxA=",
            "QrDwp062Grm5WY8KdrhFsBuuNjGzRox2Jb8PmVL5OYw=",
            "XM4YMjMEdLH/XJam/ZWyaP14k3cmsOtnPsOWQ54lW1s=",
            "SGiBh+jOTGccXU48ZzgQ88lRcBmtB4wz4oSDndv2QTg=",
            "WAS6txqNLYKGL1GdBdpqmV42TTfn6cJsuDsqLXuTCNI=",
            "QFmRS0rirUA7ZN3lxFjDncV+E1OCrn3NUB4RCp+5fzc=",
            "Hdbp7It2XBNZmNDBpCN/KPd7vfVqxgzwOosqVIaEA9E=",
            "mxvHL0ZiblBdD7j7pIa1jlfB0gSqfJ6oX0UGo7L0VsU=",
            "q5hjyvoW6TL/PThgcitpDcSTrnKX2p1+aqscqH2euRA=",
            "jTOWDqt3IHj2NVFeezyBz2ofpru+ztEywqKUAfFclKI=",
            "GIRn0w3HqJdvU9j1WVD//eR6lk2AaTVjyzjsJNP8U88=",
            "x52GJvxG81fnQBrgOTbll1A5tz95/LXK0Ag1NhB0r1I=",
            "6/0OqrcTgc3o5dD5PymmoC96lB9yLPFuTHVvLy8fSGk=",
            "Gf+iKLfcXO5l4JEFmsZvSdG5q1uEeWPfYLrds6pmjz0=",
            "DGuaco+McyM3AfRSF6qX7RwSetwe2ieYJmxw5e9rVx0=",
            "2tQJ9V32hnYp+fdpP6TcjmgJmLeNVOMKM0Ml1kk4cNU=",
            "3PapK+IkyJr8I9yAErAmzuZezzLMzsg+PfeRCgNW8NQ=",
            "s6xiYeejb+wtqHA+URJZ2I/SCPyIW8coP6aB00FJbMY=",
            "z9lSpmdTcr5M5ZzKlc4EPh3SrSypKFdk6JUF/UccaZU=",
            "GXIElfmnRuWfbA4z7ubV/UwlpSRUbUeec7oL5HDDnh0=",
            "pR0SH/NYP6s9+8azWwaeUXA4Ze/3WCIgMfh5YW6wvcE=",
            "f3GuAKYVrF8RBg3s15jvA/YvV9oAliWtzP/imwPhQVA=",
            "WHn8zDxlVgkV+lSlmzaOdfSBrTHoRr5nT3d76q0KKWE=",
            "f2uV2ZxVgULzLPKuZcowRY3ZY7fRlX59iDBjV1R8kNQ=",
            "NzQVjJsvQwbi7WStMr9oFkh9VbHfK7LB6o7WwAqwNTs=",
            "C0LttBeYHZHgL+032JIcJC3CTBIyza/hsbmJUgJfmDI=",
            "nixU5CWTFVDlF4BGdcU6kA7WSYurEpe9jRWc+F/7sOc=",
        ],
    ),
]


@pytest.mark.parametrize(("index", "size", "root", "leaf", "proof"), PUBLISHED_INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, root: str, leaf: str, proof: list[str]) -> None:
    path = [b64decode(value) for value in proof]
    check_inclusion(path, leaf=b64decode(leaf), index=index, size=size, root=b64decode(root))
    with pytest.raises(IntegrityError):
        check_inclusion(path, leaf=b64decode(leaf), index=index, size=size, root=b64decode(leaf))


@pytest.mark.parametrize(("old", "new", "old_root", "new_root", "proof"), PUBLISHED_CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, old_root: str, new_root: str, proof: list[str]) -> None:
    path = [b64decode(value) for value in proof]
    roots = {"old_root": b64decode(old_root), "new_root": b64decode(new_root)}
    check_consistency(path, old_size=old, new_size=new, **roots)
    for part in roots:
        with pytest.raises(IntegrityError):
            check_consistency(path, old_size=old, new_size=new, **roots | {part: bytes(32)})


# --- many leaves at once ----------------------------------------------------------------------------------


def leaves_of(indexes: Sequence[int]) -> list[tuple[int, bytes]]:
    return [(index, REFERENCE.leaf(index)) for index in indexes]


def test_every_set_of_leaves_of_every_small_tree_is_proved() -> None:
    """And of one leaf the multi-proof has the hashes of its audit path, of all leaves none."""
    for size in range(1, 11):
        reader, root = reader_for(size), REFERENCE.root(size)
        for chosen in range(1, 2**size):
            indexes = [index for index in range(size) if chosen >> index & 1]
            proof = prove_inclusions(indexes, size, reader)
            check_inclusions(proof, leaves=leaves_of(indexes), size=size, root=root)
            paths = [set(prove_inclusion(index, size, reader)) for index in indexes]
            assert set(proof) <= set.union(*paths)
            assert len(set(proof)) == len(proof)
            if len(indexes) == 1:
                assert sorted(proof) == sorted(paths[0])
        assert prove_inclusions(range(size), size, reader) == ()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, SIZES), st.data())
def test_a_multi_proof_of_anything_else_is_refused(size: int, data: st.DataObject) -> None:
    """One leaf more or less, another leaf, another place, another hash, one more or one less, another tree."""
    indexes = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=12)))
    proof, root = prove_inclusions(indexes, size, reader_for(size)), REFERENCE.root(size)
    leaves = leaves_of(indexes)
    check_inclusions(proof, leaves=leaves, size=size, root=root)
    at = data.draw(st.integers(0, len(leaves) - 1))
    wrong: list[tuple[Sequence[bytes], list[tuple[int, bytes]], int, bytes]] = [
        (proof, leaves[:at] + leaves[at + 1 :], size, root),
        (proof, [*leaves[:at], (leaves[at][0], bytes(32)), *leaves[at + 1 :]], size, root),
        (proof, [*leaves[:at], (leaves[at][0] + 1, leaves[at][1]), *leaves[at + 1 :]], size, root),
        (proof, [*leaves, (size, bytes(32))], size, root),
        (proof, [*leaves, leaves[-1]], size, root),
        (proof, leaves[::-1] if len(leaves) > 1 else [], size, root),
        ([*proof, bytes(32)], leaves, size, root),
        (proof, leaves, size, bytes(32)),
        (proof, [], size, root),
    ]
    if proof:
        nth = data.draw(st.integers(0, len(proof) - 1))
        wrong += [
            ([*proof[:nth], *proof[nth + 1 :]], leaves, size, root),
            ([*proof[:nth], bytes(32), *proof[nth + 1 :]], leaves, size, root),
            ([*proof[:nth], b"short", *proof[nth + 1 :]], leaves, size, root),
        ]
    for hashes, of, tree, to in wrong:
        with pytest.raises(IntegrityError, match="multi-proof"):
            check_inclusions(hashes, leaves=of, size=tree, root=to)


@pytest.mark.parametrize("indexes", [[], [5], [-1], [2, 1], [1, 1]])
def test_no_multi_proof_is_made_of_leaves_that_are_not_there(indexes: list[int]) -> None:
    with pytest.raises(UsageError, match="multi-proof"):
        prove_inclusions(indexes, 5, reader_for(5))
