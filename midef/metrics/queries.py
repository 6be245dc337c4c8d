"""Queries: how often the attack asked the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.metrics.base import METRICS, Evidence, Measurement, Metric


@METRICS.add("queries")
@dataclass(frozen=True, kw_only=True)
class Queries(Metric):
    """Images the target was asked about, for a target-dependent inverter too; white box: forward passes."""

    paper: ClassVar[str] = "standard"
    unit: ClassVar[str] = "images"
    larger_is: ClassVar[str] = "more costly"
    column: ClassVar[str] = "queries"
    low: ClassVar[float | None] = 0.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        return Measurement(value=float(evidence.queries), n=len(evidence.labels))
