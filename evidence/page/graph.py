"""The asset graph of a run as a drawing: layers by longest path, each layer ordered by where its neighbours are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 190
HEIGHT: Final = 34
_GAP_X: Final = 50
_GAP_Y: Final = 14
_MARGIN: Final = 8
_SWEEPS: Final = 4
_CHARS: Final = 26


@dataclass(frozen=True, slots=True)
class Node:
    """A box: what it is of, and its top left corner in the drawing's units."""

    key: str
    x: int
    y: int

    @property
    def label(self) -> str:
        """The end of its key, as much as the box holds."""
        last = self.key.rpartition("/")[2] or self.key
        return last if len(last) <= _CHARS else f"…{last[1 - _CHARS :]}"


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes and the arrows between them, each the path of an SVG; `width` and `height` hold all of it."""

    nodes: tuple[Node, ...]
    arrows: tuple[str, ...]
    width: int
    height: int


def draw_graph(before: Mapping[str, Sequence[str]]) -> Graph:
    """Draw what comes before what, by key. A circle, which Dagster does not make, is drawn as if it were cut."""
    known = {key: [each for each in sorted(keys) if each in before and each != key] for key, keys in before.items()}
    layers: dict[int, list[str]] = {}
    for key, layer in sorted(depths_of(known).items()):
        layers.setdefault(layer, []).append(key)
    _order(layers, known)
    nodes = {
        key: Node(key, _MARGIN + layer * (WIDTH + _GAP_X), _MARGIN + row * (HEIGHT + _GAP_Y))
        for layer, keys in layers.items()
        for row, key in enumerate(keys)
    }
    arrows = tuple(_arrow(nodes[each], nodes[key]) for key in sorted(known) for each in known[key])
    width = max((node.x for node in nodes.values()), default=0) + WIDTH + _MARGIN
    height = max((node.y for node in nodes.values()), default=0) + HEIGHT + _MARGIN
    return Graph(tuple(nodes.values()), arrows, width, height)


def depths_of(before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return for each key how long the longest way to it is; a circle counts as if it were cut where it is met."""
    depths: dict[str, int] = {}
    for start in before:
        waiting = [start]
        while waiting:
            key = waiting[-1]
            missing = [each for each in before.get(key, ()) if each not in depths and each not in waiting]
            if missing:
                waiting.append(missing[0])
                continue
            depths[waiting.pop()] = max(
                (depths[each] + 1 for each in before.get(key, ()) if each in depths), default=0
            )
    return depths


def _order(layers: Mapping[int, list[str]], before: Mapping[str, Sequence[str]]) -> None:
    """Order each layer by the mean place of what its keys come from, a few times over."""
    for _ in range(_SWEEPS):
        for layer in sorted(layers)[1:]:
            place = {key: n for keys in layers.values() for n, key in enumerate(keys)}
            mean = {
                key: sum(place[each] for each in before[key]) / len(before[key]) if before[key] else place[key]
                for key in layers[layer]
            }
            layers[layer].sort(key=lambda key: (mean[key], key))


def _arrow(start: Node, end: Node) -> str:
    x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT // 2, end.x, end.y + HEIGHT // 2
    bend = _GAP_X // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
