"""The (eps, eta) curve of pairs: how often a reconstruction is nearer to its private image than an error eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities
from midef.metrics.pairs import pairs_of, squared_errors

if TYPE_CHECKING:
    import numpy as np


def privacy_curve(errors: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """eta [E] at each error eps [E]: the share of samples whose error is below it, so 1 - eta have at least eps.

    Args:
        errors: [N], N >= 1, reconstruction errors of the samples.
        eps: in any order.

    Source: LPA's definition of an eps-eta defense, 1 - eta(eps) = share of samples with R(x', x) >= eps.
    """
    import numpy as np

    below: np.ndarray = np.searchsorted(np.sort(errors), eps, side="left") / len(errors)
    return below


def curve_areas(errors: np.ndarray) -> np.ndarray:
    """Area [N] under the curve of each sample alone, eps from 0 to 1: a step from 0 to 1 at its error."""
    import numpy as np

    areas: np.ndarray = 1.0 - np.minimum(errors, 1.0)
    return areas


@METRICS.add("privacy_curve_area")
@dataclass(frozen=True, kw_only=True)
class PrivacyCurveArea(Metric):
    """Area under eta over eps from 0 to 1, where eta is the share of reconstructions with an error below eps.

    The error is the mean squared error of a pair, pixels in [0, 1]. A larger area is less private: 1 if every
    reconstruction is the private image, 0 if all are as wrong as can be. The curve is a step for each sample, so the
    area is 1 - E[min(R, 1)], and as no error of such pixels is above 1, it is 1 minus `reconstruction_error` and orders
    defenses as that does. What the curve adds, how errors are spread, `midef analyse privacy_curve` draws. Only for
    attacks that reconstruct an observed image. The interval is over identities.

    Source: LPA's (eps, eta) defense. We differ: the paper defines the curve and prints no area of it.
    """

    paper: ClassVar[str] = "LPA, the defense of served scores by data poisoning"
    unit: ClassVar[str] = "area"
    larger_is: ClassVar[str] = "less private"
    column: ClassVar[str] = "eta area"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    group: ClassVar[str] = "answers"

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        images, originals = pairs_of(evidence, "the privacy curve")
        return mean_over_identities(curve_areas(squared_errors(images, originals)), evidence.labels, high=1.0)
