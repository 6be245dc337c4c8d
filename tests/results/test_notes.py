"""Words around a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.notes import refusal
from midef.results.render import markdown_table, text_table
from midef.results.summary import summarise
from midef.results.table import setup_table

Rows = Callable[..., list[ResultRow]]


def test_without_intervals_the_legend_says_so(cell: Rows) -> None:
    assert "the runs report no intervals" in text_table(summarise(cell("none", 0, 90, 50)))


def test_a_setup_with_anything_measured_or_failed_keeps_its_table(cell: Rows, lost: Rows) -> None:
    for other in (cell("none", 0, 90, 50), lost("none", status="failed")):
        found = summarise([*other, *lost("a")])
        assert refusal(found) == ""
        text = text_table(found)
        assert "test acc %" in text
        assert text.count("refused: a, seed 0, 10 metrics: attack not registered: ppa") == 1


def test_the_seeds_of_a_setup_whose_only_number_is_excluded(cell: Rows, lost: Rows) -> None:
    """A failed defense has no seeds, and does not stand for the undefended model that no result rests on."""
    rows = [row for seed in (0, 1) for row in cell("none", seed, 90, 50, evaluator_accuracy=1.0)]
    text = text_table(summarise([*rows, *lost("a", status="failed")]))
    assert "⊘" in text and "mean over 2 seeds" in text and "0 seeds" not in text


def test_reasons_of_a_refused_setup_are_told_apart(lost: Rows) -> None:
    assert refusal(summarise([*lost("none"), *lost("a", reason="no data"), *lost("b")])) == (
        "attack not registered: ppa (2 cells); no data (1 cell)"
    )


def test_beside_stand_ins_published_numbers_are_called_another_experiment(
    cell: Rows, papers: list[ResultRow], stand_ins: str
) -> None:
    found = summarise(cell("none", 0, 99, 85, stand_ins=stand_ins))
    assert "not measured here, with the published networks, data and budgets" in text_table(found, papers)


def test_published_numbers_of_other_setups_and_defenses(cell: Rows, papers: list[ResultRow]) -> None:
    found = summarise(cell("none", 0, 99, 85, setup="two"))
    assert setup_table(found, papers) == setup_table(found)
    assert text_table(found, papers) == text_table(found)
    lonely = summarise(cell("loft", 0, 99, 85))
    assert "published" not in [column.key for column in setup_table(lonely, papers).columns]
    assert (
        "published, with no row of that label here: none 86.90 / 78.47 ± 4.60; bido 79.85 / 43.53 ± 4.00 †"
        in text_table(lonely, papers)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "matched to 88.2 ± 0.5 (tolerance) on the select split, mean over 3 seeds"),
        ({"seeds": 1}, "matched to 88.2 ± 0.5 (tolerance) on the select split, mean over 1 to 3 seeds"),
        (
            {"tolerance": 0.25},
            "matched to 88.2 ± 0.25 or 88.2 ± 0.5 (tolerance) on the select split, mean over 3 seeds",
        ),
    ],
    ids=["one", "seeds differ", "tolerances differ"],
)
def test_the_facts_say_the_target(
    cell: Rows, matching: Callable[..., dict[str, Any]], changes: dict[str, Any], said: str
) -> None:
    rows = [*cell("none", 0, 90, 50, **matching(88.2)), *cell("a", 0, 88, 30, **matching(88.3, **changes))]
    found = summarise(rows)
    assert said in setup_table(found).facts
    assert said in text_table(found)
    assert said in markdown_table(found)


def test_what_is_not_compared_is_counted_and_the_reference_explained(
    matched_cells: Rows, matched_rows: list[ResultRow]
) -> None:
    said = text_table(summarise([*matched_rows, *matched_cells("unasked", None, 0.0)])).splitlines()
    assert "2 of 6 defenses are not matched; they are shown, and not compared" in said
    assert "1 of 6 defenses is without an accuracy to match; it is shown, and not compared" in said
    by_design = "the undefended model, the reference, is not matched: its accuracy differs by design"
    assert by_design in said
    assert "● on the front: no other matched defense is both at least as accurate and attacked less" in said
    good = text_table(summarise([r for r in matched_rows if r.defense in ("a", "b")]))
    assert "not compared" not in good and by_design not in good


def test_a_comparison_without_a_reference_says_why(
    column_of: Callable[..., dict[str, str]], matched_rows: list[ResultRow]
) -> None:
    found = summarise([r for r in matched_rows if r.defense in ("a", "c")])
    assert column_of(found, "comparison") == {"a": "–", "c": "not matched"}
    said = [line for line in text_table(found).splitlines() if line.startswith("no comparison for ")]
    assert said == ["no comparison for a: the setup has no undefended model (defense 'none') to compare with"]


@pytest.mark.parametrize(("seeds", "is_said"), [(1, True), (2, True), (3, False)])
def test_few_seeds_say_nothing_of_the_differences_between_trainings(cell: Rows, seeds: int, *, is_said: bool) -> None:
    rows = [
        r for d, acc in (("none", 90), ("a", 80)) for s in range(seeds) for r in cell(d, s, acc + s, 50, within=1.0)
    ]
    (legend,) = [line for line in text_table(summarise(rows)).splitlines() if line.startswith("against none: ")]
    assert ("[95 % interval, without the differences between trainings]" in legend) == is_said
    assert legend.endswith("not resolved: the interval holds no change as well as changes up to its ends")


def test_the_front_is_explained_where_there_is_one(cell: Rows, matched_cells: Rows) -> None:
    nobody = [cell("none", 0, 0.4, 0.4), matched_cells("a", 84.1, 30.0)]
    for rows in nobody:
        assert "on the front" not in text_table(summarise(rows))
    assert "● on the front" in text_table(summarise(cell("none", 0, 90, 50)))


@pytest.mark.parametrize(
    ("victims", "said"),
    [
        ("train", "images the target learned are inverted, chance"),
        ("report", "images the target never saw are inverted, chance"),
        ("", "inverted"),
    ],
)
def test_the_facts_say_whose_observed_answers_are_inverted(victims: str, said: str, cell: Rows) -> None:
    table = setup_table(summarise(cell("none", 0, 90, 50, victims=victims)))
    assert (said in table.facts) == bool(victims)


def test_a_note_says_that_the_evaluator_starts_from_published_weights(cell: Rows) -> None:
    said = (
        "the evaluator starts from published weights (ms1m): the images these were learned on may show people that are "
        "attacked here"
    )
    judged = setup_table(summarise(cell("none", 0, 90, 50, evaluator="facenet112, from ms1m")))
    assert said in judged.footnotes
    assert said not in setup_table(summarise(cell("none", 0, 90, 50))).footnotes
