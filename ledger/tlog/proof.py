"""Inclusion and consistency proofs, made from and checked against hashes the caller brings.

Nothing here touches a disk: a prover is given a `HashReader`, asks it once for every node it needs (at most
126 in a tree of 2^63 leaves for one leaf) and never sees an entry. A checker needs no reader at all. Many leaves
of one tree share most of their paths: a multi-proof has each hash once.

Source: RFC 6962 section 2.1 (definitions), RFC 9162 sections 2.1.3 and 2.1.4 (verification algorithms); the
reader is Go's `golang.org/x/mod/sumdb/tlog.HashReader`, with tree coordinates in place of storage indexes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, Frontier, node_hash


@dataclass(frozen=True, slots=True)
class NodeId:
    """A node that never changes again: the root over leaves index·2^level up to (index+1)·2^level."""

    level: int
    index: int


HashReader: TypeAlias = Callable[[Sequence[NodeId]], Sequence[bytes]]
"""Returns the hash of each node asked for, in that order. Where the hashes come from decides what a proof
made from them is worth: check it against a root that is trusted."""

_Range: TypeAlias = tuple[int, int]  # leaves [first, end)


def prove_inclusion(index: int, size: int, reader: HashReader) -> tuple[bytes, ...]:
    """Return the audit path of leaf `index` in the tree of `size` leaves, from its sibling up to the root.

    Cost: one call of `reader`, at most 62 hashes returned.

    Raises: UsageError if the tree has no such leaf; IntegrityError if the reader returns too few hashes.
    Source: RFC 6962 section 2.1.1, PATH.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise UsageError(f"no leaf {index} in a tree of {size} leaves", next_step=f"ask for an index below {size}")
    first, end = 0, size
    ranges: list[_Range] = []
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    return _subtree_roots(ranges[::-1], reader)


def prove_inclusions(indexes: Sequence[int], size: int, reader: HashReader) -> tuple[bytes, ...]:
    """Return the multi-proof of the leaves `indexes`, ascending: the roots of the largest subtrees without any.

    They come from left to right. With the leaf hashes themselves they make up the whole tree, so each is needed
    and none is there twice. Cost: one call of `reader`.

    Raises: UsageError if there is no leaf, they do not ascend, or the tree has no such leaf; IntegrityError if the
    reader returns too few hashes.
    Source: docs/format.md, Multi-proofs.
    """
    if not _ascend(indexes, size):
        raise UsageError(
            f"no multi-proof of {len(indexes)} leaves in a tree of {size}",
            next_step="ask for one or more indexes below the size, each once, ascending",
        )
    return _subtree_roots(_without(indexes, size), reader)


