"""Places for the names of points that cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, x to the right, y down. `weight`: how bad it is to cover a pixel of it."""

    left: float
    top: float
    right: float
    bottom: float
    weight: float = 1.0

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float, weight: float = 1.0) -> Box:
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2, weight)

    def overlap(self, other: Box) -> float:
        """Shared area [pixel^2]."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, wide) * max(0.0, high)


@dataclass(frozen=True)
class Label:
    """Offset of the label's centre from its point [pixels]; `is_near` labels need no line to their point."""

    dx: float
    dy: float
    is_near: bool


# Diagonals first: the interval cross of a point lies on its axes.
_DIRECTIONS = [(1, -1), (-1, -1), (1, 1), (-1, 1), (1, 0), (-1, 0), (0, -1), (0, 1)]
_DISTANCES = (6, 11, 20, 32, 46, 64, 84, 108)
_NEAR = 11


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    bounds: Box,
) -> list[Label]:
    """A place for each label, greedily in the order given: the nearest of a ring of candidates that covers least."""
    taken = list(obstacles)
    placed: list[Label] = []
    for (x, y), (width, height) in zip(anchors, sizes, strict=True):
        best: tuple[float, Label, Box] | None = None
        for distance in _DISTANCES:
            if best is not None and distance * 1.5 >= best[0]:
                break  # no place this far away can cost less
            for ux, uy in _DIRECTIONS:
                # The label's edge, not its centre, is `distance` away; less so upwards, text has air above and below.
                reach = distance if ux == 0 else distance * 0.5
                dx = ux * ((distance if uy == 0 else distance * 0.8) + width / 2)
                dy = uy * (reach + height / 2)
                box = Box.around(x + dx, y + dy, width, height)
                outside = width * height - box.overlap(bounds)
                cost = distance * 1.5 + 20 * outside + sum(other.weight * box.overlap(other) for other in taken)
                if distance > _NEAR:
                    cost += 40 * _crossed(x, y, dx, dy, taken)
                if best is None or cost < best[0]:
                    best = cost, Label(dx, dy, distance <= _NEAR), box
        assert best is not None
        placed.append(best[1])
        taken.append(Box(best[2].left - 3, best[2].top, best[2].right + 3, best[2].bottom, weight=4))
    return placed


def _crossed(x: float, y: float, dx: float, dy: float, taken: Sequence[Box]) -> int:
    """Number of points, of ten, where the line from a label to its point runs over what must stay legible."""
    steps = [(x + dx * i / 10, y + dy * i / 10) for i in range(1, 11)]
    solid = [b for b in taken if b.weight >= 3 and not (b.left <= x <= b.right and b.top <= y <= b.bottom)]
    return sum(b.left <= px <= b.right and b.top <= py <= b.bottom for px, py in steps for b in solid)
