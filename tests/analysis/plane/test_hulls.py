"""Hulls and overlaps against areas that are known in closed form, and against counted cells of a grid."""

from __future__ import annotations

import math

import numpy as np
import pytest

from midef.analysis.plane.hulls import area, hull, intersection, overlap

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.0), (0.25, -0.5), (-0.9, 0.9), (1.0, 0.0), (3.0, 1.0)], ids=str)
def test_the_overlap_of_shifted_unit_squares(shift: tuple[float, float]) -> None:
    """They share (1 - |a|) (1 - |b|), and cover two squares less that."""
    shared = max(0.0, 1 - abs(shift[0])) * max(0.0, 1 - abs(shift[1]))
    assert overlap(SQUARE, SQUARE + shift) == pytest.approx(shared / (2 - shared))


def test_the_overlap_of_a_square_and_a_diamond() -> None:
    """Side 2 and half diagonal 3/2, about one centre: the diamond, 9/2, loses four corners of 1/4; 7/2 of 5 in all."""
    diamond = 1 + 1.5 * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert overlap(2 * SQUARE, diamond) == overlap(diamond, 2 * SQUARE) == pytest.approx(0.7)


def test_the_overlap_of_two_regular_polygons_nears_that_of_two_circles() -> None:
    """Unit circles whose centres are 1 apart share 2 pi / 3 - sqrt(3) / 2."""
    angles = np.linspace(0, 2 * math.pi, 2000, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shared = 2 * math.pi / 3 - math.sqrt(3) / 2
    assert overlap(circle, circle + np.array([1.0, 0.0])) == pytest.approx(shared / (2 * math.pi - shared), rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_hull_holds_its_points_and_an_intersection_what_lies_in_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(12, 2)), rng.normal(0.5, 1.5, size=(9, 2))
    one, other = hull(first), hull(second)
    places = np.linspace(-7, 7, 701)
    grid = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    cell = (places[1] - places[0]) ** 2

    def inside(polygon: np.ndarray, points: np.ndarray, slack: float = 0.0) -> np.ndarray:
        """Left of every edge."""
        edges = np.roll(polygon, -1, axis=0) - polygon
        away = points[:, None] - polygon
        return np.asarray((edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0] >= -slack).all(axis=1))

    assert inside(one, first, 1e-12).all() and all((first == corner).all(axis=1).any() for corner in one)
    in_both = inside(one, grid) & inside(other, grid)
    assert area(intersection(one, other)) == pytest.approx(in_both.sum() * cell, abs=0.02)
    assert area(one) == pytest.approx(inside(one, grid).sum() * cell, abs=0.02)


def test_points_on_an_edge_are_no_corners() -> None:
    corners = hull(np.concatenate([SQUARE, [[0.5, 0.0], [0.5, 0.5], [1.0, 0.3]], SQUARE]))
    assert sorted(map(tuple, corners)) == sorted(map(tuple, SQUARE)) and area(corners) == 1.0


def test_a_set_on_a_line_overlaps_nothing() -> None:
    line = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    assert len(hull(line)) == 2
    assert overlap(line, SQUARE) == overlap(SQUARE, line) == overlap(line, line) == 0.0
