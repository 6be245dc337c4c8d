"""LFP: a few answers with reversed ranks, aligned to poison the training of an inversion network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES
from midef.defenses.families.answers import keeping_labels, moved
from midef.defenses.families.poisoning import Poisoning
from midef.defenses.families.substitutes import Aided
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.families.alignment import Substitute
    from midef.defenses.serving import Query


@DEFENSES.add("lfp")
@dataclass(frozen=True, kw_only=True)
class Lfp(Poisoning):
    """Reverse the scores of a share of the answers, then move these within `radius` as `lpa` does; leave the others.

    The queries of a call fill windows in their order. Of a window exactly `share` of the answers is flipped: first
    those whose largest score is below `threshold`, evenly over the predicted classes and the least sure first, then
    others in the same way. Where the share is not a whole number, or a call ends before its window is full, the
    fraction is drawn from the first image's stream; so a query that comes alone is flipped with the probability
    `share`, and then always.

    Args:
        share: of the answers, 0 to below 1; 0 changes nothing.
        window: queries, >= 1.
        threshold: of the largest score.
        form: `swap` gives the largest score to the class that was second and reverses the ranks of all others, so
            that the class that was first gets the smallest; `reverse` reverses the ranks of all.
        radius: largest L2 distance of a flipped answer from the flipped scores.
        rounds, step, normalise: see `Poisoning`.
        inverter_width, inverter_blocks, inverter_epochs, inverter_batch, inverter_rate, inverter_loss, half: see
            `Aided`.

    A window is aligned jointly, and what is not flipped in it contributes to the gradient.

    Source: LPA data-poisoning paper, algorithms 2 and 3. Threshold and share are not stated; its accuracies fit a share
    of 5 % and, where the network errs, the form `swap`. We differ: the paper flips every answer below the threshold,
    even beyond the share.
    """

    paper: ClassVar[str] = Poisoning.paper
    acts_on: ClassVar[str] = "answers"
    small: ClassVar[Mapping[str, Any]] = {**Aided.small, "rounds": 2, "share": 0.25, "window": 8}
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="share", low=0.01, high=0.5)

    share: float = 0.05
    window: int = 100
    threshold: float = 0.9
    form: Literal["swap", "reverse"] = "swap"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share < 1 or self.window < 1 or not 0 <= self.threshold <= 1:
            raise ValueError("needs share in [0, 1), window >= 1 and threshold in [0, 1]")

    @property
    @override
    def is_off(self) -> bool:
        return self.share == 0

    @property
    @override
    def keeps_labels(self) -> bool:
        return self.is_off

    @property
    @override
    def answers_jointly(self) -> bool:
        return not self.is_off

    @override
    def off(self) -> Self:
        return replace(self, share=0.0)

    @override
    def answer(self, query: Query, state: Substitute | None) -> Tensor:
        if state is None:
            return query.probabilities
        begins = range(0, len(query), self.window)
        return torch.cat([self._window(query.rows(slice(begin, begin + self.window)), state) for begin in begins])

    def _window(self, query: Query, substitute: Substitute) -> Tensor:
        """Answers to the queries of one window."""
        given = query.probabilities
        index = selected(given, self.flips(query), self.threshold)
        if not len(index):
            return given
        flipped = (swapped if self.form == "swap" else reversed_ranks)(given[index])

        def move(delta: Tensor) -> Tensor:
            return given.index_copy(0, index, moved(flipped, delta, self.radius, normalise=self.normalise))

        start = self.start(query)[index]
        delta, _ = self.descent("joint").descend(substitute, move, start, query.images)
        return given.index_copy(0, index, keeping_labels(flipped, move(delta)[index]))

    def flips(self, query: Query) -> int:
        """Answers to flip in a window of these queries."""
        exact = self.share * len(query)
        whole = int(exact + 1e-9)
        return whole + int(float(query.uniform(1)[0]) < exact - whole)


def selected(probabilities: Tensor, count: int, threshold: float) -> Tensor:
    """Positions [count], ascending, of the answers to flip.

    Those whose largest score is below the threshold come first. In either group the classes take turns, each giving its
    least sure answer.
    """
    largest, labels = probabilities.max(dim=1)
    order = sorted(range(len(labels)), key=lambda i: float(largest[i]))
    turns: dict[tuple[bool, int], int] = {}
    ranks = []
    for i in order:
        group = (bool(largest[i] >= threshold), int(labels[i]))
        turns[group] = turns.get(group, 0) + 1
        ranks.append((group[0], turns[group], float(largest[i]), i))
    chosen = sorted(i for *_, i in sorted(ranks)[:count])
    return torch.tensor(chosen, dtype=torch.long, device=probabilities.device)


def reversed_ranks(scores: Tensor) -> Tensor:
    """Scores [B, K] with their ranks reversed: the largest where the smallest was, and so on."""
    values, places = scores.sort(dim=1, descending=True)
    return torch.zeros_like(scores).scatter(1, places, values.flip(1))


def swapped(scores: Tensor) -> Tensor:
    """Scores [B, K], K >= 2, with the largest where the second was, and the ranks of all others reversed."""
    values, places = scores.sort(dim=1, descending=True)
    first, second = places[:, :1], places[:, 1:2]
    others = torch.cat([first, places[:, 2:]], dim=1)
    out = torch.zeros_like(scores).scatter(1, others, values[:, 1:].flip(1))
    return out.scatter(1, second, values[:, :1])
