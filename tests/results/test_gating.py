"""Numbers that are no results: never on a front, ticked, matched or compared, and shown with the reason everywhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.export import csv_table
from midef.results.render import markdown_table, text_table
from midef.results.summary import SummaryRow, summarise
from midef.results.table import setup_table

MakeRow = Callable[..., ResultRow]
Cell = Callable[..., list[ResultRow]]
ByDefense = Callable[[list[ResultRow]], dict[str, SummaryRow]]

NAN = float("nan")
JUDGE = "the evaluator has 25.0 % where chance is 25.0 %: it cannot judge"


@pytest.fixture
def cell(row: MakeRow) -> Cell:
    """Both accuracies of a cell of four people, 40 report images and 40 reconstructions."""

    def rows(defense: str, acc: float, attack: float, seed: int = 0, n: int = 40, **changes: Any) -> list[ResultRow]:
        about: dict[str, Any] = {"chance": 25.0, "evaluator_accuracy": 95.0, **changes}
        return [
            row("natural_accuracy", acc, defense, seed, n=40, **about),
            row("attack_accuracy_at_1", attack, defense, seed, n=n, **about),
        ]

    return rows


def marks(rows: list[ResultRow]) -> dict[str, str]:
    """Mark before each defense in the text table."""
    lines = text_table(summarise(rows)).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("---")) + 1
    body = lines[first : first + len(summarise(rows))]
    return {row.defense: line[:3].strip() for row, line in zip(summarise(rows), body, strict=True)}


def test_a_judge_at_chance_judges_nobody(cell: Cell) -> None:
    rows = [*cell("none", 90.0, 50.0, evaluator_accuracy=25.0), *cell("a", 80.0, 20.0, evaluator_accuracy=25.0)]
    assert marks(rows) == {"none": "⊘", "a": "⊘"}
    for text in (text_table(summarise(rows)), markdown_table(summarise(rows))):
        assert f"⊘ excluded, every defense here: {JUDGE}" in text
        assert "90.0" in text and "20.0" in text, "what was measured is shown"
    records = list(csv.DictReader(io.StringIO(csv_table(summarise(rows)))))
    assert [(r["is_on_front"], r["is_excluded"], r["excluded_because"]) for r in records] == [("0", "1", JUDGE)] * 2
    assert [(r["delta"], r["attack_accuracy_at_1"]) for r in records] == [("", "50.0"), ("", "20.0")]


def test_a_target_that_judges_is_not_called_the_evaluator(cell: Cell) -> None:
    name = "resnet, from ms1m; judge: the target itself"
    text = text_table(summarise([*cell("none", 70.0, 50.0, evaluator_accuracy=70.0, evaluator=name)]))
    assert f"evaluator {name} 70.0 %" in text
    assert "weak judge: the target, which judges, has 70.0 %, below 80 %" in text
    assert "the evaluator starts from published weights (ms1m)" in text, "it still gives the features"


def test_ten_people_at_chance_are_on_no_front(cell: Cell) -> None:
    rows = [r for d, attack in (("none", 12.0), ("a", 8.0), ("b", 10.0)) for r in cell(d, 10.0, attack, chance=10.0)]
    assert marks(rows) == {"none": "⊘", "a": "⊘", "b": "⊘"}
    text = text_table(summarise(rows))
    assert "every defense here: the target network has 10.0 % where chance is 10.0 %" in text
    assert "Delta for" not in text, "the reason is said once"


def test_a_network_that_guesses_wins_nothing(cell: Cell, by_defense: ByDefense) -> None:
    rows = [*cell("none", 95.0, 90.0), *cell("a", 90.0, 50.0), *cell("collapsed", 30.0, 0.0)]
    found = by_defense(rows)
    assert [d for d, row in found.items() if row.is_on_front] == ["none", "a"]
    assert list(found)[-1] == "collapsed", "behind those that are compared"
    assert found["collapsed"].is_excluded and found["collapsed"].trade_off.delta is None
    assert "⊘ excluded, collapsed: the target network has 30.0 % [18.1, 45.4] where chance is 25.0 %" in text_table(
        summarise(rows)
    )
    (*_, last) = setup_table(summarise(rows)).cells
    assert "excluded" in [shown.text for shown in last]


def test_nothing_is_compared_with_an_undefended_model_that_guesses(cell: Cell, by_defense: ByDefense) -> None:
    found = by_defense([*cell("none", 25.0, 90.0), *cell("a", 90.0, 50.0)])
    assert found["a"].is_on_front and found["a"].trade_off.reason == "the undefended model is excluded"
    assert "the undefended model is excluded" in text_table(list(found.values()))


@pytest.mark.parametrize(
    ("target", "acc", "is_matched"), [(25.0, 70.0, False), (20.0, 70.0, False), (70.0, 25.0, False), (70.0, 70.0, True)]
)
def test_what_guesses_is_not_matched(
    cell: Cell, by_defense: ByDefense, target: float, acc: float, *, is_matched: bool
) -> None:
    fields = {"match_target": target, "match_tolerance": 5.0, "match_accuracy": target, "match_seeds": 1}
    rows = [*cell("none", 95.0, 90.0), *cell("a", acc, 50.0, matched=True, **fields)]
    assert by_defense(rows)["a"].is_matched is by_defense(rows)["a"].is_on_front is is_matched
    (_, a) = csv.DictReader(io.StringIO(csv_table(summarise(rows))))
    assert a["matched"] == str(int(is_matched))


def test_an_attack_that_finds_nothing_anywhere_says_nothing(cell: Cell, by_defense: ByDefense) -> None:
    span = {"low": 17.0, "high": 97.0}
    nothing = [*cell("none", 95.0, 30.0)[:1], *cell("none", 95.0, 30.0, **span)[1:], *cell("a", 90.0, 20.0)]
    assert all(row.is_excluded and not row.is_on_front for row in by_defense(nothing).values())
    text = text_table(summarise(nothing))
    assert "⊘ excluded: the attack is at chance (25.0 %) for every defense here" in text
    assert text.count("every defense here") == 1
    found = by_defense([*cell("none", 95.0, 80.0), *cell("a", 90.0, 20.0)])
    assert not any(row.is_excluded for row in found.values()), "that is what a good defense looks like"


def test_one_seed_of_three_that_collapsed_excludes_the_mean(cell: Cell, by_defense: ByDefense) -> None:
    rows = [r for seed in (0, 1, 2) for r in cell("none", 95.0, 90.0, seed)]
    rows += [r for seed, acc in ((0, 94.0), (1, 25.0), (2, 94.0)) for r in cell("a", acc, 50.0, seed)]
    found = by_defense(rows)
    assert found["a"].is_excluded and not found["none"].is_excluded
    (gate,) = found["a"].gates
    assert gate.reason.startswith("with seed 1 the target network has 25.0 %")


def test_noted_numbers_are_compared_with_a_mark(cell: Cell, by_defense: ByDefense) -> None:
    weak = {"evaluator_accuracy": 79.79}
    rows = [*cell("none", 95.0, 90.0, **weak), *cell("a", 90.0, 50.0, n=12, **weak)]
    assert marks(rows) == {"none": "●!", "a": "●!"}
    text = text_table(summarise(rows))
    assert "! every defense here: weak judge: the evaluator has 79.8 %, below 80 %" in text
    assert "! a: 12 reconstructions were judged, fewer than 20" in text
    noted = [r["noted"] for r in csv.DictReader(io.StringIO(csv_table(summarise(rows))))]
    assert "weak judge" in noted[0] and "fewer than 20" not in noted[0] and "fewer than 20" in noted[1]
    assert all(row.gates == () for row in by_defense([*cell("none", 95.0, 90.0), *cell("a", 90.0, 50.0)]).values())


def test_a_tolerance_finer_than_one_select_image_is_noted(cell: Cell) -> None:
    fields = {"match_target": 70.0, "match_tolerance": 0.5, "match_accuracy": 70.0, "match_seeds": 1, "matched": True}
    rows = cell("a", 70.0, 50.0, select_images=40, **fields)
    assert marks(rows) == {"a": "●!"}
    assert "the tolerance of 0.5 points is finer than one image of the select split (40 images" in text_table(
        summarise(rows)
    )


def test_rows_without_the_evaluator_s_interval_get_wilson_s_over_the_report_split(
    cell: Cell, by_defense: ByDefense
) -> None:
    of_40 = by_defense([*cell("none", 95.0, 90.0, evaluator_accuracy=38.0)])["none"]
    assert "the evaluator has 38.0 % [24." in of_40.gates[0].reason
    stored = by_defense([*cell("none", 95.0, 90.0, evaluator_accuracy=38.0, evaluator_low=37.0, evaluator_high=39.0)])
    assert "less than half way" in stored["none"].gates[0].reason


def test_rows_that_know_no_chance_are_judged_by_what_they_know(row: MakeRow, by_defense: ByDefense) -> None:
    about = {"evaluator_accuracy": 25.0}
    rows = [row("natural_accuracy", 25.0, **about), row("attack_accuracy_at_1", 25.0, **about)]
    (gate,) = by_defense(rows)["none"].gates
    assert gate.grade == "noted" and "weak judge" in gate.reason


def test_a_cell_that_failed_is_not_judged(row: MakeRow, lost: Cell, by_defense: ByDefense) -> None:
    assert by_defense(lost("none", status="failed"))["none"].gates == ()


def test_setups_without_a_result_are_named_where_the_tables_end(cell: Cell) -> None:
    good, bad = ([*cell("none", acc, 90.0, setup=name)] for name, acc in (("good", 95.0), ("bad", 25.0)))
    line = "⊘ no result in 1 of 2 setups: bad"
    for draw in (text_table, markdown_table):
        assert line in draw(summarise([*good, *bad])).splitlines()[-1]
        assert "no result in" not in draw(summarise(bad)), "of one setup its table says it"
        assert "no result in" not in draw(summarise([*good, *cell("none", 95.0, 90.0, setup="other")]))


@pytest.mark.parametrize("chance", [25.0, None])
def test_a_judge_whose_accuracy_is_no_number_judges_nobody(
    cell: Cell, by_defense: ByDefense, chance: float | None
) -> None:
    found = by_defense([r for d in ("none", "a") for r in cell(d, 95.0, 90.0, evaluator_accuracy=NAN, chance=chance)])
    assert all(row.is_excluded and not row.is_on_front for row in found.values())
    assert "the evaluator's accuracy is not a number: it cannot judge" in text_table(list(found.values()))


# ---------------------------------------------------------------- searches that had not ended

RISING = {"confidence_start": 0.01, "confidence_end": 0.4, "confidence_rise": 0.8, "confidence_rise_low": 0.5}
NOT_CONVERGED = "attack not converged: the target's confidence still rose in the last fifth of the steps"


def test_a_search_that_was_ended_too_early_is_noted_and_compared(cell: Cell, by_defense: ByDefense) -> None:
    rows = [*cell("none", 90.0, 50.0), *cell("a", 80.0, 40.0, **RISING)]
    assert "!" in marks(rows)["a"] and "!" not in marks(rows)["none"]
    for text in (text_table(summarise(rows)), markdown_table(summarise(rows))):
        assert f"! a: {NOT_CONVERGED}" in text
    assert not by_defense(rows)["a"].is_excluded and by_defense(rows)["a"].trade_off.attack is not None
    records = {r["defense"]: r for r in csv.DictReader(io.StringIO(csv_table(summarise(rows))))}
    assert NOT_CONVERGED in records["a"]["noted"] and records["none"]["noted"] == ""
    assert [records["a"][name] for name in RISING] == [str(value) for value in RISING.values()]
    assert records["none"]["confidence_end"] == "" == records["a"]["gradient_end"]


@pytest.mark.parametrize(
    "changes",
    [{"confidence_end": 0.96}, {"confidence_rise": 0.09}, {"confidence_rise_low": -0.01}, dict.fromkeys(RISING)],
    ids=["saturated", "a small rise", "a rise of a few", "of an older midef"],
)
def test_other_searches_are_not_noted(cell: Cell, changes: dict[str, float | None]) -> None:
    assert "!" not in marks(cell("none", 90.0, 50.0, **{**RISING, **changes}))["none"]


def test_of_several_seeds_those_that_had_not_ended_are_named(cell: Cell) -> None:
    known: list[dict[str, float]] = [RISING, {}, RISING]
    rows = [r for seed, about in enumerate(known) for r in cell("none", 90.0, 50.0, seed, **about)]
    said = f"! none: with seed 0 {NOT_CONVERGED}, and more steps may find more (and with seed 2)"
    assert said in text_table(summarise(rows))
    every = text_table(summarise([r for s in range(2) for r in cell("none", 90.0, 50.0, s, **RISING)]))
    assert f"! none: {NOT_CONVERGED}" in every
