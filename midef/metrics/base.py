"""Base of the metrics, and the evidence they read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from midef.core.outcomes import Outcomes
from midef.core.registry import Registry
from midef.core.statistics import identity_interval

if TYPE_CHECKING:
    import numpy as np

METRICS: Registry[Metric] = Registry("metric", "midef.metrics")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Results of one cell, as arrays.

    Args:
        n_classes: K, classes of the target.
        report_labels: [M], of the private report split.
        report_predictions: [M], of the served target on it.
        labels: [N], attacked identity of each reconstruction.
        restarts: [N], which restart it comes from.
        found: [N], whether the attack itself calls it found.
        evaluator_logits: [N, K].
        features: [N, D], penultimate features of the evaluator.
        private_features: [P, D], of the private images of the attacked identities that the protocol's knn_reference
            names.
        private_labels: [P], their identities.
        queries: asked of the target, inverter training included.
        attack_s: seconds of this attack.
        train_s: seconds of training this target.
        group_size: of the protocol.
        spread: of the protocol.
        report_images: digest of which images the report split holds, see `midef.core.outcomes.digest_of`.
        identity_traits: [K, T], traits that make each private identity, standard normal over the population; None where
            a data set is not drawn from traits.
        trait_weights: [T], how much each trait moves the image.
        traits: [N, T], of the reconstructions.
        report_traits: [M, T], as a regressor reads them from the images of the report split, where those of the
            reconstructions are its estimates, too; None where the attack knows the traits of its images.
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
    report_images: str = ""
    identity_traits: np.ndarray | None = None
    trait_weights: np.ndarray | None = None
    traits: np.ndarray | None = None
    report_traits: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with its interval; becomes a result row, whose columns have the same names.

    Args:
        ceiling: what true private images reach under the same judge; None where that is not measured.
        is_estimate: the number rests on what a network reads from images, and not on what is known of them.
    """

    value: float
    low: float | None = None
    high: float | None = None
    interval: str = ""
    n: int | None = None
    groups: int | None = None
    chance: float | None = None
    spread: float | None = None
    spread_kind: str = ""
    outcomes: str = ""
    ceiling: float | None = None
    is_estimate: bool = False


def percent_of_hits(hits: np.ndarray, identities: np.ndarray, *, chance: float, images: str = "") -> Measurement:
    """Success rate in percent with its interval over identities, and which images succeeded.

    Args:
        hits: [N], N >= 1, success 0/1 of each image.
        identities: [N], whose image it is.
        chance: rate of a blind guess, percent.
        images: digest of which images these are, so that models that were asked about the same ones can be compared
            image by image; "" keeps no outcomes.
    """
    low, high, kind = identity_interval(hits, identities)
    return Measurement(
        value=100.0 * float(hits.mean()),
        low=100 * low,
        high=100 * high,
        interval=kind,
        n=len(hits),
        groups=len(set(identities.tolist())),
        chance=chance,
        outcomes=Outcomes.of(hits, identities, images).text if images else "",
    )


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Base of all metrics.

    Args:
        unit: of the number; also decides how it is written: `percent`, `seconds`, `images` (a count) or any other.
        larger_is: what a larger value means, `more useful`, `less private`, `more private` or `more costly`; also
            decides where the column stands.
        column: title of the column in tables and pages; "" for the registered name.
        low: least possible value; None for no bound.
        high: largest possible value; None for no bound.
        needs_traits: it reads the traits of the reconstructions; where an attack does not know them, a regressor is
            trained that estimates them.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    unit: ClassVar[str]
    larger_is: ClassVar[str]
    column: ClassVar[str] = ""
    low: ClassVar[float | None] = None
    high: ClassVar[float | None] = None
    needs_traits: ClassVar[bool] = False

    def measure(self, evidence: Evidence) -> Measurement:
        """The number.

        Raises:
            TooFewSamples: rather than answering from too little.
        """
        raise NotImplementedError


def needs_traits(metrics: Iterable[str]) -> bool:
    """True if one of these metrics reads the traits of the reconstructions."""
    return any(METRICS.get(name).needs_traits for name in metrics)


def column_title(metric: str) -> str:
    """Title of a metric's column; "" for one that is not registered here."""
    return METRICS.get(metric).column or metric if metric in METRICS.names() else ""
