"""Our chain of named blocks is torchvision's network."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torchvision
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    ShiftedWindowAttentionV2,
    SwinTransformer,
    SwinTransformerBlockV2,
)
from torchvision.ops import StochasticDepth

from midef.core import SpecError
from midef.models import ARCHITECTURES
from midef.models.swin import SwinV2TTiny
from midef.nn.network import TargetModel, count_parameters
from midef.nn.swin import SwinBlock

CLASSES = 5

# torchvision's documentation of its weights, 1,000 classes
PARAMETERS = {"swin_v2_t": 28_351_570, "swin_v2_s": 49_737_442, "swin_v2_b": 87_930_848}


class Dropping(SwinV2TTiny):
    """The tiny sibling with stochastic depth."""

    stochastic_depth: ClassVar[float] = 0.6


def torchvision_name(ours: str) -> str:
    """The name of the same tensor there: stages and mergings share one list."""
    block, _, rest = ours.removeprefix("blocks.").partition(".")
    if block == "stem":
        return f"features.0.{rest}"
    if block.startswith("merge"):
        return f"features.{2 * int(block.removeprefix('merge'))}.{rest}"
    if block.startswith("layer"):
        stage, index = block.removeprefix("layer").split("_")
        return f"features.{2 * int(stage) - 1}.{index}.{rest}"
    return rest if block == "pool" else f"head.{rest}"


def tiny_of_torchvision(stochastic_depth: float = 0.0) -> SwinTransformer:
    return SwinTransformer(
        [4, 4],
        24,
        [2, 1, 1, 1],
        [1, 2, 4, 8],
        [4, 4],
        stochastic_depth_prob=stochastic_depth,
        num_classes=CLASSES,
        block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    )


def shaken(model: TargetModel) -> TargetModel:
    """Every weight away from its start, where biases are zero and would hide a wrong name."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def with_weights_of(other: SwinTransformer, architecture: SwinV2TTiny) -> TargetModel:
    model = architecture.build(CLASSES, 32)
    theirs = other.state_dict()
    model.load_state_dict({key: theirs[torchvision_name(key)] for key in model.state_dict()})
    return model


@pytest.mark.parametrize("name", PARAMETERS)
def test_has_the_tensors_and_windows_of_torchvision(name: str) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make(name).build(1000, 224)
        other = torchvision.models.get_model(name, weights=None)
    assert count_parameters(model) == PARAMETERS[name]
    ours = {torchvision_name(key): tuple(value.shape) for key, value in model.state_dict().items()}
    assert ours == {key: tuple(value.shape) for key, value in other.state_dict().items()}

    def attentions(network: torch.nn.Module) -> list[tuple[list[int], list[int], int]]:
        found = [module for module in network.modules() if isinstance(module, ShiftedWindowAttentionV2)]
        return [(attention.window_size, attention.shift_size, attention.num_heads) for attention in found]

    def drops(network: torch.nn.Module) -> list[float]:
        return [module.p for module in network.modules() if isinstance(module, StochasticDepth)]

    assert attentions(model) == attentions(other)
    assert drops(model) == drops(other) and max(drops(model)) > 0


def test_the_tiny_sibling_has_the_parameters_it_documents() -> None:
    with torch.device("meta"):
        assert count_parameters(ARCHITECTURES.make("swin_v2_t_tiny").build(1000, 64)) == 907_360


@pytest.mark.parametrize("resolution_px", [32, 44, 64])
def test_answers_as_torchvision_does_with_its_weights(resolution_px: int) -> None:
    torch.manual_seed(0)
    other = shaken(tiny_of_torchvision()).eval()
    model = with_weights_of(other, SwinV2TTiny()).eval()
    images = torch.rand(2, 3, resolution_px, resolution_px)
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, other((images - 0.5) / 0.5), atol=1e-5, rtol=1e-4)


def test_drops_in_training_what_torchvision_drops() -> None:
    torch.manual_seed(0)
    other = shaken(tiny_of_torchvision(stochastic_depth=0.6)).train()
    model = with_weights_of(other, Dropping()).train()
    images = torch.rand(4, 3, 32, 32)
    torch.manual_seed(1)
    theirs = other((images - 0.5) / 0.5)
    torch.manual_seed(1)
    ours = model(images).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours, model.eval()(images).logits, atol=1e-3)


def test_starts_with_weights_spread_as_in_torchvision() -> None:
    torch.manual_seed(0)
    theirs = tiny_of_torchvision().state_dict()
    for key, value in SwinV2TTiny().build(CLASSES, 32).state_dict().items():
        ours, other = value.float(), theirs[torchvision_name(key)].float()
        spread = other.std(correction=0)
        torch.testing.assert_close(ours.std(correction=0), spread, atol=1e-9, rtol=0.35, msg=key)
        assert (ours.mean() - other.mean()).abs() <= spread, key


