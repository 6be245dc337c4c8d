"""What a naive reference is, and the table of midef's loops beside them.

A pair is the same work done twice: by midef's own loop, and by a loop written here from the formula, as released codes
have it. Both start from the same networks, batches and seed; where both draw the same random numbers, what they give is
compared, so that a ratio is of equal work.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

import torch
from torch import Tensor

from midef.attacks import SmallBudget

Work: TypeAlias = Callable[[], Tensor]
"""Does the work and returns what is compared."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the work.

    Args:
        target: architecture of the target.
        classes: of the target.
        rows: of a search that are searched together, about.
        budget: what attacks and priors make their parameters of.
        steps: of a classifier's training.
        images: that are evaluated.
    """

    target: str
    px: int
    classes: int
    rows: int
    budget: SmallBudget
    steps: int = 4
    images: int = 64


class NotTheSameWork(Exception):
    """The results of a pair are further apart than it says."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Midef's loop and its naive reference.

    Args:
        name: of the component.
        group: `attack`, `prior`, `training` or `evaluate`.
        naive_is: how the naive loop does it, in words.
        ours, naive: prepare fresh networks and return the work; only the work is timed.
        tolerance: how far apart both results may be, as a share of their length as vectors; None where the two draw
            other random numbers, so that only the amount of work is the same.
    """

    name: str
    group: str
    naive_is: str
    ours: Callable[[], Work]
    naive: Callable[[], Work]
    tolerance: float | None = 1e-3

    def checked(self) -> tuple[str, float]:
        """How far apart the results are, in words, and CPU seconds of midef's loop.

        Raises:
            NotTheSameWork: if that is more than the tolerance.
        """
        work = self.ours()
        begun = time.process_time()
        ours = work()
        took_s = time.process_time() - begun
        naive = self.naive()()
        if self.tolerance is None:
            return "other random numbers", took_s
        if ours.shape != naive.shape:
            raise NotTheSameWork(f"{self.name}: midef gives {list(ours.shape)}, the naive loop {list(naive.shape)}")
        share = float((ours.double() - naive.double()).norm() / naive.double().norm().clamp(min=1e-12))
        if not share <= self.tolerance:
            raise NotTheSameWork(f"{self.name}: results are {share:.1e} apart, more than {self.tolerance:.0e}")
        return "equal" if share == 0 else f"{share:.0e}", took_s


HEAD = (
    "| loop | midef, CPU s | naive, CPU s | naive / midef | range | results apart | the naive loop |\n"
    "| --- | ---: | ---: | ---: | --- | --- | --- |"
)


def lines(pairs: Iterable[Pair], rounds: int, least_s: float = 0.2) -> Iterator[str]:
    """A row of the table for each pair; which of both goes first alternates by round.

    Args:
        least_s: CPU seconds of a measurement of midef's loop; shorter work is done several times, by both alike.

    Raises:
        NotTheSameWork: if the results of a pair are too far apart.
    """
    for pair in pairs:
        apart, took_s = pair.checked()  # also the first pass of both, which allocates and plans
        ours_s: list[float] = []
        naive_s: list[float] = []
        repeats = max(1, math.ceil(least_s / max(took_s, 1e-6)))
        for number in range(rounds):
            both = [(pair.ours, ours_s), (pair.naive, naive_s)]
            for prepare, seconds in both if number % 2 else reversed(both):
                seconds.append(cpu_s(prepare, repeats))
        ratios = sorted(slow / fast for slow, fast in zip(naive_s, ours_s, strict=True))
        yield (
            f"| {pair.group} {pair.name} | {median(ours_s):.3g} | {median(naive_s):.3g} | {median(ratios):.2f} | "
            f"{ratios[0]:.2f} to {ratios[-1]:.2f} | {apart} | {pair.naive_is} |"
        )


def cpu_s(prepare: Callable[[], Work], repeats: int) -> float:
    """CPU seconds of a work that is done several times, each time on networks that were prepared for it."""
    spent = 0.0
    for _ in range(repeats):
        work = prepare()
        begun = time.process_time()
        work()
        spent += time.process_time() - begun
    return spent / repeats


def learnable(network: torch.nn.Module) -> torch.nn.Module:
    """The network as released codes have it: every weight asks for a gradient, plain memory layout."""
    return network.requires_grad_(True).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]
