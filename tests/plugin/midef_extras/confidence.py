"""Confidence: how sure the evaluator is of the identity that was attacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric


@METRICS.add("confidence")
@dataclass(frozen=True, kw_only=True)
class Confidence(Metric):
    """Mean probability, percent, that the evaluator gives the attacked identity over all reconstructions."""

    paper: ClassVar[str] = "illustration"
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    column: ClassVar[str] = "conf. %"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        import numpy as np

        if not len(evidence.labels):
            raise TooFewSamples("confidence needs at least 1 reconstruction, got 0")
        logits = evidence.evaluator_logits.astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        sure = odds[np.arange(len(odds)), evidence.labels] / odds.sum(axis=1)
        return Measurement(
            value=float(100 * sure.mean()),
            n=len(sure),
            groups=len(np.unique(evidence.labels)),
            chance=100 / evidence.n_classes,
        )
