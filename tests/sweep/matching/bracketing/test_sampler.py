"""The search for a matching strength: what it proposes, when it gives up, and that Optuna can use it every way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from typing_extensions import override

from midef.sweep.matching.bracketing import sampler
from midef.sweep.matching.bracketing.sampler import (
    GAP,
    Assessment,
    BracketingSampler,
    Evaluation,
    assess,
    evaluations,
    is_monotone,
    monotone_fit,
    regress,
)

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


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


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


def study_of(sampler: optuna.samplers.BaseSampler, distribution: Any, *gaps: tuple[float, float]) -> optuna.Study:
    study = optuna.create_study(sampler=sampler)
    for strength, gap in gaps:
        study.add_trial(told(distribution, strength, gap))
    return study


def told(distribution: Any, strength: float, gap: float) -> optuna.trial.FrozenTrial:
    return create_trial(
        params={"strength": strength},
        distributions={"strength": distribution},
        value=abs(gap),
        user_attrs={GAP: gap},
    )


class Spy(optuna.samplers.RandomSampler):  # type: ignore[misc]
    """A fallback that counts and always answers the same."""

    def __init__(self, answer: float) -> None:
        super().__init__(seed=0)
        self.answer, self.asked = answer, 0

    @override
    def sample_independent(self, *arguments: Any) -> float:
        self.asked += 1
        return self.answer


# --- the regression ---------------------------------------------------------------------------------------------------


def dense_posterior(at: Any, gaps: Any, variances: Any, place: float) -> tuple[float, float]:
    """Mean and variance of the curve at a place by the textbook: invert the covariance, average over the kernels."""
    n, total, first, second = len(at), 0.0, 0.0, 0.0
    for length in sampler.LENGTHS:
        for amplitude in sampler.AMPLITUDES:

            def covariance(p: float, q: float, length: float = length, amplitude: float = amplitude) -> float:
                bend = amplitude**2 * math.exp(-((p - q) ** 2) / (2 * length**2))
                return bend + sampler.LEVEL_SD**2 + sampler.SLOPE_SD**2 * (p - 0.5) * (q - 0.5)

            seen = np.array([[covariance(p, q) for q in at] for p in at]) + np.diag(variances)
            here = np.array([covariance(place, q) for q in at])
            residual = np.array([g + sampler.SLOPE * (u - 0.5) for u, g in zip(at, gaps, strict=True)])
            inverse = np.linalg.inv(seen)
            mean = -sampler.SLOPE * (place - 0.5) + here @ inverse @ residual
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


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.1, 10)), min_size=1, max_size=8))
def test_the_monotone_fit_is_the_max_min_formula(pairs: list[tuple[float, float]]) -> None:
    values, weights = zip(*pairs, strict=True)
    fit, levels = monotone_fit(values, weights)
    assert fit == pytest.approx(slow_monotone_fit(values, weights), abs=1e-9)
    assert levels == len(set(fit))


def test_noise_alone_is_monotone_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    rejected = [not is_monotone((0.3 * rng.standard_normal(6)).tolist(), [0.09] * 6) for _ in range(2000)]
    assert np.mean(rejected) <= 2 * sampler.NOT_MONOTONE_P
    assert not is_monotone([0.0, 2.0, 0.0], [0.09] * 3) and is_monotone([0.0, 2.0, 0.0], [9.0] * 3)
    assert is_monotone([1.0, 2.0, 3.0], [0.01] * 3) and is_monotone([3.0, 2.0, 1.0], [0.01] * 3)


# --- the next strength ------------------------------------------------------------------------------------------------


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
    assert answer.next is not None and answer.next == pytest.approx(0.1 + sampler.FIRST_STEP)


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


# --- trials -----------------------------------------------------------------------------------------------------------


def test_seeds_of_one_strength_are_averaged_and_other_trials_ignored() -> None:
    study = study_of(Spy(2.0), LOG, (1.0, 3.0), (1.0, 5.0), (0.1, -2.0))
    running = study.ask({"strength": LOG})
    running.set_user_attr(GAP, 1.0)
    for state, attributes in ((TrialState.FAIL, {GAP: 1.0}), (TrialState.PRUNED, {GAP: 1.0}), (None, {})):
        study.add_trial(
            create_trial(
                state=state or TrialState.COMPLETE,
                value=1.0 if state is None else None,
                params={"strength": 2.0},
                distributions={"strength": LOG},
                user_attrs=attributes,
            )
        )
    study.add_trial(told(FloatDistribution(0.001, 100.0, log=True), 50.0, -9.0))  # outside the range
    found = evaluations(study.trials, "strength", LOG)
    assert [(e.strength, e.gap, e.count, e.latest) for e in found] == [(0.1, -2.0, 1, 2), (1.0, 4.0, 2, 1)]
    assert [e.at for e in found] == pytest.approx([1 / 3, 2 / 3])
    assert evaluations(study.trials, "another", LOG) == []


def test_a_diverged_seed_counts_as_the_limit() -> None:
    study = study_of(Spy(0.0), LOG, (1.0, -1e9))
    assert evaluations(study.trials, "strength", LOG)[0].gap == -sampler.CLIP


# --- the sampler ------------------------------------------------------------------------------------------------------


def reads(strength: float) -> float:
    """A gap that is zero at 0.7."""
    return -8 * math.log10(strength / 0.7)


def test_ask_and_tell_end_at_a_match() -> None:
    study = optuna.create_study(sampler=BracketingSampler())
    for _ in range(8):
        trial = study.ask()
        gap = reads(trial.suggest_float("strength", 0.01, 10, log=True))
        trial.set_user_attr(GAP, gap)
        study.tell(trial, abs(gap))
        if abs(gap) <= 0.5:
            break
    assert study.best_value <= 0.5


def test_fixed_distributions_and_suggestions_propose_the_same() -> None:
    gaps = ((0.1, 6.8), (5.0, -6.8))
    asked = study_of(BracketingSampler(), LOG, *gaps).ask({"strength": LOG}).params["strength"]
    trial = study_of(BracketingSampler(), LOG, *gaps).ask()
    assert trial.suggest_float("strength", 0.01, 10, log=True) == asked
    assert asked == look(LOG, *gaps).next


def test_optimize_matches_and_starts_with_what_was_enqueued() -> None:
    def objective(trial: optuna.Trial) -> float:
        gap = reads(trial.suggest_float("strength", 0.01, 10, log=True))
        trial.set_user_attr(GAP, gap)
        if abs(gap) <= 0.5:
            trial.study.stop()
        return abs(gap)

    study = optuna.create_study(sampler=BracketingSampler(start=5.0))
    study.enqueue_trial({"strength": 0.05})
    study.optimize(objective, n_trials=8)
    assert study.trials[0].params["strength"] == 0.05 and study.best_value <= 0.5
    assert study.trials[1].params["strength"] > 0.05


def test_an_integer_is_an_integer() -> None:
    study = study_of(BracketingSampler(), RANGES["int"], (2, 3.0))
    assert type(study.ask({"strength": RANGES["int"]}).params["strength"]) is int


def test_a_study_from_a_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    def storage() -> optuna.storages.BaseStorage:
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log")))

    study = optuna.create_study(study_name="m", storage=storage(), sampler=BracketingSampler(seed=3))
    for gap in (6.0, -3.0, 1.5):
        trial = study.ask({"strength": LOG})
        trial.set_user_attr(GAP, gap)
        study.tell(trial, abs(gap))
    again = optuna.load_study(study_name="m", storage=storage(), sampler=BracketingSampler(seed=3))
    expected = look(LOG, *((t.params["strength"], t.user_attrs[GAP]) for t in study.trials)).next
    assert again.ask({"strength": LOG}).params["strength"] == expected


NOT_MONOTONE = ((0.1, -6.0), (0.5, -1.0), (2.0, -9.0))


def test_the_fallback_searches_where_no_monotone_curve_fits() -> None:
    spy = Spy(0.777777)
    study = study_of(BracketingSampler(fallback=spy), LOG, *NOT_MONOTONE)
    assert study.ask({"strength": LOG}).params["strength"] == 0.7778 and spy.asked == 1
    study.add_trial(told(LOG, 0.7778, 3.0))  # a sign change: bracketing goes on
    assert 0.01 < study.ask({"strength": LOG}).params["strength"] < 2.0 and spy.asked == 1


def test_the_fallback_is_not_taken_at_its_word_when_it_repeats() -> None:
    spy = Spy(10.0)
    study = study_of(BracketingSampler(fallback=spy), LOG, *NOT_MONOTONE, (10.0, -9.5))
    strength = study.ask({"strength": LOG}).params["strength"]
    assert spy.asked == 1 and 9 < strength < 10


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_default_fallback_finds_something_new() -> None:
    strength = study_of(BracketingSampler(seed=5), LOG, *NOT_MONOTONE).ask({"strength": LOG}).params["strength"]
    assert 0.01 <= strength <= 10 and strength not in dict(NOT_MONOTONE)


def test_the_default_fallback_is_seeded_anew_for_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def record(*, seed: int, n_startup_trials: int) -> Spy:
        seeds.append(seed)
        return Spy(0.7)

    monkeypatch.setattr(optuna.samplers, "GPSampler", record)
    study = study_of(BracketingSampler(seed=5), LOG, *NOT_MONOTONE)
    trial = study.ask({"strength": LOG})
    study.ask({"strength": LOG})
    trial.set_user_attr(GAP, -3.0)
    study.tell(trial, 3.0)
    study.ask({"strength": LOG})
    assert seeds == [8, 8, 9], "of what was told, so that a killed search proposes the same again"


def test_what_it_cannot_search_is_refused() -> None:
    study = optuna.create_study(sampler=BracketingSampler())
    with pytest.raises(ValueError, match="needs a float or int parameter; 'kind' is Categorical"):
        study.ask({"kind": CategoricalDistribution(["a", "b"])})
    with pytest.raises(ValueError, match=r"matches one parameter, 'rate', but the study also has 'strength'"):
        study.ask({"strength": LOG, "rate": LINEAR})
    with pytest.raises(ValueError, match="multi-objective"):
        optuna.create_study(directions=["minimize"] * 2, sampler=BracketingSampler()).ask({"strength": LOG})
    with pytest.raises(ValueError, match=r"tolerance .* must be > 0"):
        BracketingSampler(tolerance=0.0)
    with pytest.raises(ValueError, match=r"noise .* must be >= 0"):
        BracketingSampler(noise=-1.0)
