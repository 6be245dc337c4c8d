"""The first layers of the convolutional families, for large and for small images."""

from __future__ import annotations

from midef.core.lazy import nn


def stem_at(stem: str, resolution_px: int) -> str:
    """What `auto` stands for at this resolution: `small` below 128 px, where five halves would leave one pixel."""
    if stem != "auto":
        return stem
    return "small" if resolution_px < 128 else "imagenet"


def stem_work(stem: str, resolution_px: int) -> float:
    """Operations of a network behind this stem, as a share of those behind the small one: what it halves, once or
    twice, all later layers see."""
    return {"imagenet": 1 / 15, "strided": 1 / 4}.get(stem_at(stem, resolution_px), 1.0)


def conv_stem(kind: str, width: int) -> nn.Sequential:
    """RGB to `width` channels: `imagenet` is 7x7, stride 2, and max-pool; `small` 3x3; `strided` 3x3, stride 2."""
    kernel, stride = {"imagenet": (7, 2), "small": (3, 1), "strided": (3, 2)}[kind]
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(width),
    ]
    if kind == "imagenet":
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))  # before the ReLU: less work, equal to the bit
    return nn.Sequential(*layers, nn.ReLU(inplace=True))
