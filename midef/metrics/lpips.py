"""LPIPS: how far reconstructions look from private images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import NotApplicable, TooFewSamples
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities
from midef.metrics.knn_distance import nearest_squared
from midef.metrics.pairs import pairs_of


@dataclass(frozen=True, kw_only=True)
class _Lpips(Metric):
    paper: ClassVar[str] = "Zhang et al., CVPR 2018 (LPIPS)"
    unit: ClassVar[str] = "perceptual distance"
    larger_is: ClassVar[str] = "more private"
    low: ClassVar[float | None] = 0.0
    group: ClassVar[str] = "images"
    extractors: ClassVar[tuple[str, ...]] = ("lpips_alex",)


@METRICS.add("lpips")
@dataclass(frozen=True, kw_only=True)
class Lpips(_Lpips):
    """Mean over reconstructions of LPIPS (AlexNet) to the private image that each one is made from.

    Sum over layers of the mean over places of the weighted squared difference of channel vectors of length 1; 0 for
    equal images, about 1 for unrelated ones. Images in [-1, 1] at the size that reconstructions are kept at.
    Only for attacks that reconstruct an observed image; the others have `lpips_nearest`. The interval is over
    identities.

    Source: version 0.1 of the learned weights, as in torchmetrics.
    """

    column: ClassVar[str] = "LPIPS orig"

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        import numpy as np

        images, originals = pairs_of(evidence, "LPIPS")
        read = evidence.extract(self.extractors[0])
        distances = np.empty(len(images))
        for label in np.unique(evidence.labels):  # by identity: features of all images may not fit into memory
            rows = evidence.labels == label
            one, two = (read(part[rows]).astype(np.float64) for part in (images, originals))
            distances[rows] = ((one - two) ** 2).sum(axis=1)
        return mean_over_identities(distances, evidence.labels)


@METRICS.add("lpips_nearest")
@dataclass(frozen=True, kw_only=True)
class LpipsNearest(_Lpips):
    """Mean over reconstructions of LPIPS (AlexNet) to the nearest private training image of the identity.

    As `lpips`, for attacks that look for an identity and not for an image: the least LPIPS over the private images of
    the protocol's knn_reference. The interval is over identities.
    """

    column: ClassVar[str] = "LPIPS near"

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        import numpy as np

        images = evidence.reconstructions_of("LPIPS")
        if evidence.private_images is None:
            raise NotApplicable("LPIPS to the nearest private image needs the private images")
        read = evidence.extract(self.extractors[0])
        distances = np.empty(len(images))
        for label in np.unique(evidence.labels):
            own = evidence.private_images[evidence.private_labels == label]
            if not len(own):
                raise TooFewSamples(f"LPIPS needs a private training image of identity {label}, got none")
            rows = evidence.labels == label
            distances[rows] = nearest_squared(read(images[rows]), read(own))
        return mean_over_identities(distances, evidence.labels)
