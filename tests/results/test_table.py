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
    assert (table.columns[-1].key, table.columns[-1].header) == ("published", "published")
    assert {row[0].text: row[-1].joined for row in table.cells} == {
        "none": "pub. 86.90 / 78.47 ± 4.60",
        "bido": "pub. 79.85 / 43.53 ± 4.00 †",
        "loft": "–",
    }
    for said in (text_table(found, papers), markdown_table(found, papers)):
        assert "pub. 79.85 / 43.53 ± 4.00 †" in said
        assert "pub.: test accuracy / attack accuracy@1 (%) as published, not measured here; ±: sd over classes" in said
        assert "pub. source of none, bido: Table 2" in said
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
