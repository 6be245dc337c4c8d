"""Accuracies and paired drops of runs whose hits are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from midef.analysis.base import AnalysedCell
from midef.analysis.stored.accuracies import Estimate, Run, accuracy, drop, less, run_of
from midef.core.statistics import identity_interval, paired_interval

NAMES = np.repeat(np.arange(10), 4)


def run(seed: int, hits: int, correct: int = 20) -> Run:
    """The first so many of 40 reconstructions succeed, and of 40 test images."""
    return Run(seed, NAMES, np.arange(40) < hits, NAMES, np.arange(40) < correct)


def test_one_seed_has_the_interval_of_its_images() -> None:
    found = accuracy([run(0, 10, correct=30)], "attack")
    low, high, _ = identity_interval(np.arange(40) < 10, NAMES)
    assert found == pytest.approx((25.0, 100 * low, 100 * high))
    assert accuracy([run(0, 10, correct=30)], "natural").value == 75.0


def test_a_drop_is_before_less_after_paired_by_image() -> None:
    found = drop([run(0, 30)], [run(0, 20)], "attack")
    low, high = paired_interval(np.arange(40) < 30, np.arange(40) < 20, NAMES)
    assert found == pytest.approx((25.0, 100 * low, 100 * high))
    assert drop([run(0, 30)], [run(0, 20)], "natural").value == 0.0


def test_three_seeds_add_their_own_spread() -> None:
    """Drops of 10, 20 and 30 points: the sides of Student's interval over them and of the images add as squares."""
    before, after = [run(s, 20) for s in range(3)], [run(s, 20 - 4 * (s + 1)) for s in range(3)]
    found = drop(before, after, "attack")
    within = [paired_interval(b.hits, a.hits, NAMES) for b, a in zip(before, after, strict=True)]
    low, high = 100 * np.mean(within, axis=0)
    half = stats.t.ppf(0.975, 2) * 10 / math.sqrt(3)
    assert found == pytest.approx((20.0, 20 - math.hypot(20 - low, half), 20 + math.hypot(high - 20, half)))
    two = drop(before[:2], after[:2], "attack")
    low, high = 100 * np.mean(within[:2], axis=0)
    assert two == pytest.approx((15.0, low, high))  # two say nothing of the spread over seeds


def test_an_accuracy_is_never_below_0_or_above_100() -> None:
    """Student's half width of 100, 100 and 85 % is 21.5 points: beyond 100, as that of 0, 0 and 15 % is below 0."""
    assert accuracy([run(s, hits) for s, hits in enumerate((40, 40, 34))], "attack").high == 100.0
    assert accuracy([run(s, hits) for s, hits in enumerate((0, 0, 6))], "attack").low == 0.0


def test_a_difference_is_written_with_its_sign() -> None:
    assert drop([run(0, 20)], [run(0, 20)], "attack").signed.startswith("+0.0 [-")


def test_a_run_is_read_from_the_stored_scores_by_identity_and_restart(tmp_path: Path) -> None:
    arrays = {
        "labels": [5, 3, 3],
        "restarts": [0, 1, 0],
        "hit_at_1": [1, 0, 1],
        "report_labels": [0, 1, 2, 2],
        "report_predictions": [0, 2, 2, 1],
    }
    np.savez(tmp_path / "per_image.npz", **{name: np.array(values) for name, values in arrays.items()})
    store = SimpleNamespace(artifacts=SimpleNamespace(fetch=lambda key: tmp_path))
    scores = SimpleNamespace(scores=SimpleNamespace(key="key"))
    found = run_of(AnalysedCell(cast(Any, SimpleNamespace(seed=4)), cast(Any, scores)), cast(Any, store))
    assert found.seed == 4 and [values.tolist() for values in found.outcomes("attack")] == [
        [True, False, True],
        [3, 3, 5],
    ]
    assert [values.tolist() for values in found.outcomes("natural")] == [[True, False, True, False], [0, 1, 2, 2]]


def test_a_difference_of_other_images_adds_the_sides_as_squares() -> None:
    """Sides 3 and 4 below, 12 and 5 above: 5 and 13."""
    assert less(Estimate(30.0, 27.0, 42.0), Estimate(10.0, 5.0, 14.0)) == pytest.approx((20.0, 15.0, 33.0))
