"""Three disjoint splits, drawn per identity, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from midef.core.seeds import derive_seed

T = TypeVar("T")


def shuffled(items: Sequence[T], *purpose: Any) -> list[T]:
    """The items in an order that depends only on `purpose` and how many there are."""
    import numpy as np

    order = np.random.default_rng(derive_seed(*purpose)).permutation(len(items))
    return [items[i] for i in order]


def share(total: int, fraction: float, *, leave: int) -> int:
    """`fraction` of `total`, rounded half up, at least 1, leaving at least `leave` for others.

    >>> share(10, 0.2, leave=1), share(3, 0.1, leave=1), share(3, 0.9, leave=1)
    (2, 1, 2)
    """
    return min(max(1, int(total * fraction + 0.5)), total - leave)


def cut(items: Sequence[T], select_fraction: float, report_fraction: float) -> tuple[list[T], list[T], list[T]]:
    """Train, select and report from at least three items in random order; none is empty.

    >>> [len(part) for part in cut(range(10), 0.1, 0.2)], [len(part) for part in cut(range(3), 0.1, 0.2)]
    ([7, 1, 2], [1, 1, 1])
    """
    report = share(len(items), report_fraction, leave=2)
    select = share(len(items), select_fraction, leave=report + 1)
    return list(items[report + select :]), list(items[report : report + select]), list(items[:report])
