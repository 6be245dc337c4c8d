"""Features of LPIPS on AlexNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.metrics.extractors.base import EXTRACTORS, Extractor
from midef.nn.named_file import NamedFile, torchvision_file

if TYPE_CHECKING:
    from torch import Tensor, nn


@EXTRACTORS.add("lpips_alex")
@dataclass(frozen=True, kw_only=True)
class LpipsAlex(Extractor):
    """Weighted channels of AlexNet; the squared distance of two images' features is LPIPS. Images at their own size."""

    paper: ClassVar[str] = "Zhang et al., CVPR 2018 (LPIPS)"
    file: ClassVar[NamedFile] = torchvision_file("alexnet-owt-7be5be79.pth", 233.087)
    gflop: ClassVar[float] = 0.15  # at 64 px

    @override
    def network(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        from midef.nn.lpips import LpipsFeatures

        return LpipsFeatures("alex", tensors)
