"""Fréchet Inception distance: how far the distribution of reconstructions is from that of private images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import NotApplicable, TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric

if TYPE_CHECKING:
    import numpy as np

FULL_RANK = 2048
"""Features of the Inception network: with fewer images their covariance is singular."""


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Squared Fréchet distance of the normal distributions with the mean and unbiased covariance of two samples.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)). The last trace is the sum of the singular values of A1 A2^T, where
    S = A^T A: no root of a matrix is taken, and covariances may be singular.

    Args:
        one: [N, D], N >= 2.
        other: [M, D], M >= 2.

    Raises:
        TooFewSamples: for fewer than two of either.
    """
    import numpy as np

    if min(len(one), len(other)) < 2:
        raise TooFewSamples(f"a covariance needs at least 2 images, got {min(len(one), len(other))}")
    first, second = (features.astype(np.float64) for features in (one, other))
    centred = [(x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (first, second)]
    # a sample that is larger than its features is wide: its triangular factor has the same covariance
    a, b = (np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x for x in centred)
    joint = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    shift = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    return max(0.0, float(shift + (a**2).sum() + (b**2).sum() - 2 * joint))


def inception_features(evidence: Evidence, metric: str, extractor: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of the reconstructions, by identity and restart, and of the private images.

    Raises:
        TooFewSamples: for no reconstruction.
        NotApplicable: where images are not kept.
        MissingWeights: where the extractor's file is missing.
    """
    images = evidence.reconstructions_of(metric)
    if evidence.private_images is None:
        raise NotApplicable(f"{metric} needs the private images")
    read = evidence.extract(extractor)
    return read(images)[evidence.order], read(evidence.private_images)


@dataclass(frozen=True, kw_only=True)
class _Fid(Metric):
    paper: ClassVar[str] = "Heusel et al., NeurIPS 2017"
    unit: ClassVar[str] = "Fréchet distance"
    larger_is: ClassVar[str] = "more private"
    low: ClassVar[float | None] = 0.0
    group: ClassVar[str] = "images"

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        features, private = inception_features(evidence, "FID", self.extractors[0])
        smaller = min(len(features), len(private))
        if smaller < 2:
            raise TooFewSamples(f"FID needs at least 2 reconstructions and private images, got {smaller}")
        remark = f"{len(features)} reconstructions, {len(private)} private images"
        if smaller < FULL_RANK:
            remark += f": fewer than {FULL_RANK}, a singular covariance and an upward bias; read KID beside it"
        return Measurement(value=frechet_distance(features, private), n=len(features), remark=remark)


@METRICS.add("fid")
@dataclass(frozen=True, kw_only=True)
class Fid(_Fid):
    """Fréchet distance of Inception features of all reconstructions and all private training images of the identities.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), unbiased covariances, 2,048 pooled features of the Inception network of
    2015 on 8-bit images. 0 and above. No interval: FID is biased upwards by the number of images, and a bootstrap,
    which repeats images, is biased more, so that its interval lies beside the value. Compare only equal numbers of
    images. Private images are those of the protocol's knn_reference.

    Source: torch-fidelity 0.4.
    We differ from PPA's columns: see `fid_ppa`. Images are resized to 299 px from the size that reconstructions are
    kept at: the target's, or the evaluator's where that is larger and the generator draws more.
    """

    column: ClassVar[str] = "FID"
    extractors: ClassVar[tuple[str, ...]] = ("fid_inception",)


@METRICS.add("fid_ppa")
@dataclass(frozen=True, kw_only=True)
class FidPpa(_Fid):
    """The number that the code of PPA calls FID: the same distance, of a network that is fed another range.

    That code feeds images in [-1, 1] to a network that stretches [0, 1] to [-1, 1], so that it sees [-3, 1]. IF-GMI,
    PPDG-MI and MIBench print it too. It compares with their columns, never with a standard FID.

    Source: github LukasStruppek/Plug-and-Play-Attacks.
    We differ: images have 8 bits and are clipped; they come to 299 px from the size that reconstructions are kept at,
    see `fid`.
    """

    paper: ClassVar[str] = "Struppek et al., ICML 2022 (PPA)"
    column: ClassVar[str] = "FID PPA"
    extractors: ClassVar[tuple[str, ...]] = ("fid_inception_ppa",)
