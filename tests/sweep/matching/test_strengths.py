"""The strength of a defense: where it is, its range, and the defense at a value of it."""

from __future__ import annotations

import pytest

from midef.defenses.stack import choose_defense, remake_defense
from midef.sweep.matching.strengths import Strength, significant


@pytest.mark.parametrize(
    ("value", "short"), [(0.123456, 0.1235), (123456.0, 123500.0), (-0.00123456, -0.001235), (0.0, 0.0)]
)
def test_four_digits(value: float, short: float) -> None:
    assert significant(value) == pytest.approx(short, rel=1e-12)


def test_the_strength_of_a_stack_is_its_first_members() -> None:
    strength = Strength.of(choose_defense("midre(place=fixed)+nls"))
    assert strength is not None and strength.tuning.parameter == "area_high"
    assert strength.at(0.3).label == "midre(area_high=0.3,place=fixed)+nls"
    assert strength.hiding(0.1) == 0.0 and strength.hiding(0.8) == 1.0


def test_what_is_tied_keeps_the_ratio_that_was_written() -> None:
    strength = Strength.of(choose_defense("bido:celeba-resnet34"))
    assert strength is not None
    made = remake_defense(strength.at(0.2))
    assert (made.lambda_x, made.lambda_y) == (0.2, 4.0)  # type: ignore[attr-defined]


def test_a_coco_bido_is_searched_on_its_own_range() -> None:
    strength = Strength.of(choose_defense("bido(measure=coco)"))
    assert strength is not None and (strength.tuning.low, strength.tuning.high) == (0.5, 50.0)
    made = remake_defense(strength.at(5.0))
    assert (made.lambda_x, made.lambda_y, made.measure) == (5.0, 50.0, "coco")  # type: ignore[attr-defined]
