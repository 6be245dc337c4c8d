"""Coverage counts what the attack calls found, whatever the evaluator thinks."""

from __future__ import annotations

import numpy as np
import pytest

from midef.metrics import METRICS, Evidence


def test_is_the_share_of_found_and_asks_no_evaluator() -> None:
    labels = np.repeat(np.arange(5), 2)
    evidence = Evidence(
        n_classes=6,
        report_labels=labels,
        report_predictions=labels,
        labels=labels,
        restarts=np.tile([0, 1], 5),
        found=labels < 3,
        evaluator_logits=np.full((10, 6), np.nan),
        features=np.full((10, 2), np.nan),
        private_features=np.zeros((1, 2)),
        private_labels=np.zeros(1, int),
        queries=0,
        attack_s=0.0,
        train_s=0.0,
    )
    measured = METRICS.make("coverage").measure(evidence)
    assert measured.value == pytest.approx(60.0) and (measured.n, measured.groups) == (10, 5)
