"""Sizes by hand from the published layers, and answers from plain functions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core import SpecError
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, count_parameters


def built(name: str, classes: int, resolution_px: int = 32, **params: Any) -> TargetModel:
    """In eval mode, every batch norm at something else than the identity."""
    torch.manual_seed(0)
    model = ARCHITECTURES.make(name, params).build(classes, resolution_px).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            state = module.state_dict()
            for key in ("weight", "running_var"):
                state[key].uniform_(0.5, 1.5)
            for key in ("bias", "running_mean"):
                state[key].normal_(std=0.3)
    return model


def conv(came: int, out: int, kernel: int) -> int:
    """Weights and biases of a convolution, and weights and biases of the batch norm behind it."""
    return came * out * kernel**2 + out + 2 * out


def convolved(state: dict[str, Tensor], block: str, x: Tensor, padding: int) -> Tensor:
    x = F.conv2d(x, state[f"blocks.{block}.0.weight"], state[f"blocks.{block}.0.bias"], padding=padding)
    running = (state[f"blocks.{block}.1.running_mean"], state[f"blocks.{block}.1.running_var"])
    return F.batch_norm(x, *running, state[f"blocks.{block}.1.weight"], state[f"blocks.{block}.1.bias"])


def test_mcnn_has_the_size_of_its_layers() -> None:
    size = conv(3, 64, 7) + conv(64, 128, 5) + conv(128, 256, 5) + 256 * 5 + 5
    assert count_parameters(built("mcnn", 5)) == size == 1_036_037


def test_scnn_has_the_size_of_its_layers() -> None:
    size = conv(3, 32, 7) + conv(32, 64, 5) + conv(64, 128, 5) + conv(128, 256, 3) + conv(256, 512, 3) + 512 * 10 + 10
    assert count_parameters(built("scnn", 10)) == size == 1_743_370


@pytest.mark.parametrize(
    ("name", "paddings", "feature_dim"),
    [("mcnn", (1, 0, 0), 256), ("scnn", (1, 0, 0, 1, 1), 512)],
    ids="{}".format,
)
def test_computes_what_the_description_says(name: str, paddings: tuple[int, ...], feature_dim: int) -> None:
    model = built(name, 5)
    state = dict(model.state_dict())
    images = torch.rand(2, 3, 32, 32)
    x = images
    for i, padding in enumerate(paddings):
        x = F.leaky_relu(convolved(state, f"block{i + 1}", x, padding), 0.2)
        x = F.max_pool2d(x, 2) if i < 2 else x
    assert x.shape == (2, feature_dim, 1, 1)
    with torch.no_grad():
        forward = model(images)
    torch.testing.assert_close(forward.features, x.flatten(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(forward.logits, F.linear(x.flatten(1), state["head.weight"], state["head.bias"]))


def test_a_repeated_grey_image_meets_the_sum_of_the_kernels() -> None:
    model = built("mcnn", 5)
    (first,) = [module for name, module in model.named_modules() if name == "blocks.block1.0"]
    assert isinstance(first, nn.Conv2d)
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        one = F.conv2d(grey, first.weight.sum(1, keepdim=True), first.bias, padding=1)
        torch.testing.assert_close(first(grey.expand(-1, 3, -1, -1)), one, atol=1e-5, rtol=1e-4)


def test_bidos_hidden_list_is_every_block() -> None:
    assert ARCHITECTURES.make("mcnn").facts().taps == ("block1", "block2", "block3")


@pytest.mark.parametrize("name", ["mcnn", "scnn"])
def test_only_32_px_ends_in_one_pixel(name: str) -> None:
    architecture = ARCHITECTURES.make(name)
    assert architecture.problems(32) == []
    for resolution_px in (28, 64):
        (problem,) = architecture.problems(resolution_px)
        assert problem == f"made for 32 px, where the map ends in one pixel, got {resolution_px}"


@pytest.mark.parametrize(("name", "first"), [("yang_cnn", 128), ("yang_cnn_tiny", 32)])
@pytest.mark.parametrize(("blocks", "resolution_px", "classes"), [(4, 64, 530), (3, 32, 5)], ids=["faces", "digits"])
def test_yangs_classifier_has_the_size_of_its_layers(
    name: str, first: int, blocks: int, resolution_px: int, classes: int
) -> None:
    widths = (3, first, 2 * first, 4 * first, 8 * first)[: blocks + 1]
    size = sum(conv(came, out, 3) for came, out in pairwise(widths))
    size += widths[-1] * 16 * 5 * classes + 5 * classes  # both end in 4 x 4 pixels
    size += 5 * classes * classes + classes
    with torch.device("meta"):
        model = ARCHITECTURES.make(name, {"blocks": blocks}).build(classes, resolution_px)
    assert count_parameters(model) == size
    assert model.feature_dim == 5 * classes


def test_yangs_classifier_computes_what_the_description_says() -> None:
    model = built("yang_cnn", 5, blocks=3)
    state = dict(model.state_dict())
    images = torch.rand(2, 3, 32, 32)
    x = images
    for i in range(3):
        x = F.max_pool2d(convolved(state, f"block{i + 1}", x, 1), 2).relu()
    x = F.linear(x.flatten(1), state["blocks.hidden.1.weight"], state["blocks.hidden.1.bias"])
    with torch.no_grad():
        forward = model(images)
    torch.testing.assert_close(forward.features, x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(forward.logits, F.linear(x, state["head.weight"], state["head.bias"]))


def test_half_of_the_hidden_layer_is_dropped_while_training() -> None:
    hidden = built("yang_cnn", 40, blocks=3).train().blocks.get_submodule("hidden")
    with torch.no_grad():
        dropped = (hidden(torch.rand(8, 512, 4, 4)) == 0).float().mean()
    assert 0.45 < dropped < 0.55


@pytest.mark.parametrize(("blocks", "smallest_px"), [(3, 8), (4, 16)])
def test_every_pooling_needs_two_pixels(blocks: int, smallest_px: int) -> None:
    architecture = ARCHITECTURES.make("yang_cnn", {"blocks": blocks})
    assert architecture.problems(smallest_px) == architecture.problems(64) == []
    (problem,) = architecture.problems(smallest_px - 1)
    assert problem.startswith(f"{blocks} poolings need at least {smallest_px} px, got {smallest_px - 1}")


def test_refuses_another_number_of_blocks() -> None:
    with pytest.raises(SpecError, match="'yang_cnn', blocks: Input should be 3 or 4, got 5"):
        ARCHITECTURES.make("yang_cnn", {"blocks": 5})
