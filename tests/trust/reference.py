"""RFC 6962 written down a second time, by its recursive definitions, sharing no code with `ledger`.

Source: RFC 6962 sections 2.1 (MTH), 2.1.1 (PATH) and 2.1.2 (PROOF, SUBPROOF). Slow on purpose; the cache is
keyed by slice bounds of one list of entries.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256


def split(size: int) -> int:
    """Return k, the largest power of two smaller than `size` (size > 1)."""
    k = 1
    while k * 2 < size:
        k *= 2
    return k


class Reference:
    """MTH, PATH and PROOF over one list of entries; arguments are slice bounds D[start:end]."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.mth = cache(self._mth)

    def root(self, size: int) -> bytes:
        """MTH(D[0:size])."""
        return self.mth(0, size)

    def leaf(self, index: int) -> bytes:
        """MTH of the one entry."""
        return self.mth(index, index + 1)

    def _mth(self, start: int, end: int) -> bytes:
        size = end - start
        if size == 0:
            return sha256(b"").digest()
        if size == 1:
            return sha256(b"\x00" + self.entries[start]).digest()
        k = split(size)
        return sha256(b"\x01" + self.mth(start, start + k) + self.mth(start + k, end)).digest()

    def path(self, m: int, start: int, end: int) -> list[bytes]:
        """PATH(m, D[start:end]), section 2.1.1."""
        if end - start == 1:
            return []
        k = split(end - start)
        if m < k:
            return [*self.path(m, start, start + k), self.mth(start + k, end)]
        return [*self.path(m - k, start + k, end), self.mth(start, start + k)]

    def proof(self, m: int, n: int) -> list[bytes]:
        """PROOF(m, D[0:n]), section 2.1.2; 0 < m <= n."""
        return self._subproof(m, 0, n, whole=True)

    def _subproof(self, m: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if m == end - start:
            return [] if whole else [self.mth(start, end)]
        k = split(end - start)
        if m <= k:
            return [*self._subproof(m, start, start + k, whole=whole), self.mth(start + k, end)]
        return [*self._subproof(m - k, start + k, end, whole=False), self.mth(start, start + k)]
