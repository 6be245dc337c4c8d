"""Our chain of named blocks is torchvision's MaxViT; scaled skips against sums written out window by window."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
import torch
import torchvision

from midef.core import SpecError
from midef.models import ARCHITECTURES
from midef.nn.maxvit import MaxVitLayer
from midef.nn.network import count_parameters

KINDS = ("mbconv", "attention", "mlp")


def torchvision_name(ours: str) -> str:
    """The name of the same tensor there; our head has a bias, theirs has none."""
    path = ours.removeprefix("blocks.")
    if path.startswith("head."):
        return path.replace("head", "classifier.5")
    path = re.sub(r"^pool\.", "classifier.", path).replace(".mbconv.", ".MBconv.")
    return re.sub(r"^block(\d)_(\d)", lambda at: f"blocks.{int(at[1]) - 1}.layers.{at[2]}.layers", path)


def block(drop: float = 0.0) -> MaxVitLayer:
    """16 to 32 channels, 8 to 4 px, windows of 2 by 2, every weight large enough to matter."""
    torch.manual_seed(0)
    made = MaxVitLayer(16, 32, stride=2, side=4, partition=2, head_dim=16, drop=drop, momentum=0.1)
    for parameter in made.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=0.2)
    return made


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(3, 16, 8, 8, generator=torch.Generator().manual_seed(0))


def test_has_the_tensors_of_torchvision_and_a_bias_in_the_head() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("maxvit_t").build(1000, 224)
        other = torchvision.models.maxvit_t(weights=None)
    ours = {torchvision_name(key): tuple(value.shape) for key, value in model.state_dict().items()}
    assert ours.pop("classifier.5.bias") == (1000,)
    assert ours == {key: tuple(value.shape) for key, value in other.state_dict().items()}
    assert count_parameters(model) - 1000 == 30_919_624  # torchvision's documentation of its weights
    drops = [m.p for m in model.modules() if isinstance(m, torchvision.ops.StochasticDepth) and m.p]
    assert drops == pytest.approx([m.p for m in other.modules() if type(m).__name__ == "StochasticDepth" and m.p])


def test_last_stage_and_classifier_have_the_published_size() -> None:
    """TL-DMI prints 18.3 M trainable of 30.9 M: block 4 and the classifier, counted with 1,000 classes."""
    with torch.device("meta"):
        model = ARCHITECTURES.make("maxvit_t").build(1000, 224)
    parts = [model.unit(unit)[0] for unit in ("block4_0", "block4_1", "pool")]
    assert isinstance(model.head, torch.nn.Linear)
    size = sum(count_parameters(part) for part in parts) + model.head.weight.numel()
    assert round(size / 1e6, 3) == 18.306


def test_answers_as_torchvision_does_with_its_weights() -> None:
    torch.manual_seed(0)
    other = torchvision.models.maxvit_t(weights=None, num_classes=5).eval()
    model = ARCHITECTURES.make("maxvit_t").build(5, 224).eval()
    theirs = {**other.state_dict(), "classifier.5.bias": torch.zeros(5)}
    model.load_state_dict({key: theirs[torchvision_name(key)] for key in model.state_dict()})
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        forward = model(images)
        torch.testing.assert_close(forward.logits, other((images - 0.5) / 0.5), atol=1e-5, rtol=1e-4)
    assert forward.features.shape == (1, 512) and forward.features.abs().max() < 1


def test_fresh_weights_are_drawn_as_torchvision_draws_them() -> None:
    model = ARCHITECTURES.make("maxvit_t_tiny").build(5, 32)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif parameter.ndim > 1 and parameter.numel() > 2000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name


@pytest.mark.parametrize(("name", "works", "fails"), [("maxvit_t", 224, 256), ("maxvit_t_tiny", 32, 40)])
def test_says_which_resolutions_divide(name: str, works: int, fails: int) -> None:
    architecture = ARCHITECTURES.make(name)
    assert architecture.problems(works) == architecture.problems(2 * works) == []
    (problem,) = architecture.problems(fails)
    assert problem.endswith(f"from {fails} px; take a multiple of {works}")


def test_the_problem_names_the_sides_that_do_not_divide() -> None:
    (problem,) = ARCHITECTURES.make("maxvit_t").problems(64)
    assert problem.startswith("attention needs stages whose side is a multiple of 7, got 16, 8, 4, 2 from 64 px")


def test_ends_of_stages_are_tapped() -> None:
    facts = ARCHITECTURES.make("maxvit_t").facts()
    assert facts.taps == ("stem", "block1_1", "block2_1", "block3_4", "block4_1", "pool")
    assert facts.skip_stages[-1] == ("block4_0", "block4_1")


def slow_attention(layer: Any, x: torch.Tensor, k_attention: float, k_mlp: float, group: Any) -> torch.Tensor:
    """One window or grid at a time; `group(a, b)` gives the rows and columns of 2 by 2 pixels that see each other."""
    out = torch.empty_like(x)
    for a, b in product(range(2), range(2)):
        pixels = list(product(*group(a, b)))
        tokens = torch.stack([x[:, :, row, column] for row, column in pixels], 1)[:, None]
        tokens = layer.attn_layer(tokens) + k_attention * tokens
        tokens = layer.mlp_layer(tokens) + k_mlp * tokens
        for i, (row, column) in enumerate(pixels):
            out[:, :, row, column] = tokens[:, 0, i]
    return out


@pytest.mark.parametrize("k", [1.0, 0.3, 0.0])
@pytest.mark.parametrize("only", [(), *((kind,) for kind in KINDS), ("attention", "mlp")], ids=lambda o: "+".join(o))
def test_scales_the_skips_it_was_asked_to(only: tuple[str, ...], k: float, maps: torch.Tensor) -> None:
    layer = block().eval()
    scale = {kind: k if kind in (only or KINDS) else 1.0 for kind in KINDS}
    with torch.no_grad():
        x = layer.mbconv.layers(maps) + scale["mbconv"] * layer.mbconv.proj(maps)
        x = slow_attention(
            layer.window_attention,
            x,
            scale["attention"],
            scale["mlp"],
            lambda a, b: ((2 * a, 2 * a + 1), (2 * b, 2 * b + 1)),
        )
        x = slow_attention(
            layer.grid_attention, x, scale["attention"], scale["mlp"], lambda a, b: ((a, a + 2), (b, b + 2))
        )
        layer.scale_skip(k, only=frozenset(only))
        torch.testing.assert_close(layer(maps), x, atol=1e-4, rtol=1e-4)


def test_without_skips_a_block_whose_branches_are_zero_gives_zero(maps: torch.Tensor) -> None:
    layer = block().eval()
    assert layer(maps).abs().max() > 0
    layer.scale_skip(0.0)
    for last in (layer.grid_attention.mlp_layer[3], layer.window_attention.mlp_layer[3], layer.mbconv.layers.conv_c):
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    assert not layer(maps).any()


def test_a_shortcut_that_is_not_used_is_removed() -> None:
    layer, size = block(), count_parameters(block())
    layer.scale_skip(0.0, only=frozenset({"attention", "mlp"}))
    assert count_parameters(layer) == size
    layer.scale_skip(0.0)
    assert count_parameters(layer) == size - (16 * 32 + 32)


def test_without_skips_no_branch_is_dropped(maps: torch.Tensor) -> None:
    """Stochastic depth with p = 1 drops every branch; with a skip the block is then its shortcut, without, the loss."""
    layer = block(drop=1.0).train()
    assert torch.equal(layer(maps), layer.mbconv.proj(maps))
    layer.scale_skip(0.0)
    undropped = block(drop=0.0).train()
    undropped.scale_skip(0.0)
    assert torch.equal(layer(maps), undropped(maps))


def test_an_unknown_kind_names_the_known_ones() -> None:
    layer = block()
    with pytest.raises(SpecError, match="no skips of kind 'mbconf'; did you mean 'mbconv'"):
        layer.scale_skip(0.0, only=frozenset({"mbconf", "mlp"}))
    assert layer.window_attention.mlp_scale == 1.0
