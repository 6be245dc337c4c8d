"""Base of the metrics, and the evidence they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from midef.core.errors import MissingWeights, NotApplicable, SpecError, TooFewSamples, did_you_mean
from midef.core.outcomes import Outcomes
from midef.core.registry import Registry
from midef.core.statistics import identity_interval, mean_interval
from midef.metrics.extractors.base import EXTRACTORS

if TYPE_CHECKING:
    import numpy as np

METRICS: Registry[Metric] = Registry("metric", "midef.metrics")
STANDARD = "standard"
"""Group of the metrics that every sweep measures."""
Extract: TypeAlias = "Callable[[np.ndarray], np.ndarray]"
"""Images [N, 3, H, W] uint8 -> features [N, D]; asked again for the same images, it remembers."""


@dataclass(frozen=True, kw_only=True)
class StudentAnswers:
    """What a network that learned from the reconstructions alone says of private images.

    Args:
        learned: images it learned from.
        train_hits: [P], whether it names the identity of each private training image of the attacked identities.
        train_labels: [P], their identities.
        report_hits: [M], the same of the report split.
        report_labels: [M].
        floor_train_hits: [P], of the same network taught with shuffled labels.
        floor_report_hits: [M].
        start: what it is and started from, in words.
        failed: why there are no answers; "" if there are.
    """

    learned: int
    train_hits: np.ndarray
    train_labels: np.ndarray
    report_hits: np.ndarray
    report_labels: np.ndarray
    floor_train_hits: np.ndarray
    floor_report_hits: np.ndarray
    start: str
    failed: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreAnswers:
    """Answers of a target to private images, and those of the same target under no defense.

    Args:
        labels: [A], identity of each image.
        served: [A, K] probabilities.
        undefended: [A, K] probabilities.
        are_observed: whether these are the answers that the attacker observed; else those to the report split.
    """

    labels: np.ndarray
    served: np.ndarray
    undefended: np.ndarray
    are_observed: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkAnswers:
    """What the network of a target says of private test images, and of changed ones.

    Args:
        labels: [M], true label of each image.
        logits: [M, K], of the images as they are.
        changed: change -> [M], label of each image under it.
        triggered: [M], label of each image with the trigger of a poisoned training; None where there was none.
        planted_label: the class that this trigger stands for; None where there was none.
        remark: what takes no part in it; "" if nothing is left out.
    """

    labels: np.ndarray
    logits: np.ndarray
    changed: Mapping[str, np.ndarray]
    triggered: np.ndarray | None = None
    planted_label: int | None = None
    remark: str = ""


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
        target_logits: [N, K], of the network that was attacked, without what its defense does to answers; None where
            nothing reads them.
        judge: of attack accuracy, `evaluator` or `target`, see `midef.core.Protocol`.
        counted: `all` reconstructions, or of each identity the `best_by_target`, which the others are not among.
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
        images: [N, 3, R, R] uint8, the reconstructions, as the target takes them or of the evaluator's size; None of a
            cell whose images are not kept.
        private_images: [P, 3, R, R] uint8, those of `private_features`, of the size of the reconstructions.
        originals: [N, 3, R, R] uint8, the private image that each reconstruction is made from; None where an attack
            looks for an identity and not for an image.
        repeated: how many of these originals are images that another of them is, too.
        extractors: what reads features from images, by the name of the extractor; none whose weights are missing.
        students: networks that learned from the reconstructions, by the name of their recipe.
        answers: served and undefended scores; None where no metric compares them, or the attack sees labels alone.
        sees_scores: whether the attack sees more than labels.
        network: what the target's network says of the report split and of changed images; None where no metric asks.
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
    target_logits: np.ndarray | None = None
    judge: str = "evaluator"
    counted: str = "all"
    identity_traits: np.ndarray | None = None
    trait_weights: np.ndarray | None = None
    traits: np.ndarray | None = None
    report_traits: np.ndarray | None = None
    images: np.ndarray | None = None
    private_images: np.ndarray | None = None
    originals: np.ndarray | None = None
    repeated: int = 0
    extractors: Mapping[str, Extract] = field(default_factory=dict)
    students: Mapping[str, StudentAnswers] = field(default_factory=dict)
    answers: ScoreAnswers | None = None
    sees_scores: bool = True
    network: NetworkAnswers | None = None

    def logits_of(self, judge: str) -> np.ndarray:
        """What `evaluator` or `target` says of the reconstructions, [N, K].

        Raises:
            NotApplicable: where the target was not asked.
        """
        if judge == "evaluator":
            return self.evaluator_logits
        if self.target_logits is None:
            raise NotApplicable("needs what the target says of the reconstructions, which was not kept")
        return self.target_logits

    def extract(self, name: str) -> Extract:
        """What reads the features of an extractor.

        Raises:
            MissingWeights: where its weights are missing, naming the file and where to get it.
        """
        if name not in self.extractors:
            raise MissingWeights(EXTRACTORS.get(name).file.advice())
        return self.extractors[name]

    def network_answers(self, metric: str) -> NetworkAnswers:
        """What the network says of private test images, at least 1.

        Raises:
            TooFewSamples: if there is none.
        """
        if self.network is None or not len(self.network.labels):
            raise TooFewSamples(f"{metric} needs at least 1 image in the report split, got 0")
        return self.network

    def reconstructions_of(self, metric: str) -> np.ndarray:
        """The reconstructions as images, N >= 1.

        Raises:
            TooFewSamples: if there is none.
            NotApplicable: if they are not kept.
        """
        if not len(self.labels):
            raise TooFewSamples(f"{metric} needs at least 1 reconstruction, got 0")
        if self.images is None:
            raise NotApplicable(f"{metric} needs the reconstructions as images")
        return self.images

    @property
    def order(self) -> np.ndarray:
        """Positions [N] of the reconstructions by identity and restart: sums do not depend on their order then."""
        import numpy as np

        return np.lexsort((self.restarts, self.labels))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with its interval; becomes a result row, whose columns have the same names.

    Args:
        ceiling: what true private images reach under the same judge; None where that is not measured.
        is_estimate: the number rests on what a network reads from images, and not on what is known of them.
        remark: what to know beside the number.
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
    remark: str = ""


def mean_over_identities(
    values: np.ndarray, identities: np.ndarray, *, low: float = 0.0, high: float = float("inf"), remark: str = ""
) -> Measurement:
    """Mean of a number per image, with Student's interval over identities (`mean_interval`).

    Args:
        values: [N], N >= 1.
        identities: [N], whose image it is.
        low, high: least and largest possible value, which the interval does not leave.
        remark: what to know beside the number.
    """
    mean, interval = float(values.mean()), mean_interval(values, identities)
    return Measurement(
        value=mean,
        low=None if interval is None else min(mean, max(low, interval[0])),
        high=None if interval is None else max(mean, min(high, interval[1])),
        interval="" if interval is None else interval[2],
        n=len(values),
        groups=len(set(identities.tolist())),
        remark=remark,
    )


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
        unit: of the number; also decides how it is written: `percent`, `seconds`, `images` (a count), `distance of
            scores` or any other.
        larger_is: what a larger value means, `more useful`, `less useful`, `less private`, `more private` or `more
            costly`; also decides where the column stands.
        column: title of the column in tables and pages; "" for the registered name.
        low: least possible value; None for no bound.
        high: largest possible value; None for no bound.
        asks_target: it reads what the network that was attacked says of the reconstructions.
        needs_traits: it reads the traits of the reconstructions; where an attack does not know them, a regressor is
            trained that estimates them.
        group: `standard`, measured by every sweep; any other only where a sweep names it, or the metric: it costs more
            or needs a file.
        extractors: names of the extractors whose features it reads.
        students: names of the recipes of networks that learn from the reconstructions, see `StudentAnswers`.
        compares_answers: it compares served scores with undefended ones; a defense that changes the training then needs
            the undefended target, too.
        changes: names of changes of private test images that the target's network is asked about, as
            `midef.metrics.robustness.changes` knows them.
        asks_network: it reads what the target's network says of private test images; always where there are changes.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    unit: ClassVar[str]
    larger_is: ClassVar[str]
    column: ClassVar[str] = ""
    low: ClassVar[float | None] = None
    high: ClassVar[float | None] = None
    asks_target: ClassVar[bool] = False
    needs_traits: ClassVar[bool] = False
    group: ClassVar[str] = STANDARD
    extractors: ClassVar[tuple[str, ...]] = ()
    students: ClassVar[tuple[str, ...]] = ()
    compares_answers: ClassVar[bool] = False
    changes: ClassVar[tuple[str, ...]] = ()
    asks_network: ClassVar[bool] = False

    def measure(self, evidence: Evidence) -> Measurement:
        """The number.

        Raises:
            TooFewSamples: rather than answering from too little.
        """
        raise NotImplementedError


def asks_target(metrics: Iterable[str]) -> bool:
    """True if one of these metrics reads what the target says of the reconstructions."""
    return any(METRICS.get(name).asks_target for name in metrics)


def needs_traits(metrics: Iterable[str]) -> bool:
    """True if one of these metrics reads the traits of the reconstructions."""
    return any(METRICS.get(name).needs_traits for name in metrics)


def compares_answers(metrics: Iterable[str]) -> bool:
    """True if one of these metrics compares served scores with undefended ones."""
    return any(METRICS.get(name).compares_answers for name in metrics)


def changes_of(metrics: Iterable[str]) -> list[str]:
    """Names of the changes of private test images that these metrics need, sorted."""
    return sorted({change for name in metrics for change in METRICS.get(name).changes})


def asks_network(metrics: Iterable[str]) -> bool:
    """True if one of these metrics reads what the target's network says of private test images."""
    return any(METRICS.get(name).asks_network or METRICS.get(name).changes for name in metrics)


