"""Perceptual features: squared distances are LPIPS by definition, and by torchmetrics where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from midef.core.errors import DataError, PreflightError
from midef.nn import perceptual
from midef.nn.perceptual import (
    VGG16_FILE,
    Vgg16Features,
    channel_weights_file,
    flat_features,
    lacking,
    read_vgg16_features,
)

WIDTHS = (64, 128, 256, 512, 512)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_the_squared_distance_is_lpips_by_its_definition() -> None:
    """Of each pixel the difference of unit vectors, squared, weighed by channel; mean over pixels, sum over layers."""
    first, second = (
        [random(2, c, px, px, seed=s + i) - 0.3 for i, (c, px) in enumerate([(3, 4), (5, 2)])] for s in (1, 7)
    )
    weights = [random(3, seed=3), random(5, seed=4)]
    expected = torch.zeros(2)
    for a, b, weight in zip(first, second, weights, strict=True):
        for image in range(2):
            pixels = [(row, column) for row in range(a.shape[2]) for column in range(a.shape[3])]
            for row, column in pixels:
                u, v = a[image, :, row, column], b[image, :, row, column]
                expected[image] += ((u / u.norm() - v / v.norm()) ** 2 * weight).sum() / len(pixels)
    found = (flat_features(first, weights) - flat_features(second, weights)).square().sum(dim=1)
    assert torch.allclose(found, expected, rtol=1e-4)
    plain = (flat_features(first) - flat_features(second)).square().sum(dim=1)
    ones = [torch.ones(3), torch.ones(5)]
    assert torch.allclose(plain, (flat_features(first, ones) - flat_features(second, ones)).square().sum(dim=1))


def test_of_images_it_is_that_of_torchmetrics() -> None:
    """With random convolutions, since nothing is downloaded: torchmetrics's channel weights, its network and ours."""
    lpips = pytest.importorskip("torchmetrics.functional.image.lpips")
    weights_file = channel_weights_file()
    assert weights_file is not None
    torch.manual_seed(0)
    theirs = lpips._LPIPS(pretrained=True, net="vgg", pnet_rand=True).eval()
    channel = torch.load(weights_file, map_location="cpu", weights_only=True)
    ours = Vgg16Features([channel[f"lin{i}.model.1.weight"].flatten() for i in range(5)])
    state = {f"layers.{n.split('.', 1)[1]}": t for n, t in theirs.net.state_dict().items()}
    ours.load_state_dict(state)
    a, b = 2 * random(2, 3, 16, 16, seed=5) - 1, 2 * random(2, 3, 16, 16, seed=6) - 1
    with torch.no_grad():
        expected = theirs(a, b).flatten()
        found = (ours(a) - ours(b)).square().sum(dim=1)
    assert float(expected.min()) > 0.01 and torch.allclose(found, expected, rtol=1e-3)


def test_large_images_are_averaged_down(monkeypatch: pytest.MonkeyPatch) -> None:
    assert perceptual.LARGEST_PX == 256, "as in the projector"
    monkeypatch.setattr(perceptual, "LARGEST_PX", 16)
    network = Vgg16Features([torch.ones(width) for width in WIDTHS]).eval()
    large = 2 * random(1, 3, 32, 32) - 1
    small = large.view(1, 3, 16, 2, 16, 2).mean(dim=(3, 5))
    with torch.no_grad():
        assert torch.allclose(network(large), network(small), atol=1e-4)


def test_a_missing_file_is_named_with_its_source_and_another_file_is_refused(tmp_path: Path) -> None:
    assert any(VGG16_FILE in text and "https://download.pytorch.org" in text for text in lacking(tmp_path))
    with pytest.raises(PreflightError, match=VGG16_FILE):
        read_vgg16_features(tmp_path)
    if channel_weights_file() is None:
        pytest.skip("torchmetrics, which brings the weights of the channels, is not installed")
    fresh = Vgg16Features([torch.ones(width) for width in WIDTHS])
    published = {name.replace("layers.", "features."): t for name, t in fresh.state_dict().items()}
    torch.save({**published, "classifier.0.weight": torch.zeros(2)}, tmp_path / VGG16_FILE)
    read = read_vgg16_features(tmp_path)
    assert lacking(tmp_path) == [] and not any(p.requires_grad for p in read.parameters())
    assert torch.equal(read.layers[28].weight, fresh.layers[28].weight)
    torch.save(dict(list(published.items())[2:]), tmp_path / VGG16_FILE)
    with pytest.raises(DataError, match="does not hold torchvision's VGG16"):
        read_vgg16_features(tmp_path)
