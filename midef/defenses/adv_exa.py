"""AdvExa: adversarial examples of the answers against an inversion network that is already trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.defenses.base import DEFENSES
from midef.defenses.families.evasion import Climbing, climbed, logits_of, shortened

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.families.alignment import Substitute
    from midef.defenses.serving import Query


@DEFENSES.add("adv_exa")
@dataclass(frozen=True, kw_only=True)
class AdvExa(Climbing):
    """Climb the error of a substitute inversion network in the logits, with the label kept the largest.

    A step adds `step` times the sign of the gradient; where another logit is then larger than that of the label, the
    label's is raised to it; noise whose L1 norm is above `bound` is scaled down to it.

    Args:
        bound: of the L1 norm of the noise on the logits; 0 changes nothing, larger hides more.
        step: > 0.
        rounds: >= 1.
        labels: see `Labelled`; `free` leaves ties that the raised logit makes to rounding.
        inverter_width, inverter_blocks, inverter_epochs, inverter_batch, inverter_rate, inverter_loss, half: see
            `Aided`.

    Source: Wen, Yiu, Hui, CSR 2021, from descriptions of it; step, bound and rounds are not known, so the defaults are
    ours.
    """

    paper: ClassVar[str] = "Wen et al., CSR 2021"
    acts_on: ClassVar[str] = "answers"

    step: float = 0.1

    @override
    def answer(self, query: Query, state: Substitute | None) -> Tensor:
        if state is None:
            return query.probabilities
        labels = query.probabilities.argmax(dim=1, keepdim=True)
        logits = climbed(
            state,
            logits_of(query.probabilities),
            query.images,
            rounds=self.rounds,
            step=lambda slope: self.step * slope.sign(),
            bounded=lambda noise: shortened(noise, self.bound, 1),
            corrected=lambda found: raised_to_largest(found, labels),
        )
        return self.labelled(query, logits.softmax(dim=1))


def raised_to_largest(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits [B, K] with that of the label [B, 1] raised to the largest."""
    return logits.scatter(1, labels, logits.amax(dim=1, keepdim=True))
