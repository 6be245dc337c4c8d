"""Three disjoint splits, drawn per identity, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from midef.core.seeds import derive_seed

T = TypeVar("T")


PUBLISHED_SEED = 42
"""Seed of the published permutation; no parameter, because there is one such split."""


def ninety_ten(items: Sequence[T]) -> tuple[list[T], list[T]]:
    """The first 90 % (rounded down) of a published permutation of the items, and the rest; not stratified.

    The permutation depends on nothing but how many items there are: one file less, and the split is another.

    Source: PPA (Struppek et al., ICML 2022), released code: numpy's old generator (MT19937, not `default_rng`), seeded
    with 42, shuffles the positions in place.
    """
    import numpy as np

    order = list(range(len(items)))
    np.random.RandomState(PUBLISHED_SEED).shuffle(order)
    cut_at = 9 * len(items) // 10
    return [items[i] for i in order[:cut_at]], [items[i] for i in order[cut_at:]]


def apart(
    train: Sequence[tuple[T, int]], select_fraction: float, seed: int
) -> tuple[list[tuple[T, int]], list[tuple[T, int]]]:
    """Train and select from labelled training images; drawn for each label, of which one image at least stays in train.

    >>> [len(part) for part in apart([(i, i % 2) for i in range(20)], 0.1, 0)]
    [18, 2]
    """
    of_label: dict[int, list[T]] = {}
    for item, label in train:
        of_label.setdefault(label, []).append(item)
    left: list[tuple[T, int]] = []
    select: list[tuple[T, int]] = []
    for label, items in sorted(of_label.items()):
        drawn = shuffled(items, seed, "select", label)
        n_select = share(len(items), select_fraction, leave=1)
        select += [(item, label) for item in drawn[:n_select]]
        left += [(item, label) for item in drawn[n_select:]]
    return left, select


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
