"""A max pool stands before its ReLU: fewer elements for the ReLU, the same numbers to the last bit."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.nn.stem import conv_stem


def swapped(network: nn.Module) -> int:
    """Put each ReLU before the max pool it follows, as the papers draw it; returns how many there were."""
    count = 0
    for part in network.modules():
        if isinstance(part, nn.Sequential):
            for i in range(len(part) - 1):
                if isinstance(part[i], nn.MaxPool2d) and isinstance(part[i + 1], nn.ReLU):
                    part[i], part[i + 1] = part[i + 1], part[i]
                    count += 1
    return count


def answers(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Output, and gradients to the images and to every weight."""
    seen = images.clone().requires_grad_()
    out = network(seen)
    out = out.logits if isinstance(network, TargetModel) else out
    F.cross_entropy(out.flatten(1), torch.arange(len(images))).backward()
    return [out, *(tensor.grad for tensor in (seen, *network.parameters()) if tensor.grad is not None)]


@pytest.mark.parametrize("train", [True, False], ids=["training", "attack"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "channels last"])
@pytest.mark.parametrize("name", ["vgg16_tiny", "resnest50", "resnet18"])
def test_a_pool_before_its_relu_changes_no_bit(name: str, layout: torch.memory_format, train: bool) -> None:
    torch.manual_seed(0)
    px = 32 if name == "vgg16_tiny" else 128  # from 128 px on the stems pool
    network = ARCHITECTURES.make(name).build(7, px).to(memory_format=layout).train(train)  # type: ignore[call-overload]
    as_drawn = copy.deepcopy(network)
    assert swapped(as_drawn) > 0
    images = torch.rand(3, 3, px, px).contiguous(memory_format=layout)
    torch.manual_seed(1)
    ours = answers(network, images)
    torch.manual_seed(1)
    theirs = answers(as_drawn, images)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_ties_and_windows_without_a_positive_value_get_the_same_gradient() -> None:
    stem = conv_stem("imagenet", 2)[2:]
    values = torch.tensor([-1.0, 0.0, 0.0, 2.0, 2.0, -3.0, -0.0, 1.0]).repeat(16)[:128].view(1, 2, 8, 8)
    gradients = []
    for layers in (stem, nn.Sequential(stem[1], stem[0])):
        seen = values.clone().requires_grad_()
        out = layers(seen * 1.0)  # the ReLU works in place
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
        gradients.append(seen.grad)
    assert isinstance(stem[0], nn.MaxPool2d) and torch.equal(gradients[0], gradients[1])


def test_no_network_pools_what_a_relu_has_just_given() -> None:
    late = []
    for cls in ARCHITECTURES:
        name = cls.registered_name  # type: ignore[attr-defined]
        architecture = ARCHITECTURES.make(name)
        sizes = [px for px in (32, 64, 112, 224, 299) if not architecture.problems(px)]
        assert sizes, name
        for px in {sizes[0], 224} & set(sizes):
            with torch.device("meta"):
                network = architecture.build(10, px)
            parts = [part for part in network.modules() if isinstance(part, nn.Sequential)]
            late += [
                name
                for part in parts
                for before, after in pairwise(part)
                if isinstance(before, nn.ReLU) and isinstance(after, nn.MaxPool2d)
            ]
    assert late == []
