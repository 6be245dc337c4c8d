"""Label smoothing with a negative factor (NLS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import F, torch
from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.nn.network import Forward

_LOFT_RAMP = {"ramp_from": 0.4, "ramp_to": 0.6, "continuous": True}


@DEFENSES.add("nls")
@dataclass(frozen=True, kw_only=True)
class NegativeLabelSmoothing(Defense):
    """Cross entropy with the target vector `(1 - a) onehot + a / K`, a below 0 and ramped in over training.

    Args:
        alpha: smoothing factor at the end of training, <= 0; further below hides more, 0 is cross entropy (factors
            above 0 are `ls`).
        ramp_from, ramp_to: fractions of training between which a grows from 0; before, the loss is cross entropy;
            with a < 0 from the start training diverges.
        continuous: whether the ramp reaches alpha at ramp_to; False is the released schedule, which divides by all
            epochs left after `ramp_from`: it ends at alpha * (ramp_to - ramp_from) / (1 - ramp_from), half of alpha
            by default, and then jumps to alpha.

    The presets for ResNet-152 are the strengths of a third party, the LoFt authors' scripts, with the ramp of their
    re-implementation: 50 epochs of cross entropy, 25 of a ramp that reaches alpha, 50 at alpha. The one for MNIST has
    a third party's schedule too (5 and 7 of 10 epochs).

    Source: Struppek, Hintersdorf, Kersting, "Be Careful What You Smooth For", ICLR 2024, and its released schedule
    (100 epochs, 50 and 75).
    We differ: the fraction of training replaces the epoch, so a 10-epoch run still ends at full strength, and the
    factor grows with every batch: within an epoch of the ramp it starts at what the released code used in the epoch
    before and ends at what it uses in this one.
    """

    paper: ClassVar[str] = "Struppek et al., ICLR 2024 (arXiv 2310.06549)"
    acts_on: ClassVar[str] = "loss"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "facescrub": {"alpha": -0.05},
        "mnist": {"alpha": -0.05, "ramp_from": 0.5, "ramp_to": 0.7},
        "facescrub-resnet152-0.05": {"alpha": -0.05, **_LOFT_RAMP},
        "facescrub-resnet152-0.02": {"alpha": -0.02, **_LOFT_RAMP},
        "facescrub-resnet152-0.01": {"alpha": -0.01, **_LOFT_RAMP},
        "facescrub-resnet152-0.005": {"alpha": -0.005, **_LOFT_RAMP},
        "facescrub-resnet152-0.001": {"alpha": -0.001, **_LOFT_RAMP},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="alpha", low=-0.2, high=-0.001, larger_hides=False)

    alpha: float = -0.05
    ramp_from: float = 0.5
    ramp_to: float = 0.75
    continuous: bool = False

    def __post_init__(self) -> None:
        if not self.alpha <= 0:
            raise ValueError(f"needs alpha <= 0, got {self.alpha}; factors above 0 help the attacker and are `ls`")
        if not 0 <= self.ramp_from <= self.ramp_to <= 1 or self.ramp_from == 1:
            given = f"{self.ramp_from}, {self.ramp_to}"
            raise ValueError(f"needs 0 <= ramp_from <= ramp_to <= 1 and ramp_from < 1; got {given}")

    def alpha_at(self, progress: float, *, step: float = 0.0) -> float:
        """The factor at this fraction of training. `step` is one epoch's share, to read the released schedule."""
        if progress < self.ramp_from:
            return 0.0
        if progress >= self.ramp_to:
            return self.alpha
        full_at = self.ramp_to if self.continuous else 1.0
        return self.alpha * min(1.0, (progress + step - self.ramp_from) / (full_at - self.ramp_from))

    @override
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        return smoothed_cross_entropy(forward.logits.float(), batch.labels, alpha=self.alpha_at(progress))

    @override
    def off(self) -> Self:
        return replace(self, alpha=0.0)


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, *, alpha: float) -> Tensor:
    """Mean of (1 - alpha) * CE + alpha * mean over classes of -log p; can be negative for alpha < 0.

    Args:
        logits: [B, K]; labels: [B].
    """
    if alpha == 0:
        return F.cross_entropy(logits, labels)
    log_p = F.log_softmax(logits, dim=1)
    of_label = -log_p.gather(1, labels[:, None]).squeeze(1)
    return torch.mean((1 - alpha) * of_label - alpha * log_p.mean(dim=1))
