"""Sweeps of the MIDRE paper's figures."""

from __future__ import annotations

from midef.analysis import ANALYSES, AnalysedCell
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.resolve import Sweep, resolve


def problems(name: str, sweep: Sweep) -> list[str]:
    """Of an analysis of the sweep's cells."""
    cells = [AnalysedCell(planned.cell, planned.recipes) for planned in sweep.cells if not planned.refused]
    return ANALYSES.make(name).problems(cells)


def test_six_setups_at_six_areas_are_what_the_analysis_needs() -> None:
    sweep = resolve(read_spec("midre_areas"))
    setups = {planned.cell.setup.id: planned.cell.setup for planned in sweep.cells}
    assert {name: (one.attack.name, one.certainty) for name, one in setups.items()} == {
        "A01": ("lomma_gmi", "inferred"),
        "A02": ("plg_mi", "inferred"),
        "A03": ("lomma_kedmi", "certain"),
        "A04": ("ppa", "inferred"),
        "A05": ("ppa", "certain"),
        "A06": ("ppa", "inferred"),
    }
    assert len(sweep.cells) == 36 and not any(planned.refused for planned in sweep.cells)
    areas = {cell.cell.defense.params.get("area_high", 0.0) for cell in sweep.cells if cell.cell.setup.id == "A05"}
    assert areas == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    assert problems("erased_area", sweep) == []


def test_architectures_are_targets_of_the_matrix() -> None:
    sweep, matrix = (resolve(read_spec(name)) for name in ("midre_architectures", "matrix37"))
    setups = list(dict.fromkeys(planned.cell.setup.id for planned in sweep.cells))
    assert setups == [f"F0{i}" for i in range(1, 7)]
    stored = {planned.recipes.scores.key for planned in matrix.cells if not planned.refused}
    assert {planned.recipes.scores.key for planned in sweep.cells if not planned.refused} <= stored
    assert problems("accuracy_scatter", sweep) == []


def test_samplers_and_attackers_stand_in_pairs() -> None:
    assert problems("erasing_samplers", resolve(read_spec("midre_samplers"))) == []
    assert problems("loss_curves", resolve(read_spec("midre_ablations"))) == []
