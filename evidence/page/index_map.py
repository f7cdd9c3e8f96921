"""Drawing assets × partitions: one path for each verdict, so that 365 × 50 cells stay small and quick to draw.

Each verdict has a shape of its own, so that nobody has to tell colours apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PITCH: Final = 16
_EVERY: Final = 7
"""Columns between two labels at the top."""

SHAPES: Final[Mapping[str, str]] = {
    "P": "h12v12h-12z",
    "W": "h12l-12 12z",
    "F": "l6 4l6-4l-4 6l4 6l-6-4l-6 4l4-6z",
    "S": "m0 4h12v4h-12z",
    "A": "h12v12h-12zm3 3v6h6v-6z",
    "N": "m2 0h3v12h-3zm6 0h3v12h-3z",
    "?": "m4 4h4v4h-4z",
}
"""What is drawn in a cell of 12 units from its top left corner, by the letter of its verdict."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawing: a path for each letter, labels at the top as (x, text), and its size."""

    paths: Mapping[str, str]
    labels: tuple[tuple[int, str], ...]
    width: int
    height: int


def draw_map(partitions: Sequence[str], letters: Sequence[str]) -> Drawn:
    """Draw rows of letters, one for each partition; a space leaves its cell empty."""
    paths: dict[str, list[str]] = {letter: [] for letter in SHAPES}
    for row, line in enumerate(letters):
        for column, letter in enumerate(line):
            if letter in SHAPES:
                paths[letter].append(f"M{column * PITCH} {row * PITCH}{SHAPES[letter]}")
    labels = tuple((n * PITCH, partitions[n]) for n in range(0, len(partitions), _EVERY))
    size = (max(len(partitions), 1) * PITCH + 80, max(len(letters), 1) * PITCH)
    return Drawn({letter: "".join(cells) for letter, cells in paths.items() if cells}, labels, *size)
