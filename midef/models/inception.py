"""Inception-v3 from torchvision as a chain of named blocks, and a tiny sibling for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel

_BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_LEAST_PX = 75


@ARCHITECTURES.add("inception_v3")
@dataclass(frozen=True, kw_only=True)
class InceptionV3(Architecture):
    """Inception-v3; 27,161,264 parameters with 1,000 classes, 3,326,696 of them in the head that only learns.

    Blocks `stem`, `mixed5b` to `mixed7c`, `pool`. While training, a second head reads `mixed6e`; its loss counts as
    much as that of the last one. The evaluator of the works at 224 px, where it judges at 299 px. Taps: stem, the last
    block at each resolution but the smallest, features.

    Source: Szegedy et al., CVPR 2016; layers, sizes and fresh weights are torchvision's, the weight 1.0 of the second
    head's loss is that of the released code of PPA.
    We differ: images are normalised to [-1, 1], as the published ImageNet weights expect. torchvision's
    `transform_input`, on with published weights and off without, normalises a second time images that came normalised
    so, and the same weights then answer differently after reloading; there is no such switch here. The second head
    starts fresh with as many classes as the last one, where PPA's keeps 1,000; below 299 px, where torchvision's
    cannot answer, it pools its map to 5 px.
    """

    paper: ClassVar[str] = "Szegedy et al., CVPR 2016"
    family: ClassVar[str] = "inception"
    gflop_64px: ClassVar[float] = 0.52
    divisor: ClassVar[int] = 1
    has_small_stem: ClassVar[bool] = False

    @override
    def facts(self) -> ModelFacts:
        return ModelFacts(
            self.family,
            ("stem", *(f"mixed{name}" for name in _BLOCKS), "pool"),
            ("stem", "mixed5d", "mixed6e", "pool"),
            has_batch_norm=True,
            weightless=frozenset({"pool"}),
        )

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if self.has_small_stem or resolution_px >= _LEAST_PX:
            return []
        return [f"five halvings without padding need {_LEAST_PX} px, got {resolution_px}; raise resolution_px"]

    def _side_px(self, resolution_px: int) -> int:
        """Pixels per side of the map that the second head reads."""
        if self.has_small_stem:
            return (-(-resolution_px // 2) - 3) // 2 + 1
        side = (resolution_px - 3) // 2 + 1 - 2  # the padded convolution keeps the side
        side = (side - 3) // 2 + 1 - 2
        side = (side - 3) // 2 + 1
        return (side - 3) // 2 + 1

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from torchvision.models import inception as theirs

        from midef.nn import inception

        conv, feature_dim = inception.conv_of(self.divisor), 2048 // self.divisor
        made = [
            *(theirs.InceptionA(c, pool, conv) for c, pool in ((192, 32), (256, 64), (288, 64))),
            theirs.InceptionB(288, conv),
            *(theirs.InceptionC(768, channels_7x7=c, conv_block=conv) for c in (128, 160, 160, 192)),
            theirs.InceptionD(768, conv),
            *(theirs.InceptionE(c, conv) for c in (1280, 2048)),
        ]
        blocks: list[tuple[str, nn.Module]] = [
            ("stem", inception.make_stem(conv, is_small=self.has_small_stem)),
            *zip((f"mixed{name}" for name in _BLOCKS), made, strict=True),
            ("pool", inception.Pool()),
        ]
        side = inception.SideHead(conv, 768 // self.divisor, n_classes, self._side_px(resolution_px))
        head = nn.Linear(feature_dim, n_classes)
        model = inception.InceptionNetwork(blocks, head, side, feature_dim=feature_dim, n_classes=n_classes)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.001 if module is side.fc else 0.1, a=-2, b=2)
        return model


@ARCHITECTURES.add("inception_v3_tiny")
@dataclass(frozen=True, kw_only=True)
class InceptionV3Tiny(InceptionV3):
    """Inception-v3's chain with an eighth of the channels and a stem that halves once.

    It learns slowly: convolutions start with the deviation 0.1 of the large one, and norms undo their scale, so that a
    step of an optimizer turns them less than smaller ones. Deviations of 0.28, which kept the variance of the large
    one's outputs, made it worse: on synthetic faces of `mini` (40 identities, 12 epochs, one seed) 11.5 % of the report
    split were right with these, 42.5 % with 0.1.
    """

    version: ClassVar[int] = 2
    gflop_64px: ClassVar[float] = 0.11
    is_small: ClassVar[bool] = True
    divisor: ClassVar[int] = 8
    has_small_stem: ClassVar[bool] = True
