"""Precision, recall, density and coverage: whether reconstructions are like private images, and like all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from typing_extensions import override

from midef.core.errors import TooFewImages, TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities
from midef.metrics.fid import inception_features

if TYPE_CHECKING:
    import numpy as np

NEIGHBOURS = 3
"""k of PPA and IF-GMI."""


class Manifold(NamedTuple):
    """How two samples of features lie among each other.

    Args:
        precision: share of fakes inside the ball of any real image.
        recall: share of real images inside the ball of any fake.
        density: real balls that hold a fake, summed over fakes, over k times the number of fakes.
        coverage: share of real balls that hold a fake.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: np.ndarray, fake: np.ndarray, *, k: int = NEIGHBOURS, as_ppa: bool = False) -> Manifold:
    """Precision, recall, density and coverage of fakes among real images; the ball of an image reaches to its k-th
    neighbour in its own sample.

    Args:
        real: features [N, D], N > k.
        fake: features [M, D], M > k.
        k: neighbours, the image itself not counted.
        as_ppa: count as the code of PPA does: an image is inside a ball that is not farther than the radius, instead of
            nearer; precision and recall look at the ball of the nearest image alone; density divides by the number of
            real images.

    Raises:
        TooFewSamples: for k images or fewer of either.

    Source: Naeem et al., ICML 2020 (prdc 0.2); Kynkäänniemi et al., NeurIPS 2019; the metrics code of PPA.
    """
    import numpy as np
    from scipy.spatial.distance import cdist

    if min(len(real), len(fake)) <= k:
        raise TooFewSamples(f"{k} neighbours need at least {k + 1} images, got {min(len(real), len(fake))}")
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    of_real, of_fake = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, fake))  # column 0 is the image itself
    between = cdist(real, fake)
    if as_ppa:
        inside = between <= of_real[:, None]
        precision = inside[between.argmin(axis=0), np.arange(len(fake))]
        nearest = between.argmin(axis=1)
        recall = between[np.arange(len(real)), nearest] <= of_fake[nearest]
        density = inside.sum() / (k * len(real))
    else:
        inside = between < of_real[:, None]
        precision, recall = inside.any(axis=0), (between < of_fake[None]).any(axis=1)
        density = inside.sum() / (k * len(fake))
    return Manifold(float(precision.mean()), float(recall.mean()), float(density), float(inside.any(axis=1).mean()))


@dataclass(frozen=True, kw_only=True)
class _OfManifold(Metric):
    paper: ClassVar[str] = "Naeem et al., ICML 2020"
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    group: ClassVar[str] = "images"
    extractors: ClassVar[tuple[str, ...]] = ("fid_inception",)
    part: ClassVar[str]
    as_ppa: ClassVar[bool] = False

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        import numpy as np

        name, least = f"a ball that reaches to the neighbour number {NEIGHBOURS}", NEIGHBOURS + 1
        if not len(evidence.labels):
            raise TooFewSamples(f"{name} needs at least {least} reconstructions, got 0")
        evidence.extract(self.extractors[0])  # a missing file is said first: it can be brought
        identities, counts = np.unique(evidence.labels, return_counts=True)
        if counts.min() < least:
            raise TooFewImages(
                f"{name} needs at least {least} reconstructions of every identity, got {counts.min()}; raise "
                "protocol.images_per_identity"
            )
        own = {identity: evidence.private_labels == identity for identity in identities}
        if few := [identity for identity, rows in own.items() if rows.sum() < least]:
            raise TooFewImages(
                f"{name} needs at least {least} private images of every identity, got {own[few[0]].sum()} of {few[0]}; "
                "raise min_images of the data set, or name other metrics"
            )
        features, private = inception_features(evidence, name, self.extractors[0])
        labels = evidence.labels[evidence.order]
        values = []
        for identity in identities:
            of_identity = manifold(private[own[identity]], features[labels == identity], as_ppa=self.as_ppa)
            values.append(getattr(of_identity, self.part))
        scale, high = (1.0, float("inf")) if self.high is None else (100.0, self.high)
        measured = mean_over_identities(
            scale * np.array(values),
            identities,
            high=high,
            remark=f"{' to '.join(map(str, sorted({counts.min(), counts.max()})))} reconstructions of an identity",
        )
        return replace(measured, n=len(labels))


