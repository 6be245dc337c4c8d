"""Natural accuracy: utility of the served target on private images it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, percent_of_hits


@METRICS.add("natural_accuracy")
@dataclass(frozen=True, kw_only=True)
class NaturalAccuracy(Metric):
    """Top-1 accuracy on the private report split, percent. Served answers: a query-time defense takes part."""

    paper: ClassVar[str] = "standard"
    version: ClassVar[int] = 2
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "more useful"
    column: ClassVar[str] = "test acc %"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        n = len(evidence.report_labels)
        if n == 0:
            raise TooFewSamples("natural accuracy needs at least 1 image in the report split, got 0")
        hits = evidence.report_predictions == evidence.report_labels
        chance = 100.0 / evidence.n_classes
        return percent_of_hits(hits, evidence.report_labels, chance=chance, images=evidence.report_images)
