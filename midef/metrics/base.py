"""What every metric declares, and the evidence it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from midef.core.registry import Registry
from midef.core.statistics import cluster_interval

if TYPE_CHECKING:
    import numpy as np

METRICS: Registry[Metric] = Registry("metric", "midef.metrics")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one cell left behind, as arrays.

    report_labels, report_predictions: [M], of the served target on the private report split.
    labels, restarts, found: [N] of the reconstructions; evaluator_logits: [N, K]; features: [N, D] penultimate
    features of the evaluator; private_features, private_labels: [P, D], [P] of the private images of the attacked
    identities, those that the protocol's knn_reference names.
    queries: asked of the target, inverter training included; attack_s, train_s: seconds of this attack and of training
    this target. group_size, spread: of the protocol.
    """

    n_classes: int
    report_labels: np.ndarray
    report_predictions: np.ndarray
    labels: np.ndarray
    restarts: np.ndarray
    found: np.ndarray
    evaluator_logits: np.ndarray
    features: np.ndarray
    private_features: np.ndarray
    private_labels: np.ndarray
    queries: int
    attack_s: float
    train_s: float
    group_size: int = 60
    spread: str = "restarts"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with its interval; becomes a result row."""

    value: float
    low: float | None = None
    high: float | None = None
    interval: str = ""
    n: int | None = None
    groups: int | None = None
    chance: float | None = None
    spread: float | None = None
    spread_kind: str = ""


def percent_of_hits(hits: np.ndarray, identities: np.ndarray, *, chance: float) -> Measurement:
    """Success rate in percent with its interval over identities; hits, identities: [N], N >= 1; chance: in percent."""
    low, high, kind = cluster_interval(hits, identities)
    return Measurement(
        value=100.0 * float(hits.mean()),
        low=100 * low,
        high=100 * high,
        interval=kind,
        n=len(hits),
        groups=len(set(identities.tolist())),
        chance=chance,
    )


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Base of all metrics. unit; larger_is: what a larger value means; low, high: the range of possible values."""

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    unit: ClassVar[str]
    larger_is: ClassVar[str]
    low: ClassVar[float | None] = None
    high: ClassVar[float | None] = None

    def measure(self, evidence: Evidence) -> Measurement:
        """The number.

        Raises:
            TooFewSamples: rather than answering from too little.
        """
        raise NotImplementedError
