from __future__ import annotations

import pytest
import torch

from midef.models import ARCHITECTURES
from midef.nn.network import FixedZeroBias, count_parameters


def test_vgg16_has_the_parameters_of_the_gmi_line() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("vgg16").build(1000, 64)
    assert count_parameters(model) == 16_776_232
    assert model.feature_dim == 2048


@pytest.mark.parametrize(("resolution_px", "feature_dim"), [(32, 512), (48, 512), (64, 2048), (96, 4608), (112, 4608)])
def test_features_follow_the_resolution(resolution_px: int, feature_dim: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("vgg16").build(10, resolution_px)
        features = model(torch.zeros(2, 3, resolution_px, resolution_px)).features
    assert model.feature_dim == feature_dim == features.shape[1]


@pytest.mark.parametrize("name", ["vgg16", "vgg16_tiny"])
def test_an_image_below_five_poolings_is_refused(name: str) -> None:
    architecture = ARCHITECTURES.make(name)
    assert architecture.problems(32) == []
    (problem,) = architecture.problems(28)
    assert "at least 32 px, got 28" in problem


def test_the_bias_of_the_embedding_is_held_at_zero() -> None:
    norm = FixedZeroBias(4)
    optimizer = torch.optim.SGD([p for p in norm.parameters() if p.requires_grad], lr=1.0)
    (norm(torch.randn(8, 4)) - 3).square().sum().backward()
    optimizer.step()
    assert torch.equal(norm.bias, torch.zeros(4))
    assert not torch.equal(norm.weight, torch.ones(4))


def test_bidos_hidden_list_is_four_poolings_and_the_embedding() -> None:
    facts = ARCHITECTURES.make("vgg16").facts()
    assert facts.taps == ("block1", "block2", "block3", "block4", "embedding")
    torch.manual_seed(0)
    model = ARCHITECTURES.make("vgg16_tiny").build(5, 64)
    shapes = [tuple(tap.shape[1:]) for tap in model(torch.rand(2, 3, 64, 64), facts.taps).taps.values()]
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8), (128, 4, 4), (512,)]
