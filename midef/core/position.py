"""Position of the work at hand: the share of it that is done, told by loops and read by whoever shows it.

    for step in steps(range(n)):        # each pass is one n-th; loops inside share the pass they stand in
    with share(0.0, 0.9):               # what follows is the first nine tenths of the work
    tell(0.3)                           # for loops that do not know how often they will pass

Nobody has to listen: without `following` these cost nothing. Nothing in here changes a result.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")

SETTLED_S = 1.0
"""Seconds after which the pace of work tells how long the rest takes."""
SURE, SURE_S = 0.1, 5.0
"""Share of the work, and seconds, after which the pace is believed."""


class Work:
    """Work whose position is followed.

    The pace is measured from the end of the first pass of a loop: what came before, such as reading a model, epochs
    that an earlier process trained, or warming up, is not part of it.
    """

    def __init__(self) -> None:
        self.fraction = 0.0
        """Share of the work that is done, 0 to 1; never falls."""
        self.span = (0.0, 1.0)
        """Part of the work that the loop at hand makes up."""
        self._begun: tuple[float, float] | None = None
        self._is_warm = False

    def tell(self, fraction: float) -> None:
        """Say which share of the loop at hand is done."""
        low, high = self.span
        reached = low + (high - low) * min(1.0, max(0.0, fraction))
        if self._begun is None or (not self._is_warm and reached > self._begun[0]):
            self._is_warm = self._begun is not None
            self._begun = (reached, time.monotonic())
        if reached > self.fraction:
            self.fraction = reached

    def left_s(self) -> float | None:
        """Seconds that the rest takes at the pace so far; None while there is none."""
        if self._begun is None:
            return None
        fraction, (first, since) = self.fraction, self._begun
        took_s = time.monotonic() - since
        if fraction <= first or took_s < SETTLED_S:
            return None
        return took_s * (1 - fraction) / (fraction - first)

    def certainty(self) -> float:
        """How far the pace can be believed, 0 to 1: the first seconds of a small share say little."""
        if self._begun is None:
            return 0.0
        fraction, (first, since) = self.fraction, self._begun
        return min(1.0, max(0.0, fraction - first) / SURE, (time.monotonic() - since) / SURE_S)


_at_hand: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def following(work: Work | None) -> Iterator[None]:
    """While this lasts, positions are told to `work`; to nobody if it is None."""
    before = _at_hand.set(work)
    try:
        yield
    finally:
        _at_hand.reset(before)


def at_hand() -> Work | None:
    """The work whose position is followed here; None while nobody follows."""
    return _at_hand.get()


def tell(fraction: float) -> None:
    """Say which share, 0 to 1, of the loop at hand is done."""
    work = _at_hand.get()
    if work is not None:
        work.tell(fraction)


@contextmanager
def share(start: float, end: float) -> Iterator[None]:
    """While this lasts, positions lie between these shares, 0 to 1, of the loop at hand; the second is its end."""
    work = _at_hand.get()
    if work is None:
        yield
        return
    low, high = outer = work.span
    work.span = (low + (high - low) * start, low + (high - low) * end)
    try:
        work.tell(0.0)
        yield
        work.tell(1.0)
    finally:
        work.span = outer


def steps(items: Collection[Item], *, first: int = 0, weights: Sequence[float] = ()) -> Iterator[Item]:
    """The items one after another, each a share of the loop at hand.

    Args:
        first: items before these that were worked on earlier.
        weights: work of each item; equal without them.
    """
    work = _at_hand.get()
    if work is None:
        yield from items
        return
    low, high = outer = work.span
    whole = (sum(weights) if weights else len(items) + first) or 1
    begin = low + (high - low) * first / whole
    try:
        for number, item in enumerate(items):
            end = begin + (high - low) * (weights[number] if weights else 1) / whole
            work.span = (begin, end)
            work.tell(0.0)
            yield item
            begin = end
        work.span = outer
        work.tell(1.0)
    finally:
        work.span = outer
