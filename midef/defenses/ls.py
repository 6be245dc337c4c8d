"""Label smoothing with a positive factor (LS): no protection, the contrast to NLS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.nls import smoothed_cross_entropy
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.nn.network import Forward


@DEFENSES.add("ls")
@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Defense):
    """Cross entropy with the target vector `(1 - a) onehot + a / K` from the first epoch on.

    Args:
        alpha: smoothing factor, 0 <= alpha < 1; larger helps the attacker (Struppek et al.), 0 is cross entropy.

    It is here as the contrast to `nls`, which owns the factors below 0.

    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7; as a contrast in Struppek,
    Hintersdorf, Kersting, "Be Careful What You Smooth For", ICLR 2024.
    """

    paper: ClassVar[str] = "Struppek et al., ICLR 2024 (arXiv 2310.06549), after Szegedy et al., CVPR 2016"
    acts_on: ClassVar[str] = "loss"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="alpha", low=0.01, high=0.5, larger_hides=False)

    alpha: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1:
            raise ValueError(f"needs 0 <= alpha < 1, got {self.alpha}; factors below 0 are the defense `nls`")

    @override
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        return smoothed_cross_entropy(forward.logits.float(), batch.labels, alpha=self.alpha)

    @override
    def off(self) -> Self:
        return replace(self, alpha=0.0)
