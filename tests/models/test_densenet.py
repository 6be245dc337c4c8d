"""Our chain of named blocks is torchvision's network; a cut network answers as the whole one with weights at zero."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from midef.core import SpecError
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, count_parameters

# torchvision's documentation of its weights, 1,000 classes
PARAMETERS = {"densenet121": 7_978_856, "densenet161": 28_681_000, "densenet169": 14_149_480, "densenet201": 20_013_928}
GROWTH = 12  # of the tiny sibling


def torchvision_name(ours: str) -> str:
    """The name of the same tensor there."""
    path = ours.removeprefix("blocks.")
    if path.startswith("head."):
        return path.replace("head", "classifier")
    path = path.replace("stem.0", "conv0").replace("stem.1", "norm0").replace("pool.norm", "norm5")
    return "features." + re.sub(r"^dense(\d)\.layer", r"denseblock\1.denselayer", path)


def settled(name: str = "densenet121_tiny") -> TargetModel:
    """In eval mode, every tensor at a random value: statistics and weights of no two channels are alike."""
    torch.manual_seed(0)
    model = ARCHITECTURES.make(name).build(5, 32).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            state = module.state_dict()
            for key in ("weight", "running_var"):
                state[key].uniform_(0.5, 1.5)
            for key in ("bias", "running_mean"):
                state[key].normal_(std=0.3)
    return model


def at(model: TargetModel, path: str) -> Any:
    """The module at `path` below the blocks."""
    return model.blocks.get_submodule(path)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PARAMETERS)
def test_has_the_tensors_of_torchvision(name: str) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make(name).build(1000, 224)
        other = torchvision.models.get_model(name, weights=None)
    assert count_parameters(model) == PARAMETERS[name]
    ours = {torchvision_name(key): tuple(value.shape) for key, value in model.state_dict().items()}
    assert ours == {key: tuple(value.shape) for key, value in other.state_dict().items()}


def test_answers_as_torchvision_does_with_its_weights() -> None:
    torch.manual_seed(0)
    other = torchvision.models.densenet121(weights=None, num_classes=5).eval()
    model = ARCHITECTURES.make("densenet121", {"stem": "imagenet"}).build(5, 64).eval()
    theirs = other.state_dict()
    model.load_state_dict({key: theirs[torchvision_name(key)] for key in model.state_dict()})
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, other((images - 0.5) / 0.5), atol=1e-5, rtol=1e-4)


def test_fresh_weights_are_drawn_as_torchvision_draws_them() -> None:
    model = ARCHITECTURES.make("densenet121_tiny").build(5, 32)
    assert isinstance(model.head, nn.Linear) and not model.head.bias.any()
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            inputs = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.1), name


@pytest.mark.parametrize(
    ("stem", "resolution_px", "side_px"),
    [("auto", 64, 64), ("auto", 224, 56), ("imagenet", 64, 16), ("small", 224, 224), ("strided", 64, 32)],
)
def test_the_stem_suits_the_resolution(stem: str, resolution_px: int, side_px: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("densenet121_tiny", {"stem": stem}).build(5, resolution_px)
        images = torch.zeros(1, 3, resolution_px, resolution_px)
        assert model(images, ("stem",)).taps["stem"].shape[2:] == (side_px, side_px)


@pytest.mark.parametrize(("stem", "smallest_px"), [("imagenet", 29), ("small", 8), ("strided", 15)])
def test_says_which_resolution_is_the_smallest(stem: str, smallest_px: int) -> None:
    architecture = ARCHITECTURES.make("densenet121_tiny", {"stem": stem})
    assert architecture.problems(smallest_px) == []
    (problem,) = architecture.problems(smallest_px - 1)
    assert f"got 7 from {smallest_px - 1} px with stem '{stem}'; raise resolution_px to {smallest_px}" in problem
    with torch.device("meta"):
        model = architecture.build(5, smallest_px).eval()
        assert model(torch.zeros(1, 3, smallest_px, smallest_px), ("dense4",)).taps["dense4"].shape[2:] == (1, 1)


def test_every_layer_can_be_frozen_alone() -> None:
    facts = ARCHITECTURES.make("densenet121_tiny").facts()
    assert facts.units[:5] == ("stem", "dense1.layer1", "dense1.layer2", "transition1", "dense2.layer1")
    assert facts.taps == ("stem", "transition1", "transition2", "transition3", "pool")
    model = settled()
    (layer,) = model.unit("dense2.layer3")
    assert layer is at(model, "dense2.layer3")


def dropped(widths: list[int], k: float) -> list[int]:
    """Channels, among maps of these widths concatenated oldest first, that are not seen: counted one by one."""
    labels = [(age, place) for age, width in enumerate(widths) for place in range(width)]
    newest = len(widths) - 1
    return [i for i, (age, place) in enumerate(labels) if age != newest and place >= round(k * widths[age])]


def masked(model: TargetModel, block: str, k: float) -> TargetModel:
    """The whole network with the weights of unseen channels at zero, the slow way to scale the skips of one block."""
    model = deepcopy(model)
    after = model.block_names[model.block_names.index(block) + 1]
    widths: list[int] = [at(model, f"{block}.layer1.conv1").in_channels]
    for layer in at(model, block).children():
        layer.conv1.weight.data[:, dropped(widths, k)] = 0
        widths.append(GROWTH)
    reader: Any = model.head if after == "pool" else at(model, f"{after}.conv")
    reader.weight.data[:, dropped(widths, k)] = 0
    return model


@pytest.mark.parametrize("k", [0.0, 0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("block", ["dense1", "dense2", "dense3", "dense4"])
def test_a_cut_network_answers_as_one_whose_dropped_weights_are_zero(
    block: str, k: float, images: torch.Tensor
) -> None:
    model = settled()
    slow = masked(model, block, k)
    size = count_parameters(model)
    model.scale_skips([block], k)
    assert count_parameters(model) < size
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, slow(images).logits, atol=1e-5, rtol=1e-4)
    assert model(images).features.shape[1] == model.feature_dim == model.head.in_features


def test_k_one_changes_no_bit(images: torch.Tensor) -> None:
    model, whole = settled(), settled()
    model.scale_skips(["dense1", "dense2", "dense3", "dense4"], 1.0)
    assert torch.equal(model(images).logits, whole(images).logits)
    assert model.feature_dim == whole.feature_dim


def test_a_second_smaller_k_counts_from_the_whole_network(images: torch.Tensor) -> None:
    twice, once = settled(), settled()
    for k in (0.75, 0.5):
        twice.scale_skips(["dense3", "dense4"], k)
    once.scale_skips(["dense3", "dense4"], 0.5)
    assert torch.equal(twice(images).logits, once(images).logits)
    with pytest.raises(SpecError, match=r"k=0\.75 asks for channels that a smaller k has removed"):
        twice.scale_skips(["dense4"], 0.75)


def test_without_skips_every_layer_sees_only_the_one_before() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("densenet121").build(530, 224)
        model.scale_skips(["dense4"], 0.0)
    layers = list(at(model, "dense4").children())
    assert [layer.conv1.in_channels for layer in layers] == [512] + 15 * [32]
    assert [layer.norm1.num_features for layer in layers] == [512] + 15 * [32]
    assert isinstance(model.head, nn.Linear)
    assert (model.feature_dim, model.head.in_features, *model.head.weight.shape) == (32, 32, 530, 32)


def test_a_hundredth_keeps_a_few_channels_of_wide_maps() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("densenet169").build(5, 224)
        model.scale_skips(["dense4"], 0.01)
    assert model.feature_dim == round(0.01 * 640) + 31 * 0 + 32


def test_cutting_keeps_frozen_weights_frozen_and_eval_mode_on(images: torch.Tensor) -> None:
    model = settled()
    model.hold_in_eval(["blocks.transition1"])
    model.train()
    at(model, "transition1").requires_grad_(False)
    model.scale_skips(["dense1"], 0.5)
    norm = at(model, "transition1.norm")
    before = norm.running_mean.clone()
    model(images).logits.sum().backward()
    assert torch.equal(norm.running_mean, before)
    assert not any(p.requires_grad for p in at(model, "transition1").parameters())
    (layer,) = model.unit("dense1.layer2")
    assert all(p.requires_grad and p.grad is not None for p in layer.parameters())


def test_there_is_one_kind_of_skip() -> None:
    with pytest.raises(SpecError, match=r"one kind of skip, got only=\['mlp'\]; leave `only` empty"):
        settled().scale_skips(["dense4"], 0.0, only=frozenset({"mlp"}))


def test_another_head_cannot_be_cut() -> None:
    model = settled()
    model.head = nn.Sequential(model.head)
    size = count_parameters(model)
    with pytest.raises(SpecError, match="cuts a linear head, got Sequential; scale before replacing it"):
        model.scale_skips(["dense4"], 0.0)
    assert count_parameters(model) == size