@METRICS.add("precision")
@dataclass(frozen=True, kw_only=True)
class Precision(_OfManifold):
    """Share of reconstructions, percent, nearer to any private image of the identity than that image's third neighbour.

    Per identity, then the mean over identities, in the Inception features of FID; the interval is over identities. Four
    images of an identity are the least on either side, and then it says little.

    We differ from PPA's columns: see `precision_ppa`.
    """

    paper: ClassVar[str] = "Kynkäänniemi et al., NeurIPS 2019, as in Naeem et al., ICML 2020"
    column: ClassVar[str] = "prec %"
    part: ClassVar[str] = "precision"


@METRICS.add("recall")
@dataclass(frozen=True, kw_only=True)
class Recall(_OfManifold):
    """Share of private images, percent, nearer to any reconstruction of the identity than that one's third neighbour.

    Per identity, then the mean over identities, in the Inception features of FID; the interval is over identities.

    We differ from PPA's columns: see `recall_ppa`.
    """

    paper: ClassVar[str] = "Kynkäänniemi et al., NeurIPS 2019, as in Naeem et al., ICML 2020"
    column: ClassVar[str] = "recall %"
    part: ClassVar[str] = "recall"


@METRICS.add("density")
@dataclass(frozen=True, kw_only=True)
class Density(_OfManifold):
    """Private balls that hold a reconstruction, counted over reconstructions, over three times their number.

    The ball of a private image reaches to its third neighbour. 0 and above; about 1 where the distributions are equal.
    Per identity, then the mean over identities, in the Inception features of FID; the interval is over identities.

    We differ from PPA's columns: see `density_ppa`.
    """

    unit: ClassVar[str] = "balls"
    high: ClassVar[float | None] = None
    column: ClassVar[str] = "density"
    part: ClassVar[str] = "density"


@METRICS.add("coverage_prdc")
@dataclass(frozen=True, kw_only=True)
class CoveragePrdc(_OfManifold):
    """Share of private images, percent, with a reconstruction nearer than their third neighbour.

    Per identity, then the mean over identities, in the Inception features of FID; the interval is over identities. Not
    the metric `coverage`, which counts what an attack finds.
    """

    column: ClassVar[str] = "cover %"
    part: ClassVar[str] = "coverage"


@dataclass(frozen=True, kw_only=True)
class _AsPpa(_OfManifold):
    paper: ClassVar[str] = "Struppek et al., ICML 2022 (PPA)"
    extractors: ClassVar[tuple[str, ...]] = ("fid_inception_ppa",)
    as_ppa: ClassVar[bool] = True


@METRICS.add("precision_ppa")
@dataclass(frozen=True, kw_only=True)
class PrecisionPpa(_AsPpa):
    """What the code of PPA calls precision, percent: only the ball of the nearest private image counts.

    Lower than precision; with the range of `fid_ppa`. We differ: their first class is compared with all data by
    accident; ours with its own.
    """

    column: ClassVar[str] = "prec PPA %"
    part: ClassVar[str] = "precision"


@METRICS.add("recall_ppa")
@dataclass(frozen=True, kw_only=True)
class RecallPpa(_AsPpa):
    """What the code of PPA calls recall, percent: only the ball of the nearest reconstruction counts."""

    column: ClassVar[str] = "recall PPA %"
    part: ClassVar[str] = "recall"


@METRICS.add("density_ppa")
@dataclass(frozen=True, kw_only=True)
class DensityPpa(_AsPpa):
    """What the code of PPA calls density: divided by the number of private images, not of reconstructions."""

    unit: ClassVar[str] = "balls"
    high: ClassVar[float | None] = None
    column: ClassVar[str] = "density PPA"
    part: ClassVar[str] = "density"


@METRICS.add("coverage_ppa")
@dataclass(frozen=True, kw_only=True)
class CoveragePpa(_AsPpa):
    """What the code of PPA calls coverage, percent: as coverage_prdc, with equal distances inside, in its range."""

    column: ClassVar[str] = "cover PPA %"
    part: ClassVar[str] = "coverage"
