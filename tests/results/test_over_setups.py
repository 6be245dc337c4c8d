"""Pooling over setups, against the slow way."""

from __future__ import annotations

import random
import statistics

import pytest

from midef.results.over_setups import LEAST_SETUPS, pooled_interval, pooled_mean

DROPS = [(20.0, 22.0, 27.0), (5.0,), (), (11.0, 9.0), (-3.0, 4.0, 1.0, 2.0), (30.0, 28.0), (16.0, 14.0, 18.0)]


def test_every_setup_counts_once_however_many_seeds_it_has() -> None:
    assert pooled_mean(DROPS) == pytest.approx(statistics.mean([23, 5, 10, 1, 29, 16]))
    assert pooled_mean([(), ()]) is None


def test_the_interval_is_that_of_the_slow_bootstrap() -> None:
    draws, kept = random.Random(3), [one for one in DROPS if one]
    means = sorted(
        statistics.mean(statistics.mean(draws.choices(one, k=len(one))) for one in draws.choices(kept, k=len(kept)))
        for _ in range(4000)
    )
    found = pooled_interval(DROPS)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((means[100], means[3900]), abs=0.8)
    assert found == pooled_interval(DROPS), "the same draws every time"


def test_few_setups_have_no_interval() -> None:
    assert pooled_interval([(1.0, 2.0)] * (LEAST_SETUPS - 1)) is None
    assert pooled_interval([(2.0, 2.0)] * LEAST_SETUPS) is not None


def test_a_difference_without_spread_has_an_interval_without_width() -> None:
    found = pooled_interval([(7.0, 7.0, 7.0)] * 6)
    assert found is not None and (found.low, found.high) == (7.0, 7.0)
