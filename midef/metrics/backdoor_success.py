"""Backdoor success: how often a trigger in the training data decides what the target's network says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import NotApplicable, TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, percent_of_hits


@METRICS.add("backdoor_success")
@dataclass(frozen=True, kw_only=True)
class BackdoorSuccess(Metric):
    """Share of private test images of other classes, percent, that a trigger turns into the class planted in training.

    Of a target whose training data was poisoned, as by `midre+backdoor`; of others it is refused. The images are those
    of the report split, at most 1,000 drawn at random. The remark has the share that gets this name without the
    trigger, and LoFt's number, which counts images of the planted class too. The network is judged: what a defense does
    to answers takes no part. The interval is over identities.

    Source: protocol of LoFt, arXiv 2410.05814, appendix E.
    We differ: images of the planted class, which are hits with no backdoor, do not count.
    """

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less useful"
    column: ClassVar[str] = "backdoor %"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    group: ClassVar[str] = "backdoors"
    asks_network: ClassVar[bool] = True

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        asked = evidence.network_answers("backdoor success")
        if asked.triggered is None:
            raise NotApplicable(
                "backdoor success needs a target whose training data was poisoned, and this one's was not; "
                "add backdoor to its defense, as in midre+backdoor"
            )
        others = asked.labels != asked.planted_label
        if not others.any():
            raise TooFewSamples(
                "backdoor success needs at least 1 image of another class than the planted one in the report split, "
                "got 0"
            )
        hits = asked.triggered == asked.planted_label
        before = asked.logits.argmax(axis=1) == asked.planted_label
        measured = percent_of_hits(hits[others], asked.labels[others], chance=100.0 / evidence.n_classes)
        remark = f"without the trigger {100 * before[others].mean():.1f} %, over all images {100 * hits.mean():.1f} %"
        return replace(measured, remark="; ".join(filter(None, [remark, asked.remark])))
