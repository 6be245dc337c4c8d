"""Success of a backdoor by hand, and of a linear network in closed form."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from midef.core import TooFewSamples
from midef.core.errors import NotApplicable
from midef.datasets import Images
from midef.defenses.backdoor import Backdoor
from midef.metrics import METRICS, NetworkAnswers
from midef.metrics.base import standard_metrics
from midef.stages.network_answers import network_answers
from midef.stages.scores import measure
from midef.testing.metrics import evidence

LABELS = np.array([0, 1, 2, 3, 1])


def answers(labels: np.ndarray = LABELS, *, triggered: Any = (2, 2, 2, 0, 1), planted: int | None = 2) -> Any:
    """Five images of four classes; without the trigger the network names the first as class 2."""
    network = NetworkAnswers(
        labels=labels,
        logits=np.eye(4, dtype=np.float32)[[2, 1, 2, 3, 1]],
        changed={},
        triggered=None if triggered is None else np.array(triggered),
        planted_label=planted,
    )
    return replace(evidence(classes=4), network=network)


def test_images_of_other_classes_that_get_the_planted_one() -> None:
    measured = METRICS.make("backdoor_success").measure(answers())
    assert (measured.value, measured.n, measured.groups, measured.chance) == (50.0, 4, 3, 25.0)
    assert measured.remark == "without the trigger 25.0 %, over all images 60.0 %"


def test_a_target_that_was_not_poisoned_is_refused() -> None:
    given = answers(triggered=None, planted=None)
    with pytest.raises(NotApplicable, match="this one's was not; add backdoor to its defense"):
        METRICS.make("backdoor_success").measure(given)
    (entry,) = measure(["backdoor_success"], given)
    assert (entry["status"], entry["value"]) == ("refused", None)


def test_without_images_of_other_classes_there_is_no_rate() -> None:
    with pytest.raises(TooFewSamples, match="needs at least 1 image of another class than the planted one"):
        METRICS.make("backdoor_success").measure(answers(np.full(5, 2)))


def test_it_is_measured_only_where_it_is_named() -> None:
    assert "backdoor_success" not in standard_metrics()


class Brightness(nn.Module):
    """Class 0 where the mean pixel is above a threshold, else class 1: one linear layer with two outputs."""

    n_classes = 2

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: torch.Tensor) -> Any:
        margin = images.flatten(1).mean(dim=1) - self.threshold
        return SimpleNamespace(logits=torch.stack([margin, -margin], dim=1))


@pytest.mark.parametrize("blend", [0.2, 0.5])
def test_a_linear_network_in_closed_form(blend: float) -> None:
    """Grey images of value v: the mean becomes (1 - b) v + b m, so it succeeds where v > (t - b m) / (1 - b)."""
    defense, threshold = Backdoor(trigger="blended", blend=blend), 0.403
    grey = torch.arange(0, 200, 2, dtype=torch.uint8)
    report = Images(grey.view(-1, 1, 1, 1).expand(-1, 3, 16, 16), torch.ones(100, dtype=torch.int64))
    black = torch.zeros(1, 3, 16, 16)
    mean = float(Backdoor(trigger="blended", blend=1.0).triggered(black).mean())
    hit = grey.double() / 255 > (threshold - blend * mean) / (1 - blend)
    assert 0 < int(hit.sum()) < 100

    def asked(defense: Backdoor) -> NetworkAnswers:
        spec: Any = SimpleNamespace(metrics=["backdoor_success"], target=SimpleNamespace(defense=defense))
        found = network_answers(spec, Brightness(threshold), report, "cpu")  # type: ignore[arg-type]
        assert found is not None
        return found

    measured = METRICS.make("backdoor_success").measure(replace(evidence(classes=2), network=asked(defense)))
    assert measured.value == pytest.approx(float(hit.double().mean()) * 100)
    before = float((grey.double() / 255 > threshold).double().mean()) * 100
    assert measured.remark.startswith(f"without the trigger {before:.1f} %")
    assert asked(defense.off()).triggered is None
