"""Principal components of points whose axes are drawn by hand."""

from __future__ import annotations

import pytest
import torch

from midef.analysis.plane.components import principal_components


def test_a_cross_that_was_turned_and_moved() -> None:
    """Arms of 2 and 1 along (3, 4) / 5 and (-4, 3) / 5: variances 8 and 2 of 10, coordinates along the arms."""
    long, short = torch.tensor([0.6, 0.8]), torch.tensor([-0.8, 0.6])
    rows = torch.stack([2 * long, -2 * long, short, -short]) + torch.tensor([7.0, -3.0])
    plane, shares = principal_components(rows)
    assert shares == pytest.approx((0.8, 0.2))
    # signs: the largest entry of a direction is positive, so the second one points along -short
    expected = [[2.0, 0.0], [-2.0, 0.0], [0.0, -1.0], [0.0, 1.0]]
    torch.testing.assert_close(plane, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_line_in_four_dimensions() -> None:
    along = torch.tensor([1.0, 1.0, 1.0, 1.0]) / 2
    plane, shares = principal_components(torch.tensor([[-3.0], [1.0], [2.0]]) * along)
    assert plane[:, 0].tolist() == pytest.approx([-3.0, 1.0, 2.0]) and shares == pytest.approx((1.0, 0.0))
