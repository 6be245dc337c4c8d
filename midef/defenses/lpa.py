"""LPA: answers that poison the training of an inversion network and keep their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from midef.defenses.base import DEFENSES
from midef.defenses.families.poisoning import PUBLISHED_MS, PoisoningAll


@DEFENSES.add("lpa")
@dataclass(frozen=True, kw_only=True)
class Lpa(PoisoningAll):
    """Move each answer within `radius` so that learning from it unlearns to invert private images.

    Minimised is 1 - cosine between two gradients of a substitute inversion network, all its parameters in one vector:
    of minus its loss on private images, taken once, and of its loss on the queries with their answers.

    Args:
        radius: largest L2 distance of an answer from the network's; 0 changes nothing, larger hides more.
        rounds, step, normalise: see `Poisoning`.
        alignment, batch: see `PoisoningAll`.
        labels: see `Labelled`. The paper states that labels are kept and its accuracies at radius 0.5 and 1 show
            that they were not: `free` makes its table of magnitudes.
        inverter_width, inverter_blocks, inverter_epochs, inverter_batch, inverter_rate, inverter_loss, half: see
            `Aided`.

    Source: LPA data-poisoning paper, algorithm 1. Radius, number of rounds, step and start are not stated: the default
    radius is read off its distortions on FaceScrub, the presets off those of the other data sets. We differ: a step
    goes along the signs of the slope, as in the released code of Geiping et al., ICLR 2021, that the paper adapts, is
    taken back and halved where it does not come nearer, and there are few; no score falls below 1e-12.
    """

    paper: ClassVar[str] = PoisoningAll.paper
    acts_on: ClassVar[str] = "answers"
    published_ms: ClassVar[Mapping[str, float]] = PUBLISHED_MS
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mnist": {"radius": 1.6e-4, "inverter_blocks": 4},
        "fashion": {"radius": 2.3e-4, "inverter_blocks": 4},
        "cifar": {"radius": 2.3e-4, "inverter_blocks": 4},
        "facescrub": {"radius": 0.004},
    }
