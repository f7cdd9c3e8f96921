"""The RFC 6962 Merkle tree: leaf and node hashes, and the frontier that lets a log grow without its past.

Nothing here touches a disk. A tree of any size is held by its frontier, at most 63 hashes; sealing extends
it, level by level, close to the speed of bare hashlib.

Source: RFC 6962 section 2.1 (Merkle Hash Tree), with SHA-256.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree with no leaves (RFC 6962 section 2.1: the hash of an empty string)."""

MAX_SIZE = 2**63 - 1
"""The largest tree size taken from any document: what a signed 64-bit integer holds, as in Go's tlog."""

# The prefixes keep leaves and nodes apart, so that no entry can pass for an interior node.
_LEAF = b"\x00"
_NODE = b"\x01"

# Leaves taken from an iterable at a time: memory stays constant at 10 million entries, and the loop over
# levels is entered often enough to amortise, seldom enough not to be seen (16 levels for each 65,536 leaves).
_CHUNK_LEAVES = 1 << 16

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_HEX_HASH = re.compile(r"[0-9a-f]{64}")


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ entry), 32 bytes. Source: RFC 6962 section 2.1."""
    return sha256(_LEAF + entry).digest()


def leaf_hashes(entries: Iterable[bytes | memoryview]) -> list[bytes]:
    """Return the leaf hash of each entry."""
    # A hash that has taken the prefix is copied: an entry is then not, which takes as long as a fifth of its hash.
    prefixed = sha256(_LEAF)
    hashes = []
    for entry in entries:
        leaf = prefixed.copy()
        leaf.update(entry)
        hashes.append(leaf.digest())
    return hashes


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right), 32 bytes. Source: RFC 6962 section 2.1."""
    return sha256(_NODE + left + right).digest()


def parent_level(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the level above `nodes`, whose number must be even (a ValueError here is our bug, not data)."""
    # node_hash() spelled out: a call for each node would cost half as much again as the hash itself.
    pairs = iter(nodes)
    prefixed = sha256(_NODE)
    parents = []
    for left, right in zip(pairs, pairs, strict=True):
        parent = prefixed.copy()
        parent.update(left + right)
        parents.append(parent.digest())
    return parents


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes; EMPTY_ROOT where there are none.

    An odd node at the end of a level moves up unchanged, which is RFC 6962's split at the largest power of
    two written from the bottom.

    Raises: IntegrityError if a leaf hash is not 32 bytes.
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    require_hashes(level)
    while len(level) > 1:
        odd = [level.pop()] if len(level) % 2 else []
        level = parent_level(level) + odd
    return level[0]


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves, held by the roots of its perfect subtrees, largest (leftmost) first.

    There is one hash for each 1 bit of `size`, the highest bit first. That is all a log has to remember of
    its leaves to grow and to name its root.

    Raises: IntegrityError if size and hashes cannot belong together.
    """

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise IntegrityError(f"frontier size {self.size} is outside 0..{MAX_SIZE}")
        if len(self.hashes) != self.size.bit_count():
            expected = self.size.bit_count()
            raise IntegrityError(
                f"frontier of size {self.size} must have {expected} hashes, got {len(self.hashes)}"
            )
        require_hashes(self.hashes)

    @classmethod
    def empty(cls) -> Frontier:
        """Return the frontier of the tree with no leaves."""
        return cls(0, ())

    def extend(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """Return the frontier of this tree with `leaf_hashes` appended, in order.

        Cost: one SHA-256 for each leaf, constant memory however long the iterable is.

        Raises: IntegrityError if a leaf hash is not 32 bytes.
        """
        size, hashes = self.size, self.hashes
        source = iter(leaf_hashes)
        while chunk := list(islice(source, _CHUNK_LEAVES)):
            require_hashes(chunk)
            added = len(chunk)
            hashes = _extended(size, hashes, chunk)
            size += added
        return Frontier(size, hashes)

    def root(self) -> bytes:
        """Return the tree's root, 32 bytes; at most 62 hashes of work."""
        if not self.hashes:
            return EMPTY_ROOT
        *larger, root = self.hashes
        for subtree in reversed(larger):
            root = node_hash(subtree, root)
        return root


def format_frontier(frontier: Frontier) -> str:
    """Return the one-line text form: the size in decimal, then each hash in lower-case hex, after a space."""
    return " ".join([str(frontier.size), *(subtree.hex() for subtree in frontier.hashes)])


def parse_frontier(text: str) -> Frontier:
    """Read what `format_frontier` wrote; there is exactly one text for each frontier.

    Raises: IntegrityError for anything else, down to a leading zero or a capital letter.
    """
    size, *hashes = text.split(" ")
    for position, digits in enumerate(hashes):
        if not _HEX_HASH.fullmatch(digits):
            raise IntegrityError(f"frontier hash {position} is not 64 lower-case hex digits: {digits[:80]!r}")
    return Frontier(parse_size(size, "frontier"), tuple(map(bytes.fromhex, hashes)))


def parse_size(text: str, where: str) -> int:
    """Read a tree size or index: ASCII decimal without sign or leading zeros, at most MAX_SIZE.

    `where` names the document in the message.

    Raises: IntegrityError for anything else.
    """
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise IntegrityError(f"{where}: {text[:40]!r} is not a decimal in 0..{MAX_SIZE} without leading zeros")
    return int(text)


def require_hashes(hashes: Sequence[bytes]) -> None:
    """Raise an IntegrityError naming the first of `hashes` that is not 32 bytes."""
    wrong = set(map(len, hashes)) - {HASH_BYTES}
    if wrong:
        position = next(i for i, value in enumerate(hashes) if len(value) != HASH_BYTES)
        raise IntegrityError(
            f"hash {position} of {len(hashes)} must be {HASH_BYTES} bytes, got {len(hashes[position])}"
        )


def _extended(size: int, hashes: tuple[bytes, ...], nodes: list[bytes]) -> tuple[bytes, ...]:
    """Return the frontier hashes after appending `nodes` (consumed) to a tree of `size` leaves."""
    waiting = list(hashes)  # largest first, so the subtree of the level at hand is the last
    kept: list[bytes] = []
    while nodes or waiting:
        if size & 1:
            nodes.insert(0, waiting.pop())
        if len(nodes) & 1:
            kept.append(nodes.pop())
        nodes = parent_level(nodes)
        size >>= 1
    return tuple(reversed(kept))
