"""Cells by setup and by what they differ in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from midef.analysis.base import AnalysedCell
from midef.analysis.stored.setups import by_setup


def cell(setup: str, label: str, seed: int) -> AnalysedCell:
    defense, of = SimpleNamespace(label=label), SimpleNamespace(id=setup)
    return AnalysedCell(cast(Any, SimpleNamespace(setup=of, defense=defense, seed=seed)), cast(Any, None))


def test_cells_of_a_setup_stand_at_the_seeds_that_all_have() -> None:
    given = [cell("a", "x", 2), cell("a", "x", 0), cell("a", "y", 0), cell("a", "y", 2), cell("a", "y", 1)]
    given += [cell("b", "x", 7), cell("b", "z", 7), cell("c", "z", 0)]
    found = by_setup(given, lambda one: None if one.label == "z" else one.label)
    seeds = {name: {at: [one.cell.seed for one in of] for at, of in places.items()} for name, places in found.items()}
    assert seeds == {"a": {"x": [0, 2], "y": [0, 2]}, "b": {"x": [7]}, "c": {}}
