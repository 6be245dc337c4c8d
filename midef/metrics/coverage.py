"""Coverage: how many reconstructions the attack itself calls found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, percent_of_hits


@METRICS.add("coverage")
@dataclass(frozen=True, kw_only=True)
class Coverage(Metric):
    """Share of reconstructions, percent, that the attack calls found, by what it sees itself: no evaluator takes part.

    100 for searches that always end with an answer. Label-only and score-only attacks may give up, or end with an image
    that the target labels otherwise; that image is judged like any other, so attack accuracy is to be read beside this.
    """

    paper: ClassVar[str] = "Kahla et al., CVPR 2022, which counts identities without a find as failures"
    version: ClassVar[int] = 2
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    column: ClassVar[str] = "found %"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        if not len(evidence.labels):
            raise TooFewSamples("coverage needs at least 1 reconstruction, got 0")
        return percent_of_hits(evidence.found, evidence.labels, chance=0.0)
