"""Where the values of a specification were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Place: TypeAlias = tuple[str | int, ...]
"""Keys and positions that lead to a value."""


@dataclass(frozen=True)
class Lines:
    """Where a value was written, and the values inside it; all are equal, so that a specification equals its copy.

    Args:
        where: `mine.yaml, line 9`, or the option of the command line that gave it.
        inside: of a mapping or list, by key or position.
    """

    where: str = field(compare=False)
    inside: Mapping[str | int, Lines] = field(default_factory=dict, compare=False)

    def find(self, place: Sequence[str | int]) -> str:
        """Where the value at `place` was written, or the nearest one around it."""
        here = self
        for step in place:
            if step not in here.inside:
                break
            here = here.inside[step]
        return here.where

    def replaced(self, place: Sequence[str | int], where: str) -> Lines:
        """The same after the value at `place` was given somewhere else."""
        if not place:
            return Lines(where)
        inner = self.inside.get(place[0], Lines(where))
        return Lines(self.where, {**self.inside, place[0]: inner.replaced(place[1:], where)})


def shown_place(place: Sequence[str | int]) -> str:
    """`setups[0].private.path`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")
