"""Differences and verdict between pre-training data, from hits that are known, and the setups that are compared."""

from __future__ import annotations

import math

import numpy as np
import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.pretraining_data import Backbone, PretrainingData, compared_of, findings_of, last_frozen
from midef.analysis.stored.accuracies import Run
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.resolve import resolve

PEOPLE = np.arange(40)
CUT = "tl_dmi(cut=a)"


def run(hits: int, correct: int = 40, seed: int = 0) -> Run:
    """Of 40 identities with an image each, of which the first ones are found, and named."""
    return Run(seed, PEOPLE, hits > PEOPLE, PEOPLE, correct > PEOPLE)


def backbone(name: str, **runs: list[Run]) -> Backbone:
    return Backbone(name, f"data of {name}", {CUT if label == "cut" else label: of for label, of in runs.items()})


def cells_of(*overrides: str) -> list[AnalysedCell]:
    planned = resolve(read_spec("tl_dmi_pretraining", overrides), absent=True).cells  # clothing needs files
    return [AnalysedCell(one.cell, one.recipes) for one in planned if not one.refused]


def test_a_difference_is_the_nearest_data_less_the_other_paired_by_identity() -> None:
    """Bonett and Price: with one identity added each way, 21 and 1 of 42 differ; 1.96 is near Student's quantile."""
    near = backbone("near", none=[run(36)], cut=[run(30, correct=38)])
    far = backbone("far", none=[run(36)], cut=[run(10, correct=8)])
    found = findings_of([near, far], freezing={CUT: "a"}, plain="none", about="here")
    assert [(row["setup"], row["defense"]) for row in found.rows] == [
        ("near", "none"),
        ("near", CUT),
        ("far", "none"),
        ("far", CUT),
    ]
    assert found.rows[1]["attack_drop"] is None and found.rows[1]["attack"] == pytest.approx(75.0)
    row = found.rows[3]
    assert (row["attack"], row["attack_drop"]) == (pytest.approx(25.0), pytest.approx(50.0))
    assert (row["natural"], row["natural_drop"]) == (pytest.approx(20.0), pytest.approx(75.0))
    assert (row["pretraining"], row["seeds"], row["images"]) == ("data of far", 1, 40)
    share = 20 / 42
    half = 1.96 * math.sqrt((22 / 42 - share**2) / 42)
    assert row["attack_drop_low"] == pytest.approx(100 * (share - half), abs=1.0)
    assert row["attack_drop_high"] == pytest.approx(100 * (share + half), abs=1.0)
    assert found.rows[2]["attack_drop"] == pytest.approx(0.0)


def test_the_figure_shows_what_freezes() -> None:
    runs = {"none": [run(36)], "nls": [run(0)], "cut": [run(30)]}
    found = findings_of(
        [backbone("near", **runs), backbone("far", **runs)], freezing={CUT: "a"}, plain="none", about=""
    )
    _, attack = found.drawing.panels
    assert [(one.name, list(one.x)) for one in attack.series] == [("near", ["nothing", "a"]), ("far", ["nothing", "a"])]
    assert list(attack.series[0].y) == pytest.approx([90.0, 75.0])


def test_the_last_frozen_unit_is_the_cut() -> None:
    frozen = {cell.label: last_frozen(cell) for cell in cells_of() if cell.label != "none"}
    assert frozen == {f"tl_dmi(cut={cut})": cut for cut in ("block2.conv1", "block3.conv1", "block5.conv1")}


def test_seeds_are_averaged() -> None:
    """Gains of 20, 10 and 30 identities of 40."""
    near = backbone("near", cut=[run(30, seed=0), run(20, seed=1), run(40, seed=2)])
    far = backbone("far", cut=[run(10, seed=0), run(10, seed=1), run(10, seed=2)])
    row = findings_of([near, far], freezing={CUT: "a"}, plain=None, about="here").rows[1]
    assert (row["attack_drop"], row["seeds"], row["images"]) == (pytest.approx(50.0), 3, 120)


@pytest.mark.parametrize(
    ("hits", "words"),
    [
        ((10, 12), "leak more is reproduced in 2 of 2 comparisons"),
        ((10, 30), "leak more is reproduced in 1 of 2 comparisons"),
        ((29, 31), "leak more is not decidable at this size"),
        ((10, 40), "leak more is not reproduced (the reverse is shown in 1 of 2 comparisons, and it in 1)"),
    ],
    ids=["both", "one", "none", "reverse"],
)
def test_the_verdict_counts_comparisons_at_a_cut_alone(hits: tuple[int, int], words: str) -> None:
    near = backbone("near", none=[run(40)], cut=[run(30)])
    others = [backbone(f"far {n}", none=[run(0)], cut=[run(n)]) for n in hits]
    said = findings_of([near, *others], freezing={CUT: "a"}, plain="none", about="here").verdict
    assert words in said and "natural accuracy under TL-DMI is not decidable at this size" in said
    assert f"{CUT}: natural accuracy +0.0 [" in said and "none: natural accuracy" in said


def test_the_named_sweep_has_what_the_analysis_needs() -> None:
    cells = cells_of("seeds=[0,1]")
    assert PretrainingData().problems(cells) == []
    near, hard, clothing = compared_of(cells).values()
    assert [*near] == [*hard] == [*clothing] and len(near) == 4
    assert all([cell.cell.seed for cell in same] == [0, 1] for of in (near, hard, clothing) for same in of.values())
    learned = [next(iter(of.values()))[0].cell.setup.pretraining for of in (near, hard, clothing)]
    assert [data.name for data in learned if data] == ["synthetic_faces", "synthetic_faces", "fashion_mnist"]


def test_the_nearest_setup_is_that_of_the_other_sweeps_of_tl_dmi() -> None:
    stored = [resolve(read_spec(name)).cells for name in ("tl_dmi_part", "tl_dmi_checkpoints")]
    keys = {planned.recipes.scores.key for cells in stored for planned in cells}
    assert {cell.recipes.scores.key for cell in cells_of() if cell.cell.setup.id == "faces-pretrained"} <= keys


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("setups.1.resolution_px=64", "hard-faces-pretrained: other than faces-pretrained in more than"),
        ("defenses=[none,'tl_dmi(where=last,cut=block4.conv1)']", "no cut of TL-DMI stands on two"),
    ],
    ids=["another network", "no cut"],
)
def test_setups_that_cannot_be_compared_are_named(override: str, words: str) -> None:
    (problem,) = PretrainingData().problems(cells_of(override))
    assert problem.startswith(words)
