"""Adversarial robustness: how often small changes of private images change the label of the target's network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from typing_extensions import override

from midef.metrics.base import METRICS, Evidence, Measurement, Metric, percent_of_hits

TARGETED = "targeted"


@dataclass(frozen=True, kw_only=True)
class _Success(Metric):
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less useful"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    group: ClassVar[str] = "adversarial"

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        (change,) = self.changes
        asked = evidence.network_answers("adversarial robustness")
        labels, said = asked.labels, asked.changed[change]
        targeted = change.endswith(TARGETED)
        hits = said == (labels + 1) % evidence.n_classes if targeted else said != labels
        guess = 100.0 / evidence.n_classes
        measured = percent_of_hits(hits, labels, chance=guess if targeted else 100.0 - guess)
        right = asked.logits.argmax(axis=1) == labels
        share = f"{100 * hits[right].mean():.1f} %" if right.any() else "none"
        remark = f"of the {int(right.sum())} images named correctly before: {share}"
        return replace(measured, remark="; ".join(filter(None, [remark, asked.remark])))


@METRICS.add("fgsm_success")
@dataclass(frozen=True, kw_only=True)
class FgsmSuccess(_Success):
    """Share of private test images, percent, that FGSM gives another label than the true one; eps 8/255.

    All images of the report split count, at most 1,000 drawn at random, those that the network names wrongly without
    any change, too, as in LoFt; the remark has the share among the others. Pixels are in [0, 1]; what normalises them
    is part of the network. The network is attacked, gradients included, and judged: what a defense does to answers
    takes no part. The interval is over identities.

    Source: Goodfellow et al., ICLR 2015; protocol of LoFt, arXiv 2410.05814, appendix E.
    We differ: eps, step, steps and population of these metrics are the defaults of torchattacks; the paper's are not
    legible in our copy.
    """

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "FGSM %"
    changes: ClassVar[tuple[str, ...]] = ("fgsm",)


@METRICS.add("fgsm_targeted_success")
@dataclass(frozen=True, kw_only=True)
class FgsmTargetedSuccess(_Success):
    """As fgsm_success, for FGSM that wants the next class: share of images that get it (after the last the first)."""

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "FGSM tgt %"
    changes: ClassVar[tuple[str, ...]] = ("fgsm targeted",)


@METRICS.add("pgd_success")
@dataclass(frozen=True, kw_only=True)
class PgdSuccess(_Success):
    """As fgsm_success, for PGD from a random point of the ball: eps 8/255, 10 steps of 2/255.

    Source: Madry et al., ICLR 2018.
    """

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "PGD %"
    changes: ClassVar[tuple[str, ...]] = ("pgd",)


@METRICS.add("pgd_targeted_success")
@dataclass(frozen=True, kw_only=True)
class PgdTargetedSuccess(_Success):
    """As pgd_success, for PGD that wants the next class: share of images that get it."""

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "PGD tgt %"
    changes: ClassVar[tuple[str, ...]] = ("pgd targeted",)


@METRICS.add("bim_success")
@dataclass(frozen=True, kw_only=True)
class BimSuccess(_Success):
    """As fgsm_success, for BIM from the image itself: eps 8/255, 10 steps of 2/255.

    Source: Kurakin et al., ICLR 2017 workshop.
    """

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "BIM %"
    changes: ClassVar[tuple[str, ...]] = ("bim",)


@METRICS.add("bim_targeted_success")
@dataclass(frozen=True, kw_only=True)
class BimTargetedSuccess(_Success):
    """As bim_success, for BIM that wants the next class: share of images that get it."""

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "BIM tgt %"
    changes: ClassVar[tuple[str, ...]] = ("bim targeted",)


@METRICS.add("one_pixel_success")
@dataclass(frozen=True, kw_only=True)
class OnePixelSuccess(_Success):
    """As fgsm_success, for a change of one pixel found without gradients: population 10, 10 generations.

    Source: Su et al., IEEE Trans. Evolutionary Computation 2019.
    """

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "1 px %"
    changes: ClassVar[tuple[str, ...]] = ("one_pixel",)


@METRICS.add("one_pixel_targeted_success")
@dataclass(frozen=True, kw_only=True)
class OnePixelTargetedSuccess(_Success):
    """As one_pixel_success, for a pixel that makes the next class likely: share of images that get it."""

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "1 px tgt %"
    changes: ClassVar[tuple[str, ...]] = ("one_pixel targeted",)
