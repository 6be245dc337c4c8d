"""Natural accuracy: utility of the served target on private images it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import TooFewSamples
from midef.core.statistics import cluster_interval
from midef.metrics._base import METRICS, Evidence, Measurement, Metric


@METRICS.add("natural_accuracy")
@dataclass(frozen=True, kw_only=True)
class NaturalAccuracy(Metric):
    """Top-1 accuracy on the private report split, percent. Served answers: a query-time defense takes part."""

    paper: ClassVar[str] = "standard"
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "more useful"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        n = len(evidence.report_labels)
        if n == 0:
            raise TooFewSamples("natural accuracy needs at least 1 image in the report split, got 0")
        hits = evidence.report_predictions == evidence.report_labels
        low, high, kind = cluster_interval(hits, evidence.report_labels)
        return Measurement(
            value=100.0 * float(hits.mean()),
            low=100 * low,
            high=100 * high,
            interval=kind,
            n=n,
            groups=len(set(evidence.report_labels.tolist())),
            chance=100.0 / evidence.n_classes,
        )
