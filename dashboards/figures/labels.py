"""Places for the names of points that cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


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
    import numpy as np

    taken = [_numbers(box) for box in obstacles]
    placed: list[Label] = []
    for (x, y), (width, height) in zip(anchors, sizes, strict=True):
        best: tuple[float, Label, Box] | None = None
        boxes = np.array(taken, float).reshape(-1, 5)
        for distance in _DISTANCES:
            if best is not None and distance * 1.5 >= best[0]:
                break  # no place this far away can cost less
            offsets = [_offset(distance, direction, width, height) for direction in _DIRECTIONS]
            candidates = [Box.around(x + dx, y + dy, width, height) for dx, dy in offsets]
            covered = _covered(candidates, boxes)
            for (dx, dy), box, cover in zip(offsets, candidates, covered, strict=True):
                outside = width * height - box.overlap(bounds)
                cost = distance * 1.5 + 20 * outside + cover
                if distance > _NEAR and (best is None or cost < best[0]):
                    cost += 40 * _crossed(x, y, dx, dy, boxes)
                if best is None or cost < best[0]:
                    best = cost, Label(dx, dy, distance <= _NEAR), box
        assert best is not None
        placed.append(best[1])
        taken.append(_numbers(Box(best[2].left - 3, best[2].top, best[2].right + 3, best[2].bottom, weight=4)))
    return placed


def _numbers(box: Box) -> tuple[float, float, float, float, float]:
    return box.left, box.top, box.right, box.bottom, box.weight


def _offset(distance: float, direction: tuple[int, int], width: float, height: float) -> tuple[float, float]:
    """Of a label's centre from its point: the label's edge is `distance` away; less so upwards, text has air above and
    below."""
    ux, uy = direction
    reach = distance if ux == 0 else distance * 0.5
    return ux * ((distance if uy == 0 else distance * 0.8) + width / 2), uy * (reach + height / 2)


def _covered(candidates: Sequence[Box], boxes: Any) -> list[float]:
    """Area of what is taken that each candidate covers, weighted [pixel^2].

    Args:
        candidates: places for a label.
        boxes: what is taken; [n, 5]: left, top, right, bottom, weight.
    """
    import numpy as np

    ours = np.array([_numbers(box) for box in candidates])[:, None]
    wide = np.minimum(ours[..., 2], boxes[:, 2]) - np.maximum(ours[..., 0], boxes[:, 0])
    high = np.minimum(ours[..., 3], boxes[:, 3]) - np.maximum(ours[..., 1], boxes[:, 1])
    areas = np.maximum(wide, 0.0) * np.maximum(high, 0.0) * boxes[:, 4]
    return [float(cost) for cost in areas.sum(axis=1)]


def _crossed(x: float, y: float, dx: float, dy: float, boxes: Any) -> int:
    """Number of points, of ten, where the line from a label to its point runs over what must stay legible."""
    import numpy as np

    left, top, right, bottom, weight = boxes.T
    solid = boxes[(weight >= 3) & ~((left <= x) & (x <= right) & (top <= y) & (y <= bottom))]
    shares = np.arange(1, 11)[:, None] / 10
    px, py = x + dx * shares, y + dy * shares
    is_in = (solid[:, 0] <= px) & (px <= solid[:, 2]) & (solid[:, 1] <= py) & (py <= solid[:, 3])
    return int(is_in.sum())
