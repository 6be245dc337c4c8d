"""What must hold for every analysis; the cells that they are asked about are small ones of a real sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from midef.analysis import ANALYSES, AnalysedCell, analyse
from midef.analysis.base import NO_SWEEP, chosen_cells
from midef.core import Registry, SpecError
from midef.core.errors import MissingArtifact
from midef.storage import Store
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import resolve
from midef.testing.suite import Contract

FACES = {"name": "synthetic_faces", "identities": 6, "train_images": 4}
SETUP = {
    "attack": "inversion_model",
    "private": FACES,
    "public": {**FACES, "population": "public"},
    "protocol": {"identities": 4, "images_per_identity": 3},
}
SPEC: dict[str, Any] = {
    "name": "asked",
    "profile": "smoke",
    "setups": [SETUP],
    "defenses": [
        "none",
        "lpa",
        "loft(rank=2)",
        "tl_dmi(cut=block2.conv1,fresh=true)",
        "tl_dmi(where=range,start=block3.conv1,cut=block4.conv1,fresh=true)",
        "midre",
        "midre(sampler=reject_joint)",
        "midre(area_low=0.2,area_high=0.2)",
        "early_stop(at=0.5)",
    ],
}


TWO_ATTACKERS = {
    **SPEC,
    "setups": [{**SETUP, "attack": {"name": "gmi", **erased}} for erased in ({}, {"erase_high": 0.4})],
    "defenses": ["none", "midre"],
}

TWO_BACKBONES = {
    **SPEC,
    "setups": [{**SETUP, "id": f"seed {seed}", "pretraining": {**FACES, "seed": seed}} for seed in (1, 2)],
    "defenses": ["none", "tl_dmi(cut=block2.conv1)"],
}


def cells_of(spec: dict[str, Any]) -> list[AnalysedCell]:
    return [AnalysedCell(planned.cell, planned.recipes) for planned in resolve(parse_spec(spec)).cells]


@pytest.fixture(scope="module")
def cells() -> list[AnalysedCell]:
    return cells_of(SPEC)


@pytest.fixture(scope="module")
def of_two_setups() -> list[list[AnalysedCell]]:
    return [cells_of(TWO_ATTACKERS), cells_of(TWO_BACKBONES)]


class TestAnalyses(Contract):
    registry: ClassVar[Registry[Any]] = ANALYSES

    def test_says_which_cells_it_needs(self, name: str) -> None:
        assert ANALYSES.get(name).needs and not ANALYSES.get(name).needs.endswith(".")

    def test_one_that_needs_no_sweep_says_so(self, name: str) -> None:
        kind = ANALYSES.get(name)
        assert (kind.needs == NO_SWEEP) == (not ANALYSES.make(name).reads_sweep)

    def test_what_is_not_stored_is_named_before_work_starts(
        self, name: str, cells: list[AnalysedCell], of_two_setups: list[list[AnalysedCell]], tmp_path: Path
    ) -> None:
        analysis = ANALYSES.make(name)
        if not analysis.reads_sweep:
            with pytest.raises(SpecError, match=f"{name} reads no sweep"):
                analyse(analysis, cells, Store.open(tmp_path))
            return
        given = [cells, *of_two_setups]
        cells = next((one for one in given if not analysis.problems(chosen_cells(analysis, one))), cells)
        chosen = chosen_cells(analysis, cells)
        assert analysis.problems(chosen) == []
        needed = {recipe.key.short for recipe in analysis.requires(chosen)}
        with pytest.raises(MissingArtifact, match="not stored yet; `midef run` the sweep first") as caught:
            analyse(analysis, cells, Store.open(tmp_path))
        assert needed and all(short in str(caught.value) for short in needed)

    def test_refuses_a_sweep_without_cells(self, name: str, tmp_path: Path) -> None:
        expected = (
            f"{name}: every cell of the sweep is refused" if ANALYSES.make(name).reads_sweep else "reads no sweep"
        )
        with pytest.raises(SpecError, match=expected):
            analyse(ANALYSES.make(name), [], Store.open(tmp_path))

    def test_other_cells_are_refused_with_what_to_do(
        self, name: str, cells: list[AnalysedCell], tmp_path: Path
    ) -> None:
        reads = ANALYSES.make(name).reads_sweep
        with pytest.raises(SpecError, match=rf"{name} of .*: .*; (add|use) " if reads else f"{name} reads no sweep"):
            analyse(ANALYSES.make(name), cells[2:3], Store.open(tmp_path))
