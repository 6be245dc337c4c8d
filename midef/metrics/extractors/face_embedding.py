"""Embedding of faces: MobileFaceNet with its published weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.metrics.extractors.base import EXTRACTORS, Extractor, learned
from midef.models.mobilefacenet import MobileFaceNet
from midef.nn.named_file import NamedFile

if TYPE_CHECKING:
    from torch import Tensor, nn

_PUBLISHED = MobileFaceNet.published


@EXTRACTORS.add("face_embedding")
@dataclass(frozen=True, kw_only=True)
class FaceEmbedding(Extractor):
    """128 features of length 1 of an aligned face of 112 px, the embeddings of image and mirror added."""

    paper: ClassVar[str] = "Chen et al., CCBR 2018"
    file: ClassVar[NamedFile] = _PUBLISHED.file
    resolution_px: ClassVar[int] = 112
    gflop: ClassVar[float] = 0.95

    @override
    def network(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        model = learned(MobileFaceNet(), tensors, self.resolution_px, "MobileFaceNet")
        return model.eval().blocks
