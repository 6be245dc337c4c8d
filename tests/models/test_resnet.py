"""Our chain of named blocks is torchvision's network."""

from __future__ import annotations

import pytest
import torch
import torchvision

from midef.models import ARCHITECTURES
from midef.nn.network import count_parameters

# torchvision's documentation of its weights, 1,000 classes
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


def torchvision_name(ours: str) -> str:
    """The name of the same tensor there."""
    block, _, rest = ours.removeprefix("blocks.").partition(".")
    if block == "head":
        return f"fc.{rest}"
    if block == "stem":
        return f"{('conv1', 'bn1')[int(rest[0])]}{rest[1:]}"
    return f"{block.replace('_', '.')}.{rest}"


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
    other = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    model = ARCHITECTURES.make("resnet18", {"stem": "imagenet"}).build(5, 64).eval()
    theirs = other.state_dict()
    model.load_state_dict({key: theirs[torchvision_name(key)] for key in model.state_dict()})
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, other((images - 0.5) / 0.5), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("stem", "resolution_px", "side_px"),
    [("auto", 64, 64), ("auto", 224, 56), ("imagenet", 64, 16), ("small", 224, 224), ("strided", 64, 32)],
)
def test_the_stem_suits_the_resolution(stem: str, resolution_px: int, side_px: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("resnet18", {"stem": stem}).build(5, resolution_px)
        images = torch.zeros(1, 3, resolution_px, resolution_px)
        assert model(images, ("stem",)).taps["stem"].shape[2:] == (side_px, side_px)


def test_ends_of_stages_are_tapped() -> None:
    assert ARCHITECTURES.make("resnet34").facts().taps == ("stem", "layer1_2", "layer2_3", "layer3_5", "pool")