def groups() -> dict[str, list[str]]:
    """Metrics of each group, sorted."""
    by_group: dict[str, list[str]] = {}
    for name in METRICS.names():
        by_group.setdefault(METRICS.get(name).group, []).append(name)
    return by_group


def standard_metrics() -> list[str]:
    """Metrics that every sweep measures."""
    return groups()[STANDARD]


def chosen_metrics(written: Sequence[str]) -> list[str]:
    """Names of the metrics that are meant, sorted: each by its name or that of its group; `all` means every one.

    Raises:
        SpecError: for a word that is neither.
    """
    by_group = groups()
    known = {**{name: [name] for name in METRICS.names()}, **by_group, "all": METRICS.names()}
    if unknown := [word for word in written if word not in known]:
        raise SpecError([f"no metric or group of metrics is called {w!r}; {did_you_mean(w, known)}" for w in unknown])
    return sorted({name for word in written for name in known[word]})


def extractors_of(metrics: Iterable[str]) -> list[str]:
    """Names of the extractors whose features these metrics read, sorted."""
    return sorted({extractor for name in metrics for extractor in METRICS.get(name).extractors})


def students_of(metrics: Iterable[str]) -> list[str]:
    """Names of the recipes of students that these metrics need, sorted."""
    return sorted({student for name in metrics for student in METRICS.get(name).students})


def column_title(metric: str) -> str:
    """Title of a metric's column; "" for one that is not registered here."""
    return METRICS.get(metric).column or metric if metric in METRICS.names() else ""