def test_taps_are_the_stem_the_ends_of_stages_and_the_features() -> None:
    assert ARCHITECTURES.make("swin_v2_b").facts().taps == ("stem", "layer1_1", "layer2_1", "layer3_17", "pool")
    tiny = SwinV2TTiny()
    taps = tiny.build(CLASSES, 64)(torch.rand(2, 3, 64, 64), tiny.facts().taps).taps
    assert {name: tuple(tap.shape[1:]) for name, tap in taps.items()} == {
        "stem": (16, 16, 24),
        "layer1_1": (16, 16, 24),
        "layer2_0": (8, 8, 48),
        "layer3_0": (4, 4, 96),
        "pool": (192,),
    }


def test_mergings_stand_between_the_stages_and_are_not_skipped() -> None:
    facts = ARCHITECTURES.make("swin_v2_t").facts()
    assert [facts.blocks[facts.blocks.index(f"merge{s}") + 1] for s in (1, 2, 3)] == [
        "layer2_0",
        "layer3_0",
        "layer4_0",
    ]
    assert [len(stage) for stage in facts.skip_stages] == [2, 2, 6, 2]
    assert set(facts.blocks) - {block for stage in facts.skip_stages for block in stage} == {
        "stem",
        "merge1",
        "merge2",
        "merge3",
        "pool",
    }


@pytest.mark.parametrize("resolution_px", [4, 20, 32, 36, 60, 64])
def test_at_any_multiple_of_the_patch_every_pixel_is_seen(resolution_px: int) -> None:
    assert SwinV2TTiny().problems(resolution_px) == []
    assert (slope_of_pixels(resolution_px) > 0).all()


@pytest.mark.parametrize("resolution_px", [6, 30, 65])
def test_at_other_resolutions_the_last_pixels_would_not_be_seen(resolution_px: int) -> None:
    assert (slope_of_pixels(resolution_px)[-1] == 0).all()
    for name in ("swin_v2_t", "swin_v2_t_tiny"):
        (problem,) = ARCHITECTURES.make(name).problems(resolution_px)
        assert f"last rows and columns of {resolution_px} px; take a multiple of 4" in problem
    assert SwinV2TTiny().problems(0)


def slope_of_pixels(resolution_px: int) -> torch.Tensor:
    """[H, W]: how far the logits follow each pixel."""
    torch.manual_seed(0)
    images = torch.rand(1, 3, resolution_px, resolution_px, requires_grad=True)
    SwinV2TTiny().build(CLASSES, resolution_px)(images).logits.square().sum().backward()
    assert images.grad is not None
    return images.grad.abs().sum(dim=(0, 1))


def test_at_32_px_the_second_block_looks_over_the_edge_of_its_window() -> None:
    torch.manual_seed(0)
    model = SwinV2TTiny().build(CLASSES, 32).eval()
    image = torch.rand(1, 3, 32, 32)
    other = image.clone()
    other[:, :, 12:16, 12:16] += 0.5  # the last patch of the first window: 4 x 4 patches of 4 px
    taps = ("layer1_0", "layer1_1")
    before, after = model(image, taps).taps, model(other, taps).taps
    first, second = ((before[tap] - after[tap]).abs().sum(dim=(0, 3)) > 0 for tap in taps)
    assert first[:4, :4].all() and first.sum() == 16
    assert second[4:, 4:].any()


@pytest.mark.parametrize(
    ("only", "of_attention", "of_mlp"),
    [((), True, True), (("attention",), True, False), (("mlp",), False, True), (("attention", "mlp"), True, True)],
    ids=["all", "attention", "mlp", "both"],
)
@pytest.mark.parametrize("k", [0.0, 0.3, 1.0])
def test_a_scaled_block_is_the_formula(only: tuple[str, ...], of_attention: bool, of_mlp: bool, k: float) -> None:
    torch.manual_seed(0)
    block = SwinBlock(8, 2, window=2, shift=1, drop=0.0)
    x = torch.randn(2, 4, 4, 8)
    block.scale_skip(k, only=frozenset(only))
    middle = block.norm1(block.attn(x)) + (k if of_attention else 1.0) * x
    expected = block.norm2(block.mlp(middle)) + (k if of_mlp else 1.0) * middle
    torch.testing.assert_close(block(x), expected)


def test_stochastic_depth_spares_a_branch_that_has_no_shortcut() -> None:
    torch.manual_seed(0)
    block = SwinBlock(8, 2, window=2, shift=0, drop=1.0).train()
    x = torch.randn(2, 4, 4, 8)
    assert torch.equal(block(x), x)
    block.scale_skip(0.0)
    torch.testing.assert_close(block(x), block.norm2(block.mlp(block.norm1(block.attn(x)))))


def test_an_unknown_kind_of_skip_names_the_known_ones() -> None:
    model = SwinV2TTiny().build(CLASSES, 32)
    with pytest.raises(SpecError, match=r"no skip 'mbconv' to scale; .*attention, mlp"):
        model.scale_skips(["layer4_0"], 0.5, only=frozenset({"mbconv", "mlp"}))
