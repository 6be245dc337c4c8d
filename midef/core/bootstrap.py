"""Two-level bootstrap of a mean: setups drawn with replacement, then the seeds within each drawn setup."""

from __future__ import annotations

from collections.abc import Sequence

RESAMPLES = 10_000


def two_level_bootstrap(
    groups: Sequence[Sequence[float]], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile interval of the mean over groups, each group counting once; None for fewer than two groups.

    A setup that is drawn twice draws its seeds twice. With few setups the interval is narrow for its level, as of any
    percentile bootstrap: three setups hold 95 % intervals of about 75 %.

    Args:
        groups: a number per seed, of each setup; every group has at least one.
        level: of the interval.
        resamples: drawn; the same ones for the same seed.
        seed: of the draws.

    >>> low, high = two_level_bootstrap([[4.0, 6.0], [5.0], [9.0, 11.0]])
    >>> 4.0 <= low < 20 / 3 < high <= 11.0
    True
    """
    import numpy as np

    if len(groups) < 2:
        return None
    sizes = np.array([len(group) for group in groups])
    values = np.zeros((len(groups), sizes.max()))
    for row, group in zip(values, groups, strict=True):
        row[: len(group)] = group
    rng = np.random.default_rng(seed)
    means = []
    for size in _chunks(resamples, max(1, 2_000_000 // values.size)):
        setups = rng.integers(len(groups), size=(size, len(groups)))
        counts = sizes[setups]
        drawn = (rng.random((size, len(groups), values.shape[1])) * counts[..., None]).astype(np.int64)
        is_drawn = np.arange(values.shape[1]) < counts[..., None]
        of_setup = (values[setups[..., None], drawn] * is_drawn).sum(axis=-1) / counts
        means.append(of_setup.mean(axis=-1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _chunks(total: int, most: int) -> list[int]:
    return [most] * (total // most) + ([total % most] if total % most else [])
