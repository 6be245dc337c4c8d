"""P(on front): how often a defense stays on the front when the seeds are drawn again.

Descriptive: a bootstrap over three to ten seeds is too sure of itself, so this is no probability that a defense is on
the true front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from midef.results.compare import NATURAL
from midef.results.estimates import SEEDS_FOR_T
from midef.results.seed_points import SeedPoints, seed_points
from midef.results.summary import SummaryRow

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000
SOLID, HOLLOW = 0.9, 0.1
"""At least this share is drawn as a full point; less than the other as a hollow one; between them half full."""
_DECIMALS = 9  # equal numbers in another order sum to the last digit only


def front_shares(
    group: Sequence[SummaryRow], metric: str = NATURAL, *, larger_is_better: bool = True
) -> Mapping[int, float]:
    """Share of resamples of the seeds in which each row of a setup is on the front, by index of the row.

    Rows that are compared with nothing have none, nor has anything of fewer than three seeds. The front is found again
    in every resample, for each matched accuracy apart.

    Args:
        group: rows of the setup.
        metric: utility.
        larger_is_better: whether larger values of it are.
    """
    return {
        index: share
        for points in seed_points(group, metric, larger_is_better=larger_is_better)
        if len(points.seeds) >= SEEDS_FOR_T
        for index, share in zip(points.indices, shares_of(points), strict=True)
    }


def shares_of(points: SeedPoints) -> list[float]:
    """Share of resamples in which each defense is on the front."""
    import numpy as np

    counts, weights = resamples(len(points.seeds))
    utility, attack = (
        np.round(counts @ np.array(values).T / len(points.seeds), _DECIMALS)
        for values in (points.utility, points.attack)
    )
    return [float(share) for share in weights @ on_front(utility, attack)]


@lru_cache(16)
def resamples(n: int) -> tuple[Any, Any]:
    """How often each of n seeds is drawn in each resample [R, n], and the probability of each resample [R].

    All different resamples where there are at most 2,000 of them (seven seeds), so that the shares are exact; of more
    seeds 2,000 drawn ones, always the same.
    """
    import numpy as np

    if math.comb(2 * n - 1, n) <= RESAMPLES:
        drawn = np.array(list(combinations_with_replacement(range(n), n)))
        counts = (drawn[:, :, None] == np.arange(n)).sum(axis=1)
        ways = [math.factorial(n) / math.prod(map(math.factorial, map(int, row))) for row in counts]
        return counts.astype(float), np.array(ways) / n**n
    counts = np.random.default_rng(0).multinomial(n, [1 / n] * n, size=RESAMPLES)
    return counts.astype(float), np.full(RESAMPLES, 1 / RESAMPLES)


def on_front(utility: np.ndarray[Any, Any], attack: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which points no other point of their sample beats; equal points are on the front together [..., D].

    Args:
        utility: larger is better [..., D].
        attack: smaller is better [..., D].
    """
    import numpy as np

    order = np.lexsort((attack, -utility), axis=-1)  # most useful first, of equally useful ones the least leaking
    useful, leaks = (np.take_along_axis(values, order, axis=-1) for values in (utility, attack))
    least = np.minimum.accumulate(leaks, axis=-1)
    before = np.concatenate([np.full((*leaks.shape[:-1], 1), np.inf), least[..., :-1]], axis=-1)
    # The point that set the least so far: on the front are it and those equal to it.
    first = np.maximum.accumulate(np.where(leaks < before, np.arange(leaks.shape[-1]), 0), axis=-1)
    is_equal = (leaks == least) & (useful == np.take_along_axis(useful, first, axis=-1))
    found = np.zeros(utility.shape, dtype=bool)
    np.put_along_axis(found, order, is_equal, axis=-1)
    return found
