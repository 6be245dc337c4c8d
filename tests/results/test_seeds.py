"""Everything in a setup is over the seeds that its defenses share, and what is not says so."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.compare import compared_seeds
from midef.results.export import csv_table
from midef.results.render import markdown_table, text_table
from midef.results.summary import SummaryRow, summarise
from midef.results.table import setup_table

Rows = Callable[..., list[ResultRow]]
ByDefense = Callable[[list[ResultRow]], dict[str, SummaryRow]]


SEEDS: dict[str, tuple[list[set[int]], int | None, set[int]]] = {
    "equal": ([{0, 1}, {0, 1}], 0, {0, 1}),
    "the undefended model has more": ([{0, 1, 2}, {0}], 0, {0}),
    "a defense has more": ([{0}, {0, 1, 2}], 0, {0}),
    "one shares none": ([{0, 1}, {0, 1}, {5}], 0, {0, 1}),
    "no seed of all, most share one": ([{0, 1, 2}, {0}, {1, 2}, {1}], 0, {1}),
    "those who share it share more": ([{0, 1, 2}, {0}, {1, 2}, {1, 2}], 0, {1, 2}),
    "as many share it and more seeds": ([{0, 1, 2}, {0}, {1, 2}], 0, {1, 2}),
    "the undefended model decides": ([{9}, {0, 1}, {0, 1}], 0, {9}),
    "without an undefended model": ([{0, 1}, {1, 2}, {7}], None, {1}),
    "an undefended model without results": ([set(), {1, 2}, {2}], 0, {2}),
    "nothing": ([set(), set()], 0, set()),
}


@pytest.mark.parametrize(("pairs", "reference", "expected"), SEEDS.values(), ids=SEEDS)
def test_the_seeds_that_are_compared(pairs: list[set[int]], reference: int | None, expected: set[int]) -> None:
    assert compared_seeds([frozenset(seeds) for seeds in pairs], reference) == expected


def some_seeds(cell: Rows, defense: str, numbers: dict[int, tuple[float, float]], **changes: Any) -> list[ResultRow]:
    return [
        r for seed, (acc, attack) in numbers.items() for r in cell(defense, seed, acc, attack, within=1.0, **changes)
    ]


def test_a_row_shows_the_numbers_that_its_difference_is_of(cell: Rows, by_defense: ByDefense) -> None:
    """The undefended model has 90.0 over three seeds and 85.0 on the one that the defense has."""
    rows = some_seeds(cell, "none", {0: (85, 40), 1: (92, 50), 2: (93, 60)})
    rows += some_seeds(cell, "midre", {0: (79, 20)})
    found = by_defense(rows)
    reference, row = found["none"], found["midre"]
    assert (reference.natural_accuracy.mean, reference.attack_accuracy_at_1.mean) == (85, 40)
    assert row.trade_off.utility is not None and row.trade_off.attack is not None
    for metric, difference in (
        ("natural_accuracy", row.trade_off.utility),
        ("attack_accuracy_at_1", row.trade_off.attack),
    ):
        before, after = (one.estimate(metric).mean for one in (reference, row))
        assert before is not None and after is not None
        assert difference.drop == before - after
    assert row.trade_off.delta_text == "3.33"
    for said in (text_table(list(found.values())), markdown_table(list(found.values()))):
        assert "85.0 [84.0, 86.0]" in said and "90.0" not in said
        assert "seeds 1, 2 of none: not shown, midre has seed 0 only" in said
        assert "1 seed" in said and "mean over 1 seed" in said
    lines = list(csv.DictReader(io.StringIO(csv_table(list(found.values())))))
    assert [(line["natural_accuracy"], line["seeds"], line["shown_seeds"]) for line in lines] == [
        ("85.0", "3", "0"),
        ("79.0", "1", "0"),
    ]


def test_the_front_is_of_the_same_seeds(cell: Rows, by_defense: ByDefense) -> None:
    """Over all seeds `b` would be attacked most; on seed 0, which `a` has, it is attacked least."""
    rows = some_seeds(cell, "none", {0: (90, 50), 1: (90, 50)}) + some_seeds(cell, "a", {0: (80, 30)})
    rows += some_seeds(cell, "b", {0: (80, 20), 1: (80, 60)})
    assert [d for d, r in by_defense(rows).items() if r.is_on_front] == ["none", "b"]
    assert list(by_defense(rows)) == ["none", "b", "a"]
    assert "seed 1 of none, b: not shown, a has seed 0 only" in text_table(list(by_defense(rows).values()))


def test_matched_defenses_are_compared_on_the_same_seeds(
    cell: Rows, matching: Callable[..., dict[str, Any]], by_defense: ByDefense
) -> None:
    rows = some_seeds(cell, "none", {0: (90, 50), 1: (90, 50)}, **matching(90.0))
    rows += some_seeds(cell, "a", {0: (88, 30)}, **matching(88.2))
    rows += some_seeds(cell, "b", {0: (88, 20), 1: (88, 60)}, **matching(88.1))
    rows += some_seeds(cell, "far", {1: (70, 1)}, **matching(70.0))
    found = by_defense(rows)
    assert [d for d, r in found.items() if r.is_on_front] == ["b"]
    assert {d: r.shown_seeds for d, r in found.items()} == {"none": (0,), "b": (0,), "a": (0,), "far": (1,)}


def test_a_row_without_the_seeds_of_the_others_is_shown_marked_and_compared_with_nothing(
    cell: Rows, by_defense: ByDefense
) -> None:
    rows = some_seeds(cell, "none", {0: (90, 50), 1: (92, 52)}) + some_seeds(cell, "a", {0: (80, 20), 1: (82, 22)})
    rows += some_seeds(cell, "b", {5: (99, 1)})
    found = by_defense(rows)
    lonely = found["b"]
    assert (lonely.natural_accuracy.mean, lonely.shown_seeds, lonely.has_own_seeds) == (99, (5,), True)
    assert not lonely.is_on_front and lonely.trade_off.delta is None
    assert [d for d, r in found.items() if r.is_on_front] == ["none", "a"]
    assert list(found) == ["none", "a", "b"]
    assert (found["none"].natural_accuracy.mean, found["none"].has_own_seeds) == (91, False)
    table = setup_table(list(found.values()))
    assert [cells[0].joined for cells in table.cells] == ["none", "a", "b (seed 5)"]
    assert "b: over seed 5, the others over seeds 0, 1: compared with nothing" in table.footnotes
    assert not any(line.startswith("no comparison") for line in table.footnotes)


def test_a_metric_that_failed_leaves_its_seed_out(
    cell: Rows, row: Callable[..., ResultRow], by_defense: ByDefense
) -> None:
    rows = some_seeds(cell, "none", {0: (90, 50), 1: (80, 40)}) + some_seeds(cell, "a", {0: (85, 30)})
    rows += [
        row("natural_accuracy", 60.0, "a", 1),
        row("attack_accuracy_at_1", None, "a", 1, status="failed", reason="x"),
    ]
    found = by_defense(rows)
    assert {r.natural_accuracy.by_seed for r in found.values()} == {((0, 90),), ((0, 85),)}
    assert "seed 1 of none" in text_table(list(found.values()))


def test_a_defense_without_an_attack_accuracy_changes_nothing_for_the_others(
    cell: Rows, row: Callable[..., ResultRow], by_defense: ByDefense
) -> None:
    rows = some_seeds(cell, "none", {0: (90, 50), 1: (80, 40)}) + some_seeds(cell, "a", {0: (85, 30), 1: (75, 20)})
    rows += [
        row("natural_accuracy", 60.0, "b", 1),
        row("attack_accuracy_at_1", None, "b", 1, status="failed", reason="x"),
    ]
    found = by_defense(rows)
    assert (found["none"].natural_accuracy.mean, found["a"].natural_accuracy.mean) == (85, 80)
    assert (found["b"].natural_accuracy.mean, found["b"].has_own_seeds) == (60, True)


def test_setups_are_apart(cell: Rows) -> None:
    rows = some_seeds(cell, "none", {0: (90, 50), 1: (80, 40)}) + some_seeds(cell, "a", {0: (85, 30)})
    rows += some_seeds(cell, "none", {0: (90, 50), 1: (80, 40)}, setup="two")
    assert [(r.setup, r.defense, r.natural_accuracy.mean) for r in summarise(rows)] == [
        ("one", "none", 90),
        ("one", "a", 85),
        ("two", "none", 85),
    ]


def test_what_is_excluded_is_no_limit_for_others(cell: Rows, by_defense: ByDefense) -> None:
    """The network of `broken` guesses (chance is 0.5 %)."""
    rows = some_seeds(cell, "none", {0: (90, 50), 1: (80, 40)}) + some_seeds(cell, "a", {0: (85, 30), 1: (75, 20)})
    found = by_defense(rows + some_seeds(cell, "broken", {1: (0.6, 0.5)}))
    assert found["broken"].is_excluded
    assert {d: r.shown_seeds for d, r in found.items()} == {"none": (0, 1), "a": (0, 1), "broken": (1,)}
