"""Counts and lists as a sentence has them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, one: str, many: str | None = None) -> str:
    """Put a number before what it counts: `one` of it, else `many` (`one` with an s)."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def listed(parts: Sequence[str]) -> str:
    """Join parts with commas, the last with "and"."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
