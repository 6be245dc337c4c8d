"""Expected calibration error by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from midef.metrics import METRICS, NetworkAnswers
from midef.metrics.calibration_error import calibration_error
from midef.testing.metrics import evidence


def two_classes(confidences: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [M, 2] that name class 0, and labels."""
    first = np.array(confidences)
    return np.stack([first, 1 - first], axis=1), np.where(right, 0, 1)


@pytest.mark.parametrize(
    ("confidences", "right", "expected"),
    [
        ([0.9, 0.9, 0.6, 0.6], [True, False, True, True], 0.5 * 0.4 + 0.5 * 0.4),
        ([1.0, 1.0], [True, True], 0.0),
        ([1.0, 1.0], [False, False], 1.0),
        ([0.75] * 4, [True, True, True, False], 0.0),
        ([0.91, 0.99], [True, False], abs(0.91 + 0.99 - 1) / 2),  # one bin of ten: gaps cancel inside it
        ([0.9, 0.9, 0.9, 0.6], [True, True, False, False], 0.75 * (0.9 - 2 / 3) + 0.25 * 0.6),
        ([0.75, 0.76], [False, True], abs(0.75 + 0.76 - 1) / 2),
        ([0.5, 0.51], [False, True], 0.5 * 0.5 + 0.5 * 0.49),  # a bin holds its upper end: 0.5 is not with 0.51
    ],
    ids=["two bins", "sure and right", "sure and wrong", "calibrated", "one bin", "weights", "inside", "upper end"],
)
def test_error_by_hand(confidences: list[float], right: list[bool], expected: float) -> None:
    assert calibration_error(*two_classes(confidences, right), bins=10) == pytest.approx(expected)


def test_the_metric_takes_the_softmax_of_the_logits() -> None:
    """Logits (ln 3, 0) say 3/4; three of four right is calibrated, one of four is off by 50 points."""
    logits = np.tile(np.log([[3.0, 1.0]]).astype(np.float32), (4, 1))
    for labels, expected in (([0, 0, 0, 1], 0.0), ([0, 1, 1, 1], 50.0)):
        network = NetworkAnswers(labels=np.array(labels), logits=logits, changed={})
        measured = METRICS.make("calibration_error").measure(replace(evidence(classes=2), network=network))
        assert (measured.value, measured.n) == (pytest.approx(expected, abs=1e-4), 4)
