"""Networks that learn to answer as a target does: trunks of torchvision with a new linear layer, and tiny ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import DataError, PreflightError, SpecError
from midef.models.pretrained import weights_folder
from midef.nn.named_file import NamedFile, torchvision_file
from midef.nn.weights import not_finite, read_tensors, said_not_finite, unfit

_TORCHVISION = {
    "efficientnet": ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2"),
    "densenet": ("densenet121", "densenet161", "densenet169"),
}


class EfficientNetStudent(nn.Module):
    """Convolutions of a torchvision EfficientNet, global mean, a new linear layer, no dropout before it.

    Images [B, 3, R, R] in [0, 1] -> logits [B, K]. The stochastic depth inside the trunk stays, as in torchvision.
    """

    def __init__(self, name: str, n_classes: int) -> None:
        super().__init__()
        whole = _torchvision_network(name)
        self.features = whole.features
        self.head = nn.Linear(whole.classifier[-1].in_features, n_classes)

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


class DenseNetStudent(nn.Module):
    """Everything of a torchvision DenseNet up to its last norm, the map flattened, a new linear layer.

    Images [B, 3, R, R] in [0, 1] -> logits [B, K]. No ReLU and no pooling after the last norm: at 64 px the linear
    layer sees 2 x 2 places, 4096, 8832 and 6656 numbers for 121, 161 and 169.
    """

    def __init__(self, name: str, resolution_px: int, n_classes: int) -> None:
        super().__init__()
        whole = _torchvision_network(name)
        self.features = whole.features
        places = (resolution_px // 32) ** 2
        self.head = nn.Linear(whole.classifier.in_features * places, n_classes)

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).flatten(1))
        return logits


class TinyStudent(nn.Module):
    """A small convolutional network for a CPU: blocks of conv3 or conv5, BatchNorm, activation, halving; global mean.

    Images [B, 3, R, R] in [0, 1] -> logits [B, K].
    """

    def __init__(
        self, widths: Sequence[int], kernel_px: int, activation: Callable[[], nn.Module], n_classes: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for c_out in widths:
            conv = nn.Conv2d(c_in, c_out, kernel_px, stride=2, padding=kernel_px // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(c_out), activation()]
            c_in = c_out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(c_in, n_classes)

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


class FeatureStatistics(nn.Module):
    """Buffers `mean` and `std` [D] of a target's penultimate features, each feature over the images.

    D belongs to the target, which is not known where networks are built: a fresh one holds mean 0 and deviation 1 as
    one number for all features, `[1]`, which broadcasts; measuring or loading gives the buffers their length.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))
        self.register_load_state_dict_pre_hook(_take_the_stored_length)  # type: ignore[no-untyped-call]

    def measure_(self, features: Tensor) -> None:
        """Take mean and standard deviation (divided by N) of features [N, D]."""
        self.mean = features.mean(dim=0)
        self.std = features.std(dim=0, unbiased=False)


def _take_the_stored_length(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in ("mean", "std"):
        stored = state.get(prefix + name)
        if stored is not None:
            setattr(module, name, getattr(module, name).new_empty(stored.shape))


def build_student(family: str, index: int, resolution_px: int, n_classes: int) -> nn.Module:
    """The network of this family at `index` 0, 1 or 2, with fresh weights."""
    if family == "cnn_tiny":
        widths, kernel_px, activation = (
            ((16, 32, 64), 3, nn.ReLU),
            ((24, 48, 48), 5, nn.SiLU),
            ((16, 24, 32), 3, nn.ELU),
        )[index]
        return TinyStudent(widths, kernel_px, activation, n_classes)
    name = _TORCHVISION[family][index]
    if family == "densenet":
        return DenseNetStudent(name, resolution_px, n_classes)
    return EfficientNetStudent(name, n_classes)


def published_file(family: str, index: int) -> NamedFile:
    """Torchvision's ImageNet file of a network."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(_TORCHVISION[family][index])["IMAGENET1K_V1"]
    url = str(weights.url)
    return replace(torchvision_file(url.rpartition("/")[2], float(weights.meta["_file_size"])), source=url)


def find_published(family: str, index: int) -> Path:
    """Torchvision's ImageNet file of a network, in `weights_folder()`, its digest checked.

    Raises:
        PreflightError: if it is not there, saying which one, and where to get it.
        DataError: if it is damaged.
    """
    file = published_file(family, index)
    try:
        path = file.find(weights_folder())
    except PreflightError as error:
        name = _TORCHVISION[family][index]
        raise PreflightError(f"imagenet weights of {name}: {error}, or choose weights=none") from error
    file.digest(path)
    return path


def start_from_(student: nn.Module, family: str, index: int, weights: str) -> None:
    """Give the trunk of a fresh student its start: nothing for `none`; torchvision's first file for `imagenet`.

    Raises:
        SpecError: if there are no such weights for this family.
        PreflightError: if the file is not in `weights_folder()`, saying which one, and where to get it.
        DataError: if the file is damaged.
    """
    if weights == "none":
        return
    if weights != "imagenet" or family not in _TORCHVISION:
        raise SpecError(f"{family} has no {weights} weights; choose weights=none")
    path = find_published(family, index)
    stored = read_tensors(path)
    trunk = {
        _modern(key).removeprefix("features."): value for key, value in stored.items() if key.startswith("features.")
    }
    features = student.get_submodule("features")
    if problems := unfit(trunk, features.state_dict()):
        lines = "\n  ".join(problems)
        raise DataError(f"{path} does not hold the {weights} weights of {_TORCHVISION[family][index]}: it\n  {lines}")
    if broken := not_finite(trunk):
        raise DataError(f"{path} is damaged: {said_not_finite(broken)}; fetch it again")
    features.load_state_dict({**features.state_dict(), **trunk})


def _modern(key: str) -> str:
    """DenseNet's files are older than torchvision's names: `denselayer1.norm.1` is `denselayer1.norm1` today."""
    head, dot, tail = key.partition(".denselayer")
    return head + dot + tail.replace("norm.", "norm").replace("conv.", "conv") if dot else key


def _torchvision_network(name: str) -> Any:
    from torchvision.models import get_model

    return get_model(name, weights=None)
