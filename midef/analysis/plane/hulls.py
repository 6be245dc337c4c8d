"""Convex hulls in the plane: their corners, area, intersection and overlap."""

from __future__ import annotations

import numpy as np


def hull(points: np.ndarray) -> np.ndarray:
    """Corners [V, 2] of the convex hull of points [N, 2], counterclockwise; points on its edges are left out.

    Points on one line give the two ends of it, equal ones the one point.

    Source: the monotone chain of Andrew, Information Processing Letters 9 (1979), 216-219.
    """
    ordered = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    if len(ordered) < 3:
        return ordered
    below, above = _chain(ordered), _chain(ordered[::-1])
    return np.array(below[:-1] + above[:-1])


def _chain(ordered: np.ndarray) -> list[np.ndarray]:
    """Corners on one side, from the first point to the last, all turns to the left."""
    chain: list[np.ndarray] = []
    for point in ordered:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> float:
    """Twice the signed area of the triangle; positive where the point lies left of the line from start to end."""
    return float((end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0]))


def area(polygon: np.ndarray) -> float:
    """Area of a polygon with corners [V, 2] counterclockwise; 0 of fewer than three."""
    if len(polygon) < 3:
        return 0.0
    x, y = (polygon - polygon[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Corners [V, 2] of what two convex polygons, both counterclockwise, have in common; none where that is no area.

    Source: clipping by half planes, Sutherland and Hodgman, Communications of the ACM 17 (1974), 32-42.
    """
    left = list(first)
    for start, end in zip(second, np.roll(second, -1, axis=0), strict=True):
        before, left = left, []
        for i, point in enumerate(before):
            previous = before[i - 1]
            here, there = _turn(start, end, point), _turn(start, end, previous)
            if (here > 0) != (there > 0):
                left.append(previous + (point - previous) * (there / (there - here)))
            if here > 0:
                left.append(point)
    return np.array(left).reshape(-1, 2)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Area that the hulls of two sets of points [N, 2] share, over the area that either covers: 0 apart, 1 equal.

    0 where one has no area. The hull grows with the number of points, so sets are compared at equal numbers.
    """
    one, other = hull(first), hull(second)
    if not (area(one) > 0 and area(other) > 0):
        return 0.0
    shared = area(intersection(one, other))
    return shared / (area(one) + area(other) - shared)
