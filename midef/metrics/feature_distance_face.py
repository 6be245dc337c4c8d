"""Face distance: KNN distance in the embedding of a network that knows faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import NotApplicable
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities
from midef.metrics.knn_distance import distances_to_nearest


@METRICS.add("feature_distance_face")
@dataclass(frozen=True, kw_only=True)
class FeatureDistanceFace(Metric):
    """Mean over all reconstructions of the squared L2 distance to the nearest private training image of the identity.

    In the embedding of a face network, which has length 1, so 0 to 4; called delta_face. Only for photographs of faces
    that are aligned as ArcFace aligns them; it says nothing about others. Images are brought to 112 px as for the
    evaluator. Where that is MobileFaceNet, this is the KNN distance once more, which a remark says.

    Source: PPA, IF-GMI and MIBench.
    We differ: MobileFaceNet, 128 features at 112 px, instead of InceptionResnetV1 trained on VGGFace2, 512 at 160. Not
    to be compared with their numbers (0.6 to 1.3): `feature_distance_facenet` is.
    """

    paper: ClassVar[str] = "Struppek et al., ICML 2022 (PPA)"
    unit: ClassVar[str] = "squared feature distance"
    larger_is: ClassVar[str] = "more private"
    column: ClassVar[str] = "face dist"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 4.0
    group: ClassVar[str] = "faces"
    extractors: ClassVar[tuple[str, ...]] = ("face_embedding",)

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        return face_distance(evidence, self.extractors[0])


def face_distance(evidence: Evidence, extractor: str) -> Measurement:
    """Mean over all reconstructions of the squared L2 distance to the nearest private image of the identity.

    Args:
        evidence: of the cell, with its reconstructions as images.
        extractor: name of one whose features have length 1.
    """
    import numpy as np

    images = evidence.reconstructions_of("face distance")
    if evidence.private_images is None:
        raise NotApplicable("face distance needs the private images")
    read = evidence.extract(extractor)
    features = read(images)
    distances = distances_to_nearest(
        "face distance", features, evidence.labels, read(evidence.private_images), evidence.private_labels
    )
    is_judge = features.shape == evidence.features.shape and np.allclose(features, evidence.features, atol=1e-3)
    remark = "the evaluator's own features: the KNN distance once more" if is_judge else ""
    return mean_over_identities(distances.clip(0.0, 4.0), evidence.labels, high=4.0, remark=remark)
