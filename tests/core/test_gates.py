"""When a number is no result: the limits, at both sides of each, and the words."""

from __future__ import annotations

import math

import pytest

from midef.core import gates
from midef.core.accuracy import accuracy_of
from midef.core.gates import Gate

Judged = tuple[str, str]  # grade and the start of the reason


def judged(gate: Gate | None) -> Judged | None:
    return None if gate is None else (gate.grade, gate.reason.partition(":")[0])


@pytest.mark.parametrize(
    ("value", "chance", "n", "expected"),
    [
        (25.0, 25.0, 40, ("excluded", "the evaluator has 25.0 % where chance is 25.0 %")),
        (3.0, 25.0, 1000, ("excluded", "the evaluator has 3.0 % where chance is 25.0 %")),
        (50.0, 25.0, 8, ("excluded", "the evaluator has 50.0 % [21.5, 78.5] where chance is 25.0 %")),
        (50.0, 25.0, 80, ("excluded", "the evaluator has 50.0 %, less than half way from chance (25.0 %) to 100 %")),
        (62.4, 25.0, 80, ("excluded", "the evaluator has 62.4 %, less than half way from chance (25.0 %) to 100 %")),
        (62.5, 25.0, 80, ("noted", "weak judge")),
        (79.79, 1 / 120, 800, ("noted", "weak judge")),
        (80.0, 25.0, 80, None),
        (83.5, 100 / 62, 300, None),  # the evaluator of the LFW benchmark
        (96.0, 100 / 60, 300, None),
        (0.1, 0.1, None, ("excluded", "the evaluator has 0.1 % where chance is 0.1 %")),
        (math.nan, 25.0, 80, ("excluded", "the evaluator's accuracy is not a number")),
        (math.nan, 25.0, None, ("excluded", "the evaluator's accuracy is not a number")),
    ],
)
def test_an_evaluator_that_cannot_judge_is_excluded_and_a_weak_one_noted(
    value: float, chance: float, n: int | None, expected: Judged | None
) -> None:
    assert judged(gates.evaluator_gate(accuracy_of(value, chance, n=n))) == expected


def test_the_stored_interval_counts_before_one_computed_from_the_number_of_images() -> None:
    accuracy = accuracy_of(90.0, 25.0, low=20.0, high=99.0, n=10_000)
    assert judged(gates.evaluator_gate(accuracy)) == (
        "excluded",
        "the evaluator has 90.0 % [20.0, 99.0] where chance is 25.0 %",
    )


@pytest.mark.parametrize(("value", "n", "is_excluded"), [(10.0, 40, True), (17.5, 40, True), (30.0, 40, False)])
def test_a_target_network_at_chance_is_excluded(value: float, n: int, is_excluded: bool) -> None:
    gate = gates.target_gate(accuracy_of(value, 10.0, n=n))
    assert (gate is not None and gate.grade == "excluded") == is_excluded


def test_an_attack_that_works_on_one_defense_is_an_attack() -> None:
    at_chance, above = accuracy_of(25.0, 25.0, n=40), accuracy_of(60.0, 25.0, n=40)
    gate = gates.attack_gate([at_chance, at_chance], has_undefended=True)
    assert gate is not None and gate.grade == "excluded" and "chance (25.0 %) for every defense" in gate.reason
    alone = gates.attack_gate([at_chance], has_undefended=False)
    assert alone is not None and "no undefended model shows that it works" in alone.reason
    assert gates.attack_gate([at_chance, above], has_undefended=True) is None
    assert gates.attack_gate([], has_undefended=False) is None


def test_few_images_are_noted() -> None:
    assert gates.images_gate(20) is None
    gate = gates.images_gate(19)
    assert gate is not None and gate.grade == "noted"
    assert gate.reason == "19 reconstructions were judged, fewer than 20: one is 5.3 points"


def test_a_tolerance_finer_than_one_image_is_noted() -> None:
    assert gates.tolerance_gate(0.5, 200) is None, "exactly one image"
    gate = gates.tolerance_gate(0.5, 40)
    assert gate is not None and gate.grade == "noted"
    assert "0.5 points is finer than one image of the select split (40 images, 2.5 points each)" in gate.reason


@pytest.mark.parametrize(
    ("target", "identities", "expected"),
    [
        (0.9, 4, "0.9 % is below chance (25 % of 4 identities); targets are percentages, did you mean 90?"),
        (1.0, 4, "1 % is below chance (25 % of 4 identities); targets are percentages, did you mean 100?"),
        (0.9, 530, "0.9 % is above chance (0.189 % of 530 identities); targets are percentages, did you mean 90?"),
        (20.0, 4, "20 % is below chance (25 % of 4 identities), which networks that guess reach: give a target above"),
        (25.0, 4, "25 % is at chance (25 % of 4 identities), which networks that guess reach: give a target above"),
        (25.1, 4, ""),
        (2.0, 530, ""),
    ],
)
def test_a_target_that_nobody_means_is_asked_about(target: float, identities: int, expected: str) -> None:
    text = gates.written_target_problem(target, identities)
    assert text.startswith(expected) and bool(text) == bool(expected)


def test_the_table_of_limits_names_every_limit_as_it_is_computed() -> None:
    table = " ".join(limit.what for limit in gates.LIMITS)
    for constant in (gates.LEAST_EVALUATOR_SHARE, gates.WEAK_EVALUATOR_PERCENT, gates.FEW_IMAGES):
        assert f"{100 * constant:g} %" in table or f"{constant:g}" in table
    assert {limit.grade for limit in gates.LIMITS} == {"excluded", "noted"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (79.79, "has 79.8 %, below 80 %"),
        (79.96, "has 79.96 %, below 80 %"),
        (79.9996, "has 79.9996 %, below 80 %"),
        (62.46, "has 62.46 %, less than half way from chance (25.0 %) to 100 %"),
    ],
)
def test_a_number_below_a_limit_is_not_printed_as_the_limit(value: float, said: str) -> None:
    gate = gates.evaluator_gate(accuracy_of(value, 25.0, n=1000))
    assert gate is not None and said in gate.reason
    target = gates.match_target_gate(24.96, 25.0)
    assert target is not None and "24.96 %, is below chance (25.0 %)" in target.reason


def test_an_interval_that_is_no_number_is_computed_from_the_images() -> None:
    assert accuracy_of(50.0, 25.0, low=math.nan, high=math.nan, n=80) == accuracy_of(50.0, 25.0, n=80)
