"""Tables of the benchmarks, from rows made by hand: orderings, two judges of the same images, published numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from judges import table as judges_table
from orderings import Claims, table
from published_table import Published
from published_table import table as published_table
from training_course import shown_epochs
from training_course import table as course_table

from midef.core import ResultRow
from midef.core.errors import MissingArtifact
from midef.core.recipe import ArtifactKey
from midef.storage import Store
from tests.results.conftest import a_judged_cell, a_lost_cell

MANY, FEW = np.ones((40, 3), int), np.zeros((40, 3), int)
FEW[:4] = 1
NATURAL = np.ones((40, 5), int)
CLAIMS = """
sweeps: [s]
asked:
  first: {setups: [elsewhere, one]}
  second: {setups: [two]}
claims:
  - {paper: A, less: strong, more: none}
  - {paper: B, less: none, more: strong}
  - {paper: C, less: strong, more: strong}
  - {paper: D, less: absent, more: none}
"""


def rows_by_two_judges(second: np.ndarray) -> list:  # type: ignore[type-arg]
    """Two defenses by two evaluators; `second` is what the less accurate one says of the defended target."""
    rows = []
    for defense, mine, other in (("none", MANY, MANY), ("strong", FEW, second)):
        made = {"reconstructions_key": f"reconstructions-{defense}"}
        rows += a_judged_cell(
            defense, 0, NATURAL, mine, setup="one", evaluator="knows", evaluator_accuracy=99.8, **made
        )
        rows += a_judged_cell(
            defense, 0, NATURAL, other, setup="two", evaluator="guesses", evaluator_accuracy=83.5, **made
        )
    return rows


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS)
    return Claims.read(path)


def cells(text: str, line: int) -> list[str]:
    return [cell.strip() for cell in text.splitlines()[line].strip("|").split("|")]


def test_an_ordering_holds_where_an_interval_shows_it(claims: Claims) -> None:
    text = table(claims, rows_by_two_judges(MANY))
    assert cells(text, 0)[3:] == ["first, points", "second, points", "test acc, points", "holds"]
    assert cells(text, 2)[3].startswith("-90.0 [") and cells(text, 2)[4].startswith("+0.0 [")
    assert [cells(text, line)[-1] for line in range(2, 6)] == [
        "yes, by first alone",
        "**reversed**, by first alone",
        "not resolved",
        "not run",
    ]


def test_two_that_agree_and_two_that_do_not(claims: Claims) -> None:
    assert cells(table(claims, rows_by_two_judges(FEW)), 2)[-1] == "yes, by both"
    worse = [row for row in rows_by_two_judges(FEW) if row.setup == "one"]
    better = [
        row
        for defense, hits in (("none", FEW), ("strong", MANY))
        for row in a_judged_cell(defense, 0, NATURAL, hits, setup="two", evaluator="guesses")
    ]
    assert cells(table(claims, worse + better), 2)[-1] == "contradiction: less by first, more by second"


def test_a_target_that_guesses_shows_no_ordering(claims: Claims) -> None:
    """Where the target learned nothing, little leaks whatever the defense does."""
    rows = [row for row in rows_by_two_judges(MANY) if row.defense == "none"]
    for setup, judge in (("one", "knows"), ("two", "guesses")):
        rows += a_judged_cell("strong", 0, np.zeros((40, 5), int), FEW, setup=setup, evaluator=judge)
    text = table(claims, rows)
    assert cells(text, 2)[3:] == cells(text, 3)[3:] == ["⊘", "⊘", "-", "not compared"]
    assert cells(text, 5)[3:] == ["-", "-", "-", "not run"]


def test_defenses_of_other_seeds_are_not_compared(claims: Claims) -> None:
    rows = [row for row in rows_by_two_judges(FEW) if row.defense == "none"]
    rows += a_judged_cell("strong", 1, NATURAL, FEW, setup="one", evaluator="knows")
    assert cells(table(claims, rows), 2)[3:] == ["-", "-", "-", "not compared"]


def test_cells_of_two_sweeps_that_are_not_the_same_are_refused(claims: Claims) -> None:
    """They share a setup's id and not the attack on one target: one of them would be taken without a word."""
    rows = rows_by_two_judges(FEW)
    again = [replace(row, sweep="t") for row in rows]
    assert table(claims, rows + again) == table(claims, rows)
    other = [replace(row, reconstructions_key="others") for row in again if row.defense == "none"]
    with pytest.raises(ValueError, match=r"one: none is not the same in the sweeps s and t \(seed 0\); give one of"):
        table(claims, rows + other)


def test_a_metric_that_is_not_compared_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS.replace("[two]}", "[two], metric: coverage}"))
    with pytest.raises(ValueError, match="metric must be one of attack_accuracy, trait_accuracy, got coverage"):
        Claims.read(path)


def test_the_same_images_by_two_judges() -> None:
    """Of the defended images the first judge takes 10 % for the person; the second 40 %, those among them."""
    second = FEW.copy()
    second[4:16] = 1
    text = judges_table(rows_by_two_judges(second))
    assert text.startswith("Accuracy on the people's test images: knows 99.8 %, guesses 83.5 %.")
    undefended, defended = cells(text, 4), cells(text, 5)
    assert undefended[4] == undefended[6] == "reference" and undefended[7:9] == ["0", "0"]
    assert defended[3].startswith("10.0 [") and defended[4].startswith("-90.0 [")
    assert defended[5].startswith("40.0 [") and defended[6].startswith("-60.0 [")
    assert defended[7:] == ["0", "30", "by both: less"]


