"""Paired differences of two defenses and of two sweeps."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from scipy import stats

from midef.core import ResultRow
from midef.core.statistics import t_interval
from midef.results.paired import Comparison, compare, side_of_defense, side_of_sweep
from midef.results.paired_table import comparison_tables, verdict
from midef.results.plain import plain_csv, plain_text
from midef.results.summary import summarise

Rows = Callable[..., list[ResultRow]]
DROPS = {"one": (10.0, 12.0, 8.0), "two": (20.0, 21.0, 25.0), "three": (5.0, 9.0, 4.0)}


def rows_with(cell: Rows, drops: dict[str, tuple[float, ...]], **changes: object) -> list[ResultRow]:
    """`none` at 60 % attack accuracy in every run, `a` lower by the drops."""
    rows = []
    for setup, of_setup in drops.items():
        for seed, drop in enumerate(of_setup):
            rows += cell("none", seed, 90.0, 60.0, within=4.0, setup=setup, **changes)
            rows += cell("a", seed, 88.0, 60.0 - drop, within=4.0, setup=setup, **changes)
    return rows


def of_defenses(rows: list[ResultRow], first: str = "none", second: str = "a", **how: bool) -> Comparison:
    sides = side_of_defense(rows, first), side_of_defense(rows, second)
    return compare(first, second, sides, summarise(rows), **how)


def test_differences_and_their_intervals(cell: Rows) -> None:
    found = of_defenses(rows_with(cell, DROPS))
    assert [pair.unit[0] for pair in found.pairs] == sorted(DROPS) and not found.excluded
    for pair in found.pairs:
        drops = DROPS[pair.unit[0]]
        assert pair.drops == pytest.approx(drops) and pair.attack.drop == pytest.approx(sum(drops) / 3)
        t = stats.t.interval(0.95, 2, sum(drops) / 3, stats.sem(drops))
        assert pair.over_seeds is not None
        assert (pair.over_seeds.low, pair.over_seeds.high) == pytest.approx(t)
        assert pair.natural.drop == pytest.approx(2.0)
    (one,) = found.overall
    means = [sum(drops) / 3 for drops in DROPS.values()]
    expected = t_interval(means)
    assert one.drop == pytest.approx(math.fsum(means) / 3) and one.seeds == 9
    assert expected and one.over_setups and (one.over_setups.low, one.over_setups.high) == pytest.approx(expected)
    assert one.bootstrap and one.bootstrap.low < one.drop < one.bootstrap.high
    # the t interval over three setups holds zero, so nothing is said to be shown
    assert expected[0] < 0 and not one.second_leaks_less and "not resolved: -12.7 points" in verdict(found, one)


def test_the_other_way_round_is_the_opposite(cell: Rows) -> None:
    rows = rows_with(cell, dict.fromkeys(("one", "two", "three", "four"), (15.0, 16.0, 17.0)))
    forth, back = of_defenses(rows), of_defenses(rows, "a", "none")
    assert forth.overall[0].drop == -back.overall[0].drop
    assert forth.overall[0].second_leaks_less and not forth.overall[0].second_leaks_more
    assert back.overall[0].second_leaks_more
    assert verdict(forth, forth.overall[0]) == "a leaks less than none: -16.0 points of attack accuracy@1"
    assert verdict(back, back.overall[0]) == "none leaks more than a: +16.0 points of attack accuracy@1"


def test_one_seed_and_one_setup_is_decided_by_its_own_interval(cell: Rows) -> None:
    (one,) = of_defenses(rows_with(cell, {"one": (30.0,)})).overall
    assert one.over_setups is None and one.bootstrap is None and one.second_leaks_less
    (one,) = of_defenses(rows_with(cell, {"one": (2.0,)})).overall
    assert not one.second_leaks_less and not one.second_leaks_more


def test_what_cannot_be_paired_is_counted_with_its_reason(cell: Rows, lost: Rows) -> None:
    rows = rows_with(cell, {"one": (10.0, 10.0)})
    rows += cell("none", 2, 90.0, 60.0, setup="one")  # a seed of one side
    rows += cell("none", 0, 90.0, 60.0, setup="alone")
    rows += [*cell("none", 0, 90.0, 60.0, setup="judged"), *cell("a", 0, 90.0, 50.0, setup="judged", evaluator="other")]
    rows += [*cell("none", 0, 90.0, 60.0, setup="apart"), *cell("a", 1, 90.0, 50.0, setup="apart")]
    rows += [*cell("none", 0, 90.0, 60.0, setup="gone"), *lost("a", setup="gone", status="failed")]
    rows += [*cell("none", 0, 90.0, 60.0, setup="twice"), *cell("a(k=1)", 0, 90.0, 9.0, setup="twice")]
    rows += cell("a(k=2)", 0, 90.0, 8.0, setup="twice")
    found = of_defenses(rows)
    assert [pair.unit[0] for pair in found.pairs] == ["one"] and found.pairs[0].seeds == (0, 1)
    reasons = {setup: reason for (setup, _), reason in found.excluded.items()}
    assert reasons["alone"] == "no result of a"
    assert reasons["judged"] == "not the same evaluator: resnet and other"
    assert reasons["apart"] == "no seed in common"
    assert reasons["gone"] == "a has no pair of accuracies (failed: out of memory)"
    assert reasons["twice"].startswith("a stands for 2 results with different parameters")
    text = plain_text(comparison_tables(found), 100)
    assert "excluded: 5 of 6" in text and "one: seed 2 on one side only" in text
    assert max(map(len, text.splitlines())) <= 100


def test_matched_only(matched_rows: list[ResultRow]) -> None:
    every, matched = of_defenses(matched_rows, "a", "c"), of_defenses(matched_rows, "a", "c", matched=True)
    assert every.pairs and not matched.pairs
    assert matched.excluded["one", ""] == "c is not matched: 84.1 % for 88.2 %"
    assert of_defenses(matched_rows, "none", "a", matched=True).pairs  # the reference has another accuracy by design


def test_sweeps_are_paired_by_setup_and_defense_at_a_level_for_all(cell: Rows) -> None:
    drops = dict.fromkeys(("one", "two", "three"), (20.0, 21.0, 22.0))
    old = rows_with(cell, drops, sweep="old")
    new = [*rows_with(cell, drops, sweep="new"), *cell("b", 0, 90.0, 5.0, sweep="new", setup="one")]
    found = compare("old", "new", (side_of_sweep(old), side_of_sweep(new)), [*summarise(old), *summarise(new)])
    assert {one.name for one in found.overall} == {"none", "a"} and all(one.level == 0.975 for one in found.overall)
    assert found.excluded == {("one", "b"): "no result of old"}
    assert all(one.drop == 0 and not one.second_leaks_more for one in found.overall)
    tables = comparison_tables(found)
    assert "so that all 2 hold together at 95 %" in tables[1].about
    assert len(plain_csv(tables).splitlines()) == 1 + len(found.pairs)


def test_setups_that_share_a_target_are_said_not_to_be_independent(cell: Rows) -> None:
    rows = rows_with(cell, dict.fromkeys(("one", "two", "three"), (15.0, 16.0)), target_key="target/1")
    (note,) = [text for text in of_defenses(rows).notes if "independent" in text]
    assert note.startswith("3 setups attack 1 target: ")
