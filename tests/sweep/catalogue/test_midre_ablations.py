"""MIDRE's ablations: every cell has the number of its table, and the adaptive attacker stays adaptive when small."""

from __future__ import annotations

from collections import Counter

from midef.defenses.stack import choose_defense
from midef.sweep.catalogue.matrix37 import matrix37
from midef.sweep.catalogue.midre_ablations import TABLES, midre_ablations
from midef.sweep.catalogue.published.rows import published_rows
from midef.sweep.spec.resolve import resolve


def test_how_many_defenses_each_table_varies() -> None:
    """Counted in the paper: table 1 has 5 areas of 3 kinds, table 4 MIDRE and 3 augmentations; C.13 the same 5 x 3;
    D.14 4 fills, D.15 3 areas; D.16 2 aspects beside the square, D.18 inpainting, table 5 BiDO and the combination;
    its other half NLS, MIDRE and both."""
    rows = {row.id: row.defenses for row in midre_ablations().setups}
    assert {id: len(defenses) - 1 for id, defenses in rows.items()} == {
        **{"S20": 15 + 4, "S26": 15, "S19": 4 + 3, "S04": 1 + 2 + 1 + 2, "S21": 3},
        **{"S21-adaptive": 1, "S04-adaptive": 1},
    }


def test_every_cell_has_a_published_number() -> None:
    tables = {f"MIDRE, {table}" for tables in TABLES.values() for table in tables}
    printed = {(r.setup, r.defense) for r in published_rows() if r.source in tables and r.metric == "natural_accuracy"}
    cells = {(row.id, choose_defense(d).label) for row in midre_ablations().setups for d in row.defenses}
    assert {cell for cell in cells - printed if not cell[0].endswith("-adaptive")} == set()


def test_everything_but_the_defenses_is_the_row_of_the_matrix() -> None:
    matrix = {row.id: row for row in matrix37().setups}
    for row in midre_ablations().setups:
        of = matrix[row.id.removesuffix("-adaptive")]
        changed = {name for name in type(row).model_fields if getattr(row, name) != getattr(of, name)}
        assert changed <= ({"id", "attack", "defenses"} if row.id != of.id else {"defenses"})


def test_every_cell_plans_in_mini_and_the_adaptive_attacker_erases() -> None:
    cells = resolve(midre_ablations()).cells
    assert Counter(cell.refused for cell in cells) == {"": sum(len(row.defenses) for row in midre_ablations().setups)}
    attacks = {cell.cell.setup.id: cell.cell.setup.attack.params for cell in cells}
    erased = {
        id: (params["erase_low"], params["erase_high"]) for id, params in attacks.items() if "erase_low" in params
    }
    assert erased.pop("S21-adaptive") == (0.1, 0.8) and erased.pop("S04-adaptive") == (0.1, 0.4)
    assert set(erased.values()) == {(0.0, 0.0)}
    keys = {cell.cell.setup.id: cell.recipes.reconstructions.key for cell in cells if "midre" in cell.cell.defense.name}
    assert keys["S04-adaptive"] != keys["S04"]
