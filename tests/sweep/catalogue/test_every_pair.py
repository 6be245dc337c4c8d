"""The sweep that lets every attack meet every defense, and the table of who works with whom."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from midef.attacks import ATTACKS
from midef.core import ResultRow
from midef.defenses import DEFENSES
from midef.sweep.catalogue import read_spec
from midef.sweep.catalogue.every_pair import BUDGETS
from midef.sweep.spec.resolve import resolve


@pytest.fixture(scope="module")
def pairs() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "pairs.py"
    spec = importlib.util.spec_from_file_location("pairs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_budgets_are_of_attacks_that_exist() -> None:
    """An attack without an entry, such as one that a person has just added, runs with its small budget."""
    assert BUDGETS.keys() <= set(ATTACKS.names())


def test_every_attack_meets_every_defense_once() -> None:
    cells = resolve(read_spec("every_pair")).cells
    met = [(c.cell.setup.attack.name, c.cell.defense.name) for c in cells]
    assert sorted(met) == sorted((a, d) for a in ATTACKS.names() for d in DEFENSES.names())


def row(attack: str, defense: str, **changed: Any) -> ResultRow:
    empty = dict.fromkeys(("sweep", "profile", "cell", "setup", "defense_params", "access", "architecture"), "")
    others = dict.fromkeys(("private", "public", "evaluator", "defense_name", "attack", "larger_is"), "")
    counts = {"resolution_px": 32, "identities": 8, "images_per_identity": 1, "seed": 0}
    given = {"value": 10.0, "n": 8, "metric": "attack_accuracy_at_1", "unit": "percent", **changed}
    return ResultRow(**{**empty, **others, **counts, "attack_name": attack, "defense": defense, **given})


def test_the_table_tells_what_ran_failed_was_refused_or_is_missing(pairs: ModuleType) -> None:
    rows = [
        row("gmi", "none"),
        row("gmi", "nls", value=None, n=None, status="failed", reason="it broke"),
        row("mi_face", "none"),
    ]
    text = pairs.grid(rows, {("gmi", "rolss"): "no skips", ("mi_face", "rolss"): "no skips"})
    assert text.splitlines() == [
        "| defense | gmi | mi_face |",
        "| --- | ---: | ---: |",
        "| nls | failed | missing |",
        "| none | 8 | 8 |",
        "| rolss | refused | refused |",
        "",
        "- 1 x gmi x nls: it broke",
        "- 2 x rolss: no skips",
    ]
