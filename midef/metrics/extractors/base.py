"""Interface of all extractors: which file, which size of images, and the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from midef.core.registry import Registry
from midef.nn.named_file import NamedFile

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.models.base import Architecture
    from midef.nn.network import TargetModel

EXTRACTORS: Registry[Extractor] = Registry("extractor", "midef.metrics.extractors")


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Base of all extractors: a frozen dataclass that builds a network from the tensors of a published file.

    Args:
        file: with its weights. Where it is missing, the metrics that need it are refused.
        resolution_px: that images are brought to as for the evaluator; 0 leaves it to the network.
        at_once: images of a pass.
        gflop: billion operations of an image, for estimates.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    file: ClassVar[NamedFile]
    resolution_px: ClassVar[int] = 0
    at_once: ClassVar[int] = 32
    gflop: ClassVar[float]

    def network(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        """Images [B, 3, H, W] in [0, 1] -> features [B, D], in eval mode.

        Raises:
            DataError: if the tensors do not fit.
        """
        raise NotImplementedError


def learned(architecture: Architecture, tensors: Mapping[str, Tensor], resolution_px: int, title: str) -> TargetModel:
    """A network of an architecture whose blocks hold the tensors of its published file; the head stays fresh.

    Args:
        title: what a message calls the network.

    Raises:
        DataError: for tensors of another network, with all that does not fit.
    """
    from midef.core.errors import DataError
    from midef.models.pretrained import matched

    model = architecture.build(2, resolution_px)
    taken, problems = matched(architecture.registered_name, tensors, model)  # type: ignore[attr-defined]
    if problems:
        raise DataError(f"these are no weights of {title}: the file\n  " + "\n  ".join(problems))
    model.blocks.load_state_dict({**model.blocks.state_dict(), **taken})
    return model
