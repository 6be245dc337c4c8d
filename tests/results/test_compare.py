"""What a table says of a defense against the undefended model, and the numbers behind each sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from midef.core import ResultRow
from midef.core.statistics import paired_interval, t_interval, trade_off_delta, two_level_interval
from midef.results.compare import DELTA_FROM_POINTS, MARGIN_POINTS, Difference, TradeOff
from midef.results.estimates import Interval
from midef.results.export import records
from midef.results.render import text_table
from midef.results.runs import MATCH_NUMBERS
from midef.results.summary import SummaryRow, summarise
from midef.results.table import setup_table

Rows = Callable[..., list[ResultRow]]
ByDefense = Callable[[list[ResultRow]], dict[str, SummaryRow]]
ColumnOf = Callable[[list[SummaryRow], str], dict[str, str]]
Ends = tuple[float, float]


def a_difference(drop: float, ends: Ends | None, *, is_paired: bool = True) -> Difference:
    return Difference(drop, None if ends is None else Interval(*ends, "made up"), is_paired)


LOSSES: dict[str, tuple[float, Ends | None, str]] = {
    "a loss": (6.0, (3.1, 8.9), "loses 6.0 [3.1, 8.9]"),
    "a small loss": (0.6, (0.3, 0.9), "loses 0.6 [0.3, 0.9]"),
    "a gain": (-2.1, (-3.7, -0.5), "gains 2.1 [0.5, 3.7]"),
    "within the margin": (0.2, (-0.4, 0.8), "loses no more than 1 point [-0.4, 0.8]"),
    "at the margin": (0.0, (-1.0, 1.0), "loses no more than 1 point [-1.0, 1.0]"),
    "just beyond the margin": (0.0, (-1.0, 1.04), "not resolved (acc +0.0 [-1.0, 1.0])"),
    "may be none, may be many": (5.8, (-0.4, 12.0), "not resolved (acc -5.8 [-12.0, 0.4])"),
    "more accurate, perhaps": (-4.3, (-10.0, 1.4), "not resolved (acc +4.3 [-1.4, 10.0])"),
    "printed as 0": (3.0, (0.04, 6.0), "not resolved (acc -3.0 [-6.0, 0.0])"),
    "without an interval": (10.0, None, "not resolved (acc -10.0)"),
}


@pytest.mark.parametrize(("drop", "ends", "said"), LOSSES.values(), ids=LOSSES)
def test_what_is_said_of_the_accuracy(drop: float, ends: Ends | None, said: str) -> None:
    assert MARGIN_POINTS == 1.0
    assert TradeOff(utility=a_difference(drop, ends)).words == said


LEAKS: dict[str, tuple[float, Ends | None, str]] = {
    "leaks less": (20.4, (12.0, 28.8), "leaks 20.4 less [12.0, 28.8]"),
    "leaks more": (-23.1, (-33.9, -12.0), "leaks 23.1 more [12.0, 33.9]"),
    "may leak more or less": (-8.8, (-20.5, 3.0), "not resolved (att +8.8 [-3.0, 20.5])"),
    "may leak less or as much": (2.4, (0.0, 4.8), "not resolved (att -2.4 [-4.8, 0.0])"),
    "without an interval": (30.0, None, "not resolved (att -30.0)"),
}


@pytest.mark.parametrize(("drop", "ends", "said"), LEAKS.values(), ids=LEAKS)
def test_what_is_said_of_the_attack(drop: float, ends: Ends | None, said: str) -> None:
    trade_off = TradeOff(attack=a_difference(drop, ends))
    assert trade_off.words == trade_off.attack_words == said


def test_both_are_said_the_accuracy_first_and_what_is_open_together() -> None:
    lost, less = a_difference(6.0, (3.1, 8.9)), a_difference(20.4, (12.0, 28.8))
    open_loss, open_leak = a_difference(0.8, (-0.5, 2.1)), a_difference(-8.8, (-20.5, 3.0))

    def words(utility: Difference, attack: Difference) -> str:
        return TradeOff(utility=utility, attack=attack).words

    assert words(lost, less) == "loses 6.0 [3.1, 8.9]; leaks 20.4 less [12.0, 28.8]"
    assert words(lost, open_leak) == "loses 6.0 [3.1, 8.9]; not resolved (att +8.8 [-3.0, 20.5])"
    assert words(open_loss, less) == "not resolved (acc -0.8 [-2.1, 0.5]); leaks 20.4 less [12.0, 28.8]"
    assert words(open_loss, open_leak) == "not resolved (acc -0.8 [-2.1, 0.5], att +8.8 [-3.0, 20.5])"
    assert words(replace(lost, is_paired=False), less) == (
        "loses 6.0 [3.1, 8.9]; leaks 20.4 less [12.0, 28.8] (unpaired)"
    )
    assert TradeOff(reason="not compared").words == "–"


DELTAS: dict[str, tuple[float, Ends | None, str]] = {
    "a clear loss": (5.0, (3.6, 6.4), "4.00"),
    "below half a point: unstable": (0.2, (0.1, 0.3), "100.00*"),
    "the interval reaches 0": (5.0, (-0.1, 10.1), "–"),
    "the interval reaches 0 as printed": (5.0, (0.03, 10.0), "–"),
    "no interval": (5.0, None, "–"),
    "a loss of 0.01": (0.01, (0.005, 0.015), "–"),
    "0.06, printed as 0.1": (0.06, (0.051, 0.069), "–"),
    "no loss": (-0.5, (-0.9, -0.1), "–"),
}


@pytest.mark.parametrize(("drop", "ends", "text"), DELTAS.values(), ids=DELTAS)
def test_delta_divides_by_a_loss_that_is_there(drop: float, ends: Ends | None, text: str) -> None:
    assert DELTA_FROM_POINTS == 0.1
    delta = trade_off_delta(90.0, 50.0, 90.0 - drop, 30.0)
    trade_off = TradeOff(delta, utility=a_difference(drop, ends), attack=a_difference(20.0, (12.0, 28.0)))
    assert trade_off.delta_text == text
    assert (trade_off.delta_value is None) == (text == "–")


# ---------------------------------------------------------------- from rows


def hits(identities: int, images: int, *, misses: range | list[int] = range(0)) -> np.ndarray:
    """All succeed but the images `misses`, counted one identity after the other."""
    found = np.ones(identities * images, dtype=int)
    found[list(misses)] = 0
    return found.reshape(identities, images)


REPORT = hits(100, 20, misses=range(0, 2000, 20))  # one image of each of 100 people is missed: 95.0 %
LEAKED = hits(100, 5, misses=range(0, 500, 2))  # 50.0 %


def one_more_miss_of_each(step: int) -> np.ndarray:
    """REPORT with a second image missed of every step-th person."""
    return hits(100, 20, misses=[*range(0, 2000, 20), *range(1, 2000, 20 * step)])


def test_two_models_are_compared_image_by_image(judged: Rows, by_defense: ByDefense, column_of: ColumnOf) -> None:
    """3.5 points of accuracy are lost, an image of each of 70 people, and 30 are never recognised: the accuracies alone
    vary with the people by far more."""
    known, lossy = hits(100, 20, misses=range(600)), hits(100, 20, misses=[*range(600), *range(600, 2000, 20)])
    leaks_less = hits(100, 5, misses=[*range(0, 500, 2), *range(1, 500, 4)])
    rows = [*judged("none", 0, known, LEAKED), *judged("a", 0, lossy, leaks_less)]
    found = by_defense(rows)
    trade_off, people = found["a"].trade_off, np.repeat(np.arange(100), 20)
    assert trade_off.utility is not None and trade_off.utility.interval is not None
    expected = [100 * end for end in paired_interval(known.ravel(), lossy.ravel(), people)]
    assert (trade_off.utility.interval.low, trade_off.utility.interval.high) == pytest.approx(expected)
    assert trade_off.utility.drop == pytest.approx(3.5)
    assert trade_off.utility.interval.kind == "95 %, of the same images, paired"
    assert "loses 3.5 [" in trade_off.words and "leaks 25.0 less [" in trade_off.words
    assert "unpaired" not in text_table(list(found.values()))
    assert column_of(list(found.values()), "delta") == {"none": "–", "a": "7.14"}
    old = by_defense([replace(row, outcomes="") for row in rows])
    assert "not resolved (acc -3.5 [" in old["a"].trade_off.words
    assert column_of(list(old.values()), "delta") == {"none": "–", "a": "–"}


def test_rows_without_outcomes_are_compared_by_their_intervals_and_marked(cell: Rows, by_defense: ByDefense) -> None:
    found = by_defense([*cell("none", 0, 90, 50, within=3.0), *cell("a", 0, 80, 20, within=4.0)])
    assert found["a"].trade_off.words == "loses 10.0 [5.0, 15.0]; leaks 30.0 less [25.0, 35.0] (unpaired)"
    said = text_table(list(found.values())).splitlines()
    (legend,) = [line for line in said if line.startswith("(unpaired): ")]
    assert legend.startswith(
        "(unpaired): not compared image by image, because one of the two or both are of an older midef, which does not "
        "say which images succeeded, or they are about different images"
    )


@pytest.mark.parametrize("why", ["other images", "other identities", "one of two runs"])
def test_results_of_other_images_are_not_paired(judged: Rows, by_defense: ByDefense, why: str) -> None:
    rows = [row for seed in (0, 1) for row in judged("none", seed, REPORT, LEAKED)]
    assert by_defense([*rows, *judged("a", 0, REPORT, LEAKED)])["a"].trade_off.utility.is_paired  # type: ignore[union-attr]
    other = {
        "other images": judged("a", 0, REPORT, LEAKED, images="ef" * 8),
        "other identities": judged("a", 0, REPORT[:50], LEAKED),
        "one of two runs": [*judged("a", 0, REPORT, LEAKED), *judged("a", 1, REPORT, LEAKED, outcomes="")],
    }[why]
    trade_off = by_defense([*rows, *other])["a"].trade_off
    assert trade_off.utility is not None and not trade_off.utility.is_paired
    assert trade_off.words.endswith("(unpaired)")


def test_runs_are_paired_each_and_averaged_below_three_seeds(judged: Rows, by_defense: ByDefense) -> None:
    answers = [one_more_miss_of_each(step) for step in (2, 4)]
    rows = [row for seed in (0, 1) for row in judged("none", seed, REPORT, LEAKED)]
    rows += [row for seed in (0, 1) for row in judged("a", seed, answers[seed], LEAKED)]
    utility = by_defense(rows)["a"].trade_off.utility
    assert utility is not None and utility.interval is not None
    people = np.repeat(np.arange(100), 20)
    spans = [paired_interval(REPORT.ravel(), answer.ravel(), people) for answer in answers]
    expected = [100 * sum(ends) / 2 for ends in zip(*spans, strict=True)]
    assert (utility.interval.low, utility.interval.high) == pytest.approx(expected)
    assert utility.interval.kind == "95 %, of the same images, paired, mean of 2 runs"


def test_from_three_seeds_the_interval_holds_seeds_and_identities(judged: Rows, by_defense: ByDefense) -> None:
    answers = [one_more_miss_of_each(step) for step in (1, 2, 4)]
    rows = [row for seed in range(3) for row in judged("none", seed, REPORT, LEAKED)]
    rows += [row for seed in range(3) for row in judged("a", seed, answers[seed], LEAKED)]
    utility = by_defense(rows)["a"].trade_off.utility
    assert utility is not None and utility.interval is not None
    people = np.repeat(np.arange(100), 20)
    spans = [paired_interval(REPORT.ravel(), answer.ravel(), people) for answer in answers]
    within = tuple(100 * sum(ends) / 3 for ends in zip(*spans, strict=True))
    drops = [5.0, 2.5, 1.25]
    assert utility.drop == pytest.approx(8.75 / 3)
    assert (utility.interval.low, utility.interval.high) == pytest.approx(two_level_interval(within, drops))  # type: ignore[arg-type]
    assert utility.interval.low < within[0] and utility.interval.high > within[1]
    assert utility.interval.kind == "95 %, over seeds, and of the same images, paired"


def test_seeds_that_lose_3_6_and_9_points_are_a_loss_that_is_not_resolved(
    cell: Rows, by_defense: ByDefense, column_of: ColumnOf
) -> None:
    """Their t interval reaches from -1.5 to 13.5. That is no sign of no loss."""
    rows = [r for seed in range(3) for r in cell("none", seed, 90, 50, within=1.0)]
    rows += [r for seed, loss in enumerate((3, 6, 9)) for r in cell("a", seed, 90 - loss, 50, within=1.0)]
    found = by_defense(rows)
    low, high = t_interval([3, 6, 9]) or (0, 0)
    below, above = (math.hypot(6 - low, math.sqrt(2)), math.hypot(high - 6, math.sqrt(2)))
    assert (below, above) == pytest.approx((7.586, 7.586), abs=1e-3)
    assert found["a"].trade_off.words.startswith("not resolved (acc -6.0 [-13.6, 1.6], att +0.0 [")
    assert column_of(list(found.values()), "delta")["a"] == "–"
    said = text_table(list(found.values()))
    assert "no clear loss" not in said and "no utility lost" not in said


def test_a_defense_that_leaks_more_is_not_praised(cell: Rows, by_defense: ByDefense) -> None:
    rows = [*cell("none", 0, 90, 50, within=2.0), *cell("a", 0, 94.3, 73.1, within=3.0)]
    found = by_defense(rows)
    assert found["a"].trade_off.words == "gains 4.3 [0.7, 7.9]; leaks 23.1 more [19.5, 26.7] (unpaired)"
    assert "no utility lost" not in text_table(list(found.values()))


def test_over_seeds_alone_where_the_runs_report_no_intervals(cell: Rows, by_defense: ByDefense) -> None:
    rows = [r for seed in range(3) for r in cell("none", seed, 90, 50)]
    rows += [r for seed in range(3) for r in cell("a", seed, 85 + 0.2 * (seed - 1), 30)]
    utility = by_defense(rows)["a"].trade_off.utility
    assert utility is not None and utility.interval is not None and not utility.is_paired
    assert (utility.interval.low, utility.interval.high) == pytest.approx(t_interval([5.2, 5.0, 4.8]))
    assert utility.interval.kind == "95 %, over seeds alone"


def test_delta_and_front_against_the_undefended_model_of_the_same_setup(cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50, within=1.0), *cell("a", 0, 80, 20, within=1.0), *cell("b", 0, 70, 30, within=1.0)]
    rows += cell("a", 0, 60, 10, within=1.0, setup="two")
    found = {(r.setup, r.defense): r for r in summarise(rows)}
    good = found["one", "a"].trade_off
    assert good.delta is not None and good.delta.value == pytest.approx(3.0)
    assert (good.delta_value, good.delta_text) == (pytest.approx(3.0), "3.00")
    assert records([found["one", "a"]])[0]["delta"] == pytest.approx(3.0)
    assert found["one", "none"].trade_off.reason == "the reference"
    assert {key for key, r in found.items() if r.is_on_front} == {("one", "none"), ("one", "a"), ("two", "a")}
    lonely = found["two", "a"].trade_off
    assert lonely.delta is None
    assert "no undefended model (defense 'none')" in lonely.reason
    assert "no comparison for a: the setup has no undefended model" in text_table(summarise(rows))


# ---------------------------------------------------------------- matched


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


def test_matched_defenses_are_compared_by_their_attacks_alone(
    cell: Rows, matching: Callable[..., dict[str, Any]], by_defense: ByDefense, column_of: ColumnOf
) -> None:
    attacks = {"none": (60.0, 70.0, 80.0), "a": (30.0, 38.0, 52.0), "b": (90.0, 101.0, 109.0), "c": (1.0, 2.0, 3.0)}
    near = {"none": 88.2, "a": 88.4, "b": 88.0, "c": 84.1}
    rows = [
        r for d, values in attacks.items() for s in range(3) for r in cell(d, s, 88, values[s], **matching(near[d]))
    ]
    found = by_defense(rows)
    span = found["a"].trade_off.attack
    assert span is not None and span.interval is not None
    assert (span.interval.low, span.interval.high) == pytest.approx(t_interval([30.0, 32.0, 28.0]))
    assert column_of(list(found.values()), "comparison") == {
        "none": "reference",
        "a": "leaks 30.0 less [25.0, 35.0] (unpaired)",
        "b": "leaks 30.0 more [27.5, 32.5] (unpaired)",
        "c": "not matched",
    }
