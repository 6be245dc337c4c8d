from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from midef.analysis import AnalysedCell
from midef.analysis.slow_search import Attacked, SlowSearch, compared_of, findings_of, regained
from midef.core.statistics import identity_interval, wilson_interval
from midef.core.traces import Traces
from midef.stages import BuildContext, ensure
from midef.storage import Store
from midef.sweep.cli.analyse import found
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

SEARCH: dict[str, Any] = {"name": "pool_search", "prior": "renderer", "pool": 8, "iterations": 2}
FACES = {"name": "synthetic_faces", "identities": 6, "train_images": 4}
TINY: dict[str, Any] = {
    "name": "slow",
    "private": FACES,
    "public": {**FACES, "population": "public"},
    "setups": [
        {"id": "short", "attack": SEARCH, "protocol": {"identities": 4}},
        {"id": "long", "attack": {**SEARCH, "iterations": 4}, "protocol": {"identities": 4}},
        {"id": "skipped", "attack": {**SEARCH, "activation": "skipped"}, "protocol": {"identities": 4}},
    ],
    "training": {"epochs": 1, "batch_size": 8},
    "evaluator_training": {"epochs": 1, "batch_size": 8},
    "defenses": ["none", "loft(rank=2)"],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Store]:
    torch.set_num_threads(1)
    sweep, store = resolve(parse_spec(TINY)), Store.open(tmp_path_factory.mktemp("slow") / "store")
    for planned in sweep.cells:
        ensure(planned.recipes.scores, BuildContext(store=store))
    return sweep, store


def test_every_setup_is_compared_with_the_first_one(built: tuple[Sweep, Store]) -> None:
    slow = found(SlowSearch(), *built)
    assert [(row["setup"], row["defense"]) for row in slow.rows] == [
        (setup, defense) for setup in ("short", "long", "skipped") for defense in ("none", "loft(rank=2)")
    ]
    assert [row["gain"] for row in slow.rows[:2]] == [0.0, 0.0] and all(row["identities"] == 4 for row in slow.rows)
    gradient, confidence, bars = slow.drawing.panels
    assert [list(series.x) for series in gradient.series] == [[0, 1]] * 2 and gradient.log_y
    assert [series.name for series in confidence.series] == ["none", "loft(rank=2)"]
    assert [list(series.x) for series in bars.series] == [["short", "long", "skipped"]] * 2
    shown = slow.rows[0]
    assert bars.series[0].y[0] == shown["attack"]


def test_other_targets_and_seeds_are_left_out() -> None:
    other = {**TINY["setups"][0], "id": "other", "training": {"epochs": 2}}
    spec = {**TINY, "training": {}, "setups": [*TINY["setups"], other], "seeds": [3, 4]}
    cells = [AnalysedCell(planned.cell, planned.recipes) for planned in resolve(parse_spec(spec)).cells]
    compared = compared_of(cells)
    assert {cell.cell.setup.id for cell in cells} == {"short", "long", "skipped", "other"}
    assert {cell.cell.setup.id for cell in compared} == {"short", "long", "skipped"}
    assert {cell.cell.seed for cell in compared} == {3} and len(compared) == 6


