"""Interval of the difference of two models on the same images: narrow where many identities differ, wide if few do."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from midef.core.statistics import paired_bounds, paired_interval, paired_intervals, wilson_interval


def ends(lost: Any, gained: Any, images: Any, level: float = 0.95) -> tuple[float, float]:
    low, high = paired_bounds(lost, gained, images, level=level)
    return float(low), float(high)


def first_lose(identities: int, of: int, each: int = 1) -> Any:
    """Images lost: `each` by the first `identities` of `of`, none by the others."""
    return np.where(np.arange(of) < identities, each, 0)


def test_changes_of_many_people_are_a_loss_that_is_seen() -> None:
    """25 images of 25 of 100 people x 20 change, all to a miss: 1.25 points.

    By hand: independent images vary by 25 - 2000 * .0125 ^ 2 = 24.6875, more than the people do (18.75). Each of the 25
    differs by 1/20: two are added at .0125 * (1 - 1/400) = .01246875 and 1/20 to both sides. Mean (25 + 40 * .01246875)
    / 2040 = .0124994, spread 24.6875 + 2 * 400 / 400 = 26.6875, half-width 1.98422 * 5.16600 / 2040 = .0050247.
    """
    people, images = np.arange(2000) // 20, np.arange(2000) % 20
    known = np.ones(2000, dtype=int)
    lossy = np.where((images == 0) & (people < 25), 0, 1)
    low, high = paired_interval(known, lossy, people)
    assert (low, high) == pytest.approx((0.0124994 - 0.0050247, 0.0124994 + 0.0050247), abs=1e-6)


@pytest.mark.parametrize("gained", [0, 30])
def test_a_loss_of_1_9_points_is_seen_with_60_identities_of_50_images(gained: int) -> None:
    lost = np.bincount(np.arange(57 + gained) * 7 % 60, minlength=60)
    back = np.bincount(np.arange(gained) * 11 % 60, minlength=60)
    low, high = ends(lost, back, np.full(60, 50))
    assert 0 < low < 0.019 < high and high - low < 0.015


def test_one_image_of_each_identity_is_the_interval_of_bonett_and_price_with_students_quantile() -> None:
    """And close to Newcombe's method 10 of paired proportions, which is computed here from its formulas."""
    for n, lost, gained in ((100, 12, 4), (60, 6, 6), (300, 40, 10), (60, 30, 2)):
        change = np.repeat([1, -1, 0], [lost, gained, n - lost - gained])
        low, high = ends(change > 0, change < 0, np.ones(n))
        a, b = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
        half = student.ppf(0.975, n - 1) * math.sqrt((a + b - (a - b) ** 2) / (n + 2))
        assert (low, high) == pytest.approx((a - b - half, a - b + half))
        both = (n - lost - gained) // 2  # both succeed
        neither = n - lost - gained - both
        first, second = both + lost, both + gained
        of_first, of_second = wilson_interval(first, n), wilson_interval(second, n)
        phi = (both * neither - lost * gained) / math.sqrt(first * (n - first) * second * (n - second))

        def side(a: float, b: float, phi: float = phi) -> float:
            return math.sqrt(a * a - 2 * phi * a * b + b * b)

        change_of = (lost - gained) / n
        newcombe = (
            change_of - side(first / n - of_first[0], of_second[1] - second / n),
            change_of + side(of_first[1] - first / n, second / n - of_second[0]),
        )
        assert (low, high) == pytest.approx(newcombe, abs=0.2 * (newcombe[1] - newcombe[0]))


@pytest.mark.parametrize(("n", "m"), [(20, 1), (20, 50), (60, 5), (300, 20)])
def test_no_change_reaches_about_as_far_as_no_hit_of_the_identities(n: int, m: int) -> None:
    for hits in (np.zeros(n * m), np.ones(n * m), np.arange(n * m) % 2):
        low, high = paired_interval(hits, hits, np.repeat(np.arange(n), m))
        assert low == -high
        assert high == pytest.approx(student.ppf(0.975, n - 1) * math.sqrt(2) / (n + 2))  # by hand
        assert high == pytest.approx(wilson_interval(0, n)[1], rel=0.3)


@pytest.mark.parametrize(("n", "m"), [(20, 1), (20, 50), (60, 5), (300, 20)])
def test_one_loss_does_not_look_surer_than_none(n: int, m: int) -> None:
    """Nor does any number of images of one identity."""
    none = ends(np.zeros(n), np.zeros(n), np.full(n, m))
    for lost in range(1, m + 1):
        low, high = ends(first_lose(1, n, lost), np.zeros(n), np.full(n, m))
        assert high > none[1] and high - low >= none[1] - none[0]


