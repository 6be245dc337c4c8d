"""When a search had not ended: its rule on curves that are made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from midef.core.gates import RISING_LOG_ODDS, search_gate
from midef.core.traces import COURSE, SURE, Traces, thinned

Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]
IDENTITIES, RESTARTS, LENGTH = 12, 2, 150


def of_odds(log_odds: np.ndarray) -> np.ndarray:
    probabilities: np.ndarray = 1 / (1 + np.exp(-log_odds))
    return probabilities


def made(curve: Curve, *, steps: int = LENGTH, identities: int = IDENTITIES) -> Traces:
    """Confidence [N, P] by a function of the fraction of the search [P] and of noise [N, P]; a gradient that halves."""
    at = np.array(thinned(steps))
    rows = identities * RESTARTS
    noise = np.random.default_rng(0).normal(size=(rows, len(at)))
    confidence = np.broadcast_to(curve(at / max(steps - 1, 1), noise), noise.shape).astype(np.float32)
    norms = np.tile(np.linspace(2.0, 1.0, len(at), dtype=np.float32), (rows, 1))
    labels = np.repeat(np.arange(identities), RESTARTS)
    return Traces(at, {"confidence": confidence, "gradient_norm": norms}, labels, np.arange(rows) % RESTARTS)


def is_rising(course: dict[str, float]) -> bool:
    return search_gate(course["confidence_end"], course["confidence_rise"], course["confidence_rise_low"]) is not None


CURVES: dict[str, tuple[Curve, bool]] = {
    "rising": (lambda t, noise: of_odds(-4 + 4 * t + 0.5 * noise), True),
    "rising from nearly nothing": (lambda t, noise: of_odds(-11 + 4 * t + 0.5 * noise), True),
    "flat and low": (lambda t, noise: of_odds(-6 + 0 * t + 0 * noise), False),
    "flat and noisy": (lambda t, noise: of_odds(-1 + 0 * t + 1.5 * noise), False),
    "settled early": (lambda t, noise: of_odds(-4 + 4 * np.minimum(3 * t, 1) + 0.3 * noise), False),
    "falling": (lambda t, noise: of_odds(2 - 4 * t + 0.3 * noise), False),
    "saturated, and made surer by every step": (lambda t, noise: of_odds(2 + 10 * t + 0.3 * noise), False),
    "rises less than the limit": (lambda t, noise: of_odds(-1 + 4 * RISING_LOG_ODDS * t + 0 * noise), False),
}


@pytest.mark.parametrize(("curve", "expected"), CURVES.values(), ids=CURVES)
def test_a_search_is_not_converged_where_the_confidence_still_rises(curve: Curve, expected: bool) -> None:
    assert is_rising(made(curve).course) == expected


def test_identities_that_were_found_do_not_stand_for_those_that_never_are() -> None:
    """Two thirds get surer and surer above `SURE`, one third stays: nothing more is to be found."""

    def curve(t: np.ndarray, noise: np.ndarray) -> np.ndarray:
        found = np.arange(len(noise))[:, None] % 3 > 0
        return np.where(found, of_odds(4.7 + 8 * t), of_odds(-5 + 0.1 * noise))

    course = made(curve).course
    assert course["confidence_end"] < 0.7 and not is_rising(course)


def test_one_identity_that_rises_is_no_trend_of_all() -> None:
    def curve(t: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(noise))[:, None] < RESTARTS, of_odds(-6 + 10 * t), of_odds(-3 + 0.05 * noise))

    course = made(curve).course
    assert course["confidence_rise"] > RISING_LOG_ODDS and course["confidence_rise_low"] < 0 and not is_rising(course)


def test_the_numbers_by_hand() -> None:
    traces = made(lambda t, noise: of_odds(-4 + 5 * t + 0.5 * noise))
    confidence = traces.series["confidence"].astype(float)
    last = traces.steps[-1]
    end = [i for i, step in enumerate(traces.steps) if step > 0.8 * last]
    before = [i for i, step in enumerate(traces.steps) if 0.6 * last < step <= 0.8 * last]
    rises = []
    for identity in range(IDENTITIES):
        rows = confidence[identity * RESTARTS : (identity + 1) * RESTARTS].clip(1e-6, SURE)
        odds = np.log(rows) - np.log1p(-rows)
        rises.append(odds[:, end].mean() - odds[:, before].mean())
    half = 2.200985 * np.std(rises, ddof=1) / IDENTITIES**0.5  # Student's t with 11 degrees of freedom
    assert set(traces.course) == set(COURSE)
    assert traces.course == pytest.approx(
        {
            "confidence_start": confidence[:, 0].mean(),
            "confidence_end": confidence[:, end].mean(),
            "confidence_rise": np.mean(rises),
            "confidence_rise_low": np.mean(rises) - half,
            "gradient_start": 2.0,
            "gradient_end": np.linspace(2.0, 1.0, len(traces.steps))[end].mean(),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_a_search_of_a_few_steps_has_no_end(steps: int) -> None:
    assert made(lambda t, noise: of_odds(-4 + 8 * t + 0 * noise), steps=steps).course == {}
    assert is_rising(made(lambda t, noise: of_odds(-6 + 8 * t + 0.1 * noise), steps=9).course)


def test_one_identity_has_no_interval_and_labels_alone_no_confidence() -> None:
    traces = made(lambda t, noise: of_odds(-4 + 8 * t + 0.1 * noise), identities=1)
    assert traces.course == {}
    radius = Traces(traces.steps, {"radius": traces.series["confidence"]}, traces.labels, traces.restarts)
    assert radius.course == {}
    broken = made(lambda t, noise: np.where(t > 0.99, np.nan, 0.5 + 0 * noise))
    assert broken.course == {}


@pytest.mark.parametrize("lost", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["confidence", "gradient_norm"])
def test_rows_that_left_the_numbers_are_not_counted(name: str, lost: float) -> None:
    """Facts of artifacts hold numbers alone, and one row of many says nothing about the others."""
    whole = made(lambda t, noise: of_odds(-4 + 4 * t + 0.5 * noise))
    series = {each: values.copy() for each, values in whole.series.items()}
    series[name][:RESTARTS, -1] = lost
    course = Traces(whole.steps, series, whole.labels, whole.restarts).course
    assert (
        course
        == Traces(
            whole.steps,
            {each: values[RESTARTS:] for each, values in whole.series.items()},
            whole.labels[RESTARTS:],
            whole.restarts[RESTARTS:],
        ).course
    )
    assert np.isfinite(list(course.values())).all() and is_rising(course)
