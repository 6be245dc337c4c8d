"""Attack accuracy under one judge and the other, whichever of them the protocol lets decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.metrics.attack_accuracy import accuracy_by
from midef.metrics.base import METRICS, Evidence, Measurement, Metric

JUDGES = "judges"
"""Group of the metrics that name their judge."""


@dataclass(frozen=True, kw_only=True)
class _By(Metric):
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    group: ClassVar[str] = JUDGES
    judge: ClassVar[str]

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        return accuracy_by(self.judge, evidence, k=1)


@METRICS.add("attack_accuracy_by_target")
@dataclass(frozen=True, kw_only=True)
class AttackAccuracyByTarget(_By):
    """Share of all reconstructions whose top label under the network that was attacked is the attacked one, percent.

    The network as a white-box attacker has it, without what the defense does to answers, at its own resolution. Under a
    defense that acts on the training it is another network in every row.

    Source: the LPA data-poisoning paper, which classifies reconstructions again, in one place by an evaluation model
    and in another by "the classifier".
    """

    paper: ClassVar[str] = "the LPA data-poisoning paper"
    column: ClassVar[str] = "by target %"
    asks_target: ClassVar[bool] = True
    judge: ClassVar[str] = "target"


@METRICS.add("attack_accuracy_by_evaluator")
@dataclass(frozen=True, kw_only=True)
class AttackAccuracyByEvaluator(_By):
    """Share of all reconstructions whose top label under the evaluator is the attacked one, percent.

    Equal to `attack_accuracy_at_1` but where the protocol's judge is the target.
    """

    paper: ClassVar[str] = "Zhang et al., CVPR 2020; protocol of KedMI"
    column: ClassVar[str] = "by eval. %"
    judge: ClassVar[str] = "evaluator"
