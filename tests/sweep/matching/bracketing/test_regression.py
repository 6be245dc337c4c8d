"""The regression of gaps against the textbook formula, and the monotone fit against a slow one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.sweep.matching.bracketing import regression
from midef.sweep.matching.bracketing.regression import is_monotone, monotone_misfit, regress


def dense_posterior(at: Any, gaps: Any, variances: Any, place: float) -> tuple[float, float]:
    """Mean and variance of the curve at a place by the textbook: invert the covariance, average over the kernels."""
    n, total, first, second = len(at), 0.0, 0.0, 0.0
    for length in regression.LENGTHS:
        for amplitude in regression.AMPLITUDES:

            def covariance(p: float, q: float, length: float = length, amplitude: float = amplitude) -> float:
                bend = amplitude**2 * math.exp(-((p - q) ** 2) / (2 * length**2))
                return bend + regression.LEVEL_SD**2 + regression.SLOPE_SD**2 * (p - 0.5) * (q - 0.5)

            seen = np.array([[covariance(p, q) for q in at] for p in at]) + np.diag(variances)
            here = np.array([covariance(place, q) for q in at])
            residual = np.array([g + regression.SLOPE * (u - 0.5) for u, g in zip(at, gaps, strict=True)])
            inverse = np.linalg.inv(seen)
            mean = -regression.SLOPE * (place - 0.5) + here @ inverse @ residual
            variance = covariance(place, place) - here @ inverse @ here
            density = math.exp(-residual @ inverse @ residual / 2) / math.sqrt((2 * math.pi) ** n * np.linalg.det(seen))
            weight = density * math.exp(-((math.log(length / 0.3) / 0.7) ** 2) / 2)
            total, first, second = total + weight, first + weight * mean, second + weight * (mean**2 + variance)
    return first / total, second / total - (first / total) ** 2


def test_the_regression_is_the_textbook_formula() -> None:
    at, gaps, variances = np.array([0.1, 0.4, 0.45, 1.0]), np.array([6.0, 1.0, -0.5, -20.0]), np.array([1, 1, 0.5, 2.0])
    found = regress(at, gaps, variances, np.array([0.0, 0.42, 0.8]), falls=True)
    assert found.weights.sum() == pytest.approx(1)
    for i, where in enumerate((0.0, 0.42, 0.8)):
        mean, variance = dense_posterior(at, gaps, variances, where)
        assert found.weights @ found.means[:, i] == pytest.approx(mean)
        spread = found.weights @ (found.sds[:, i] ** 2 + found.means[:, i] ** 2) - mean**2
        assert spread == pytest.approx(variance)


def test_two_far_evaluations_give_their_secant() -> None:
    found = regress(np.array([0.0, 1.0]), np.array([6.0, -14.0]), np.full(2, 0.01), np.array([0.3]), falls=True)
    assert found.weights @ found.means[:, 0] == pytest.approx(0.0, abs=0.2)


def test_the_probability_of_a_match_is_that_of_a_noisy_training() -> None:
    at = np.array([0.2, 0.6])
    found = regress(at, np.array([4.0, -3.0]), np.full(2, 0.09), np.array([0.4, 0.45]), falls=True)
    rng = np.random.default_rng(0)
    kernel = rng.choice(len(found.weights), 200_000, p=found.weights)
    trained = rng.normal(found.means[kernel].T, found.sds[kernel].T) + rng.normal(0, 0.3, (2, 200_000))
    assert found.within(0.5, noise=0.3) == pytest.approx((abs(trained) <= 0.5).mean(1), abs=0.005)


def slow_monotone_fit(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """max over starts <= i of min over ends >= i of the weighted mean between them."""

    def mean(a: int, b: int) -> float:
        return float(np.average(values[a : b + 1], weights=weights[a : b + 1]))

    n = len(values)
    return [max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]


def slow_misfit(gaps: Sequence[float], variances: Sequence[float], *, rising: bool) -> tuple[float, int]:
    """Residual by the slow formula, and how many gaps its levels pool away."""
    sign, weights = 1 if rising else -1, [1 / v for v in variances]
    fit = slow_monotone_fit([sign * gap for gap in gaps], weights)
    residual = sum(w * (sign * g - f) ** 2 for g, f, w in zip(gaps, fit, weights, strict=True))
    # Means of the same level that start or end elsewhere differ in their last bits.
    return residual, sum(b - a <= 1e-9 for a, b in pairwise(fit))


def test_the_misfit_is_the_max_min_formula_in_2000_random_cases() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        count = int(rng.integers(1, 7))
        trend = np.linspace(0, rng.uniform(-9, 9), count)  # so that few gaps, many or all are out of order
        gaps, variances = (trend + rng.standard_normal(count)).tolist(), rng.uniform(0.1, 10, count).tolist()
        for rising in (True, False):
            residual, pooled = monotone_misfit(gaps, variances, rising=rising)
            assert (pytest.approx(residual, abs=1e-9), pooled) == slow_misfit(gaps, variances, rising=rising)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.1, 10)), min_size=1, max_size=8), st.booleans())
def test_the_misfit_is_the_max_min_formula(pairs: list[tuple[float, float]], rising: bool) -> None:
    gaps, variances = zip(*pairs, strict=True)
    residual, pooled = monotone_misfit(gaps, variances, rising=rising)
    slow, slow_pooled = slow_misfit(gaps, variances, rising=rising)
    assert residual == pytest.approx(slow, abs=1e-9) and pooled <= slow_pooled  # equal but for rounded ties


def test_equal_neighbours_are_one_level() -> None:
    assert monotone_misfit([2.0, 2.0, 5.0], [1.0] * 3, rising=True) == (0.0, 1)
    assert monotone_misfit([5.0, 2.0, 2.0], [1.0] * 3, rising=False) == (0.0, 1)


def test_noise_alone_is_monotone_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    rejected = [not is_monotone((0.3 * rng.standard_normal(6)).tolist(), [0.09] * 6) for _ in range(2000)]
    assert np.mean(rejected) <= 2 * regression.NOT_MONOTONE_P
    assert not is_monotone([0.0, 2.0, 0.0], [0.09] * 3) and is_monotone([0.0, 2.0, 0.0], [9.0] * 3)
    assert is_monotone([1.0, 2.0, 3.0], [0.01] * 3) and is_monotone([3.0, 2.0, 1.0], [0.01] * 3)
