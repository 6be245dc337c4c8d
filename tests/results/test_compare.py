"""Delta, the front, and what is compared where accuracies were matched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from midef.core import ResultRow
from midef.core.statistics import t_interval
from midef.results.export import records
from midef.results.render import text_table
from midef.results.summary import MATCH_NUMBERS, SummaryRow, summarise
from midef.results.table import setup_table

Rows = Callable[..., list[ResultRow]]


ByDefense = Callable[[list[ResultRow]], dict[str, SummaryRow]]


def test_delta_and_front_against_the_undefended_model_of_the_same_setup(cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20), *cell("b", 0, 70, 30), *cell("a", 0, 60, 10, setup="two")]
    found = {(r.setup, r.defense): r for r in summarise(rows)}
    good = found["one", "a"].trade_off
    assert good.delta is not None and good.delta.value == pytest.approx(3.0)
    assert (good.is_utility_lost, good.text) == (True, "3.00")
    assert found["one", "none"].trade_off.reason == "the reference"
    assert {key for key, r in found.items() if r.is_on_front} == {("one", "none"), ("one", "a"), ("two", "a")}
    lonely = found["two", "a"].trade_off
    assert lonely.delta is None
    assert "no undefended model (defense 'none')" in lonely.reason
    assert "no Delta for a: the setup has no undefended model" in text_table(summarise(rows))


@pytest.mark.parametrize(
    ("accs", "within", "text"),
    [
        pytest.param((85.0,), None, "4.00", id="one seed, no interval: the plain rule"),
        pytest.param((85.0,), 1.0, "4.00", id="within-run intervals are apart"),
        pytest.param((89.0,), 1.0, "no clear loss", id="within-run intervals overlap"),
        pytest.param((89.8,), None, "100.00*", id="tiny drop is marked"),
        pytest.param((90.5,), None, "no utility lost", id="outperforms"),
        pytest.param((85.0, 85.2), None, "4.08", id="two seeds are too few for t: the plain rule"),
        pytest.param((85.0, 85.2, 84.8), None, "4.00", id="three seeds, clear drop"),
        pytest.param((85.0, 91.0, 88.0), 0.1, "no clear loss", id="three seeds that disagree"),
    ],
)
def test_delta_is_shown_only_if_utility_is_lost(
    cell: Rows, by_defense: ByDefense, accs: tuple[float, ...], within: float | None, text: str
) -> None:
    rows = [r for seed in range(len(accs)) for r in cell("none", seed, 90, 50, within=within)]
    rows += [r for seed, acc in enumerate(accs) for r in cell("a", seed, acc, 30, within=within)]
    found = by_defense(rows)["a"]
    assert found.trade_off.text == text
    drop = 90 - sum(accs) / len(accs)
    if found.trade_off.is_utility_lost:
        assert records([found])[0]["delta"] == pytest.approx(20 / drop)
    else:
        assert f"(acc {-drop:+.1f}, att -20.0)" in text_table([found])
        assert records([found])[0]["delta"] is None


def test_delta_is_paired_by_seed(cell: Rows, by_defense: ByDefense) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("none", 1, 70, 40), *cell("a", 0, 80, 20)]
    trade_off = by_defense(rows)["a"].trade_off
    assert (trade_off.utility_drop, trade_off.attack_drop) == (10, 30)
    rows = [*cell("none", 0, 90, 50), *cell("a", 1, 80, 20)]
    assert by_defense(rows)["a"].trade_off.reason == "no seed in common with the undefended model"


def test_only_matched_rows_are_on_the_front(by_defense: ByDefense, matched_rows: list[ResultRow]) -> None:
    """c is attacked least and e the most accurate: neither hides a or b, nor is it a winner."""
    found = by_defense(matched_rows)
    assert [d for d, r in found.items() if r.is_on_front] == ["a", "b"]
    nothing: dict[str, Any] = dict.fromkeys(MATCH_NUMBERS)
    bare = [replace(r, matched=False, **nothing) for r in matched_rows]
    assert [r.defense for r in summarise(bare) if r.is_on_front] == ["none", "c", "a", "b", "e"]


def test_defenses_matched_to_other_targets_are_not_compared_with_each_other(
    matched_cells: Rows, by_defense: ByDefense, matched_rows: list[ResultRow]
) -> None:
    rows = [*matched_rows, *matched_cells("low", 80.1, 2.0, natural=80.0, target=80.0)]
    rows += matched_cells("lower", 80.0, 3.0, natural=79.0, target=80.0)
    rows += matched_cells("high", 95.0, 0.5, natural=95.0, target=95.0)
    found = by_defense(rows)
    assert {d for d, r in found.items() if r.is_on_front} == {"a", "b", "low", "high"}
    assert "matched to 80.0 ± 0.5 or 88.2 ± 0.5 or 95.0 ± 0.5 (tolerance)" in setup_table(list(found.values())).facts


def test_a_matched_undefended_model_is_compared_as_any_other(matched_cells: Rows, by_defense: ByDefense) -> None:
    found = by_defense([*matched_cells("none", 88.2, 60.0, natural=91.0), *matched_cells("a", 88.4, 30.0)])
    assert [d for d, r in found.items() if r.is_on_front] == ["none", "a"]
    assert "accuracy differs by design" not in text_table(list(found.values()))


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_interval_of_the_drop_is_paired_and_needs_three_seeds(
    cell: Rows,
    matching: Callable[..., dict[str, Any]],
    by_defense: ByDefense,
    column_of: Callable[..., dict[str, str]],
    seeds: int,
) -> None:
    attacks = {"none": (60.0, 70.0, 80.0), "a": (30.0, 38.0, 52.0), "c": (1.0, 2.0, 3.0)}
    near = {"none": 88.2, "a": 88.4, "c": 84.1}
    rows = [
        r for d, values in attacks.items() for s in range(seeds) for r in cell(d, s, 88, values[s], **matching(near[d]))
    ]
    found = by_defense(rows)
    drops = [30.0, 32.0, 28.0][:seeds]
    span = found["a"].trade_off.attack_drop_interval
    shown = column_of(list(found.values()), "attack_drop")
    legend = "over the seeds that both have [95 % t interval of the paired differences]"
    if seeds == 2:
        assert span is None
        assert (shown["a"], legend in text_table(list(found.values()))) == ("31.0", False)
        return
    assert span is not None
    assert (span.low, span.high) == pytest.approx(t_interval(drops))
    assert span.kind == "95 % t interval of 3 paired differences"
    assert (shown["a"], shown["c"]) == ("30.0 [25.0, 35.0]", "not matched")
    assert legend in text_table(list(found.values()))
