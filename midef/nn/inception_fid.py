"""The Inception network of 2015, whose pooled features FID compares."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import DataError
from midef.nn.weights import COUNTER, unfit

_PX = 299


class InceptionFid(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> pooled features [B, 2048], in eval mode and frozen.

    The blocks are torch-fidelity's, which compute what the TensorFlow graph does; `fc` of the file is not kept.

    Args:
        tensors: of `weights-inception-2015-12-05`, all of them.
        range_of_ppa: feed [-1, 1] to a network that stretches [0, 1] to [-1, 1], so that it sees [-3, 1], with torch's
            bilinear resize instead of TensorFlow's, as the code of PPA does.

    Raises:
        DataError: if a tensor is missing, has another shape or is unknown.

    Source: torch-fidelity 0.4; the range: the metrics code of PPA, github LukasStruppek/Plug-and-Play-Attacks.
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, range_of_ppa: bool = False) -> None:
        super().__init__()
        self.range_of_ppa = range_of_ppa
        with torch.device("meta"):
            self.trunk = _trunk()
        head = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
        problems = [name for name, shape in head.items() if name not in tensors or tensors[name].shape != shape]
        if problems:
            raise DataError(f"these are no weights of the Inception network of FID: {', '.join(problems)} does not fit")
        own = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items() if name not in head}
        if unfitting := unfit(own, self.trunk.state_dict()):
            raise DataError(f"these are no weights of the Inception network of FID: the file {'; '.join(unfitting)}")
        for name in self.trunk.state_dict():  # the published file is older than these counters
            if name.endswith(COUNTER):
                own.setdefault(name, torch.tensor(0))
        self.trunk.load_state_dict(own, assign=True)
        self.requires_grad_(False)
        self.eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        if self.range_of_ppa:
            x = F.interpolate(2 * images - 1, size=(_PX, _PX), mode="bilinear", align_corners=False)
            x = 2 * x - 1
        else:
            levels = (images * 255).round()
            x = interpolate_bilinear_2d_like_tensorflow1x(levels, size=(_PX, _PX), align_corners=False)
            x = (x - 128) / 128
        pooled: Tensor = self.trunk(x)
        return pooled.flatten(1)


def _trunk() -> nn.Sequential:
    """The chain of blocks under the names of the published file."""
    from torch_fidelity import feature_extractor_inceptionv3 as blocks

    conv, wide = blocks.BasicConv2d, 768
    named: list[tuple[str, nn.Module]] = [
        ("Conv2d_1a_3x3", conv(3, 32, kernel_size=3, stride=2)),
        ("Conv2d_2a_3x3", conv(32, 32, kernel_size=3)),
        ("Conv2d_2b_3x3", conv(32, 64, kernel_size=3, padding=1)),
        ("MaxPool_1", nn.MaxPool2d(3, stride=2)),
        ("Conv2d_3b_1x1", conv(64, 80, kernel_size=1)),
        ("Conv2d_4a_3x3", conv(80, 192, kernel_size=3)),
        ("MaxPool_2", nn.MaxPool2d(3, stride=2)),
        *((f"Mixed_5{letter}", blocks.InceptionA(width, pool)) for letter, width, pool in _FIRST),
        ("Mixed_6a", blocks.InceptionB(288)),
        *((f"Mixed_6{letter}", blocks.InceptionC(wide, inner)) for letter, inner in _SECOND),
        ("Mixed_7a", blocks.InceptionD(wide)),
        ("Mixed_7b", blocks.InceptionE_1(1280)),
        ("Mixed_7c", blocks.InceptionE_2(2048)),
        ("AvgPool", nn.AdaptiveAvgPool2d(1)),
    ]
    return nn.Sequential(OrderedDict(named))


_FIRST = (("b", 192, 32), ("c", 256, 64), ("d", 288, 64))
"""Letter, channels before it, channels of its pool."""
_SECOND = (("b", 128), ("c", 160), ("d", 160), ("e", 192))
"""Letter, channels of its 7 x 7 branches."""
