"""Corruption accuracy by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from midef.metrics import METRICS, NetworkAnswers
from midef.testing.metrics import evidence


def test_it_is_the_mean_over_corruptions_and_says_each() -> None:
    labels = np.array([0, 1])
    said = {"noise": [0, 1], "blur": [0, 0], "contrast": [1, 0], "brightness": [0, 1], "pixelate": [1, 1]}
    network = NetworkAnswers(
        labels=labels,
        logits=np.zeros((2, 4), dtype=np.float32),
        changed={name: np.array(found) for name, found in said.items()},
        remark="of the network",
    )
    measured = METRICS.make("corruption_accuracy").measure(replace(evidence(classes=4), network=network))
    assert (measured.value, measured.n, measured.groups, measured.chance) == (pytest.approx(60.0), 10, 2, 25.0)
    assert measured.remark == (
        "noise 100.0 %, blur 50.0 %, contrast 0.0 %, brightness 100.0 %, pixelate 50.0 %; of the network"
    )
