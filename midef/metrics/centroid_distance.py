"""Centroid distance: how far reconstructions stay from the mean private feature of their identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities

if TYPE_CHECKING:
    import numpy as np


def distances_to_centroid(
    reconstructions: np.ndarray, labels: np.ndarray, private: np.ndarray, private_labels: np.ndarray
) -> np.ndarray:
    """L2 distance [N] from each reconstruction to the mean feature of the private images of its identity, not squared.

    Args:
        reconstructions: features [N, D].
        labels: [N].
        private: features of private images [P, D].
        private_labels: [P].

    Raises:
        TooFewSamples: for an identity without a private image.
    """
    import numpy as np

    distances = np.empty(len(labels))
    for label in np.unique(labels):
        own = private[private_labels == label].astype(np.float64)
        if not len(own):
            raise TooFewSamples(f"centroid distance needs a private training image of identity {label}, got none")
        rows = labels == label
        distances[rows] = np.sqrt(((reconstructions[rows].astype(np.float64) - own.mean(axis=0)) ** 2).sum(axis=1))
    return distances


@METRICS.add("centroid_distance")
@dataclass(frozen=True, kw_only=True)
class CentroidDistance(Metric):
    """Mean over all reconstructions of the L2 distance to the mean private feature of the identity, not squared.

    || phi(x) - mean over private images of phi ||, phi the penultimate features of the evaluator, not normalised. 0 and
    above; the scale depends on the evaluator, so compare only rows that share one. Private images are those of the
    protocol's knn_reference.

    Source: the L2 distance of MIRROR and TL-DMI.
    We differ: their private images are all of a class; ours are the training images.
    """

    paper: ClassVar[str] = "An et al., NDSS 2022 (MIRROR)"
    unit: ClassVar[str] = "feature distance"
    larger_is: ClassVar[str] = "more private"
    column: ClassVar[str] = "centroid L2"
    low: ClassVar[float | None] = 0.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        if not len(evidence.labels):
            raise TooFewSamples("centroid distance needs at least 1 reconstruction, got 0")
        distances = distances_to_centroid(
            evidence.features, evidence.labels, evidence.private_features, evidence.private_labels
        )
        return mean_over_identities(distances, evidence.labels)
