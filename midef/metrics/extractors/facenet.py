"""Embedding of faces: InceptionResnetV1 that learned VGGFace2, which works on model inversion call FaceNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.metrics.extractors.base import EXTRACTORS, Extractor, learned
from midef.models.inception_v1 import InceptionV1
from midef.nn.named_file import NamedFile

if TYPE_CHECKING:
    from torch import Tensor, nn

_PUBLISHED = InceptionV1.published


@EXTRACTORS.add("facenet")
@dataclass(frozen=True, kw_only=True)
class Facenet(Extractor):
    """512 features of length 1 of a face of 160 px."""

    paper: ClassVar[str] = "Szegedy et al., AAAI 2017; weights of facenet-pytorch"
    file: ClassVar[NamedFile] = _PUBLISHED.file
    resolution_px: ClassVar[int] = 160
    gflop: ClassVar[float] = 2.84

    @override
    def network(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        from midef.nn.inception_resnet import UnitLength

        model = learned(InceptionV1(), tensors, self.resolution_px, "InceptionResnetV1")
        return UnitLength(model).eval()
