"""Natural and attack accuracy of stored cells, and their paired differences, with intervals over seeds and images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from midef.core.statistics import identity_interval, paired_interval, two_level_interval

if TYPE_CHECKING:
    from midef.analysis.base import AnalysedCell
    from midef.storage import Store

Kind: TypeAlias = Literal["natural", "attack"]
KINDS: tuple[Kind, Kind] = ("natural", "attack")
_ARRAYS = ("labels", "restarts", "hit_at_1", "report_labels", "report_predictions")
_SEEDS_FOR_T = 3


class Estimate(NamedTuple):
    """A number with its 95 % interval: of images whose identities are kept together, from three seeds on of the seeds,
    too."""

    value: float
    low: float
    high: float

    @property
    def signed(self) -> str:
        """As text, for a difference: `+1.2 [-0.3, +2.7]`."""
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


@dataclass(frozen=True, eq=False)
class Run:
    """What one cell found.

    Args:
        attacked: identity of each reconstruction [N].
        hits: whether the evaluator sees it in the reconstruction [N].
        tested: identity of each private test image [M].
        correct: whether the served target names it [M].
    """

    seed: int
    attacked: np.ndarray
    hits: np.ndarray
    tested: np.ndarray
    correct: np.ndarray

    def outcomes(self, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
        """Successes 0/1 and identities, [N] or [M]."""
        return (self.hits, self.attacked) if kind == "attack" else (self.correct, self.tested)


def run_of(cell: AnalysedCell, store: Store) -> Run:
    """What a cell found, of its stored scores; reconstructions by identity and restart, so that runs pair."""
    from midef.storage.arrays import read_arrays

    path = store.artifacts.fetch(cell.recipes.scores.key) / "per_image.npz"
    attacked, restarts, hits, tested, answered = read_arrays(path, _ARRAYS).values()
    order = np.lexsort((restarts, attacked))
    return Run(cell.cell.seed, attacked[order], hits[order].astype(bool), tested, answered == tested)


def means_of(identities: np.ndarray, values: np.ndarray) -> dict[int, float]:
    """Mean of the values [N] of each identity."""
    return {int(one): float(values[identities == one].mean()) for one in np.unique(identities)}


def accuracy(runs: Sequence[Run], kind: Kind) -> Estimate:
    """Mean accuracy over seeds, percent; its interval ends at 0 and 100.

    Args:
        runs: of one cell at each seed, at least one.
    """
    rates = [100 * float(run.outcomes(kind)[0].mean()) for run in runs]
    value, low, high = _over_seeds(rates, [identity_interval(*run.outcomes(kind))[:2] for run in runs])
    return Estimate(value, max(low, 0.0), min(high, 100.0))


def drop(before: Sequence[Run], after: Sequence[Run], kind: Kind) -> Estimate:
    """By how many points an accuracy falls from one defense to another, paired by seed and image.

    Args:
        before, after: of both at each seed, the same seeds and images in the same order.
    """
    pairs = [(one.outcomes(kind), other.outcomes(kind)) for one, other in zip(before, after, strict=True)]
    drops = [100 * (float(first.mean()) - float(second.mean())) for (first, _), (second, _) in pairs]
    return _over_seeds(drops, [paired_interval(first, second, names) for (first, names), (second, _) in pairs])


def less(first: Estimate, second: Estimate) -> Estimate:
    """The first less the second, of numbers that are measured on other images.

    Source: the recovery of variances from both intervals, Zou and Donner, Statistics in Medicine 27 (2008), 1693-1702.
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above)


def columns(before: Sequence[Run], after: Sequence[Run]) -> dict[str, float]:
    """Both accuracies under a defense and their drops from before it, with the ends of their intervals, by column."""
    row: dict[str, float] = {}
    for kind in KINDS:
        for what, found in (("", accuracy(after, kind)), ("_drop", drop(before, after, kind))):
            ends = zip(("", "_low", "_high"), found, strict=True)
            row |= {f"{kind}{what}{end}": value for end, value in ends}
    return row


def _over_seeds(values: Sequence[float], spans: Sequence[tuple[float, float]]) -> Estimate:
    """The mean of percentages, from intervals of the fractions they are of."""
    low, high = (100 * float(np.mean(ends)) for ends in zip(*spans, strict=True))
    if len(values) >= _SEEDS_FOR_T:
        low, high = two_level_interval((low, high), values)
    return Estimate(float(np.mean(values)), low, high)
