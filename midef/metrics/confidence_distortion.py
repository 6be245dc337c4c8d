"""Confidence distortion: how far served scores are from those of the same target without a defense."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import NotApplicable, ShapeError, TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities

if TYPE_CHECKING:
    import numpy as np

OBSERVED = "of the answers that the attacker observed"
REPORTED = "of answers to the private report split: this attack observes none"


def score_distances(served: np.ndarray, undefended: np.ndarray) -> np.ndarray:
    """L2 distances [N] of score vectors.

    Args:
        served: [N, K].
        undefended: [N, K], of the same images.

    Raises:
        ShapeError: if the shapes differ.
    """
    import numpy as np

    if served.shape != undefended.shape or served.ndim != 2:
        raise ShapeError(f"needs two times [N, K], got {served.shape} and {undefended.shape}")
    distances: np.ndarray = np.linalg.norm(served.astype(np.float64) - undefended.astype(np.float64), axis=1)
    return distances


@METRICS.add("confidence_distortion")
@dataclass(frozen=True, kw_only=True)
class ConfidenceDistortion(Metric):
    """Mean L2 distance of served score vectors from those of the same target under no defense, same seed.

    Over the private images whose answers the attacker observed; of an attack that observes none, over the private
    report split. 0 to the square root of 2; 0 without a defense. A defense that changes answers alone is compared with
    the network it answers for, one that changes the training with the undefended target, which is trained where it is
    not yet. White-box attackers do not see what is served; the distortion is that of other users then. Where an attack
    sees labels alone, the target serves no scores, and it is refused. The interval is over identities.

    Source: LPA, whose Conf.Dist is the mean over the vectors of the private images.
    """

    paper: ClassVar[str] = "LPA, the defense of served scores by data poisoning"
    unit: ClassVar[str] = "distance of scores"
    larger_is: ClassVar[str] = "less useful"
    column: ClassVar[str] = "conf dist"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = math.sqrt(2)
    group: ClassVar[str] = "answers"
    compares_answers: ClassVar[bool] = True

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        if not evidence.sees_scores:
            raise NotApplicable("confidence distortion compares score vectors: this attack sees labels alone")
        answers = evidence.answers
        if answers is None or not len(answers.labels):
            raise TooFewSamples("confidence distortion needs at least 1 answered image, got 0")
        distances = score_distances(answers.served, answers.undefended)
        remark = OBSERVED if answers.are_observed else REPORTED
        return mean_over_identities(distances, answers.labels, high=math.sqrt(2), remark=remark)
