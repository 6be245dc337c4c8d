"""The most that can ever run at once of work whose pieces wait for each other."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Hashable, Mapping
from itertools import pairwise
from math import inf
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
_EPSILON = 1e-9
_SOURCE, _SINK = "source", "sink"
_Residual = dict[Hashable, dict[Hashable, float]]


def width(needs: Mapping[K, Collection[K]], weights: Mapping[K, float]) -> float:
    """Largest total weight of pieces none of which waits for another, directly or through others.

    What is left of the total once as much of it as possible is carried from pieces to pieces that wait for them, each
    piece giving and taking its weight at most (Dilworth's theorem with weights).

    Args:
        needs: what each piece waits for; what is no piece itself is done.
        weights: of pieces, at least 0; 0 where none is given.
    """
    residual: _Residual = defaultdict(lambda: defaultdict(float))
    for piece, others in needs.items():
        weight = weights.get(piece, 0.0)
        residual[_SOURCE][piece, "gives"] = residual[piece, "takes"][_SINK] = weight
        residual[piece, "takes"][piece, "gives"] = inf  # what comes after this piece waits for those before it, too
        for other in needs.keys() & others:
            residual[other, "gives"][piece, "takes"] = inf
    return sum(weights.get(piece, 0.0) for piece in needs) - _most_carried(residual)


def _most_carried(residual: _Residual) -> float:
    """Maximum flow from the source to the sink, along the shortest path while there is one."""
    carried = 0.0
    while path := _shortest_path(residual):
        steps = list(pairwise(path))
        amount = min(residual[start][end] for start, end in steps)
        for start, end in steps:
            residual[start][end] -= amount
            residual[end][start] += amount
        carried += amount
    return carried


def _shortest_path(residual: _Residual) -> list[Hashable]:
    """Places from the source to the sink between which something can still be carried; empty if nothing can."""
    came_from: dict[Hashable, Hashable] = {_SOURCE: None}
    ahead: deque[Hashable] = deque([_SOURCE])
    while ahead and _SINK not in came_from:
        place = ahead.popleft()
        for following, capacity in residual[place].items():
            if capacity > _EPSILON and following not in came_from:
                came_from[following] = place
                ahead.append(following)
    if _SINK not in came_from:
        return []
    path: list[Hashable] = [_SINK]
    while path[-1] != _SOURCE:
        path.append(came_from[path[-1]])
    return path[::-1]
