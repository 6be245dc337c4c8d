"""Swin Transformers V2 as a chain of named blocks, and a tiny sibling for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@dataclass(frozen=True, kw_only=True)
class _SwinV2(Architecture):
    """Blocks `stem`, `layer1_0` to `layer4_n` with `merge1` to `merge3` between the stages, `pool`.

    Inside the chain the layout is [B, H, W, C], channels last, and the taps have it: the stem, the ends of the first
    three stages, then the pooled vector [B, D]. Every block has the skips `attention` and `mlp`.
    Any multiple of the patch is a resolution: merging pads an odd side and attention pads its windows, with zeros that
    take part in the attention as torchvision has it. One network therefore works at several resolutions.

    Args:
        stochastic_depth: chance that the last block's F(x) is dropped for an image while training; it grows linearly
            from 0 at the first block. Where a shortcut is removed (k = 0) nothing is dropped.

    Source: Liu et al., CVPR 2022; pieces and their initial weights are torchvision's.
    """

    paper: ClassVar[str] = "Liu et al., CVPR 2022 (Swin Transformer V2)"
    family: ClassVar[str] = "swin"
    patch: ClassVar[int] = 4
    window: ClassVar[int] = 8
    width: ClassVar[int] = 96
    depths: ClassVar[tuple[int, ...]] = (2, 2, 6, 2)
    heads: ClassVar[tuple[int, ...]] = (3, 6, 12, 24)
    stochastic_depth: ClassVar[float] = 0.2

    @override
    def facts(self) -> ModelFacts:
        stages = tuple(tuple(f"layer{s}_{i}" for i in range(depth)) for s, depth in enumerate(self.depths, 1))
        merged = [name for s, stage in enumerate(stages[:-1], 1) for name in (*stage, f"merge{s}")]
        ends = tuple(stage[-1] for stage in stages[:-1])
        return ModelFacts(
            self.family,
            ("stem", *merged, *stages[-1], "pool"),
            ("stem", *ends, "pool"),
            has_batch_norm=False,
            skip_stages=stages,
            skip_kinds=("attention", "mlp"),
            has_attention=True,
            draws=self.stochastic_depth > 0,
        )

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px < self.patch or resolution_px % self.patch:
            reason = f"patches of {self.patch} px would not see the last rows and columns of {resolution_px} px"
            return [f"{reason}; take a multiple of {self.patch}"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn import swin
        from midef.nn.network import TargetModel

        blocks: list[tuple[str, nn.Module]] = [("stem", swin.patch_stem(self.patch, self.width))]
        done = 0
        for s, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True), 1):
            width = self.width * 2 ** (s - 1)
            if s > 1:
                blocks.append((f"merge{s - 1}", swin.PatchMergingV2(width // 2)))
            for i in range(depth):
                shift = self.window // 2 if i % 2 else 0
                drop = self.stochastic_depth * done / (sum(self.depths) - 1)
                block = swin.SwinBlock(width, heads, window=self.window, shift=shift, drop=drop)
                blocks.append((f"layer{s}_{i}", block))
                done += 1
        blocks.append(("pool", swin.pool(width)))
        head = nn.Linear(width, n_classes)
        model = TargetModel(blocks, head, feature_dim=width, n_classes=n_classes, mean=0.5, std=0.5)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        return model


@ARCHITECTURES.add("swin_v2_t")
@dataclass(frozen=True, kw_only=True)
class SwinV2T(_SwinV2):
    """Swin-V2-T; 28,351,570 parameters with 1,000 classes."""

    gflop_64px: ClassVar[float] = 1.7


@ARCHITECTURES.add("swin_v2_s")
@dataclass(frozen=True, kw_only=True)
class SwinV2S(_SwinV2):
    """Swin-V2-S; 49,737,442 parameters with 1,000 classes."""

    gflop_64px: ClassVar[float] = 3.2
    depths: ClassVar[tuple[int, ...]] = (2, 2, 18, 2)
    stochastic_depth: ClassVar[float] = 0.3


@ARCHITECTURES.add("swin_v2_b")
@dataclass(frozen=True, kw_only=True)
class SwinV2B(_SwinV2):
    """Swin-V2-B; 87,930,848 parameters with 1,000 classes."""

    gflop_64px: ClassVar[float] = 5.6
    width: ClassVar[int] = 128
    depths: ClassVar[tuple[int, ...]] = (2, 2, 18, 2)
    heads: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    stochastic_depth: ClassVar[float] = 0.5


@ARCHITECTURES.add("swin_v2_t_tiny")
@dataclass(frozen=True, kw_only=True)
class SwinV2TTiny(_SwinV2):
    """Swin-V2 with a quarter of the width, windows of 4 x 4 and one block per stage, but two in the first.

    907,360 parameters with 1,000 classes. The first stage has a second block because only every other block shifts its
    windows, and only where there are several windows to shift: at 32 px that is the first stage alone.
    """

    gflop_64px: ClassVar[float] = 0.026
    is_small: ClassVar[bool] = True
    window: ClassVar[int] = 4
    width: ClassVar[int] = 24
    depths: ClassVar[tuple[int, ...]] = (2, 1, 1, 1)
    heads: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)
    stochastic_depth: ClassVar[float] = 0.0
