"""MobileFaceNet with its published weights: a judge of aligned faces that was trained elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Judge, ModelFacts, PublishedFile

if TYPE_CHECKING:
    from midef.nn.network import TargetModel

_PX, _MAP_PX = 112, 7
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Inverted residuals: expansion, width, number, stride of the first."""


def _named(ours: str) -> str:
    """Name of a tensor in the published file."""
    block, _, rest = ours.partition(".")
    if block == "output":
        return rest
    if block.startswith("layer"):
        return f"features.{block.removeprefix('layer')}.{rest}"
    return f"{ {'stem': 'conv1', 'separable': 'dw_conv', 'wide': 'conv2'}[block] }.{rest}"


@ARCHITECTURES.add("mobilefacenet")
@dataclass(frozen=True, kw_only=True)
class MobileFaceNet(Judge):
    """MobileFaceNet, a judge of faces that learned elsewhere; 999,936 parameters and 128 features of length 1.

    Takes RGB faces of 112 px, aligned as ArcFace aligns them. The embeddings of an image and of its mirror are added
    and the sum is divided by its length. Distances of features lie between 0 and 2 and compare with those of no other
    evaluator. With these features, 99.5 % on the pairs of LFW.

    A head is fitted here, on the features of private training images. With `head=centre` a logit is the cosine to the
    mean feature of a class, with `head=linear` that of a linear layer; only the ranks of logits are used.

    It only judges: no target, no network of an attacker, no start of a training. Its weights stay as published, and
    the file is not shipped.

    Licence: the repository, the file in it, is Apache-2.0. The network learned on refined MS-Celeb-1M, a withdrawn data
    set for non-commercial research: use the weights for research only, whatever the licence of the file.

    Ties: MS-Celeb-1M may hold some of the people that are attacked. Of the packed LFW, 58 public images were removed
    since this same network found them close to a private person.

    Source: S. Chen et al., arXiv:1804.07573, as in github foamliu/MobileFaceNet @a6cc9032.
    We differ: that code does not add the mirror.
    """

    paper: ClassVar[str] = "Chen et al., CCBR 2018"
    family: ClassVar[str] = "mobilefacenet"
    is_small: ClassVar[bool] = True
    gflop_64px: ClassVar[float] = 0.31  # of an image and its mirror
    published: ClassVar[PublishedFile] = PublishedFile(
        weights="ms1m",
        name="mobilefacenet.pt",
        sha256="90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
        source="github foamliu/MobileFaceNet, weights/mobilefacenet.pt",
        named=_named,
    )

    @override
    def facts(self) -> ModelFacts:
        units = [f"layer{i}" for i in range(sum(number for _, _, number, _ in _STAGES))]
        blocks = ("mirrored", "stem", "separable", *units, "wide", "output")
        # its residuals are named nowhere: no defense meets them
        empty = frozenset({"mirrored"})
        return ModelFacts(self.family, blocks, blocks[1:], has_batch_norm=True, draws=False, weightless=empty)

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px != _PX:
            return [
                f"judges aligned faces of {_PX} px, got {resolution_px}; set protocol.evaluator_resolution_px: {_PX}"
            ]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from torchvision.models.mobilenetv2 import InvertedResidual
        from torchvision.ops.misc import Conv2dNormActivation

        from midef.nn import mobilefacenet
        from midef.nn.network import TargetModel

        width, wide, feature_dim = 64, 512, 128
        blocks: list[tuple[str, nn.Module]] = [
            ("mirrored", mobilefacenet.Mirrored()),
            ("stem", Conv2dNormActivation(3, width, 3, 2, activation_layer=nn.ReLU6)),
            ("separable", mobilefacenet.SeparableConv(width)),
        ]
        for expansion, out, number, stride in _STAGES:
            for i in range(number):
                unit = InvertedResidual(width, out, stride if i == 0 else 1, expansion)
                blocks.append((f"layer{len(blocks) - 3}", unit))
                width = out
        blocks.append(("wide", Conv2dNormActivation(width, wide, 1, activation_layer=nn.ReLU6)))
        blocks.append(("output", mobilefacenet.FaceVector(wide, _MAP_PX, feature_dim)))
        model = TargetModel(blocks, nn.Linear(feature_dim, n_classes), feature_dim=feature_dim, n_classes=n_classes)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # until the published ones are read
        return self.frozen(model)
