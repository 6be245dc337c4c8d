"""Positions that work tells, for tests of whoever writes a loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from typing_extensions import override

from midef.core.position import Work, following


@contextmanager
def positions() -> Iterator[list[float]]:
    """Every position that is told while this lasts; see `midef.core.position`."""
    told: list[float] = []

    class Listening(Work):
        @override
        def tell(self, fraction: float) -> None:
            super().tell(fraction)
            told.append(round(self.fraction, 9))

    with following(Listening()):
        yield told


def is_ours(component: type) -> bool:
    """Whether a component is midef's own, which all tell; what other packages add need not."""
    return component.__module__.startswith("midef.")


def rises_to_the_end(told: Sequence[float]) -> None:
    """Check that positions rise, and reach the end when the work does, not when the first of several loops ends."""
    assert told, "wrap the loops in midef.core.position.steps"
    assert list(told) == sorted(told) and told[-1] == 1.0
    assert sum(position == 1.0 for position in told) <= 2 + len(told) // 4, "it is at its end before it ends"
