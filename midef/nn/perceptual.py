"""Perceptual features: vectors of images whose squared distance is LPIPS."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import DataError, PreflightError
from midef.nn.weights import read_tensors

VGG16_FILE = "vgg16-397923af.pth"
VGG16_SOURCE = f"https://download.pytorch.org/models/{VGG16_FILE}"
LARGEST_PX = 256
_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of VGG16, by resolution."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def flat_features(maps: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Feature maps [B, C, H, W] of several layers as vectors [B, F], whose squared distances are those of LPIPS.

    Each pixel of a map is brought to length 1; squared differences are averaged over pixels and summed over layers.

    Args:
        weights: >= 0, of the channels of each map [C]; 1 without them.
    """
    flat = []
    for i, values in enumerate(maps):
        unit = values * (values.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()
        if weights is not None:
            unit = unit * weights[i].sqrt()[:, None, None]
        flat.append(unit.flatten(1) / sqrt(values[0, 0].numel()))
    return torch.cat(flat, dim=1)


class Vgg16Features(nn.Module):
    """Images [B, 3, H, W] about [-1, 1] to vectors [B, F]; the squared distance of two is their LPIPS (net vgg).

    Images of more than 256 px are averaged down to 256.

    Args:
        weights: of the channels of the five layers [C], by which LPIPS weighs squared differences.

    Source: Zhang et al., CVPR 2018 (LPIPS); the features of the projector of StyleGAN2-ADA.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for widths in _WIDTHS:
            for width in widths:
                layers += [nn.Conv2d(c_in, width, 3, padding=1), nn.ReLU()]
                c_in = width
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers[:-1])  # numbered as in torchvision
        for i, weight in enumerate(weights):
            self.register_buffer(f"weight{i}", weight.clamp(min=0), persistent=False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    @override
    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] > LARGEST_PX:
            images = F.interpolate(images, size=(LARGEST_PX, LARGEST_PX), mode="area")
        hidden = (images / 2 + 0.5 - self.get_buffer("mean")) / self.get_buffer("std")
        maps = []
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(hidden)
            hidden = layer(hidden)
        maps.append(hidden)
        return flat_features(maps, [self.get_buffer(f"weight{i}") for i in range(len(maps))])


def channel_weights_file() -> Path | None:
    """LPIPS's weights of the channels of VGG16, a file that torchmetrics brings; None where it is not installed."""
    from importlib.util import find_spec

    found = find_spec("torchmetrics")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "functional" / "image" / "lpips_models" / "vgg.pth"
    return path if path.is_file() else None


def lacking(folder: Path) -> list[str]:
    """What perceptual features need that is not there, each a sentence that says where to get it."""
    problems = []
    if not (folder / VGG16_FILE).is_file():
        problems.append(f"perceptual features: no file {VGG16_FILE} in {folder}; get it from {VGG16_SOURCE}")
    if channel_weights_file() is None:
        problems.append("perceptual features: LPIPS's weights come with torchmetrics; pip install torchmetrics")
    return problems


def read_vgg16_features(folder: Path) -> Vgg16Features:
    """The frozen network with published weights.

    Raises:
        PreflightError: if a file is missing.
        DataError: if one cannot be read or holds something else.
    """
    if problems := lacking(folder):
        raise PreflightError(problems)
    weights_file = channel_weights_file()
    assert weights_file is not None
    tensors = read_tensors(weights_file)
    network = Vgg16Features([tensors[f"lin{i}.model.1.weight"].flatten().float() for i in range(len(_WIDTHS))])
    published = read_tensors(folder / VGG16_FILE)
    trunk = {name.replace("features.", "layers."): t for name, t in published.items() if name.startswith("features.")}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in trunk.items()} != wanted:
        raise DataError(f"{folder / VGG16_FILE} does not hold torchvision's VGG16; get it from {VGG16_SOURCE}")
    network.load_state_dict(trunk)
    return network.eval().requires_grad_(False)
