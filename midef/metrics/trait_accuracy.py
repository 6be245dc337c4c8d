"""Trait accuracy: whether the attacked identity is the nearest in the traits that draw a face. No network judges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import MidefError, NotApplicable, ShapeError, TooFewSamples
from midef.metrics.attack_accuracy import measured_hits, top_k_hits
from midef.metrics.base import METRICS, Evidence, Measurement, Metric

if TYPE_CHECKING:
    import numpy as np


def trait_distances(traits: np.ndarray, identities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Squared distance of each image to each identity: sum over traits of (weight * difference) ^ 2.

    With weights in image change per unit of a trait, about the mean squared change of the image that the difference
    makes, traits taken one by one.

    Args:
        traits: of images [N, T].
        identities: traits of identities [K, T].
        weights: [T].

    Returns:
        [N, K], float64; NaN or infinite where a trait is.

    Raises:
        ShapeError: if T differs.
    """
    import numpy as np

    if traits.ndim != 2 or identities.ndim != 2 or not traits.shape[1:] == identities.shape[1:] == weights.shape:
        shapes = ", ".join(str(array.shape) for array in (traits, identities, weights))
        raise ShapeError(f"needs traits [N, T], identities [K, T] and weights [T], got {shapes}")
    images, people, weights = (array.astype(np.float64) for array in (traits, identities, weights))
    distances = np.empty((len(images), len(people)))
    for i, image in enumerate(images):  # one by one: memory, and equal identities are equally far to the last bit
        distances[i] = (((people - image) * weights) ** 2).sum(axis=1)
    return distances


def nearest_hits(
    traits: np.ndarray, labels: np.ndarray, identities: np.ndarray, weights: np.ndarray, *, k: int = 1
) -> np.ndarray:
    """True where the label is among the k nearest identities [N]. A tie at the border, or NaN, counts as a miss."""
    return top_k_hits(-trait_distances(traits, identities, weights), labels, k)


@dataclass(frozen=True, kw_only=True)
class _TraitAccuracy(Metric):
    paper: ClassVar[str] = "midef's own"
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    needs_traits: ClassVar[bool] = True
    k: ClassVar[int]

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        if not len(evidence.labels):
            raise TooFewSamples("trait accuracy needs at least 1 reconstruction, got 0")
        identities, weights = evidence.identity_traits, evidence.trait_weights
        if identities is None or weights is None:
            raise NotApplicable("trait accuracy needs private identities that are drawn from traits")
        if len(identities) <= self.k:
            raise NotApplicable(f"trait accuracy@{self.k} needs more than {self.k} identities, got {len(identities)}")
        if evidence.traits is None:
            raise MidefError(
                "trait accuracy needs the traits of the reconstructions: no regressor was planned, because the attack "
                "knows the traits of its images and gave none; return them as `Reconstructions.traits`"
            )
        hits = nearest_hits(evidence.traits, evidence.labels, identities, weights, k=self.k)
        measured = measured_hits(hits, evidence, chance=100.0 * self.k / len(identities))
        return replace(
            measured,
            ceiling=self._ceiling(evidence, identities, weights),
            is_estimate=evidence.report_traits is not None,
        )

    def _ceiling(self, evidence: Evidence, identities: np.ndarray, weights: np.ndarray) -> float | None:
        """The same of true private images: of the report split through the regressor, else of the identities."""
        import numpy as np

        traits, labels = evidence.report_traits, evidence.report_labels
        if traits is None:
            traits, labels = identities, np.arange(len(identities))
        if not len(labels):
            return None
        return 100.0 * float(nearest_hits(traits, labels, identities, weights, k=self.k).mean())


@METRICS.add("trait_accuracy")
@dataclass(frozen=True, kw_only=True)
class TraitAccuracyAt1(_TraitAccuracy):
    """Share of reconstructions, percent, whose nearest private identity in trait space is the attacked one.

    For private data that is drawn from traits (procedural faces). Pose, light and colour do not count, all private
    identities do; a trait weighs as much as it moves the image. Exact where the attack searches the traits themselves,
    else an estimate: a regressor reads them from the image. The ceiling is what true private images reach.
    """

    column: ClassVar[str] = "trait@1 %"
    k: ClassVar[int] = 1


@METRICS.add("trait_accuracy_at_5")
@dataclass(frozen=True, kw_only=True)
class TraitAccuracyAt5(_TraitAccuracy):
    """Share of reconstructions, percent, with the attacked identity among the 5 nearest in trait space."""

    column: ClassVar[str] = "trait@5 %"
    k: ClassVar[int] = 5
