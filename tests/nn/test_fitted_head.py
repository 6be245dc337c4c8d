"""Heads fitted on features, against slow computations from their formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from midef.nn.fitted_head import centre_head, linear_head

CLASSES, DIM = 3, 5


def unbalanced() -> tuple[Tensor, Tensor]:
    """Features of length 1 around a direction per class, of 12, 3 and 1 images."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 12 + [1] * 3 + [2])
    around = torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64)[labels]
    noise = torch.randn(len(labels), DIM, generator=generator, dtype=torch.float64)
    return F.normalize(around + 0.5 * noise, dim=1), labels


def test_a_centre_is_the_normalised_mean_of_its_class() -> None:
    features, labels = unbalanced()
    weight, bias = centre_head(features, labels, CLASSES)
    for label in range(CLASSES):
        mean = sum(features[labels == label]) / int((labels == label).sum())
        torch.testing.assert_close(weight[label], mean / mean.square().sum().sqrt())
    assert bias.tolist() == [0.0] * CLASSES
    cosines = features @ weight.T
    assert cosines.abs().max() <= 1 + 1e-12


def test_the_linear_head_has_no_slope_left_and_weighs_every_class_alike() -> None:
    features, labels = unbalanced()
    weight, bias = linear_head(features, labels, CLASSES)
    answers = (features @ weight.T + bias).softmax(dim=1)
    of_weight, of_bias = 1e-4 * weight, 1e-4 * bias
    for label, count in enumerate((12, 3, 1)):
        for image in (labels == label).nonzero()[:, 0]:
            wrong = answers[image] - F.one_hot(torch.tensor(label), CLASSES)
            of_weight = of_weight + wrong[:, None] * features[image] / (count * CLASSES)
            of_bias = of_bias + wrong / (count * CLASSES)
    assert of_weight.abs().max() < 1e-7 and of_bias.abs().max() < 1e-7
    again = linear_head(features, labels, CLASSES)
    assert torch.equal(again[0], weight) and torch.equal(again[1], bias)
