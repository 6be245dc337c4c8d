"""Attack accuracy: how many reconstructions an independent evaluator takes for the attacked identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import ShapeError, TooFewSamples
from midef.metrics._base import METRICS, Evidence, Measurement, Metric, percent_of_hits

if TYPE_CHECKING:
    import numpy as np


def top_k_hits(logits: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the label is among the k largest logits [N]. A tie at the border, or NaN, counts as a miss.

    Raises:
        ShapeError: if logits are not [N, K] with N labels.
    """
    import numpy as np

    if logits.ndim != 2 or len(logits) != len(labels):
        raise ShapeError(f"needs logits [N, K] and N labels, got {logits.shape} and {labels.shape}")
    own = logits[np.arange(len(labels)), labels]
    # how many others are not smaller: ties and NaN count against the hit, so constant or broken logits never succeed
    ahead = (~(logits < own[:, None])).sum(axis=1) - 1
    hits: np.ndarray = ahead < k
    return hits


@dataclass(frozen=True, kw_only=True)
class _AttackAccuracy(Metric):
    paper: ClassVar[str] = "Zhang et al., CVPR 2020; protocol of KedMI"
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    k: ClassVar[int]

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        n = len(evidence.labels)
        if n == 0:
            raise TooFewSamples("attack accuracy needs at least 1 reconstruction, got 0")
        if evidence.n_classes <= self.k:
            raise TooFewSamples(f"attack accuracy@{self.k} needs more than {self.k} classes, got {evidence.n_classes}")
        hits = top_k_hits(evidence.evaluator_logits, evidence.labels, self.k)
        return percent_of_hits(hits, evidence.labels, chance=100.0 * self.k / evidence.n_classes)


@METRICS.add("attack_accuracy_at_1")
@dataclass(frozen=True, kw_only=True)
class AttackAccuracyAt1(_AttackAccuracy):
    """Share of all reconstructions whose top label under the evaluator is the attacked one, percent."""

    k: ClassVar[int] = 1


@METRICS.add("attack_accuracy_at_5")
@dataclass(frozen=True, kw_only=True)
class AttackAccuracyAt5(_AttackAccuracy):
    """Share of all reconstructions with the attacked label among the evaluator's 5 largest, percent.

    Not GMI's original "Acc5", which asks whether one of 5 restarts succeeded.
    """

    k: ClassVar[int] = 5
