"""Cells are named when somebody asks for it: a choice among many names few, each as if it had been named at once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from midef.core import Cell, SpecError
from midef.core.canonical import digest
from midef.core.setup import Setup
from midef.stages import SetupRecipes
from midef.storage import Store
from midef.storage.cell_state import CellState
from midef.sweep.execution.prepare import prepare
from midef.sweep.library import plan_cells
from midef.sweep.naming import name_conflict
from midef.sweep.planning.selection import choose_failed
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep, resolve

SweepOf = Callable[..., Sweep]
SEEDS = list(range(50))
DEFENSES = ["none", "midre", "loft"]
PAIRS = 2 * len(DEFENSES)
"""Of a setup and a defense. One cell of each is named when the sweep is resolved, to see whether it can be."""


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Cells whose artifacts were named, in that order."""
    seen: list[tuple[str, str, int]] = []
    name = SetupRecipes.of

    def counted(recipes: SetupRecipes, defense: Any, seed: int) -> Any:
        seen.append((recipes.setup.id, defense.name, seed))
        return name(recipes, defense, seed)

    monkeypatch.setattr(SetupRecipes, "of", counted)
    return seen


@pytest.fixture
def many(sweep_of: SweepOf, named: list[tuple[str, str, int]]) -> Sweep:
    return sweep_of({"attack": ["gmi", "brep_mi"]}, defenses=DEFENSES, seeds=SEEDS)


def test_a_sweep_is_resolved_with_one_cell_of_each_setup_and_defense(many: Sweep, named: list[Any]) -> None:
    assert len(many.cells) == PAIRS * len(SEEDS) and len(named) == PAIRS


@pytest.mark.parametrize(
    ("only", "chosen", "further"),
    [
        (("defense=midre", "seed=7"), 2, 2),
        (("seed=7", "seed=8", "attack=gmi"), 6, 6),
        (("seed=0",), 6, 0),
        (("setup=*gmi*", "defense=none"), 50, 49),
    ],
)
def test_only_names_the_cells_that_are_chosen(
    many: Sweep, named: list[Any], only: tuple[str, ...], chosen: int, further: int
) -> None:
    plan = plan_cells(many, "no-such-store", only=only)
    assert len(plan.cells) == chosen
    assert len(named) == len(set(named)) == PAIRS + further


def test_a_wrong_word_names_no_cell(many: Sweep, named: list[Any]) -> None:
    with pytest.raises(SpecError, match="seed=50 matches no cell"):
        plan_cells(many, "no-such-store", only=["seed=50"])
    assert len(named) == PAIRS


def test_a_digest_names_every_cell_once(many: Sweep, named: list[Any]) -> None:
    wanted = many.cells[-1].cell.digest
    plan = plan_cells(many, "no-such-store", only=[f"cell={wanted}"])
    assert [planned.cell.digest for planned in plan.cells] == [wanted]
    assert len(named) == len(set(named)) == len(many.cells)


def test_the_same_sweep_in_a_store_has_its_name_without_naming_its_cells(
    many: Sweep, store: Store, named: list[Any]
) -> None:
    prepare(many, store, chosen=lambda c: c.cell.seed == 3)
    assert len(named) == len(many.cells), "the manifest holds all"
    named.clear()
    again = resolve(many.spec)
    assert name_conflict(again, store) == "" and len(named) == PAIRS
    other = resolve(parse_spec({**many.spec.model_dump(), "seeds": [0, 1]}))
    assert "seeds: 50 -> 2 items" in name_conflict(other, store)


def test_what_failed_is_chosen_by_words_first(many: Sweep, named: list[Any]) -> None:
    failed = many.cells[1].cell.digest
    named.clear()
    chosen = choose_failed(many, ["seed=1"], {failed: CellState("failed", "reason")})
    assert [c for c in many.cells if chosen(c)] == [many.cells[1]]
    assert {seed for *_, seed in named} == {1}


def test_a_cell_named_later_is_the_cell_named_at_once(many: Sweep) -> None:
    for entry, of_entry in zip(many.entries, (many.cells[:150], many.cells[150:]), strict=True):
        at_once = [entry.cell(defense, seed) for defense in entry.defenses for seed in SEEDS]
        for later, now in zip(of_entry, at_once, strict=True):
            assert later == now and now == later and hash(later) == hash(now)
            assert later.cell == now.cell and now.cell == later.cell and hash(later.cell) == hash(now.cell)
            assert later.manifest_line == now.manifest_line
            assert repr(later.cell).partition("(")[2] == repr(now.cell).partition("(")[2]
    assert many.cells[1] != many.cells[2] and many.cells[1].cell != many.cells[2].cell
    assert many.digest == digest({"name": many.name, "cells": [c.cell.digest for c in at_once_of(many)]})


def at_once_of(sweep: Sweep) -> list[PlannedCell]:
    return [entry.cell(d, s) for entry in sweep.entries for d in entry.defenses for s in sweep.spec.seeds]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])  # noqa: S301
def test_a_copy_of_a_cell_that_was_not_named_yet_is_plain(many: Sweep, copied: Callable[[Any], Any]) -> None:
    later, other = many.cells[1], copied(many.cells[1])
    assert type(other) is PlannedCell and type(copied(later.cell)) is Cell
    assert other == later and other.cell.digest == later.cell.digest
    assert set(vars(other.cell)) - {"digest"} == {f.name for f in fields(Cell)}, "nothing of its setup's others"


def test_a_changed_copy_keeps_what_was_not_changed(many: Sweep) -> None:
    later = many.cells[1]
    again = replace(later, cell=replace(later.cell, profile="paper"), refused="why")
    assert again.cell.scores == later.cell.scores and again.answered_by == later.answered_by
    assert again.cell.digest != later.cell.digest and isinstance(again.cell.setup, Setup)
