"""LPIPS as features: the squared distance of two images' features is their learned perceptual distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import DataError, PreflightError
from midef.nn.named_file import NamedFile, torchvision_file
from midef.nn.weights import read_tensors, unfit

if TYPE_CHECKING:
    from torchvision.models import VGG, AlexNet

Trunk = Literal["alex", "vgg"]


@dataclass(frozen=True)
class _Layers:
    """Which layers of a network are compared.

    Args:
        network: its name in torchvision.
        ends: of the slices of `features`, each after a ReLU.
        file: of its weights.
    """

    network: str
    ends: tuple[int, ...]
    file: NamedFile


_LAYERS: Mapping[str, _Layers] = {
    "alex": _Layers("alexnet", (2, 5, 8, 10, 12), torchvision_file("alexnet-owt-7be5be79.pth", 233.087)),
    "vgg": _Layers("vgg16", (4, 9, 16, 23, 30), torchvision_file("vgg16-397923af.pth", 527.796)),
}


def trunk_file(trunk: Trunk) -> NamedFile:
    """File with the trunk's weights: torchvision's classifier of ImageNet."""
    return _LAYERS[trunk].file


class LpipsFeatures(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> features [B, D], whose squared Euclidean distance is LPIPS.

    LPIPS sums over layers the mean over places of the squared difference of channel vectors of length 1, each channel
    weighted. So a feature is sqrt(weight / places) times the channel's value. D depends on the size of the images:
    31,872 at 64 px for `alex`. Frozen, in eval mode; gradients reach the images, which may leave [0, 1].

    Args:
        trunk: `alex`, as the metric is usually reported, or `vgg`, as StyleGAN's path length and PPDG-MI's tuning
            use it.
        tensors: of the trunk's file, `features.*` among them; what else it holds is not read.
        heads: weight of every channel [C], layer by layer; None for the learned ones.

    Raises:
        DataError: if the tensors are not those of the trunk.

    Source: R. Zhang et al., CVPR 2018, version 0.1; the learned weights are the file of torchmetrics.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Trunk, tensors: Mapping[str, Tensor], heads: list[Tensor] | None = None) -> None:
        super().__init__()
        import torchvision

        self.ends = _LAYERS[trunk].ends
        with torch.device("meta"):  # without drawing the weights of the classifier, which is not kept
            network: AlexNet | VGG = getattr(torchvision.models, _LAYERS[trunk].network)(weights=None)
        self.layers = network.features[: self.ends[-1]]
        own = {n.removeprefix("features."): t.float() for n, t in tensors.items() if n.startswith("features.")}
        if problems := unfit(own, self.layers.state_dict()):
            raise DataError(f"these are no weights of {_LAYERS[trunk].network}: the file {'; '.join(problems)}")
        self.layers.load_state_dict(own, assign=True)
        for number, weights in enumerate(learned_heads(trunk) if heads is None else heads):
            self.register_buffer(f"head{number}", weights, persistent=False)
        # ImageNet's normalisation for images in [-1, 1], in the rounded numbers that the weights were learned with
        for name, values in (("shift", (-0.030, -0.088, -0.188)), ("scale", (0.458, 0.448, 0.450))):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.requires_grad_(False)
        self.eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        x = (2 * images - 1 - self.shift) / self.scale
        features = []
        for number, (begin, end) in enumerate(zip((0, *self.ends), self.ends, strict=False)):
            x = self.layers[begin:end](x)
            weights = self.get_buffer(f"head{number}")[:, None, None] / (x.shape[-2] * x.shape[-1])
            unit = x / (x.pow(2).sum(dim=1, keepdim=True) + 1e-8).sqrt()
            features.append((unit * weights.sqrt()).flatten(1))
        return torch.cat(features, dim=1)


def learned_heads(trunk: Trunk) -> list[Tensor]:
    """Weight of every channel [C] of each compared layer, none below 0, from the installed torchmetrics.

    Raises:
        PreflightError: if it is not installed.
    """
    found = find_spec("torchmetrics")
    if found is None or not found.submodule_search_locations:
        raise PreflightError("LPIPS needs the package torchmetrics, which holds its learned weights; install it")
    path = Path(found.submodule_search_locations[0]) / "functional" / "image" / "lpips_models" / f"{trunk}.pth"
    stored = read_tensors(path)
    return [stored[f"lin{number}.model.1.weight"].flatten() for number in range(len(_LAYERS[trunk].ends))]


def perceptual_distance(features: Tensor, others: Tensor) -> Tensor:
    """LPIPS [B] of images with these features [B, D]; 0 for equal images, about 1 for unrelated ones."""
    return (features - others).pow(2).sum(dim=1)
