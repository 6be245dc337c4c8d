"""PGD: projected gradient ascent on the error of an inversion network, in the logits of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES
from midef.defenses.families.evasion import Climbing, climbed, logits_of, shortened

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.families.alignment import Substitute
    from midef.defenses.serving import Query


@DEFENSES.add("pgd")
@dataclass(frozen=True, kw_only=True)
class Pgd(Climbing):
    """Climb the error of a substitute inversion network in the logits, the noise within a ball.

    Args:
        bound: of the noise on the logits, in `norm`; 0 changes nothing, larger hides more.
        norm: `linf`, with steps along the sign of the gradient, or `l2`, along the gradient.
        step: length of a step in multiples of the bound, > 0.
        rounds: >= 1.
        labels: see `Labelled`. The paper's numbers are `free`: its accuracy falls.
        inverter_width, inverter_blocks, inverter_epochs, inverter_batch, inverter_rate, inverter_loss, half: see
            `Aided`.

    Source: Madry et al., ICLR 2018, as the LPA data-poisoning paper compares with it, which does not say what is
    bounded, how far and in which norm.
    """

    paper: ClassVar[str] = "Madry et al., ICLR 2018, on answers"
    acts_on: ClassVar[str] = "answers"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"compared": {"labels": "free"}}

    norm: Literal["linf", "l2"] = "linf"
    step: float = 0.25

    @override
    def answer(self, query: Query, state: Substitute | None) -> Tensor:
        if state is None:
            return query.probabilities
        length = self.step * self.bound

        def step(slope: Tensor) -> Tensor:
            return length * (slope.sign() if self.norm == "linf" else torch.nn.functional.normalize(slope, dim=1))

        def bounded(noise: Tensor) -> Tensor:
            return noise.clamp(-self.bound, self.bound) if self.norm == "linf" else shortened(noise, self.bound, 2)

        start = logits_of(query.probabilities)
        logits = climbed(state, start, query.images, rounds=self.rounds, step=step, bounded=bounded)
        return self.labelled(query, logits.softmax(dim=1))
