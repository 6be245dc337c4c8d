"""Heads that defenses put in the place of the last linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.network import CodeHead

_SHIFT = 5.0  # a fresh layer gives r near 0: sigma starts near 0.0067, almost deterministic; without it, near 0.69
_DEEP = -30.0  # below, softplus(x) is e^x to the last digit, and underflows in float32 from about -103 on


class VibHead(CodeHead):
    """MID's bottleneck: features [B, D] to a Gaussian of k = D // 2 dimensions, a sample of it to the logits.

    The code is the statistics [B, 2k] of the Gaussian, for `gaussian_of`. Samples are drawn from torch's global
    generator.

    Args:
        eval_sample: sample in eval mode too; otherwise the logits of eval mode are those of the mean.
    """

    def __init__(self, features: int, n_classes: int, *, eval_sample: bool) -> None:
        super().__init__()
        width = features // 2
        self.statistics = nn.Linear(features, 2 * width)
        self.classifier = nn.Linear(width, n_classes)
        self.eval_sample = eval_sample

    @override
    def with_code(self, features: Tensor) -> tuple[Tensor, Tensor]:
        statistics = self.statistics(features)
        z, log_sigma = gaussian_of(statistics)
        if self.training or self.eval_sample:
            z = z + log_sigma.exp() * torch.randn_like(z)
        return self.classifier(z), statistics


def gaussian_of(statistics: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and ln sigma, [B, k] each, of statistics (mean, r) [B, 2k], with sigma = softplus(r - 5).

    In float32 at least, and finite for every finite r.
    """
    statistics = statistics.float() if statistics.dtype in (torch.float16, torch.bfloat16) else statistics
    mean, r = statistics.chunk(2, dim=1)
    shifted = r - _SHIFT
    log_sigma = torch.where(shifted < _DEEP, shifted, F.softplus(shifted.clamp(min=_DEEP)).log())
    return mean, log_sigma
