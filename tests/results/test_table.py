"""The table of a setup: columns and cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from midef.core import ResultRow
from midef.results.export import csv_table
from midef.results.render import markdown_table, text_table
from midef.results.summary import interval_choice, summarise
from midef.results.table import setup_table

Rows = Callable[..., list[ResultRow]]


@pytest.mark.parametrize(
    ("seeds", "choice", "legend", "shown"),
    [
        (
            1,
            "within_run",
            "mean over 1 seed [interval within a run, averaged; test acc and attack: 95 % made up; without",
            "[88.0, 92.0]",
        ),
        (2, "within_run", "mean over 2 seeds [interval within a run, averaged", "[88.5, 92.5]"),
        (3, "over_seeds", "mean over 3 seeds [95 % interval over seeds and identities]", "[87.8, 94.2]"),
    ],
)
def test_the_printed_interval_and_what_it_is(cell: Rows, seeds: int, choice: str, legend: str, shown: str) -> None:
    rows = [r for seed in range(seeds) for r in cell("none", seed, 90 + seed, 50, within=2.0)]
    found = summarise(rows)
    assert interval_choice(found) == choice
    table = setup_table(found)
    assert table.interval_legend.startswith(legend)
    assert table.cells[0][1].interval == shown
    assert table.interval_legend in text_table(found)


def test_published_numbers_stand_beside_ours_and_are_marked(cell: Rows, papers: list[ResultRow]) -> None:
    found = summarise([*cell("none", 0, 99, 85), *cell("bido", 0, 90, 60), *cell("loft", 0, 90, 70)])
    table = setup_table(found, papers)
    assert (table.columns[-1].key, table.columns[-1].header) == ("published", "published acc / att@1")
    assert {row[0].text: row[-1].joined for row in table.cells} == {
        "none": "86.90 / 78.47 ± 4.60",
        "bido": "79.85 / 43.53 ± 4.00 †",
        "loft": "–",
    }
    for said in (text_table(found, papers), markdown_table(found, papers)):
        assert "79.85 / 43.53 ± 4.00 †" in said
        assert (
            "published: test accuracy / attack accuracy@1 (%) of a paper, not measured here; ±: sd over classes" in said
        )
        assert "published numbers of none, bido: Table 2" in said
        assert "† bido: text: 43.3" in said
        assert "no row of that label" not in said
    first = next(csv.DictReader(io.StringIO(csv_table(found, papers))))
    assert (first["published_natural_accuracy"], first["published_attack_accuracy_at_1"]) == ("86.9", "78.47")
    assert (first["published_spread"], first["published_source"]) == ("4.6", "Table 2")
    assert (first["natural_accuracy"], first["attack_accuracy_at_1"]) == ("99.0", "85.0")


def test_a_setup_without_matching_says_nothing_of_it(cell: Rows) -> None:
    found = summarise([*cell("none", 0, 90, 50, within=1.0), *cell("a", 0, 80, 20, within=1.0)])
    assert {(r.is_matched, r.match_target, r.match_accuracy, r.match_seeds) for r in found} == {(False, *[None] * 3)}
    assert [column.header for column in setup_table(found).columns] == [
        *("defense", "test acc %", "att@1 %", "att@5 %", "KNN dist", "Delta", "against none", "queries", "attack s"),
        "ok/failed",
    ]
    for said in (text_table(found), markdown_table(found)):
        assert "match" not in said and "3.00" in said


def test_the_accuracy_that_was_matched_stands_beside_the_test_accuracy(
    matched_cells: Rows, column_of: Callable[..., dict[str, str]], matched_rows: list[ResultRow]
) -> None:
    found = summarise([*matched_rows, *matched_cells("unasked", None, 0.0)])
    table = setup_table(found)
    assert tuple((column.key, column.header) for column in table.columns[1:4]) == (
        ("natural_accuracy", "test acc %"),
        ("matched", "matched"),
        ("attack_accuracy_at_1", "att@1 %"),
    )
    assert column_of(found, "matched") == {
        **{"none": "no: 90.2 (+2.0)", "a": "88.4 (+0.2)", "b": "88.2 (+0.0)", "d": "88.0 (-0.2)"},
        **{"c": "no: 84.1 (-4.1)", "e": "no: 93.0 (+4.8)", "unasked": "–"},
    }
    for said in (text_table(found), markdown_table(found)):
        assert "no: 84.1 (-4.1)" in said and "88.4 (+0.2)" in said
        assert "matched: accuracy on the select split (points above the target); no: outside the tolerance" in said


def test_matched_defenses_have_no_delta(
    matched_cells: Rows, column_of: Callable[..., dict[str, str]], matched_rows: list[ResultRow]
) -> None:
    """Over equal accuracies a Delta would be a ratio to noise: 30 points over 2.0 lost and 20 over 1.7."""
    found = summarise([*matched_rows, *matched_cells("stronger", 88.2, 60.04)])
    assert column_of(found, "comparison") == {
        **{"none": "reference", "a": "not resolved (att -30.0)", "b": "not resolved (att -20.0)"},
        **{"d": "not resolved (att -15.0)", "stronger": "not resolved (att +0.0)"},
        **{"c": "not matched", "e": "not matched"},
    }
    headers = {column.key: column.header for column in setup_table(found).columns}
    assert headers["comparison"] == "against none" and "delta" not in headers
    assert "Delta" not in text_table(found)


def test_one_row_that_is_compared_with_nothing_changes_no_interval_of_the_others(cell: Rows) -> None:
    """`guesses` is excluded (chance is 0.5 %) and has one seed; `apart` has two seeds of its own."""
    rows = [r for d in ("none", "a") for seed in range(3) for r in cell(d, seed, 90 + seed, 50, within=2.0)]
    rows += cell("guesses", 0, 0.4, 0.4, within=0.2)
    found = summarise([*rows, *(r for seed in (7, 8) for r in cell("apart", seed, 90 + seed, 50, within=2.0))])
    assert interval_choice(found) == "over_seeds"
    table = setup_table(found)
    assert {cells[0].text: cells[1].interval for cells in table.cells} == {
        **{"none": "[87.8, 94.2]", "a": "[87.8, 94.2]"},
        **{"apart": "", "guesses": ""},
    }
    assert table.interval_legend == "mean over 3 seeds [95 % interval over seeds and identities]"
    assert ", 3 seeds" in table.facts
    assert interval_choice(summarise(cell("guesses", 0, 0.4, 0.4, within=0.2))) == "within_run"


def test_equal_seeds_are_no_interval_without_a_width(cell: Rows, column_of: Callable[..., dict[str, str]]) -> None:
    """That three trainings reach the same is no sign that a fourth would."""
    rows = [r for seed in range(3) for d, acc in (("none", 90.1), ("a", 90.1)) for r in cell(d, seed, acc, 50.1)]
    rows += [r for seed in range(3) for r in cell("b", seed, 80.1, 50.1)]
    found = summarise(rows)
    assert column_of(found, "natural_accuracy") == {"none": "90.1", "a": "90.1", "b": "80.1"}
    assert column_of(found, "comparison") == {
        "none": "reference",
        "a": "not resolved (acc +0.0, att +0.0)",
        "b": "not resolved (acc -10.0, att +0.0)",
    }
    assert (
        setup_table(found).interval_legend == "mean over 3 seeds; the runs report no intervals, and the seeds are equal"
    )
    said = text_table(found)
    assert "up to its ends, or there is no interval" in said


def test_what_is_excluded_is_not_said_to_be_outside_the_tolerance(
    matched_cells: Rows, column_of: Callable[..., dict[str, str]], matched_rows: list[ResultRow]
) -> None:
    found = summarise([*matched_rows, *matched_cells("guesses", 88.2, 30.0, natural=0.4)])
    assert column_of(found, "matched")["guesses"] == "88.2 (+0.0)"
    assert column_of(found, "comparison")["guesses"] == "excluded"
    assert "2 of 6 defenses are not matched; they are shown, and not compared" in text_table(found).splitlines()


def test_an_excluded_undefended_model_is_no_reference(
    cell: Rows, matched_cells: Rows, column_of: Callable[..., dict[str, str]]
) -> None:
    setups = [
        [*cell("none", 0, 0.4, 50, within=0.2), *cell("a", 0, 80, 20, within=1.0)],
        [*matched_cells("none", 90.2, 60.0, natural=0.4), *matched_cells("a", 88.2, 30.0)],
    ]
    for rows in setups:
        found = summarise(rows)
        assert found[0].is_excluded and found[0].trade_off.reason == "excluded"
        assert column_of(found, "comparison") == {"none": "excluded", "a": "–"}
        assert "reference" not in text_table(found) and "reference" not in csv_table(found)
