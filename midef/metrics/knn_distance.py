"""KNN distance: how far reconstructions stay from the private training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import ShapeError, TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities

if TYPE_CHECKING:
    import numpy as np


def nearest_squared(reconstructions: np.ndarray, private: np.ndarray) -> np.ndarray:
    """Squared distance from each reconstruction to its nearest private image.

    Args:
        reconstructions: features of reconstructions [N, D].
        private: features of private images [M, D], M >= 1.

    Returns:
        [N], float64.

    Raises:
        ShapeError: if D differs or M is 0.
    """
    import numpy as np

    if (
        reconstructions.ndim != 2
        or private.ndim != 2
        or reconstructions.shape[1] != private.shape[1]
        or not len(private)
    ):
        raise ShapeError(f"needs [N, D] and [M, D] with M >= 1, got {reconstructions.shape} and {private.shape}")
    reconstructions, private = reconstructions.astype(np.float64), private.astype(np.float64)
    nearest: np.ndarray = np.stack([((private - row) ** 2).sum(axis=1).min() for row in reconstructions])
    return nearest


def distances_to_nearest(
    metric: str,
    reconstructions: np.ndarray,
    labels: np.ndarray,
    private: np.ndarray,
    private_labels: np.ndarray,
) -> np.ndarray:
    """Squared distance [N] from each reconstruction to the nearest private image of its identity.

    Args:
        metric: its name, for errors.
        reconstructions: features [N, D].
        labels: [N].
        private: features of private images [P, D].
        private_labels: [P].

    Raises:
        TooFewSamples: for no reconstruction, or an identity without a private image.
    """
    import numpy as np

    if not len(labels):
        raise TooFewSamples(f"{metric} needs at least 1 reconstruction, got 0")
    distances = np.empty(len(labels))
    for label in np.unique(labels):
        own = private[private_labels == label]
        if not len(own):
            raise TooFewSamples(f"{metric} needs a private training image of identity {label}, got none")
        rows = labels == label
        distances[rows] = nearest_squared(reconstructions[rows], own)
    return distances


@METRICS.add("knn_distance")
@dataclass(frozen=True, kw_only=True)
class KnnDistance(Metric):
    """Mean over all reconstructions of the squared L2 distance to the nearest private training image of the identity.

    In penultimate features of the evaluator, not normalised; the scale depends on the evaluator, so compare only rows
    that share one. Private images come to it as reconstructions do, from the size that these are kept at. Squared as in
    the released code (the papers' prose says distance); not only successes count. Called the distance delta_eval where
    the evaluator is Inception-v3, as in PPA, IF-GMI and MIBench.
    """

    paper: ClassVar[str] = "Zhang et al., CVPR 2020; protocol of KedMI"
    unit: ClassVar[str] = "squared feature distance"
    larger_is: ClassVar[str] = "more private"
    column: ClassVar[str] = "KNN dist"
    low: ClassVar[float | None] = 0.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        distances = distances_to_nearest(
            "KNN distance", evidence.features, evidence.labels, evidence.private_features, evidence.private_labels
        )
        return mean_over_identities(distances, evidence.labels)
