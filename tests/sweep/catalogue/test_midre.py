"""Sweeps of the MIDRE paper's figures."""

from __future__ import annotations

from midef.analysis import ANALYSES, AnalysedCell
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.resolve import Sweep, resolve


def problems(name: str, sweep: Sweep) -> list[str]:
    """Of an analysis of the sweep's cells."""
    cells = [AnalysedCell(planned.cell, planned.recipes) for planned in sweep.cells if not planned.refused]
    return ANALYSES.make(name).problems(cells)


def test_samplers_and_attackers_stand_in_pairs() -> None:
    assert problems("erasing_samplers", resolve(read_spec("midre_samplers"))) == []
    assert problems("loss_curves", resolve(read_spec("midre_ablations"))) == []
