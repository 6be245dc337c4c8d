"""Spaces of features that are squares in a plane of four dimensions: every number is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from midef.analysis.plane.spaces import nearest_shares, space_of, under

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
TURN = torch.linalg.qr(torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]


def square(right: float, up: float = 0.0) -> Tensor:
    """A unit square in the plane, moved: [4, 4]."""
    return (CORNERS + torch.tensor([right, up])) @ TURN.T + 5.0


SETS = {"private": square(0.0), "control": square(0.0), "erased": square(0.5), "reconstructed": square(0.5, 0.5)}


def test_overlaps_do_not_depend_on_how_the_plane_lies() -> None:
    space = space_of(3, SETS, 1.0)
    assert space.shares == pytest.approx((space.shares[0], 1 - space.shares[0]))
    assert space.overlaps == pytest.approx(
        {
            "private_control": 1.0,
            "private_reconstructed": 0.25 / 1.75,
            "erased_reconstructed": 0.5 / 1.5,
            "private_erased": 0.5 / 1.5,
        }
    )


def test_distances_are_over_that_of_another_private_image() -> None:
    """A corner of the control is sqrt(1/2) from the centre of the private square, as is every corner from its own."""
    space = space_of(3, SETS, None)
    far = np.hypot(*(CORNERS.numpy() + np.array([0.0, 0.0])).T).mean()  # moved by half a side: corners from a corner
    from_erased = np.hypot(*(CORNERS.numpy() + np.array([-0.5, 0.0])).T).mean()
    assert space.distance_private == pytest.approx(far / math.sqrt(0.5))
    assert space.distance_erased == pytest.approx(from_erased / math.sqrt(0.5))


def test_a_test_image_counts_where_its_own_centre_is_nearest() -> None:
    centres = {2: torch.tensor([0.0, 0.0]), 5: torch.tensor([10.0, 0.0]), 7: torch.tensor([0.0, 10.0])}
    tests = torch.tensor([[1.0, 0.0], [6.0, 0.0], [9.0, 0.0], [0.0, 0.0]])
    assert nearest_shares(centres, tests, torch.tensor([2, 2, 5, 9])) == {2: 0.5, 5: 1.0, 7: None}


def test_neighbours_are_private_and_erased_features_of_the_first_three() -> None:
    features = {i: {name: members + 10 * i * TURN[:, 0] for name, members in SETS.items()} for i in range(4)}
    model = under("midre", 0.4, features, square(0.0), torch.zeros(4))
    assert [space.identity for space in model.spaces] == [0, 1, 2, 3]
    assert [(i, *sets) for i, sets in model.neighbours.items()] == [(i, "private", "erased") for i in range(3)]
    moved = model.neighbours[0]["erased"] - model.neighbours[0]["private"]
    assert np.hypot(*moved.T) == pytest.approx(0.5)  # half a side, in whatever plane holds all of them
    assert model.mean("private_erased") == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert model.spaces[0].nearest == 1.0 and model.spaces[1].nearest is None
