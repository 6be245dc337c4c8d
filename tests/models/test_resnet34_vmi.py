"""The network has the published layers and computes what its description says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, count_parameters


@pytest.fixture(scope="module")
def model() -> TargetModel:
    """The large network for 5 classes, every batch norm at something else than the identity."""
    torch.manual_seed(0)
    built = ARCHITECTURES.make("resnet34_vmi").build(5, 64).eval()
    for module in built.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            state = module.state_dict()
            for key in ("weight", "running_var"):
                state[key].uniform_(0.5, 1.5)
            for key in ("bias", "running_mean"):
                state[key].normal_(std=0.1)
    return built


def test_has_the_size_of_its_layers() -> None:
    trunk = 21_797_672 - (512 * 1000 + 1000)  # torchvision's ResNet-34 without its head
    between = 2 * 512 + (512 * 128 + 128) + 2 * 128
    with torch.device("meta"):
        large = ARCHITECTURES.make("resnet34_vmi").build(1000, 64)
    assert count_parameters(large) == trunk + between + (128 * 1000 + 1000) == 21_480_616
    assert large.feature_dim == 128


def test_computes_what_the_description_says(model: TargetModel) -> None:
    """The trunk is torchvision's; its pool takes 2 x 2 pixels, and the rest is written out."""
    other = torchvision.models.resnet34(weights=None).eval()
    theirs = other.state_dict()
    for name in theirs:
        if not name.startswith("fc."):
            begin, _, rest = name.partition(".")
            unit, _, leaf = rest.partition(".")
            ours = {"conv1": f"stem.0.{rest}", "bn1": f"stem.1.{rest}"}.get(begin, f"{begin}_{unit}.{leaf}")
            theirs[name] = model.blocks.state_dict()[ours]
    other.load_state_dict(theirs)
    other.avgpool, other.fc = nn.AvgPool2d(2), nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    state = model.state_dict()

    def norm(x: torch.Tensor, at: str) -> torch.Tensor:
        centred = (x - state[f"{at}.running_mean"]) / (state[f"{at}.running_var"] + 1e-5).sqrt()
        return centred * state[f"{at}.weight"] + state[f"{at}.bias"]

    with torch.no_grad():
        x = norm(other((images - 0.5) / 0.5).relu(), "blocks.embedding.2")
        x = norm(F.linear(x, state["blocks.output.0.weight"], state["blocks.output.0.bias"]).relu(), "blocks.output.2")
        forward = model(images)
        torch.testing.assert_close(forward.features, x, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(forward.logits, F.linear(x, state["head.weight"], state["head.bias"]))


def test_a_log_softmax_at_the_end_changes_no_cross_entropy() -> None:
    logits, labels = torch.randn(6, 5), torch.arange(6) % 5
    torch.testing.assert_close(F.cross_entropy(logits.log_softmax(1), labels), F.cross_entropy(logits, labels))


def test_bidos_hidden_list_is_tapped(model: TargetModel) -> None:
    facts = ARCHITECTURES.make("resnet34_vmi").facts()
    assert facts.taps == ("stem", "layer1_2", "layer2_3", "layer3_5", "layer4_2", "embedding", "output")
    with torch.no_grad():
        taps = model(torch.rand(1, 3, 64, 64), facts.taps).taps
    sides = [tuple(tap.shape[1:]) for tap in taps.values()]
    assert sides == [(64, 16, 16), (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512,), (128,)]


def test_every_residual_block_can_lose_its_skip() -> None:
    facts = ARCHITECTURES.make("resnet34_vmi").facts()
    assert [len(stage) for stage in facts.skip_stages] == [3, 4, 6, 3]
    assert facts.units == facts.blocks and "pool" not in facts.blocks


@pytest.mark.parametrize("name", ["resnet34_vmi", "resnet34_vmi_tiny"])
def test_works_from_32_px(name: str) -> None:
    architecture = ARCHITECTURES.make(name)
    assert architecture.problems(32) == architecture.problems(64) == architecture.problems(128) == []
    assert architecture.problems(31) == ["made for 64 px and works from 32 px, got 31; raise resolution_px"]
    with torch.device("meta"):
        for resolution_px in (32, 128):
            images = torch.zeros(2, 3, resolution_px, resolution_px)
            assert architecture.build(5, resolution_px)(images).logits.shape == (2, 5)
