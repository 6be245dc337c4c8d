"""Success rates by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from midef.core import TooFewSamples
from midef.metrics import METRICS, NetworkAnswers
from midef.testing.metrics import evidence

LABELS = np.array([0, 1, 2, 3])


def answers(said: list[int], change: str) -> Any:
    """Four images of four classes; the network names the last wrongly without any change."""
    logits = np.eye(4, dtype=np.float32)[[0, 1, 2, 0]]
    network = NetworkAnswers(labels=LABELS, logits=logits, changed={change: np.array(said)})
    return replace(evidence(classes=4), network=network)


def test_untargeted_success_is_any_other_label() -> None:
    measured = METRICS.make("pgd_success").measure(answers([0, 2, 2, 3], "pgd"))
    assert (measured.value, measured.n, measured.groups, measured.chance) == (25.0, 4, 4, 75.0)
    assert measured.remark == "of the 3 images named correctly before: 33.3 %"


def test_targeted_success_is_the_next_label_and_after_the_last_the_first() -> None:
    measured = METRICS.make("bim_targeted_success").measure(answers([1, 0, 3, 0], "bim targeted"))
    assert (measured.value, measured.chance) == (75.0, 25.0)
    assert measured.remark == "of the 3 images named correctly before: 66.7 %"


def test_without_images_there_is_no_rate() -> None:
    with pytest.raises(TooFewSamples, match="adversarial robustness needs at least 1 image in the report split"):
        METRICS.make("fgsm_success").measure(replace(evidence(), network=None))
