"""Interval of a success rate over identities: no jumps, and the nominal coverage."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core.statistics import identity_bounds, identity_interval, wilson_interval

SHAPES = [(n, m) for n in (1, 2, 3, 5, 10, 11, 20, 42, 60, 100, 120, 300) for m in range(1, 11)]


def even_and_packed(n: int, m: int) -> tuple[Any, Any]:
    """Every number of hits of n x m images, and sum of squared hits per identity [2, n * m + 1]: spread as evenly as
    possible, and packed into as few identities as possible."""
    hits = np.arange(n * m + 1)
    each, more = np.divmod(hits, n)
    full, rest = np.divmod(hits, m)
    return hits, np.stack([more * (each + 1) ** 2 + (n - more) * each**2, full * m * m + rest**2])


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_neither_end_falls_as_hits_grow(level: float) -> None:
    for n, m in SHAPES:
        hits, squares = even_and_packed(n, m)
        for end in identity_bounds(hits, squares - hits**2 / n, n * m, n * m * m, level=level):
            assert np.diff(end).min() > -1e-12, (n, m)
            assert (end >= 0).all() and (end <= 1).all()


@pytest.mark.parametrize(("n", "m"), [(60, 5), (42, 2)])
@pytest.mark.parametrize("packed", [True, False])
def test_one_leak_does_not_look_surer_than_none(n: int, m: int, packed: bool) -> None:
    identities = np.repeat(np.arange(n), m) if packed else np.tile(np.arange(n), m)
    spans = [identity_interval(np.arange(n * m) < hits, identities) for hits in range(n * m + 1)]
    lows, highs = np.array([span[:2] for span in spans]).T
    assert spans[0][:2] == pytest.approx(wilson_interval(0, n))  # one observation an identity
    assert np.diff(lows).min() > -1e-12 and np.diff(highs).min() > -1e-12
    assert lows == pytest.approx(1 - highs[::-1])  # the same mirrored


def test_a_known_interval() -> None:
    """By hand: 20 identities x 2, 20 hits, 8 identities with 2 and 4 with 1. Dispersion 1 * (sum of squares 36 - 20) /
    (40 * .25 * .95) = 1.684, correlation .684, no weight on 1 (x = .5 * (20 + 3.841) / 7.683 > 1), size 40 / 1.684 =
    23.75; half an image * .5 = .0105 outwards, then Wilson."""
    hits = [[1, 1]] * 8 + [[1, 0]] * 4 + [[0, 0]] * 8
    size = 23.75
    high = wilson_interval((0.5 + 0.25 / size) * size, size)[1]
    assert identity_interval(hits) == (pytest.approx(1 - high), pytest.approx(high), "95 % interval over identities")


def test_one_image_of_each_identity_is_wilson_with_half_an_image() -> None:
    low, high, _ = identity_interval([[1]] * 3 + [[0]] * 9)
    assert high == pytest.approx(wilson_interval(3 + 0.5 * 3 / 12, 12)[1])
    assert low == pytest.approx(wilson_interval(3 - 0.5 * 9 / 12, 12)[0])


samples = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), min_size=1, max_size=30)


@settings(deadline=None)
@given(hits=samples, random=st.randoms())
def test_of_unequal_identities(hits: list[list[int]], random: Any) -> None:
    flat, labels = np.concatenate(hits), np.repeat(np.arange(len(hits)), [len(part) for part in hits])
    low, high, _ = identity_interval(hits)
    assert 0 <= low <= flat.mean() <= high <= 1 and high - low > 0.001
    order = list(range(len(flat)))
    random.shuffle(order)
    assert identity_interval(flat[order], 7 * labels[order] + 3)[:2] == pytest.approx((low, high))
    assert identity_interval(1 - flat, labels)[:2] == pytest.approx((1 - high, 1 - low))
    # as many observations as images at most; at least as many as in identities that agree with themselves
    naive = identity_interval(flat, np.arange(len(flat)))
    assert high - low >= naive[1] - naive[0] - 1e-9


def test_refuses_nothing_and_unequal_arrays() -> None:
    for nothing in ([], [[]]):
        with pytest.raises(ValueError, match="no images"):
            identity_interval(nothing)
    with pytest.raises(ValueError, match="3 images but 2 identities"):
        identity_interval([1, 0, 1], [0, 0])


@pytest.fixture(scope="module")
def simulated() -> ModuleType:
    """benchmarks/coverage_simulation.py; its whole grid is in benchmarks/coverage.md."""
    path = Path(__file__).parents[2] / "benchmarks" / "coverage_simulation.py"
    spec = importlib.util.spec_from_file_location("coverage_simulation", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("identities", "images"), [(10, 1), (10, 10), (20, 5), (42, 2), (60, 5), (60, 10), (120, 10), (300, 3)]
)
def test_covers_everywhere_and_is_not_wide_on_average(simulated: ModuleType, identities: int, images: int) -> None:
    edge, middle = (0.0, 0.005, 0.01, 0.03), (0.05, 0.15, 0.25, 0.35, 0.5, 0.7, 0.9)
    rates, some = (*edge, *middle, 0.98, 1.0), (0.0, 0.1, 0.3, 0.6)
    found = simulated.coverage(simulated.now, identities, images, runs=4000, rates=rates, correlations=some)
    assert found.least >= 0.92  # standard error .0035; least of the benchmark's 20,000: see benchmarks/coverage.md
    assert 0.93 <= found.mean <= 0.98
    assert found.least_of_few >= 0.93


@pytest.mark.parametrize("n", [10, 11, 15, 20, 42, 60, 120, 300])
def test_covers_at_every_rate_with_one_image_of_each_identity(n: int) -> None:
    """Exact, no simulation: rates far finer than those of the grid."""
    from scipy.stats import binom

    hits = np.arange(n + 1)
    low, high = identity_bounds(hits, hits - hits**2 / n, n, n)
    rate = np.concatenate([np.linspace(0, 0.05, 400), np.linspace(0.05, 0.5, 400)])[:, None]
    covered = (binom.pmf(hits, n, rate) * ((low <= rate) & (rate <= high))).sum(axis=1)
    assert covered.min() >= 0.92


def test_the_earlier_rule_fell_and_did_not_cover(simulated: ModuleType) -> None:
    """The measure sees what was wrong: this is the rule that was replaced."""
    assert simulated.falls(simulated.before, 60, 5) > 0
    assert simulated.falls(simulated.now, 60, 5) == 0
    found = simulated.coverage(simulated.before, 60, 5, runs=400, rates=(0.03, 0.5), correlations=(0.3,))
    assert found.least < 0.9


def test_covers_with_unequal_identities(simulated: ModuleType) -> None:
    found = simulated.unequal([1 + i % 10 for i in range(60)], runs=1000)
    assert found.least >= 0.92
    assert 0.93 <= found.mean <= 0.98


@pytest.mark.parametrize(("seeds", "rate"), [(3, 0.02), (3, 0.5), (5, 0.1)])
@pytest.mark.parametrize("spread", [0.0, 0.2, 0.5])
def test_both_sources_are_covered(simulated: ModuleType, seeds: int, rate: float, spread: float) -> None:
    alone, within, both = simulated.over_seeds(rate, spread, seeds, runs=300)
    assert both >= 0.94
    assert both >= max(alone, within)
    if rate == 0.5 and spread != 0.2:  # one source alone misses the other
        assert (alone if spread == 0 else within) < 0.8


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_it_is_wider_than_wilson_where_identities_differ(spread: float) -> None:
    """Acceptance test 4: 300 identities x 5 images, each identity with a rate of its own (Beta with this spread)."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        rates = rng.beta(spread, spread, 300)
        hits = (rng.random((300, 5)) < rates[:, None]).astype(float)
        low, high, _ = identity_interval(hits.ravel(), np.repeat(np.arange(300), 5))
        below, above = wilson_interval(hits.sum(), hits.size)
        ratios.append((high - low) / (above - below))
    # by the design effect 1 + 4 rho, whose rho is 1 / (2 spread + 1) for this Beta
    assert np.mean(ratios) == pytest.approx((1 + 4 / (2 * spread + 1)) ** 0.5, rel=0.06) and min(ratios) > 1.2
