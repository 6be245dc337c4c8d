"""Cells of a sweep by setup, and by what they differ in within it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from midef.analysis.base import AnalysedCell

_P = TypeVar("_P", float, str)


def by_setup(
    cells: Sequence[AnalysedCell], place: Callable[[AnalysedCell], _P | None]
) -> dict[str, dict[_P, list[AnalysedCell]]]:
    """Cells by id of their setup and by place in it, at each seed that all places of the setup have, ascending.

    Args:
        place: of a cell, such as its erased area; None leaves it out.
    """
    found: dict[str, dict[_P, dict[int, AnalysedCell]]] = {}
    for cell in cells:
        at = place(cell)
        places = found.setdefault(cell.cell.setup.id, {})
        if at is not None:
            places.setdefault(at, {})[cell.cell.seed] = cell
    kept = {}
    for name, places in found.items():
        seeds = sorted(set.intersection(*map(set, places.values()))) if places else []
        kept[name] = {at: [of[seed] for seed in seeds] for at, of in places.items() if seeds}
    return kept
