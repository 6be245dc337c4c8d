"""The two-level bootstrap against a slow one, and against what must hold."""

from __future__ import annotations

import math
import random

import pytest

from midef.core.bootstrap import two_level_bootstrap

GROUPS = [[4.0, 6.0, 5.0], [1.0, 2.0], [9.0], [-3.0, 0.0, 3.0, 1.0]]


def slow(groups: list[list[float]], resamples: int) -> tuple[float, float]:
    """Setups with replacement, then the seeds of each drawn setup with replacement."""
    draw = random.Random(7)
    means = []
    for _ in range(resamples):
        chosen = [draw.choice(groups) for _ in groups]
        of_setup = [sum(draw.choice(group) for _ in group) / len(group) for group in chosen]
        means.append(sum(of_setup) / len(of_setup))
    means.sort()
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def test_it_is_the_slow_one() -> None:
    fast, reference = two_level_bootstrap(GROUPS), slow(GROUPS, 20_000)
    assert fast is not None and fast == pytest.approx(reference, abs=0.15)


def test_what_must_hold() -> None:
    assert two_level_bootstrap([[1.0, 2.0]]) is None and two_level_bootstrap([]) is None
    assert two_level_bootstrap([[2.0], [2.0, 2.0]]) == (2.0, 2.0)
    assert two_level_bootstrap(GROUPS) == two_level_bootstrap(GROUPS)  # same draws
    span = two_level_bootstrap(GROUPS)
    wider = two_level_bootstrap(GROUPS, level=0.99)
    moved = two_level_bootstrap([[value + 10 for value in group] for group in GROUPS])
    assert span and wider and moved
    assert wider[0] < span[0] < span[1] < wider[1]
    assert moved == pytest.approx((span[0] + 10, span[1] + 10))


def test_noise_of_seeds_counts_even_where_setups_are_alike() -> None:
    span = two_level_bootstrap([[-10.0, 10.0], [-10.0, 10.0], [-10.0, 10.0]])
    assert span is not None and span[1] - span[0] > 12
    assert all(math.isfinite(end) for end in span)
