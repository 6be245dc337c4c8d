"""Features of FID: the Inception network of 2015, as torch-fidelity and as the code of PPA feed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.metrics.extractors.base import EXTRACTORS, Extractor
from midef.nn.named_file import NamedFile

if TYPE_CHECKING:
    from torch import Tensor, nn

_NAME = "weights-inception-2015-12-05-6726825d.pth"
_FILE = NamedFile(
    name=_NAME,
    source=f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_NAME}",
    sha256="6726825d",
)
_GFLOP = 11.5


@EXTRACTORS.add("fid_inception")
@dataclass(frozen=True, kw_only=True)
class FidInception(Extractor):
    """2,048 pooled features of 8-bit images, resized to 299 px as TensorFlow 1 does it."""

    paper: ClassVar[str] = "Heusel et al., NeurIPS 2017; torch-fidelity"
    file: ClassVar[NamedFile] = _FILE
    gflop: ClassVar[float] = _GFLOP

    @override
    def network(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        from midef.nn.inception_fid import InceptionFid

        return InceptionFid(tensors)


@EXTRACTORS.add("fid_inception_ppa")
@dataclass(frozen=True, kw_only=True)
class FidInceptionPpa(Extractor):
    """The same network fed as the code of PPA feeds it: images in [-1, 1] where it expects [0, 1]."""

    paper: ClassVar[str] = "Struppek et al., ICML 2022"
    file: ClassVar[NamedFile] = _FILE
    gflop: ClassVar[float] = _GFLOP

    @override
    def network(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        from midef.nn.inception_fid import InceptionFid

        return InceptionFid(tensors, range_of_ppa=True)
