"""Face distance in the network of the papers: InceptionResnetV1 that learned VGGFace2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.metrics.base import METRICS, Evidence, Measurement, Metric
from midef.metrics.feature_distance_face import face_distance


@METRICS.add("feature_distance_facenet")
@dataclass(frozen=True, kw_only=True)
class FeatureDistanceFacenet(Metric):
    """Mean over all reconstructions of the squared L2 distance to the nearest private training image of the identity.

    In the embedding that PPA, IF-GMI and MIDRE call FaceNet, of length 1, so 0 to 4; their delta_face, 0.6 to 1.3 in
    their tables. Images are brought to 160 px as for the evaluator. Only for photographs of faces. It is measured where
    a sweep asks for it, and refused where the file of its network is not here; `feature_distance_face` is another
    network's.

    Source: PPA, IF-GMI and MIBench.
    We differ: they embed reconstructions as the generator draws them, unclipped; ours are stored in 8 bits.
    """

    paper: ClassVar[str] = "Struppek et al., ICML 2022 (PPA)"
    unit: ClassVar[str] = "squared feature distance"
    larger_is: ClassVar[str] = "more private"
    column: ClassVar[str] = "FaceNet dist"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 4.0
    group: ClassVar[str] = "facenet"
    extractors: ClassVar[tuple[str, ...]] = ("facenet",)

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        return face_distance(evidence, self.extractors[0])
