"""Our chain of named blocks is torchvision's network."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torchvision.models.vision_transformer import VisionTransformer

from midef.core import SpecError
from midef.core.errors import ShapeError
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, count_parameters
from midef.nn.vit import EncoderBlock

CLASSES, RESOLUTION_PX = 5, 32


def torchvision_name(ours: str) -> str:
    """The name of the same tensor there."""
    block, _, rest = ours.removeprefix("blocks.").partition(".")
    if block == "head":
        return f"heads.head.{rest}"
    if block == "stem":
        return f"encoder.{rest}" if rest == "pos_embedding" else rest
    if block == "pool":
        return f"encoder.{rest}"
    return f"encoder.layers.encoder_layer_{block.removeprefix('layer1_')}.{rest}"


def tiny_of_torchvision(dropout: float = 0.0) -> VisionTransformer:
    """The tiny sibling, built there; its head starts at zero and is given weights that answer."""
    other = VisionTransformer(RESOLUTION_PX, 8, 4, 4, 96, 384, dropout=dropout, num_classes=CLASSES)
    torch.nn.init.normal_(other.heads.head.weight)
    torch.nn.init.normal_(other.heads.head.bias)
    return other


def with_weights_of(other: VisionTransformer, dropout: float = 0.0) -> TargetModel:
    model = ARCHITECTURES.make("vit_b16_tiny", {"dropout": dropout}).build(CLASSES, RESOLUTION_PX)
    theirs = other.state_dict()
    model.load_state_dict({key: theirs[torchvision_name(key)] for key in model.state_dict()})
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(0))


def test_has_the_tensors_of_torchvision() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("vit_b16").build(1000, 224)
        other = torchvision.models.vit_b_16(weights=None)
    assert count_parameters(model) == 86_567_656  # torchvision's documentation of its weights
    ours = {torchvision_name(key): tuple(value.shape) for key, value in model.state_dict().items()}
    assert ours == {key: tuple(value.shape) for key, value in other.state_dict().items()}
    heads = {module.num_heads for module in model.modules() if isinstance(module, torch.nn.MultiheadAttention)}
    assert heads == {12}


def test_the_tiny_sibling_has_the_parameters_it_documents() -> None:
    with torch.device("meta"):
        assert count_parameters(ARCHITECTURES.make("vit_b16_tiny").build(1000, 64)) == 569_416


def test_answers_as_torchvision_does_with_its_weights(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    other = tiny_of_torchvision().eval()
    model = with_weights_of(other).eval()
    torch.testing.assert_close(model(images).logits, other((images - 0.5) / 0.5), atol=1e-5, rtol=1e-4)


def test_drops_in_training_what_torchvision_drops(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    other = tiny_of_torchvision(dropout=0.3).train()
    model = with_weights_of(other, dropout=0.3).train()
    torch.manual_seed(1)
    theirs = other((images - 0.5) / 0.5)
    torch.manual_seed(1)
    ours = model(images).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours, model.eval()(images).logits, atol=1e-3)


def test_starts_with_weights_spread_as_in_torchvision() -> None:
    torch.manual_seed(0)
    theirs = VisionTransformer(RESOLUTION_PX, 8, 4, 4, 96, 384).state_dict()
    model = ARCHITECTURES.make("vit_b16_tiny").build(1000, RESOLUTION_PX)
    for key, value in model.blocks.state_dict().items():
        other = theirs[torchvision_name(key)]
        torch.testing.assert_close(value.std(), other.std(), atol=1e-9, rtol=0.35, msg=key)
        torch.testing.assert_close(value.mean(), other.mean(), atol=0.005, rtol=0, msg=key)
    assert model.head.weight.std() > 0.01, "a head of zeros answers every image alike"


def test_a_quarter_half_and_three_quarters_are_tapped(images: torch.Tensor) -> None:
    assert ARCHITECTURES.make("vit_b16").facts().taps == ("stem", "layer1_2", "layer1_5", "layer1_8", "pool")
    tiny = ARCHITECTURES.make("vit_b16_tiny")
    taps = tiny.build(CLASSES, RESOLUTION_PX)(images, tiny.facts().taps).taps
    assert {name: tuple(tap.shape[1:]) for name, tap in taps.items()} == {
        "stem": (17, 96),
        "layer1_0": (17, 96),
        "layer1_1": (17, 96),
        "layer1_2": (17, 96),
        "pool": (96,),
    }


@pytest.mark.parametrize(
    ("name", "fits", "does_not"),
    [("vit_b16", (16, 224), (0, 8, 40, 100)), ("vit_b16_tiny", (8, 32, 40, 64, 224), (0, 4, 30, 100))],
)
def test_resolutions_are_multiples_of_the_patch(name: str, fits: tuple[int, ...], does_not: tuple[int, ...]) -> None:
    architecture = ARCHITECTURES.make(name)
    for resolution_px in fits:
        assert architecture.problems(resolution_px) == []
        with torch.device("meta"):
            model = architecture.build(CLASSES, resolution_px)
            assert model(torch.zeros(2, 3, resolution_px, resolution_px)).logits.shape == (2, CLASSES)
    for resolution_px in does_not:
        (problem,) = architecture.problems(resolution_px)
        assert problem.endswith(f"px, got {resolution_px}")


def test_images_of_another_size_than_built_for_are_refused() -> None:
    model = ARCHITECTURES.make("vit_b16_tiny").build(CLASSES, 32)
    with pytest.raises(ShapeError, match="built for 32 x 32 px, got 16 x 64; resize the images"):
        model(torch.zeros(2, 3, 16, 64))  # as many patches, but not in these places


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_refuses_a_share_to_drop_that_is_none(dropout: float) -> None:
    with pytest.raises(SpecError, match="needs 0 <= dropout < 1, got"):
        ARCHITECTURES.make("vit_b16", {"dropout": dropout})


@pytest.mark.parametrize(
    ("only", "of_attention", "of_mlp"),
    [((), True, True), (("attention",), True, False), (("mlp",), False, True), (("attention", "mlp"), True, True)],
    ids=["all", "attention", "mlp", "both"],
)
@pytest.mark.parametrize("k", [0.0, 0.3, 1.0])
def test_a_scaled_block_is_the_formula(only: tuple[str, ...], of_attention: bool, of_mlp: bool, k: float) -> None:
    torch.manual_seed(0)
    block = EncoderBlock(8, 2, 0.0)
    x = torch.randn(2, 5, 8)
    block.scale_skip(k, only=frozenset(only))
    normed = block.ln_1(x)
    middle = block.self_attention(normed, normed, normed)[0] + (k if of_attention else 1.0) * x
    expected = block.mlp(block.ln_2(middle)) + (k if of_mlp else 1.0) * middle
    torch.testing.assert_close(block(x), expected)


def test_an_unknown_kind_of_skip_names_the_known_ones() -> None:
    architecture = ARCHITECTURES.make("vit_b16_tiny")
    model = architecture.build(CLASSES, RESOLUTION_PX)
    (stage,) = architecture.facts().skip_stages
    assert stage == ("layer1_0", "layer1_1", "layer1_2", "layer1_3")
    with pytest.raises(SpecError, match=r"no skip 'mbconv' to scale; .*attention, mlp"):
        model.scale_skips(stage, 0.5, only=frozenset({"mbconv", "mlp"}))
