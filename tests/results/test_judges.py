"""Evaluator and traits on the same images: where they disagree about a defense it is said once, else nothing is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from midef.core import ResultRow
from midef.core.outcomes import Outcomes
from midef.core.statistics import identity_interval
from midef.results.export import csv_table
from midef.results.render import markdown_table, text_table
from midef.results.summary import SummaryRow, summarise
from midef.results.table import setup_table

Row = Callable[..., ResultRow]
Cells = Callable[..., list[ResultRow]]
PEOPLE, EACH = 120, 2
TRAIT: dict[str, Any] = {"column": "trait@1 %", "larger_is": "less private", "ceiling": 95.0}


def found(percent: float, first: int = 0) -> np.ndarray:
    """Success [people, images] of so many percent of the people, from the `first` on."""
    hits = np.zeros((PEOPLE, EACH), dtype=int)
    hits[(first + np.arange(round(percent / 100 * PEOPLE))) % PEOPLE] = 1
    return hits


@pytest.fixture
def cells(row: Row, judged: Cells) -> Cells:
    """A cell judged by both: percent of the people that the evaluator takes for the right one, and that traits do."""

    def make(defense: str, evaluator: float, traits: float, seed: int = 0, **changes: Any) -> list[ResultRow]:
        labels, hits = np.repeat(np.arange(PEOPLE), EACH), found(traits).ravel()
        low, high, kind = identity_interval(hits, labels)
        about = {
            **{"low": 100 * low, "high": 100 * high, "interval": kind, "chance": 0.5},
            **{"outcomes": Outcomes.of(hits, labels, "cd" * 8).text, **TRAIT, **changes},
        }
        return [
            *judged(defense, seed, found(95), found(evaluator)),
            row("trait_accuracy", 100 * float(hits.mean()), defense, seed, **about),
        ]

    return make


def said(rows: list[ResultRow]) -> list[str]:
    summaries = summarise(rows)
    lines = [line for line in setup_table(summaries).footnotes if line.startswith("judges")]
    for table in (text_table(summaries), markdown_table(summaries)):
        assert table.count("judges disagree") == len(lines)
    return lines


def test_a_defense_that_only_the_evaluator_believes_is_named(cells: Cells) -> None:
    (line,) = said([*cells("none", 60, 50), *cells("a", 20, 49), *cells("b", 30, 25)])
    assert line.startswith("judges disagree about a: against none the leak above chance changes by -67 % [-8")
    assert " for the evaluator (att@1), by -2 % [-" in line and line.endswith("] in traits (trait@1)")


def test_a_defense_that_only_the_traits_believe_is_named(cells: Cells) -> None:
    (line,) = said([*cells("none", 60, 50), *cells("a", 60, 15)])
    assert "changes by +0 % [" in line and ", by -71 % [-" in line


def test_a_leak_that_rises_for_one_and_falls_for_the_other_is_named(cells: Cells) -> None:
    (line,) = said([*cells("none", 40, 50), *cells("a", 70, 20)])
    assert "changes by +76 % [+" in line and ", by -61 % [-" in line


def test_estimates_are_marked_in_the_sentence(cells: Cells) -> None:
    guessed = {"is_estimate": True}
    (line,) = said([*cells("none", 60, 50, **guessed), *cells("a", 20, 49, **guessed)])
    assert ", by ~-2 % [" in line


@pytest.mark.parametrize(
    ("none", "defended"),
    [((60, 50), (20, 18)), ((60, 50), (60, 50)), ((80, 20), (40, 10)), ((80, 20), (20, 8)), ((30, 60), (36, 70))],
    ids=["both fall", "neither", "half of another level", "few hits", "both rise"],
)
def test_agreement_says_nothing(cells: Cells, none: tuple[float, float], defended: tuple[float, float]) -> None:
    """Also where the levels differ so much that the intervals in points do not overlap: half of a leak is half."""
    assert said([*cells("none", *none), *cells("a", *defended)]) == []


DISAGREEING = ((60, 50), (20, 49))


def test_what_one_judge_cannot_see_is_no_disagreement(cells: Cells) -> None:
    none, defended = DISAGREEING
    blind = {"ceiling": 49.0}
    assert said([*cells("none", *none, **blind), *cells("a", *defended, **blind)]) == []
    assert said([*cells("none", 60, 0), *cells("a", 20, 0)]) == [], "traits see no leak at all"
    assert said([*cells("none", *none)[:-1], *cells("a", *defended)]) == [], "nothing to compare with"
    assert said(cells("a", *defended)) == [], "no undefended model"


def test_intervals_need_not_be_paired_and_are_wider_then(cells: Cells) -> None:
    rows = [*cells("none", 60, 50), *cells("a", 10, 49, outcomes="")]
    assert len(said(rows)) == 1


def test_several_seeds_are_one_sentence(cells: Cells) -> None:
    none, defended = DISAGREEING
    rows = [row for seed in range(3) for row in (*cells("none", *none, seed), *cells("a", *defended, seed))]
    assert len(said(rows)) == 1


def test_a_seed_without_traits_leaves_them_out(cells: Cells) -> None:
    none, defended = DISAGREEING
    rows = [*cells("none", *none), *cells("none", *none, 1), *cells("a", *defended), *cells("a", *defended, 1)[:-1]]
    assert said(rows) == []


def test_programs_get_the_difference_and_the_sentence(cells: Cells) -> None:
    none, defended = DISAGREEING
    summaries = summarise([*cells("none", *none), *cells("a", *defended), *cells("b", 30, 25)])
    lines = {line["defense"]: line for line in csv.DictReader(io.StringIO(csv_table(summaries)))}
    assert lines["a"]["judges_disagree"].startswith("judges disagree about a") and not lines["b"]["judges_disagree"]
    drop = [float(lines["b"][name]) for name in ("trait_drop_low", "trait_drop", "trait_drop_high")]
    assert drop == sorted(drop) and drop[1] == pytest.approx(25.0) and not lines["none"]["trait_drop"]


# ---------------------------------------------------------------- the ceiling as a gate


def marks(rows: list[ResultRow]) -> list[SummaryRow]:
    return [summary for summary in summarise(rows) if any("ceiling" in gate.subject for gate in summary.gates)]


@pytest.mark.parametrize(("ceiling", "is_noted"), [(49.96, True), (50.0, False), (None, False)])
def test_a_judge_that_misses_most_true_images_is_noted(cells: Cells, ceiling: float | None, is_noted: bool) -> None:
    rows = [*cells("none", 60, 20, ceiling=ceiling), *cells("a", 60, 20, ceiling=ceiling)]
    noted = marks(rows)
    assert len(noted) == (2 if is_noted else 0)
    text = "! every defense here: trait@1 is too low: true private images reach 49.96 % there, below 50 %"
    assert (text in setup_table(summarise(rows)).footnotes) == is_noted
    assert not any(summary.is_excluded for summary in noted)
