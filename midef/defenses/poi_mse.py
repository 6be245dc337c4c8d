"""Poi_MSE: LPA with the squared distance of the gradients in place of their cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from midef.defenses.base import DEFENSES
from midef.defenses.families.poisoning import PoisoningAll


@DEFENSES.add("poi_mse")
@dataclass(frozen=True, kw_only=True)
class PoiMse(PoisoningAll):
    """Move each answer within `radius` so that what it teaches comes near the target gradient, in length too.

    Args:
        radius: largest L2 distance of an answer from the network's; 0 changes nothing, larger hides more.
        rounds, step, normalise: see `Poisoning`.
        alignment, batch: see `PoisoningAll`.
        labels: see `Labelled`.
        inverter_width, inverter_blocks, inverter_epochs, inverter_batch, inverter_rate, inverter_loss, half: see
            `Aided`.

    Source: the ablation of the LPA data-poisoning paper. We differ as `lpa` does.
    """

    paper: ClassVar[str] = PoisoningAll.paper
    acts_on: ClassVar[str] = "answers"
    distance: ClassVar[Literal["cosine", "squared"]] = "squared"
