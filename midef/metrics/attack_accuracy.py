"""Attack accuracy: how many reconstructions a judge, the evaluator or the target, takes for the attacked identity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import NotApplicable, ShapeError, TooFewSamples
from midef.core.outcomes import digest_of
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, percent_of_hits

if TYPE_CHECKING:
    import numpy as np


def top_k_hits(logits: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """True where the label is among the k largest logits [N]. A tie at the border, or NaN, counts as a miss.

    Raises:
        ShapeError: if logits are not [N, K] with N labels.
    """
    import numpy as np

    if logits.ndim != 2 or len(logits) != len(labels):
        raise ShapeError(f"needs logits [N, K] and N labels, got {logits.shape} and {labels.shape}")
    of_label = logits[np.arange(len(labels)), labels]
    # how many others are not smaller: ties and NaN count against the hit, so constant or broken logits never succeed
    ahead = (~(logits < of_label[:, None])).sum(axis=1) - 1
    hits: np.ndarray = ahead < k
    return hits


def best_classes(logits: np.ndarray, k: int) -> np.ndarray:
    """The k classes with the largest logits, largest first [N, min(k, K)]; of equal ones the lower class, NaN last."""
    import numpy as np

    best: np.ndarray = np.argsort(-logits, axis=1, kind="stable")[:, :k].astype(np.int32)
    return best


def spread_of_hits(
    hits: np.ndarray, labels: np.ndarray, restarts: np.ndarray, *, kind: str, group_size: int
) -> float | None:
    """Spread of the attack accuracy in percent, in one of the ways of `Protocol.spread`.

    Groups are `group_size` identities in ascending order, as the papers' codes process them; their images are averaged
    per restart. None where there is nothing to compare: one restart, or one group. `variance` is of fractions, 0 to 1.

    Args:
        hits: success 0/1 of each image [N].
        labels: its identity [N].
        restarts: which restart it comes from [N].
        kind: `groups`, `variance`, `population` or `restarts`.
        group_size: identities in a group.

    Source: released code of KedMI, PLG-MI and MIBench, which print three different numbers behind the same sign.
    """
    import numpy as np

    identities = np.unique(labels)
    size = len(identities) if kind == "population" else group_size
    numbers = np.searchsorted(identities, labels) // size
    groups = [numbers == number for number in np.unique(numbers)]
    if kind == "groups":
        means = [hits[group].mean() for group in groups]
        return None if len(means) < 2 else 100.0 * float(np.std(means, ddof=1))
    if min(np.unique(labels, return_counts=True)[1]) < 2:
        return None  # also where the best restart of each identity was kept: those are different ones
    accuracies = [[hits[g & (restarts == r)].mean() for r in np.unique(restarts[g])] for g in groups]
    if kind == "variance":
        return float(np.mean([np.var(of_group, ddof=1) for of_group in accuracies]))
    ddof = 0 if kind == "population" else 1
    return 100.0 * float(np.mean([np.std(of_group, ddof=ddof) for of_group in accuracies]))


def attacked(evidence: Evidence) -> str:
    """Digest of which reconstructions these are, ordered by identity and restart: those of another target that was
    attacked in the same way have the same. "" where the images are not named.

    Where one reconstruction of each identity counts, it may come from another restart for every target.
    """
    import numpy as np

    if not evidence.report_images:
        return ""
    order = np.lexsort((evidence.restarts, evidence.labels))
    labels, restarts = (array[order].astype(np.int64) for array in (evidence.labels, evidence.restarts))
    is_one_each = len(np.unique(labels)) == len(labels)
    of_these = np.array(list(bytes.fromhex(evidence.report_images)), dtype=np.uint8)  # identity 3 of this data set
    return digest_of(of_these, labels, *([] if is_one_each else [restarts]))


def measured_hits(hits: np.ndarray, evidence: Evidence, *, chance: float) -> Measurement:
    """Success rate over reconstructions in percent, with interval, spread, and which of them succeeded.

    Args:
        hits: success of each reconstruction [N], N >= 1.
        chance: rate of a blind guess, percent.
    """
    import numpy as np

    order = np.lexsort((evidence.restarts, evidence.labels))
    measured = percent_of_hits(hits[order], evidence.labels[order], chance=chance, images=attacked(evidence))
    spread = spread_of_hits(
        hits, evidence.labels, evidence.restarts, kind=evidence.spread, group_size=evidence.group_size
    )
    return measured if spread is None else replace(measured, spread=spread, spread_kind=evidence.spread)


BY_TARGET = "judged by the network that was attacked, which is no independent judge"
CHOSEN_BY_TARGET = "the same network chose, for each identity, the restart that counts"


def accuracy_by(judge: str, evidence: Evidence, *, k: int) -> Measurement:
    """Share of all reconstructions with the attacked label among a judge's k largest, percent.

    Args:
        judge: `evaluator` or `target`.

    Raises:
        TooFewSamples: without reconstructions.
        NotApplicable: with no more than k classes, or where this judge was not asked.
    """
    if not len(evidence.labels):
        raise TooFewSamples("attack accuracy needs at least 1 reconstruction, got 0")
    if evidence.n_classes <= k:
        raise NotApplicable(f"attack accuracy@{k} needs more than {k} classes, got {evidence.n_classes}")
    hits = top_k_hits(evidence.logits_of(judge), evidence.labels, k)
    measured = measured_hits(hits, evidence, chance=100.0 * k / evidence.n_classes)
    if judge == "evaluator":
        return measured
    chosen = [CHOSEN_BY_TARGET] if evidence.counted == "best_by_target" else []
    return replace(measured, remark="; ".join([BY_TARGET, *chosen]))


@dataclass(frozen=True, kw_only=True)
class _AttackAccuracy(Metric):
    paper: ClassVar[str] = "Zhang et al., CVPR 2020; protocol of KedMI"
    version: ClassVar[int] = 2
    unit: ClassVar[str] = "percent"
    larger_is: ClassVar[str] = "less private"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 100.0
    k: ClassVar[int]

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        return accuracy_by(evidence.judge, evidence, k=self.k)


@METRICS.add("attack_accuracy_at_1")
@dataclass(frozen=True, kw_only=True)
class AttackAccuracyAt1(_AttackAccuracy):
    """Share of all reconstructions whose top label under the evaluator is the attacked one, percent.

    With `protocol.judge: target` the network that was attacked says so in place of the evaluator; a remark tells.
    """

    column: ClassVar[str] = "att@1 %"
    k: ClassVar[int] = 1


@METRICS.add("attack_accuracy_at_5")
@dataclass(frozen=True, kw_only=True)
class AttackAccuracyAt5(_AttackAccuracy):
    """Share of all reconstructions with the attacked label among the evaluator's 5 largest, percent.

    Not GMI's original "Acc5", which asks whether one of 5 restarts succeeded.
    """

    column: ClassVar[str] = "att@5 %"
    k: ClassVar[int] = 5