def test_a_cell_that_was_lost_takes_no_accuracy_from_its_judge() -> None:
    lost = a_lost_cell("gone", setup="one", evaluator="knows", evaluator_accuracy=None)
    lost += a_lost_cell("gone", setup="two", evaluator="guesses", evaluator_accuracy=None)
    text = judges_table([*rows_by_two_judges(FEW), *lost])
    assert text.startswith("Accuracy on the people's test images: knows 99.8 %, guesses 83.5 %.")
    assert cells(text, 6)[1:] == ["gone", *["-"] * 8]


def test_one_judge_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="two evaluators were expected, these results have knows"):
        judges_table([row for row in rows_by_two_judges(FEW) if row.setup == "one"])


PUBLISHED = """table,private,defense,params,setup,ours,accuracy,attack_accuracy,distortion,error
I,MNIST,NoDef,,mnist,none,99.98,94.8,,0.88
I,MNIST,LPA,,mnist,lpa(radius=0.1),99.98,74.7,0.0001,0.89
I,MNIST,LFP,,mnist,lfp,94.96,96.5,0.07,0.88
II,MNIST,LPA,,mnist,lpa,1,1,1,1
"""


def measured(defense: str, seed: int, metric: str, value: float) -> ResultRow:
    row, *_ = a_judged_cell(defense, seed, NATURAL, MANY, setup="mnist")
    return replace(row, metric=metric, value=value)


def rows_of_answers(attacks: dict[str, list[float]]) -> list[ResultRow]:
    """By defense and seed; distortions are ten times the published ones."""
    return [
        measured(defense, seed, metric, value)
        for defense, of_seeds in attacks.items()
        for seed, attack in enumerate(of_seeds)
        for metric, value in (
            *(("attack_accuracy_by_target", attack), ("natural_accuracy", 99.0)),
            *(("confidence_distortion", 0.001), ("reconstruction_error_normalised", 100 - attack)),
        )
    ]


@pytest.fixture
def published(tmp_path: Path) -> list[Published]:
    path = tmp_path / "published.csv"
    path.write_text(PUBLISHED)
    return Published.read(path)


def test_published_numbers_stand_beside_ours(published: list[Published]) -> None:
    lpa = "lpa(radius=0.1,inverter_width=16)"
    rows = rows_of_answers({"none": [95.0, 96, 97], lpa: [75.0, 76.5, 77], "lpa(radius=0.2)": [1.0, 1, 1]})
    text = published_table(published, ["I"], rows)
    assert [cells(text, line)[2] for line in range(2, 5)] == ["none", "lpa(radius=0.1)", "LFP"]
    assert cells(text, 3)[3:12] == ["3", "99.00", "99.98", "0.001", "0.0001", "76.2", "74.7", "-", "23.8333"]
    assert cells(text, 2)[-1] == "reference" and cells(text, 4)[-1] == "not run"
    assert cells(text, 3)[-1] == (
        "attack **less**; attack by the evaluator: nothing to compare with; error **larger**; same test accuracy; "
        "distortion 10 times the paper's"
    )


def test_a_verdict_needs_three_seeds_and_an_interval_without_zero(published: list[Published]) -> None:
    lpa = "lpa(radius=0.1)"
    noisy = published_table(published, ["I"], rows_of_answers({"none": [95.0, 60, 97], lpa: [75.0, 76, 77]}))
    assert "attack: no change shown" in cells(noisy, 3)[-1]
    few = published_table(published, ["I"], rows_of_answers({"none": [95.0, 95.5], lpa: [75.0, 76]}))
    assert "attack less in 2 seeds, not shown" in cells(few, 3)[-1]


def test_the_course_of_an_attackers_network_is_shown_by_epoch() -> None:
    """Of the network that rebuilt the images; one of an older midef, or of another kind, has no line."""
    key = {cell: f"reconstructions/{cell}" for cell in ("new", "old", "searched", "gone")}
    rows = [replace(a_judged_cell(d, 0, NATURAL, MANY)[0], reconstructions_key=k) for d, k in key.items()]
    inputs = {"new": ("split", "inverter"), "old": ("split", "inverter"), "searched": ("split", "target")}
    facts = {"new": {"held_out_mse_by_epoch": [0.5, 0.25, 0.125, 0.0625, 0.05]}}

    class Artifacts:
        def recipe(self, asked: ArtifactKey) -> SimpleNamespace:
            if asked.digest not in inputs:
                raise MissingArtifact(str(asked))
            parts = {kind: SimpleNamespace(kind=kind, key=(asked.digest, kind)) for kind in inputs[asked.digest]}
            return SimpleNamespace(inputs=parts)

        def meta(self, asked: tuple[str, str]) -> dict[str, object]:
            return {"facts": facts.get(asked[0], {}) if asked[1] == "inverter" else {}}

    store = cast("Store", SimpleNamespace(artifacts=Artifacts()))
    lines = course_table(store, rows).splitlines()
    assert cells(lines[0], 0)[3:] == ["epoch 1", "epoch 2", "epoch 4", "epoch 5"]
    assert [cells(line, 0)[1:] for line in lines[2:]] == [["new", "0", "0.5000", "0.2500", "0.0625", "0.0500"]]
    with pytest.raises(ValueError, match="no inversion network"):
        course_table(store, rows[1:])
    assert [shown_epochs(n) for n in (1, 2, 3, 8, 24)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 16, 24]]
