"""The face networks of the 64-pixel model-inversion literature: two targets, their tiny siblings, the evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@dataclass(frozen=True, kw_only=True)
class _IR(Architecture):
    """Blocks `stem`, `layer1_0` to `layer4_n`, `output`; taps: stem, stage ends, output.

    The first unit of every stage halves, so `output` flattens (resolution / 16)^2 pixels: 4 x 4 at 64 px. It drops half
    of them while training and ends in the batch norm of the features. Images are not normalised.

    Source: improved residual units of Deng et al., CVPR 2019, as Face.evoLVe (github ZhaoJ9014/face.evoLVe) has them,
    with its Xavier-uniform weights; output as in KedMI (github SCccc21/Knowledge-Enriched-DMI), LOMMA and TL-DMI.
    We differ: fresh weights unless a setup says `weights: ms1m`, from which those works start the body.
    """

    paper: ClassVar[str] = "Deng et al., CVPR 2019 (the improved residual unit)"
    family: ClassVar[str] = "ir"
    depths: ClassVar[tuple[int, ...]] = (3, 8, 36, 3)
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512)
    feature_dim: ClassVar[int] = 512

    @override
    def facts(self) -> ModelFacts:
        stages = tuple(tuple(f"layer{s}_{i}" for i in range(depth)) for s, depth in enumerate(self.depths, 1))
        inner = [name for stage in stages for name in stage]
        return ModelFacts(
            self.family,
            ("stem", *inner, "output"),
            ("stem", *(stage[-1] for stage in stages), "output"),
            has_batch_norm=True,
            skip_stages=stages,
            draws=True,
        )

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px < 16 or resolution_px % 16:
            return [f"four halvings need a multiple of 16 px, got {resolution_px}; change resolution_px"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn import ir
        from midef.nn.network import TargetModel

        channels = self.widths[0]
        blocks: list[tuple[str, nn.Module]] = [("stem", ir.make_stem(channels))]
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            for i in range(depth):
                blocks.append((f"layer{stage}_{i}", ir.IRUnit(channels, width, stride=2 if i == 0 else 1)))
                channels = width
        blocks.append(("output", ir.make_output(channels, resolution_px // 16, self.feature_dim)))
        head = nn.Linear(self.feature_dim, n_classes)
        model = TargetModel(blocks, head, feature_dim=self.feature_dim, n_classes=n_classes)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        return model


@ARCHITECTURES.add("ir152")
@dataclass(frozen=True, kw_only=True)
class IR152(_IR):
    """IR152; 62,599,848 parameters at 64 px with 1,000 classes.

    TL-DMI counts its 50 units through the whole body and freezes 0 to 46; unit 46 is `layer3_35`. 17,825,256
    parameters then train; in its released code also the 1,920 of the stem, which makes 17,827,176.
    """

    gflop_64px: ClassVar[float] = 8


@ARCHITECTURES.add("facenet64")
@dataclass(frozen=True, kw_only=True)
class FaceNet64(_IR):
    """FaceNet64, an IR-50 body; 35,437,224 parameters at 64 px with 1,000 classes.

    TL-DMI counts its 24 units through the whole body and freezes 0 to 5; unit 5 is `layer2_2`. 34,391,912
    parameters then train; in its released code also the 1,920 of the stem, which makes 34,393,832.
    """

    gflop_64px: ClassVar[float] = 4.1
    depths: ClassVar[tuple[int, ...]] = (3, 4, 14, 3)


@ARCHITECTURES.add("facenet112")
@dataclass(frozen=True, kw_only=True)
class FaceNet112(_IR):
    """FaceNet112, the evaluator: FaceNet64's body at 112 px; 44,087,976 parameters there with 1,000 classes.

    `output` flattens 7 x 7 pixels. Reconstructions of 64 px are enlarged to 112 px before they are evaluated, so a
    smaller resolution is refused: it would be another evaluator.
    """

    gflop_64px: ClassVar[float] = 4.1
    depths: ClassVar[tuple[int, ...]] = (3, 4, 14, 3)

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px < 112:
            return [f"judges images of 112 px, got {resolution_px}; raise resolution_px to 112"]
        return super().problems(resolution_px)


@ARCHITECTURES.add("ir152_tiny")
@dataclass(frozen=True, kw_only=True)
class IR152Tiny(_IR):
    """IR152 with seven units, a quarter of the channels and 128 features."""

    gflop_64px: ClassVar[float] = 0.099
    is_small: ClassVar[bool] = True
    depths: ClassVar[tuple[int, ...]] = (1, 2, 3, 1)
    widths: ClassVar[tuple[int, ...]] = (16, 32, 64, 128)
    feature_dim: ClassVar[int] = 128


@ARCHITECTURES.add("facenet64_tiny")
@dataclass(frozen=True, kw_only=True)
class FaceNet64Tiny(_IR):
    """FaceNet64 with six units, a quarter of the channels and 128 features."""

    gflop_64px: ClassVar[float] = 0.09
    is_small: ClassVar[bool] = True
    depths: ClassVar[tuple[int, ...]] = (1, 2, 2, 1)
    widths: ClassVar[tuple[int, ...]] = (16, 32, 64, 128)
    feature_dim: ClassVar[int] = 128