def test_the_width_falls_without_jumps_as_more_identities_differ() -> None:
    """One image of 0, 1, ..., 100 of 100 people x 20 is lost."""
    spans = [ends(first_lose(k, 100), np.zeros(100), np.full(100, 20)) for k in range(101)]
    widths = np.array([high - low for low, high in spans])
    assert widths[0] == pytest.approx(2 * 0.0275, abs=1e-3)
    assert np.abs(np.diff(np.array(spans), axis=0)).max() < 0.005
    assert (np.diff(widths[1:15]) < 0).all() and widths[14] < 0.15 * widths[1]
    assert (np.diff(widths[17:51]) > 0).all()  # from 4 z^2 + 1 on as of a proportion


def test_few_identities_that_differ_are_no_sign_that_others_do_not() -> None:
    """60 images lost in 3 of 60 people x 50, or one in each of 60: both 2 points; the first may be many more."""
    few = ends(first_lose(3, 60, 20), np.zeros(60), np.full(60, 50))
    many = ends(np.ones(60), np.zeros(60), np.full(60, 50))
    assert few[0] < 0 < many[0]
    assert few[1] - few[0] > 5 * (many[1] - many[0])


def test_all_lost_is_not_certain_for_other_identities() -> None:
    low, high = ends(np.full(20, 10), np.zeros(20), np.full(20, 10))
    assert 0.7 < low < 0.9 and high == 1


def test_refuses_unequal_arrays() -> None:
    with pytest.raises(ValueError, match="3 images before but 2 after"):
        paired_interval([1, 0, 1], [0, 0], [0, 0, 0])
    with pytest.raises(ValueError, match="no images"):
        paired_interval([], [], [])


@settings(deadline=None)
@given(
    outcomes=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 8)), min_size=1, max_size=80),
    level=st.sampled_from([0.8, 0.95, 0.99]),
    random=st.randoms(),
)
def test_properties(outcomes: list[tuple[bool, bool, int]], level: float, random: Any) -> None:
    before, after, labels = (np.array(part) for part in zip(*outcomes, strict=True))
    low, high = paired_interval(before, after, labels, level=level)
    mean = before.mean() - after.mean()
    assert -1 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1 and high - low > 0.01
    assert paired_interval(after, before, labels, level=level) == pytest.approx((-high, -low), abs=1e-12)
    random.shuffle(outcomes)
    before, after, labels = (np.array(part) for part in zip(*outcomes, strict=True))
    assert paired_interval(before, after, 7 * labels + 3, level=level) == pytest.approx((low, high), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=20, max_size=60), st.data())
def test_one_image_more_moves_the_ends_by_little(changes: list[tuple[int, int]], data: st.DataObject) -> None:
    """Of 20 to 60 identities x 20."""
    lost, gained = np.array(changes).T
    which = data.draw(st.integers(0, len(changes) - 1))
    more = lost + (np.arange(len(changes)) == which)
    before, after = (np.array(ends(some, gained, np.full(len(changes), 20))) for some in (lost, more))
    assert np.abs(after - before).max() < 0.03


@pytest.mark.parametrize("seed", range(40))
def test_many_runs_at_once_have_the_intervals_of_each_to_the_last_digit(seed: int) -> None:
    draws = np.random.default_rng(seed)
    counts = draws.integers(1, int(draws.integers(2, 30)), int(draws.integers(1, 300)))
    people = np.repeat(np.cumsum(draws.integers(1, 4, len(counts))), counts)  # not all numbers are of somebody
    runs = []
    for _ in range(int(draws.integers(1, 80))):
        before = draws.random(len(people)) < draws.random()
        runs.append((before, before ^ (draws.random(len(people)) < draws.choice([0.0, 0.01, 0.3])), people))
    assert paired_intervals(runs) == [paired_interval(*run) for run in runs]
    apart = [(*run[:2], run[2].copy()) for run in runs]
    assert paired_intervals(apart) == [paired_interval(*run) for run in runs]


@pytest.fixture(scope="module")
def simulated() -> ModuleType:
    """benchmarks/paired_simulation.py; its whole grid is in benchmarks/coverage.md."""
    path = Path(__file__).parents[2] / "benchmarks" / "paired_simulation.py"
    spec = importlib.util.spec_from_file_location("paired_simulation", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("n", "m"), [(20, 1), (20, 20), (42, 2), (60, 50)])
def test_covers_and_is_not_wide_on_average(simulated: ModuleType, n: int, m: int) -> None:
    some = simulated.points(m, before=(0.5, 0.9), drops=(0.0, 0.02, 0.2), correlations=(0.0, 0.3, 0.6))
    found = [simulated.coverage(point, np.full(n, m), runs=300) for point in some]
    least, middle = simulated.least_and_mean(found)
    assert least.now >= 0.91  # standard error .013, least of 42; of more simulations: see benchmarks/coverage.md
    assert 0.93 <= middle <= 0.985


def test_is_far_narrower_than_the_earlier_rule_where_images_differ_in_many_identities(simulated: ModuleType) -> None:
    """The measure sees what was wrong."""
    found = simulated.coverage(simulated.Point(0.97, 0.02, 0.1, "alike"), np.full(60, 50), runs=600)
    assert found.now >= 0.92 and found.width_now < 0.3 * found.width_before
    assert found.seen_now > 0.95 and found.seen_before < 0.1
