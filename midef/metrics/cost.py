"""Cost: seconds the attack and the training of its target took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.metrics.base import METRICS, Evidence, Measurement, Metric


@METRICS.add("wall_s")
@dataclass(frozen=True, kw_only=True)
class AttackSeconds(Metric):
    """Wall seconds of the attack run, without its prior. Compare only rows from one device."""

    paper: ClassVar[str] = "standard"
    unit: ClassVar[str] = "seconds"
    larger_is: ClassVar[str] = "more costly"
    column: ClassVar[str] = "attack s"
    low: ClassVar[float | None] = 0.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        return Measurement(value=evidence.attack_s, n=len(evidence.labels))


@METRICS.add("train_s")
@dataclass(frozen=True, kw_only=True)
class TrainingSeconds(Metric):
    """Wall seconds of training the target, an earlier phase included. Compare only rows from one device."""

    paper: ClassVar[str] = "standard"
    unit: ClassVar[str] = "seconds"
    larger_is: ClassVar[str] = "more costly"
    column: ClassVar[str] = "train s"
    low: ClassVar[float | None] = 0.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        return Measurement(value=evidence.train_s)
