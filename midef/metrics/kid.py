"""Kernel Inception distance: FID's question, answered without bias for few images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric
from midef.metrics.fid import inception_features

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 1024


def kernel_sums(one: np.ndarray, groups: np.ndarray, other: np.ndarray, of_other: np.ndarray, n: int) -> np.ndarray:
    """Sums [G, G] of the kernel (x . y / D + 1)^3 over pairs of images of two groups.

    Args:
        one: features [N, D].
        groups: group of each, 0 to n - 1.
        other: features [M, D].
        of_other: group of each.
        n: G, number of groups.
    """
    import numpy as np

    first, second = one.astype(np.float64), other.astype(np.float64)
    member = np.zeros((len(second), n))
    member[np.arange(len(second)), of_other] = 1.0
    sums = np.zeros((n, n))
    for begin in range(0, len(first), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        kernel = (first[part] @ second.T / first.shape[1] + 1) ** 3
        np.add.at(sums, groups[part], kernel @ member)
    return sums


def kernel_distance(
    one: np.ndarray, groups: np.ndarray, other: np.ndarray, of_other: np.ndarray
) -> tuple[float, float | None, int]:
    """Unbiased squared maximum mean discrepancy of two samples, and its standard error over groups.

    Mean of the kernel over pairs within the first, plus the mean within the second, minus twice the mean across; no
    image is paired with itself. The error is that of a jackknife which leaves out one group of both samples at a time.

    Args:
        one: features [N, D], N >= 2.
        groups: group of each [N].
        other: features [M, D], M >= 2.
        of_other: group of each [M].

    Returns:
        (distance, error, groups): error None where leaving out a group leaves fewer than two images.
    """
    import numpy as np

    names = np.unique(np.concatenate([groups, of_other]))
    g, h, n = np.searchsorted(names, groups), np.searchsorted(names, of_other), len(names)
    within = [kernel_sums(x, i, x, i, n) for x, i in ((one, g), (other, h))]
    across = kernel_sums(one, g, other, h, n)
    own = [
        np.bincount(i, weights=((x.astype(np.float64) ** 2).sum(axis=1) / x.shape[1] + 1) ** 3, minlength=n)
        for x, i in ((one, g), (other, h))
    ]
    counts = [np.bincount(i, minlength=n).astype(np.float64) for i in (g, h)]

    def distance(kept: np.ndarray) -> float:
        sizes = [float(count[kept].sum()) for count in counts]
        square = np.ix_(kept, kept)
        inside = [
            (pairs[square].sum() - same[kept].sum()) / (size * (size - 1))
            for pairs, same, size in zip(within, own, sizes, strict=True)
        ]
        return float(sum(inside) - 2 * across[square].sum() / (sizes[0] * sizes[1]))

    whole = distance(np.ones(n, bool))
    if n < 2 or any(count.sum() - count.max() < 2 for count in counts):
        return whole, None, n
    without = np.array([distance(np.arange(n) != left) for left in range(n)])
    return whole, math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum())), n


@METRICS.add("kid")
@dataclass(frozen=True, kw_only=True)
class Kid(Metric):
    """Squared maximum mean discrepancy, unbiased, of Inception features of reconstructions and private images, x 1000.

    With the kernel (x . y / 2048 + 1)^3 over all pairs of images. About 0 for equal distributions, where it may be
    below. The interval is Student's, of a jackknife over identities, whose reconstructions and private images are left
    out together.

    Source: Binkowski et al., ICLR 2018.
    We differ: all images instead of the mean over random subsets, so nothing is drawn.
    """

    paper: ClassVar[str] = "Binkowski et al., ICLR 2018"
    unit: ClassVar[str] = "squared discrepancy x 1000"
    larger_is: ClassVar[str] = "more private"
    column: ClassVar[str] = "KID"
    group: ClassVar[str] = "images"
    extractors: ClassVar[tuple[str, ...]] = ("fid_inception",)

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        from scipy.special import stdtrit

        features, private = inception_features(evidence, "KID", self.extractors[0])
        smaller = min(len(features), len(private))
        if smaller < 2:
            raise TooFewSamples(f"KID needs at least 2 reconstructions and private images, got {smaller}")
        labels = evidence.labels[evidence.order]
        value, error, groups = kernel_distance(features, labels, private, evidence.private_labels)
        half = None if error is None else 1000 * error * float(stdtrit(groups - 1, 0.975))
        return Measurement(
            value=1000 * value,
            low=None if half is None else 1000 * value - half,
            high=None if half is None else 1000 * value + half,
            interval="" if half is None else f"95 % jackknife, {groups} identities",
            n=len(features),
            groups=groups,
        )
