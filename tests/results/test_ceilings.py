"""What true private images reach stands beside a number; estimates are marked; what does not apply is not shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

from midef.core import ResultRow
from midef.results.export import csv_table
from midef.results.render import text_table
from midef.results.summary import summarise
from midef.results.table import Table, setup_table

Row = Callable[..., ResultRow]
Rows = Callable[..., list[ResultRow]]
TRAIT: dict[str, Any] = {"column": "trait@1 %", "larger_is": "less private", "chance": 0.8}


def table_of(rows: list[ResultRow]) -> Table:
    return setup_table(summarise(rows))


def cells_of(table: Table, key: str) -> list[str]:
    at = [column.key for column in table.columns].index(key)
    return [cells[at].joined for cells in table.cells]


def test_a_known_number_has_its_ceiling_above_and_no_mark(row: Row, cell: Rows) -> None:
    table = table_of([*cell("none", 0, 90, 50), row("trait_accuracy", 40.0, ceiling=100.0, **TRAIT)])
    assert cells_of(table, "trait_accuracy") == ["40.0"]
    assert "trait@1 ceiling 100.0 %, 1 seed" in table.facts
    assert [legend for legend in table.legends if "ceiling" in legend] == [
        "ceiling: what true private images reach under the same judge"
    ]


def test_an_estimate_is_marked_in_the_cell_and_explained_below(row: Row, cell: Rows) -> None:
    guessed = {**TRAIT, "ceiling": 92.76, "is_estimate": True, "low": 30.0, "high": 50.0, "interval": "95 % made up"}
    rows = [*cell("none", 0, 90, 50), row("trait_accuracy", 40.0, **guessed)]
    table = table_of(rows)
    assert cells_of(table, "trait_accuracy") == ["~40.0 [30.0, 50.0]"]
    assert "trait@1 ceiling ~92.8 %" in table.facts
    assert "~ an estimate that a network makes from the images; its ceiling shows how well" in text_table(
        summarise(rows)
    )
    (line,) = csv.DictReader(io.StringIO(csv_table(summarise(rows))))
    assert (line["trait_accuracy"], line["trait_accuracy_ceiling"]) == ("40.0", "92.76")
    assert line["trait_accuracy_is_estimate"] == "1"


def test_ceilings_that_differ_are_a_range(row: Row, cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)]
    rows += [row("trait_accuracy", 40.0, ceiling=95.0, **TRAIT), row("trait_accuracy", 20.0, "a", ceiling=9.5, **TRAIT)]
    assert "trait@1 ceiling 9.5 to 95.0 %" in table_of(rows).facts


def test_a_ceiling_that_is_no_percentage_is_neither_written_nor_judged_as_one(row: Row, cell: Rows) -> None:
    distance = {"unit": "distance", "column": "distance", "larger_is": "more private", "ceiling": 0.9}
    (summary,) = summarise([*cell("none", 0, 90, 50), row("distance", 0.4, **distance)])
    assert not summary.gates and "0.9 %" not in setup_table([summary]).facts


def test_numbers_without_a_ceiling_say_nothing_of_one(cell: Rows) -> None:
    rows = cell("none", 0, 90, 50)
    assert "ceiling" not in text_table(summarise(rows)) + csv_table(summarise(rows))


REFUSED: dict[str, Any] = {**TRAIT, "status": "refused", "reason": "needs identities that are drawn from traits"}


def test_a_metric_that_applies_to_no_cell_of_the_setup_is_not_shown(row: Row, cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)]
    rows += [row("trait_accuracy", None, defense, **REFUSED) for defense in ("none", "a")]
    table = table_of(rows)
    assert "trait_accuracy" not in [column.key for column in table.columns]
    assert table.problems == () and "trait" not in csv_table(summarise(rows))


def test_a_cell_that_was_refused_as_a_whole_still_says_why(row: Row, cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50), row("natural_accuracy", None, "a", **{**REFUSED, "column": "test acc %"})]
    rows += [row("trait_accuracy", None, defense, **REFUSED) for defense in ("none", "a")]
    assert "trait_accuracy" not in [column.key for column in table_of(rows).columns]
    (problem,) = table_of(rows).problems
    assert problem == (
        "refused: a, seed 0, natural_accuracy, trait_accuracy: needs identities that are drawn from traits"
    )


def test_a_metric_that_failed_somewhere_keeps_its_line(row: Row, cell: Rows) -> None:
    failed = {**REFUSED, "status": "failed", "reason": "no such network"}
    table = table_of([*cell("none", 0, 90, 50), row("trait_accuracy", None, **failed)])
    assert table.problems == ("failed: none, seed 0, trait_accuracy: no such network",)


def test_a_metric_that_was_refused_for_one_defense_alone_says_why(row: Row, cell: Rows) -> None:
    """Others have the column, so an empty cell in it needs its reason."""
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)]
    rows += [row("trait_accuracy", 40.0, **TRAIT), row("trait_accuracy", None, "a", **REFUSED)]
    table = table_of(rows)
    assert cells_of(table, "trait_accuracy") == ["40.0", "–"]
    assert table.problems == (f"refused: a, seed 0, trait_accuracy: {REFUSED['reason']}",)
