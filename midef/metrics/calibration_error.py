"""Expected calibration error of the target's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.metrics.base import METRICS, Evidence, Measurement, Metric

if TYPE_CHECKING:
    import numpy as np

BINS = 15


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> float:
    """Mean distance of confidence from accuracy over bins of equal width, weighted by their images; 0 to 1.

    Args:
        probabilities: [M, K], rows sum to 1, M >= 1.
        labels: [M].
        bins: >= 1; bin i of n holds confidences in ((i - 1) / n, i / n].
    """
    import numpy as np

    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights=confidence - right, minlength=bins)  # images times (confidence - accuracy)
    return float(np.abs(gaps).sum() / len(labels))


@METRICS.add("calibration_error")
@dataclass(frozen=True, kw_only=True)
class CalibrationError(Metric):
    """Expected calibration error of the network on the private report split, percent, in 15 bins.

    0 where the highest probability is right as often as it says. Of the network's own softmax: what a defense does to
    answers takes no part. Biased upwards by few images, so compare equal numbers of them.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """

    paper: ClassVar[str] = "Guo et al., ICML 2017"
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less useful"
    column: ClassVar[str] = "ECE %"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    group: ClassVar[str] = "reliability"
    asks_network: ClassVar[bool] = True

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        import numpy as np

        asked = evidence.network_answers("the calibration error")
        shifted = asked.logits.astype(np.float64) - asked.logits.max(axis=1, keepdims=True)
        probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        error = calibration_error(probabilities, asked.labels)
        return Measurement(value=100.0 * error, n=len(asked.labels), remark=asked.remark)
