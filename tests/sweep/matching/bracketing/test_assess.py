"""The state of a search, and the next strength: what it proposes, and when it gives up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from midef.sweep.matching.bracketing.assess import FIRST_STEP, Assessment, Evaluation, assess

LINEAR = FloatDistribution(0.0, 1.0)
LOG = FloatDistribution(0.01, 10.0, log=True)
RANGES = {
    "linear": LINEAR,
    "log": LOG,
    "negative": FloatDistribution(-2.0, 3.0),
    "stepped": FloatDistribution(0.0, 2.0, step=0.25),
    "int": IntDistribution(1, 9),
    "even ints": IntDistribution(2, 40, step=2),
    "log int": IntDistribution(1, 100_000, log=True),
}
Curve: TypeAlias = Callable[[float], float]


def place(distribution: Any, strength: float) -> float:
    """Of a strength in its range, 0 to 1."""
    if distribution.log:
        return math.log(strength / distribution.low) / math.log(distribution.high / distribution.low)
    return float((strength - distribution.low) / (distribution.high - distribution.low))


def seen(distribution: Any, *gaps: tuple[float, ...]) -> list[Evaluation]:
    """Evaluations (strength, gap, count) in the order in which they were made."""
    found = [
        Evaluation(
            at=place(distribution, strength), strength=strength, gap=gap, count=int(*count) if count else 1, latest=n
        )
        for n, (strength, gap, *count) in enumerate(gaps)
    ]
    return sorted(found, key=lambda e: e.strength)


def look(distribution: BaseDistribution, *gaps: tuple[float, ...], **changes: Any) -> Assessment:
    options: dict[str, Any] = {"tolerance": 0.5, "noise": 0.3, "falls": True, "start": None} | changes
    return assess(seen(distribution, *gaps), distribution, **options)


def logistic_curve(steepness: float, middle: float, drop: float, target: float, *, falls: bool) -> Curve:
    """The gap over the place, 0 to 1: zero after the share `target` of the way from one end to the other."""

    def fall(u: float) -> float:
        first, here, last = (1 / (1 + math.exp(-steepness * (v - middle))) for v in (0.0, u, 1.0))
        return (here - first) / (last - first)

    return lambda u: drop * (target - fall(u)) * (1 if falls else -1)


curves = st.builds(
    logistic_curve,
    st.floats(0.5, 25),
    st.floats(0.1, 0.9),
    st.floats(5, 60),
    st.floats(0.1, 0.9),
    falls=st.booleans(),
)


@pytest.mark.parametrize("distribution", RANGES.values(), ids=RANGES.keys())
@settings(max_examples=10, deadline=None)
@given(curve=curves, start=st.none() | st.floats(0, 1))
def test_a_noiseless_monotone_curve_is_matched(distribution: Any, curve: Curve, start: float | None) -> None:
    first = None if start is None else distribution.low + start * (distribution.high - distribution.low)
    gaps: list[tuple[float, float]] = []
    for _ in range(20):
        answer = look(distribution, *gaps, noise=0.0, start=first)
        if answer.bracket is not None:
            low, high = answer.bracket
            assert low < high and curve(place(distribution, low)) * curve(place(distribution, high)) < 0
            assert answer.next is None or low < answer.next < high
        if answer.state == "too coarse":
            assert distribution.step is not None and answer.bracket is not None and answer.next is None
            # Stepped in its own scale: nothing lies between.
            assert answer.bracket[1] - answer.bracket[0] == pytest.approx(distribution.step)
            return
        assert answer.state in ("open", "bracketed") and answer.next is not None
        assert distribution._contains(distribution.to_internal_repr(answer.next))
        assert answer.next not in [strength for strength, _ in gaps]
        if answer.how in ("step", "secant", "bisection") and distribution.step is None:
            assert answer.next == float(f"{answer.next:.4g}")
        gaps.append((answer.next, curve(place(distribution, answer.next))))
        if abs(gaps[-1][1]) <= 0.5:
            return
    pytest.fail(f"not matched in 20: {gaps}")


@settings(max_examples=40, deadline=None)
@given(
    gaps=st.dictionaries(st.integers(1, 9), st.floats(-1000, 1000), max_size=9), which=st.sampled_from(["int", "log"])
)
def test_whatever_was_seen_the_proposal_is_in_range(gaps: dict[int, float], which: str) -> None:
    distribution = RANGES[which]
    answer = look(distribution, *gaps.items())
    if answer.next is None:
        assert answer.state in ("too coarse", "not monotone")
        return
    assert distribution.low <= answer.next <= distribution.high
    assert answer.next not in gaps or (which == "int" and (len(gaps) == 9 or answer.bracket is not None))


def test_the_first_strength_is_the_middle_or_the_one_given() -> None:
    assert look(LOG).next == pytest.approx(math.sqrt(0.1), rel=1e-3)
    assert look(LOG).next == 0.3162
    assert look(IntDistribution(1, 9)).next == 5 and type(look(IntDistribution(1, 9)).next) is int
    assert look(LOG, start=0.123456).next == 0.123456
    assert look(LOG, start=99.0).next == 10.0
    assert look(IntDistribution(2, 40, step=2), start=7.2).next in (6, 8)
    assert look(LOG).how == "start"


def test_without_a_bracket_it_steps_to_the_side_the_sign_asks_for() -> None:
    above, below = look(LINEAR, (0.5, 4.0)), look(LINEAR, (0.5, -4.0))
    assert above.how == below.how == "step" and above.next is not None and below.next is not None
    assert 0.5 < above.next < 1 and 0 < below.next < 0.5
    rising = look(LINEAR, (0.5, 4.0), falls=False)
    assert rising.next is not None and rising.next < 0.5
    far = look(LINEAR, (0.5, 14.0), (0.6, 12.0))
    assert (far.next, far.how) == (1.0, "end")


def test_two_trainings_overrule_the_expected_direction() -> None:
    answer = look(LINEAR, (0.4, 9.0), (0.6, 14.0), falls=True)
    assert answer.next is not None and answer.next < 0.4


def test_a_step_leads_only_so_far() -> None:
    answer = look(LINEAR, (0.05, 10.0), (0.1, 9.3))
    assert answer.next is not None and answer.next == pytest.approx(0.1 + FIRST_STEP)


def test_a_search_that_steps_in_vain_goes_to_the_ends() -> None:
    flat = [(0.4, -2.0), (0.45, -2.1), (0.5, -1.9), (0.6, -2.0)]
    answer = look(LINEAR, *flat)
    assert answer.how == "end" and answer.next in (0.0, 1.0)
    other = look(LINEAR, *flat, (answer.next, -2.0))
    assert other.how == "end" and {answer.next, other.next} == {0.0, 1.0}


def test_the_secant_goes_on_inside_a_bracket() -> None:
    answer = look(LINEAR, (0.2, 4.0), (0.6, -4.0))
    assert (answer.state, answer.bracket, answer.how) == ("bracketed", (0.2, 0.6), "secant")
    assert answer.next == pytest.approx(0.4, abs=0.02)


def test_two_evaluations_that_do_not_halve_the_bracket_are_followed_by_its_middle() -> None:
    slow = look(LINEAR, (0.0, 20.0), (1.0, -20.0), (0.05, 15.0), (0.1, 12.0))
    assert (slow.how, slow.next) == ("bisection", 0.55)
    assert look(LINEAR, (0.0, 20.0), (1.0, -20.0), (0.05, 15.0), (0.6, 5.0)).how == "secant"


def test_a_wrong_sign_reopens_the_bracket() -> None:
    """The root is at 0.5; a training at 0.45 read 2 points too low, and closed the bracket on the wrong side."""
    wrong = [(0.2, 6.0), (0.8, -6.0), (0.45, -1.0)]
    closed = look(LINEAR, *wrong)
    assert closed.bracket == (0.2, 0.45) and closed.next is not None and closed.next < 0.45
    later = [(0.4, 2.2), (0.43, 1.45), (0.44, 1.2), (0.447, 1.1)]
    reopened = look(LINEAR, *wrong, *later)
    assert reopened.bracket is not None and reopened.bracket[1] == 0.8
    assert reopened.next is not None and reopened.next > 0.447


def test_more_seeds_make_a_sign_certain() -> None:
    once = look(LINEAR, (0.2, 6.0), (0.8, -6.0), (0.5, -0.55))
    often = look(LINEAR, (0.2, 6.0), (0.8, -6.0), (0.5, -0.55, 9))
    assert once.bracket == (0.2, 0.8) and often.bracket == (0.2, 0.5)


def test_a_sign_change_is_followed_although_the_curve_is_not_monotone() -> None:
    answer = look(LINEAR, (0.0, -8.0), (0.2, -1.5), (0.4, -9.0), (0.7, 5.0))
    assert answer.bracket == (0.4, 0.7)


def test_a_diverged_training_leaves_the_regression_alone() -> None:
    answer = look(LINEAR, (0.2, 4.0), (0.4, 2.0), (1.0, -1e6))
    assert answer.bracket == (0.4, 1.0) and answer.next is not None and 0.48 < answer.next < 0.75


def test_one_sided_needs_both_ends_and_a_monotone_curve() -> None:
    assert look(LINEAR, (0.0, -1.0), (0.5, -4.0)).state == "open"
    assert look(LINEAR, (0.0, -1.0), (0.5, -4.0)).next == 1.0
    ends = look(LINEAR, (0.0, -1.0), (0.5, -4.0), (1.0, -9.0))
    assert (ends.state, ends.bracket) == ("one sided", None)
    assert ends.next is not None and ends.next not in (0.0, 0.5, 1.0)
    assert look(LINEAR, (0.0, -6.0), (0.5, -1.0), (1.0, -9.0)).state == "not monotone"
    assert look(LINEAR, (0.0, -6.0), (0.5, -5.7), (1.0, -9.0)).state == "one sided"


def test_too_coarse_is_said_of_neighbours_that_both_miss() -> None:
    whole = IntDistribution(1, 9)
    missed = look(whole, (1, 9.0), (3, 2.0), (4, -2.0))
    assert (missed.state, missed.bracket, missed.next) == ("too coarse", (3, 4), None)
    assert look(whole, (1, 9.0), (3, 2.0), (5, -2.0)).next == 4
    assert look(IntDistribution(1, 100, log=True), (7, 2.0), (8, -2.0)).state == "too coarse"


def test_an_integer_of_uncertain_sign_is_tried_again_when_nothing_else_is_left() -> None:
    answer = look(IntDistribution(1, 9), (3, 4.0), (4, 0.55), (5, -4.0))
    assert (answer.state, answer.bracket, answer.next) == ("bracketed", (3, 5), 4)
    settled = look(IntDistribution(1, 9), (3, 4.0), (4, 0.55, 9), (5, -4.0))
    assert (settled.state, settled.bracket) == ("too coarse", (4, 5))


def test_a_bracket_finer_than_four_digits_gets_more() -> None:
    answer = look(FloatDistribution(100.0, 101.0), (100.1, 2.0), (100.2, -2.0))
    assert answer.next is not None and 100.1 < answer.next < 100.2
