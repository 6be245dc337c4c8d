"""Label smoothing with a negative factor (NLS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import F, torch
from midef.defenses._base import DEFENSES, Batch, Defense

if TYPE_CHECKING:
    from torch import Tensor

    from midef.models._network import Forward


@DEFENSES.add("nls")
@dataclass(frozen=True, kw_only=True)
class NegativeLabelSmoothing(Defense):
    """Cross entropy with the target vector `(1 - a) onehot + a / K`, a ramped in over training.

    alpha: smoothing factor at the end of training, below 1; below 0 is the defense (further below hides more), above 0
    is plain label smoothing and helps the attacker, 0 is cross entropy. ramp_from, ramp_to: fractions of training
    between which a grows from 0; before, the loss is cross entropy; with a < 0 from the start training diverges.

    Source: Struppek, Hintersdorf, Kersting, "Be Careful What You Smooth For", ICLR 2024, and its released schedule
    (100 epochs, 50 and 75). As there, the ramp divides by the epochs left after `ramp_from`, so it ends at
    a * (ramp_to - ramp_from) / (1 - ramp_from) and then jumps to a.
    We differ: the fraction of training replaces the epoch, so a 10-epoch run still ends at full strength.
    """

    paper: ClassVar[str] = "Struppek et al., ICLR 2024 (arXiv 2310.06549)"
    acts_on: ClassVar[str] = "loss"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"facescrub-224": {"alpha": -0.05}}

    alpha: float = -0.05
    ramp_from: float = 0.5
    ramp_to: float = 0.75

    def __post_init__(self) -> None:
        if not self.alpha < 1:
            raise ValueError(f"needs alpha < 1, got {self.alpha}")
        if not 0 <= self.ramp_from <= self.ramp_to <= 1 or self.ramp_from == 1:
            came = f"{self.ramp_from}, {self.ramp_to}"
            raise ValueError(f"needs 0 <= ramp_from <= ramp_to <= 1 and ramp_from < 1; got {came}")

    def alpha_at(self, progress: float, *, step: float = 0.0) -> float:
        """The factor at this fraction of training. `step` is one epoch's share, to read the released schedule."""
        if self.alpha >= 0:
            return self.alpha
        if progress < self.ramp_from:
            return 0.0
        if progress < self.ramp_to:
            return self.alpha * (progress + step - self.ramp_from) / (1 - self.ramp_from)
        return self.alpha

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
    own = -log_p.gather(1, labels[:, None]).squeeze(1)
    return torch.mean((1 - alpha) * own - alpha * log_p.mean(dim=1))