def prove_consistency(old_size: int, new_size: int, reader: HashReader) -> tuple[bytes, ...]:
    """Return the proof that the tree of `old_size` leaves is a prefix of the tree of `new_size`.

    `reader` serves the new tree. The proof is empty where there is nothing to show: from the empty tree, and
    between equal sizes.

    Raises: UsageError if old_size is above new_size; IntegrityError if the reader returns too few hashes.
    Source: RFC 6962 section 2.1.2, PROOF; C2SP tlog-witness for the empty proof from size 0.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise UsageError(
            f"no consistency proof from size {old_size} to size {new_size}",
            next_step="give the older (smaller) tree first",
        )
    if old_size == 0:
        return ()
    first, end = 0, new_size
    ranges: list[_Range] = []
    while end != old_size:
        middle = first + _split(end - first)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    if first > 0:  # else the old tree is itself a node of the new one, and the checker has its root
        ranges.append((first, end))
    return _subtree_roots(ranges[::-1], reader)


def read_frontier(size: int, reader: HashReader) -> Frontier:
    """Return the frontier of the tree of `size` leaves as `reader` has it; its root is the tree's root.

    Raises: IntegrityError if the reader returns too few hashes or one that is not 32 bytes.
    """
    return Frontier(size, tuple(_read(_perfect_subtrees((0, size)), reader)))


def check_inclusion(proof: Sequence[bytes], *, leaf: bytes, index: int, size: int, root: bytes) -> None:
    """Pass if `proof` shows that the tree of `size` leaves with `root` has the leaf hash `leaf` at `index`.

    Raises: IntegrityError naming what does not fit: the index, the number of hashes, a hash, or the root.
    Source: RFC 9162 section 2.1.3.2.
    """
    what = f"inclusion proof of leaf {index} in {size}"
    if not 0 <= index < size <= MAX_SIZE:
        raise IntegrityError(f"{what}: there is no such leaf in a tree of that size")
    inner, border = _path_shape(index, size)
    _require_shape(what, proof, inner + border, leaf, root)

    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:  # no sibling on these levels: the node is alone at the right edge
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if computed != root:
        raise IntegrityError(f"{what}: leads to root {computed.hex()}, the checkpoint has {root.hex()}")


def check_inclusions(
    proof: Sequence[bytes], *, leaves: Sequence[tuple[int, bytes]], size: int, root: bytes
) -> None:
    """Pass if `proof` shows that the tree of `size` leaves with `root` has each of `leaves`, (index, leaf hash).

    Raises: IntegrityError naming what does not fit: the indexes, the number of hashes, a hash, or the root.
    Source: docs/format.md, Multi-proofs.
    """
    indexes, hashes = [index for index, _ in leaves], [leaf for _, leaf in leaves]
    what = f"multi-proof of {len(leaves)} leaves in {size}"
    if not _ascend(indexes, size):
        raise IntegrityError(f"{what}: it is of no leaf, or of leaves that do not ascend within the tree")
    _require_shape(what, proof, len(_without(indexes, size)), *hashes, root)
    computed = _root_of(iter(hashes), indexes, iter(proof), (0, size))
    if computed != root:
        raise IntegrityError(f"{what}: leads to root {computed.hex()}, the checkpoint has {root.hex()}")


def check_consistency(
    proof: Sequence[bytes], *, old_size: int, new_size: int, old_root: bytes, new_root: bytes
) -> None:
    """Pass if `proof` shows that the tree of `old_size` with `old_root` is a prefix of the new tree.

    Raises: IntegrityError naming what does not fit: the sizes, the number of hashes, a hash, the old or the
    new root.
    Source: RFC 9162 section 2.1.4.2; C2SP tlog-witness for old_size 0, which only the empty tree has.
    """
    what = f"consistency proof from size {old_size} to {new_size}"
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise IntegrityError(f"{what}: a log only grows")
    _require_shape(what, proof, _consistency_length(old_size, new_size), old_root, new_root)
    if old_size == 0:
        _require_root(f"{what}: the old tree is empty", EMPTY_ROOT, old_root)
        return
    if old_size == new_size:
        _require_root(f"{what}: two roots for one size, the log has forked; the old one", new_root, old_root)
        return

    # A power of two is a node of the new tree, which the checker knows already, so the proof leaves it out.
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    shift = ((old_size ^ (old_size - 1)) >> 1).bit_length()  # trailing zeros: levels below the first hash
    node, last = (old_size - 1) >> shift, (new_size - 1) >> shift
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    _require_root(f"{what}: the old tree", old_computed, old_root)
    _require_root(f"{what}: it fits the old root but the new tree", new_computed, new_root)


def _ascend(indexes: Sequence[int], size: int) -> bool:
    """Tell whether there are leaves, each is in the tree, and each comes after the one before."""
    bounds = [-1, *indexes, size]
    return bool(indexes) and size <= MAX_SIZE and all(map(int.__lt__, bounds, bounds[1:]))


def _without(indexes: Sequence[int], size: int) -> list[_Range]:
    """Return the largest subtrees of the tree that have none of these leaves, from left to right."""
    found = []
    waiting = [(0, len(indexes), 0, size)]  # which of the indexes lie in a subtree, and its leaves
    while waiting:
        low, high, first, end = waiting.pop()
        if low == high:
            found.append((first, end))
        elif end - first > 1:
            middle = first + _split(end - first)
            cut = bisect_left(indexes, middle, low, high)
            waiting += [(cut, high, middle, end), (low, cut, first, middle)]
    return found


def _root_of(hashes: Iterator[bytes], indexes: Sequence[int], proof: Iterator[bytes], leaves: _Range) -> bytes:
    """Return the root of a subtree from its leaf hashes and, where it has none of them, from the proof."""
    first, end = leaves
    if not indexes:
        return next(proof)
    if end - first == 1:
        return next(hashes)
    middle = first + _split(end - first)
    cut = bisect_left(indexes, middle)
    left = _root_of(hashes, indexes[:cut], proof, (first, middle))
    return node_hash(left, _root_of(hashes, indexes[cut:], proof, (middle, end)))


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`, which is at least 2 (RFC 6962's k)."""
    return 1 << ((size - 1).bit_length() - 1)


def _perfect_subtrees(leaves: _Range) -> list[NodeId]:
    """Return the perfect subtrees that make up a range which is a right edge of a tree, largest first."""
    first, end = leaves
    nodes: list[NodeId] = []
    while first < end:
        level = (end - first).bit_length() - 1
        nodes.append(NodeId(level, first >> level))
        first += 1 << level
    return nodes


def _subtree_roots(ranges: Sequence[_Range], reader: HashReader) -> tuple[bytes, ...]:
    """Return the Merkle tree hash of each range, all read at once."""
    plans = [_perfect_subtrees(leaves) for leaves in ranges]
    hashes = iter(_read([node for plan in plans for node in plan], reader))
    roots = []
    for plan in plans:
        *larger, root = [next(hashes) for _ in plan]
        for subtree in reversed(larger):
            root = node_hash(subtree, root)
        roots.append(root)
    return tuple(roots)


def _read(nodes: Sequence[NodeId], reader: HashReader) -> Sequence[bytes]:
    hashes = reader(nodes) if nodes else ()
    if len(hashes) != len(nodes):
        raise IntegrityError(f"the hash reader returned {len(hashes)} hashes for {len(nodes)} nodes")
    return hashes


def _path_shape(index: int, size: int) -> tuple[int, int]:
    """Return how many hashes an audit path has below and on the right edge of the tree.

    Below, the path has a sibling on every level up to where it meets the path of the last leaf; above that,
    only where it comes from the right.
    """
    inner = (index ^ (size - 1)).bit_length()
    return inner, (index >> inner).bit_count()


def _consistency_length(old_size: int, new_size: int) -> int:
    if old_size in (0, new_size):
        return 0
    trailing_zeros = ((old_size ^ (old_size - 1)) >> 1).bit_length()
    inner, border = _path_shape(old_size - 1, new_size)
    return inner - trailing_zeros + border + (old_size.bit_count() > 1)


def _require_shape(what: str, proof: Sequence[bytes], length: int, *others: bytes) -> None:
    if len(proof) != length:
        raise IntegrityError(f"{what}: must have {length} hashes, got {len(proof)}")
    for position, value in enumerate([*proof, *others]):
        if len(value) != HASH_BYTES:
            name = f"hash {position}" if position < length else "the leaf hash or a root"
            raise IntegrityError(f"{what}: {name} must be {HASH_BYTES} bytes, got {len(value)}")


def _require_root(what: str, computed: bytes, claimed: bytes) -> None:
    if computed != claimed:
        raise IntegrityError(f"{what} has root {computed.hex()}, claimed is {claimed.hex()}")