def hits(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


ALL, NONE = hits(*[1.0] * 8), hits(*[0.0] * 8)


@pytest.mark.parametrize(
    ("stronger", "expected"),
    [
        (hits(*[1.0] * 7, 0.0), ("slow", 0.875)),
        (hits(1.0, *[0.0] * 7), ("not slow", 0.125)),
        (hits(*[1.0] * 4, *[0.0] * 4), ("undecided", 0.5)),
        (NONE, ("not slow", 0.0)),
    ],
)
def test_half_of_the_protection_is_the_line(stronger: dict[int, float], expected: tuple[str, float]) -> None:
    """Of 8 identities the defense took all. Gains of 7: mean 0.875, half width 2.3646 * sqrt(0.125) / sqrt(8) = 0.296,
    so the interval of the gain less 0.5 is 0.375 -+ 0.296, above 0; of 1 it is the mirror image, of 4 it holds 0."""
    assert regained(ALL, NONE, stronger) == expected


def test_no_protection_is_none_that_could_be_regained() -> None:
    assert regained(ALL, hits(*[1.0] * 7, 0.0), ALL) == ("unprotected", None)


def attacked(setup: str, defense: str, of: dict[int, float], norm: float) -> Attacked:
    steps = np.arange(10)
    series = {
        "gradient_norm": np.full((len(of), 10), norm, dtype=np.float32),
        "confidence": np.full((len(of), 10), 0.5, dtype=np.float32),
    }
    return Attacked(
        setup=setup,
        defense=defense,
        traces=Traces(steps, series, np.arange(len(of)), np.zeros(len(of), dtype=int)),
        hits=of,
        ends=identity_interval(list(of.values()), list(of))[:2],
    )


@pytest.mark.parametrize(
    ("last", "expected", "regains"),
    [
        (
            hits(*[1.0] * 7, 0.0),
            "a slow attack, at least half of the protection is regained by B",
            "B 87.5 % (gain 87.5 [57.9, 117.1], 88 % regained, more than half)",
        ),
        (
            NONE,
            "not a slow attack, no stronger one regains half of the protection",
            "B 0.0 % (gain 0.0 [0.0, 0.0], 0 % regained, less than half)",
        ),
        (
            hits(*[1.0] * 4, *[0.0] * 4),  # half width 2.3646 * sqrt(2 / 7) / sqrt(8) = 0.447
            "B finds more, whether half of the protection is not decidable at this size",
            "B 50.0 % (gain 50.0 [5.3, 94.7], 50 % regained, half is within the interval)",
        ),
        (
            hits(1.0, 1.0, 1.0, *[0.0] * 5),
            "not decidable at this size",
            "B 37.5 % (gain 37.5 [-5.8, 80.8], 38 % regained, half is within the interval)",
        ),
    ],
)
def test_the_verdict_is_the_best_of_the_stronger_attacks(last: dict[int, float], expected: str, regains: str) -> None:
    said = findings_of(
        [
            attacked("first", "none", ALL, 2.0),
            attacked("first", "loft", NONE, 0.5),
            attacked("A", "loft", NONE, 0.5),
            attacked("B", "loft", last, 0.5),
        ],
        "none",
        "x",
    )
    begin = "loft: attack 0.0 against 100.0 % undefended, median gradient norm 0.5 against 2: "
    assert said.verdict == f"{begin}{expected}; A 0.0 % (gain 0.0 [0.0, 0.0], 0 % regained, less than half); {regains}."
    assert said.rows[1]["gradient_end"] == 0.5
    # 8 of 8 and 0 of 8 identities have Wilson's interval, which has a width
    assert said.rows[0]["attack_low"] == pytest.approx(100 * wilson_interval(8, 8)[0])
    assert said.rows[1]["attack_high"] == pytest.approx(100 * wilson_interval(0, 8)[1])
    assert said.rows[3]["gain"] == pytest.approx(100 * sum(last.values()) / 8)


def test_an_attack_without_steps_is_refused() -> None:
    spec = {**TINY, "setups": [{**TINY["setups"][0], "attack": "inversion_model"}]}
    cells = [AnalysedCell(planned.cell, planned.recipes) for planned in resolve(parse_spec(spec)).cells]
    (problem,) = SlowSearch().problems(cells)
    assert problem == "inversion_model records no gradient; use an attack that does, such as pool_search"


def test_traces_that_are_not_there_are_named(built: tuple[Sweep, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    from midef.core.errors import MissingArtifact

    monkeypatch.setattr("midef.storage.traces.NAME", "gone.npz")
    with pytest.raises(MissingArtifact, match="stored no traces of none in short; run the sweep into a new store"):
        found(SlowSearch(), *built)
