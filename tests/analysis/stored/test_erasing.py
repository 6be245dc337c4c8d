"""Mean erased share against the integral of the sampler's distribution of areas."""

from __future__ import annotations

import pytest

from midef.analysis.stored.erasing import mean_erased
from midef.defenses.midre import Midre


def joint(low: float, high: float) -> float:
    """Mean area where areas are accepted in proportion to (1 - sqrt a)^2, the share of corners that fit.

    Numerator and denominator are the antiderivatives of a - 2 a^(3/2) + a^2 and 1 - 2 a^(1/2) + a.
    """

    def above(a: float) -> float:
        return a**2 / 2 - 4 / 5 * a**2.5 + a**3 / 3

    def below(a: float) -> float:
        return a - 4 / 3 * a**1.5 + a**2 / 2

    return (above(high) - above(low)) / (below(high) - below(low))


@pytest.mark.parametrize("high", [0.4, 0.8])
def test_the_code_erases_the_middle_of_the_range_and_the_text_less(high: float) -> None:
    assert mean_erased(Midre(area_high=high), 1000) == pytest.approx((0.1 + high) / 2, abs=1e-3)
    assert mean_erased(Midre(area_high=high, sampler="reject_joint"), 1000) == pytest.approx(joint(0.1, high), abs=1e-3)


def test_a_patch_has_its_share_of_the_area() -> None:
    assert mean_erased(Midre(area_low=0.4, area_high=0.4, patches=4), 1000) == pytest.approx(0.1, abs=1e-3)
