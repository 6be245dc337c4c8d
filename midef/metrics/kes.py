"""Knowledge extraction score: what a network knows that learned from the reconstructions alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import MidefError, NotApplicable, TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, percent_of_hits


@dataclass(frozen=True, kw_only=True)
class _Kes(Metric):
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    group: ClassVar[str] = "extraction"
    of_report: ClassVar[bool] = False

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        if not len(evidence.labels):
            raise TooFewSamples("the knowledge extraction score needs at least 1 reconstruction, got 0")
        student = evidence.students.get(self.students[0])
        if student is None:
            raise NotApplicable("the knowledge extraction score needs a student, and none was planned")
        if student.failed:
            raise MidefError(f"the student did not learn: {student.failed}", failure="diverged")
        hits, floor = student.train_hits, student.floor_train_hits
        labels, name = student.train_labels, "private training image"
        if self.of_report:
            hits, floor = student.report_hits, student.floor_report_hits
            labels, name = student.report_labels, "image in the report split"
        if not len(hits):
            raise TooFewSamples(f"the knowledge extraction score needs at least 1 {name}, got 0")
        chance = 100.0 * float(floor.mean())
        remark = f"{student.start}, {student.learned} reconstructions; floor: the same under shuffled labels"
        remark += f"; floor {chance:.1f} %"
        return replace(percent_of_hits(hits, labels, chance=chance), remark=remark)


@METRICS.add("kes_ppa")
@dataclass(frozen=True, kw_only=True)
class KesPpa(_Kes):
    """Top-1 accuracy, percent, of a student of the reconstructions on the private training images of their identities.

    The student learns to name the attacked identities from the reconstructions and sees no private image; its head has
    one output for each. Recipe of PPA: SGD at 0.1 with a cosine schedule, 75 epochs in batches of 32, random crops. The
    column chance is what the same student reaches that learns the same images under shuffled labels: a floor which
    contains what the images themselves teach. The remark says what the student starts from; it is never a face
    network, which would score whatever the pictures hold. The interval is over identities.

    Source: github LukasStruppek/Plug-and-Play-Attacks; higher means that the attack extracted more.
    We differ: the student sees images at the target's resolution; the last learning rate is 0 and not 1e-4; where the
    ImageNet file is missing it starts fresh; small profiles have a small student.
    """

    paper: ClassVar[str] = "Struppek et al., ICML 2022 (PPA)"
    column: ClassVar[str] = "KES %"
    students: ClassVar[tuple[str, ...]] = ("ppa",)


@METRICS.add("kes_ppa_test")
@dataclass(frozen=True, kw_only=True)
class KesPpaTest(_Kes):
    """As kes_ppa, on images of the report split of the attacked identities, which the target did not learn."""

    paper: ClassVar[str] = "Struppek et al., ICML 2022 (PPA)"
    column: ClassVar[str] = "KES test %"
    students: ClassVar[tuple[str, ...]] = ("ppa",)
    of_report: ClassVar[bool] = True


@METRICS.add("kes_loft")
@dataclass(frozen=True, kw_only=True)
class KesLoft(_Kes):
    """As kes_ppa, the student trained by the recipe of LoFt: Adam at 1e-3, 100 epochs in batches of 50.

    Source: appendix E of LoFt and the first version of its script.
    We differ: their student is loaded from a backbone that learned MS-Celeb-1M, faces; ours starts from ImageNet, or
    fresh. Otherwise as kes_ppa.
    """

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "KES-L %"
    students: ClassVar[tuple[str, ...]] = ("loft",)


@METRICS.add("kes_loft_test")
@dataclass(frozen=True, kw_only=True)
class KesLoftTest(_Kes):
    """As kes_loft, on images of the report split of the attacked identities, which the target did not learn."""

    paper: ClassVar[str] = "LoFt, arXiv 2410.05814"
    column: ClassVar[str] = "KES-L test %"
    students: ClassVar[tuple[str, ...]] = ("loft",)
    of_report: ClassVar[bool] = True
