"""The projection onto an L1 ball against examples by hand, bisection, and other points of the ball."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from midef.attacks.latent_search.l1_ball import nearest_in_l1_ball


def projected(values: list[float], radius: float) -> list[float]:
    row = torch.tensor([values])
    return nearest_in_l1_ball(row, torch.zeros_like(row), radius=radius)[0].tolist()


def test_examples_by_hand() -> None:
    """|x| falls by the same amount everywhere until the rest sums to the radius."""
    assert projected([3.0, -4.0, 0.0], 2.0) == [0.5, -1.5, 0.0]
    assert projected([5.0, 1.0, -1.0], 2.0) == [2.0, 0.0, 0.0]
    assert projected([1.0, -1.0], 1.0) == [0.5, -0.5]


def by_bisection(row: Tensor, radius: float) -> Tensor:
    """The soft threshold that leaves `radius`, found by halving, in float64."""
    row = row.double()
    low, high = 0.0, float(row.abs().max())
    for _ in range(200):
        middle = (low + high) / 2
        if float((row.abs() - middle).clamp(min=0).sum()) > radius:
            low = middle
        else:
            high = middle
    return row.sign() * (row.abs() - high).clamp(min=0)


@pytest.mark.parametrize("radius", [0.1, 7.0, 60.0])
def test_rows_are_projected_as_by_bisection_and_once_is_enough(radius: float) -> None:
    rng = torch.Generator().manual_seed(1)
    centre, values = torch.randn(5, 4, 6, 6, generator=rng), 3 * torch.randn(5, 4, 6, 6, generator=rng)
    found = nearest_in_l1_ball(values, centre, radius=radius)
    for row, before, middle in zip(found, values, centre, strict=True):
        expected = middle.double() + by_bisection((before - middle).flatten(), radius).view_as(middle)
        assert torch.allclose(row.double(), expected, atol=1e-5)
    assert (found - centre).abs().flatten(1).sum(1).tolist() == pytest.approx([radius] * 5, rel=1e-4)
    assert torch.allclose(nearest_in_l1_ball(found, centre, radius=radius), found, atol=1e-6)


def test_a_row_inside_keeps_its_bits_beside_rows_outside() -> None:
    rng = torch.Generator().manual_seed(2)
    centre, values = 100 * torch.randn(2, 300, generator=rng), 0.1 + torch.randn(2, 300, generator=rng)
    values[0] += centre[0]
    found = nearest_in_l1_ball(values, centre, radius=1000.0)
    assert torch.equal(found[0], values[0]) and not torch.equal(found[1], values[1])
    assert torch.equal(nearest_in_l1_ball(values, centre, radius=1e9), values)


def test_millions_of_values_still_sum_to_the_radius() -> None:
    """Sums in float32 are wrong here: at 2^22 values of about 1 a step of the running sum is a half."""
    values = 1 + 0.01 * torch.rand(1, 2**22, generator=torch.Generator().manual_seed(3))
    found = nearest_in_l1_ball(values, torch.zeros_like(values), radius=5000.0)
    assert float(found.double().abs().sum()) == pytest.approx(5000, rel=1e-5)


def test_what_is_no_number_stays_none_and_harms_no_other_row() -> None:
    values = torch.tensor([[torch.inf, 1.0], [torch.nan, 1.0], [3.0, 0.0]])
    found = nearest_in_l1_ball(values, torch.zeros_like(values), radius=2.0)
    assert not found[0].isfinite().all() and not found[1].isfinite().all()
    assert found[2].tolist() == [2.0, 0.0]
