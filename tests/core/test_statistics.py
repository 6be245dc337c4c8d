"""Statistics against slow references, simulations and the published numbers."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core.statistics import pareto_front, t_interval, trade_off_delta, two_level_interval, wilson_interval


@settings(deadline=None)  # the first call imports scipy
@given(n=st.integers(1, 5000), part=st.floats(0, 1), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(n: int, part: float, level: float) -> None:
    from scipy.stats import binomtest

    k = round(part * n)
    expected = binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson_interval(k, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_and_of_everything_touches_the_bound_and_has_width() -> None:
    low, high = wilson_interval(0, 500)
    assert low == 0.0
    assert high == pytest.approx(0.0076, abs=5e-5)
    assert wilson_interval(500, 500) == pytest.approx((1 - high, 1.0), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        wilson_interval(k, n)


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_t_interval_equals_scipy(values: list[float]) -> None:
    from scipy import stats

    mean, error = np.mean(values), stats.sem(values)
    half = stats.t.ppf(0.975, len(values) - 1) * error
    assert t_interval(values) == pytest.approx((mean - half, mean + half), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("values", [[], [3.0]])
def test_t_interval_needs_two(values: list[float]) -> None:
    assert t_interval(values) is None


@pytest.mark.parametrize("seeds", [3, 5])
def test_t_interval_covers(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    runs = 1000
    found = (t_interval(list(rng.normal(0, 1, seeds))) for _ in range(runs))
    covered = sum(span is not None and span[0] <= 0 <= span[1] for span in found)
    assert covered / runs >= 0.92


def test_two_levels_are_never_narrower_than_the_identities() -> None:
    assert two_level_interval((0.0, 8.4), [0.0] * 3) == (0.0, 8.4)  # three runs without a leak are not sure of 0
    assert two_level_interval((80.0, 91.0), [86.0]) == (80.0, 91.0)
    # by hand: sides 6 and 5; seeds 84, 86, 88: sd 2, t 4.303, half 4.968
    assert two_level_interval((80.0, 91.0), [84.0, 86.0, 88.0]) == pytest.approx((78.21, 93.05), abs=0.005)
    assert two_level_interval((-7.0, 5.0), [-1.0, -3.0, 1.0])[0] < -7.0  # differences are not clipped
    with pytest.raises(ValueError, match="no values"):
        two_level_interval((0.0, 1.0), [])


@pytest.mark.parametrize(
    ("nodef", "defended", "expected"),
    [
        pytest.param((86.90, 20.07), (79.85, 3.20), 2.39, id="gmi"),
        pytest.param((94.22, 88.67), (93.33, 13.89), 84.02, id="midre(.1,.8) resnet18"),
        pytest.param((94.22, 88.46), (91.12, 22.36), 21.32, id="tl_dmi resnet18"),
    ],
)
def test_delta_equals_published(nodef: tuple[float, float], defended: tuple[float, float], expected: float) -> None:
    delta = trade_off_delta(*nodef, *defended)
    assert delta.value == pytest.approx(expected, abs=0.006)
    assert not delta.is_unstable


@pytest.mark.parametrize(
    ("acc", "attack", "value", "is_unstable"),
    [
        pytest.param(90.0, 40.0, None, True, id="as accurate, attacked less"),
        pytest.param(91.0, 40.0, None, False, id="more accurate, attacked less"),
        pytest.param(91.0, 60.0, None, False, id="more accurate, attacked more"),
        pytest.param(90.0, 50.0, None, True, id="nothing changed"),
        pytest.param(80.0, 60.0, -1.0, False, id="worse on both: signed"),
        pytest.param(89.75, 40.0, 40.0, True, id="tiny drop is flagged"),
        pytest.param(89.5, 40.0, 20.0, False, id="half a point is not"),
    ],
)
def test_delta_rules(acc: float, attack: float, value: float | None, is_unstable: bool) -> None:
    delta = trade_off_delta(90.0, 50.0, acc, attack)
    assert (delta.value, delta.is_unstable) == (value, is_unstable)
    assert (delta.utility_drop, delta.attack_drop) == (90.0 - acc, 50.0 - attack)


def slow_front(points: list[tuple[float, float]]) -> set[int]:
    """A point is on the front if no point is at least as good in both and better in one."""

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] >= b[0] and a[1] <= b[1] and a != b

    return {i for i, p in enumerate(points) if not any(beats(q, p) for q in points)}


small = st.integers(0, 5).map(float)  # few values: many ties and duplicates


@given(st.lists(st.tuples(small, small), max_size=25))
def test_front_equals_brute_force(points: list[tuple[float, float]]) -> None:
    assert pareto_front(points) == slow_front(points)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=25), st.randoms())
def test_front_properties(points: list[tuple[float, float]], random: object) -> None:
    front = pareto_front(points)
    assert front
    assert {i for i, p in enumerate(points) if p in {points[j] for j in front}} == front  # duplicates come along
    order = list(range(len(points)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert {order[i] for i in pareto_front([points[i] for i in order])} == front
    ideal = (101.0, -1.0)
    assert pareto_front([*points, ideal]) == {len(points)}


def test_front_leaves_out_what_is_not_a_number() -> None:
    nan = math.nan
    assert pareto_front([(nan, 1.0), (50.0, nan), (40.0, 20.0)]) == {2}
    assert pareto_front([(nan, nan)]) == pareto_front([]) == set()


def test_importing_core_tables_loads_no_heavy_package() -> None:
    code = (
        "import sys, midef.results.export, midef.results.render, midef.core.statistics; "
        "print([m for m in ('torch', 'ray', 'pandas', 'scipy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
