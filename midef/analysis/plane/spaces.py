"""Groups of features of each identity: in one plane, with overlaps, and as distances in all dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from midef.analysis.plane.components import principal_components
from midef.analysis.plane.hulls import overlap
from midef.core.lazy import torch
from midef.core.statistics import t_interval

if TYPE_CHECKING:
    from torch import Tensor

GROUPS = ("private", "control", "erased", "reconstructed")
"""Sets of an identity; the control are private images, too, other ones."""
NEIGHBOURS = 3
"""Identities that are shown in one plane."""
PAIRS = {
    "private_control": ("private", "control"),
    "private_reconstructed": ("private", "reconstructed"),
    "erased_reconstructed": ("erased", "reconstructed"),
    "private_erased": ("private", "erased"),
}
"""Overlaps, and the sets that they are of."""


@dataclass(frozen=True)
class Space:
    """Features of one identity.

    Args:
        points: [n, 2] of each of `GROUPS`, in the principal components of all of them together.
        shares: of their variance, in the two components.
        distance_private: mean distance of a reconstruction from the mean of the private features, over that of the
            control, in all dimensions; 1 is as near as another private image.
        distance_erased: likewise from the mean of the erased features, over the same.
        nearest: share of the identity's test images that are nearer to the mean of its erased features than to those
            of all other identities that are compared; None without a test image.
    """

    identity: int
    points: Mapping[str, np.ndarray]
    shares: tuple[float, float]
    distance_private: float
    distance_erased: float
    nearest: float | None

    @property
    def overlaps(self) -> Mapping[str, float]:
        """Of the hulls of each of `PAIRS`, 0 to 1."""
        return {name: overlap(self.points[one], self.points[other]) for name, (one, other) in PAIRS.items()}


def space_of(identity: int, features: Mapping[str, Tensor], nearest: float | None) -> Space:
    """The space of features [n, D] of each of `GROUPS`, of the same number n >= 3."""
    plane, shares = principal_components(torch.cat([features[name] for name in GROUPS]))
    parts = plane.chunk(len(GROUPS))
    private, erased = (features[name].double().mean(dim=0) for name in ("private", "erased"))
    typical = _distance(features["control"], private)
    return Space(
        identity,
        {name: part.numpy() for name, part in zip(GROUPS, parts, strict=True)},
        shares,
        _distance(features["reconstructed"], private) / typical,
        _distance(features["reconstructed"], erased) / typical,
        nearest,
    )


def _distance(features: Tensor, centre: Tensor) -> float:
    """Mean Euclidean distance of features [N, D] from a centre [D]."""
    return float(torch.linalg.vector_norm(features.double() - centre, dim=1).mean())


def nearest_shares(centres: Mapping[int, Tensor], features: Tensor, labels: Tensor) -> dict[int, float | None]:
    """Share of each identity's features [N, D] that lie nearer to its centre [D] than to any other.

    Args:
        labels: [N]; features of identities without a centre are left out.
    """
    names = list(centres)
    distances = torch.cdist(features.double(), torch.stack([centres[name].double() for name in names]))
    chosen = torch.tensor(names)[distances.argmin(dim=1)]
    own = {name: labels == name for name in names}
    return {n: float((chosen[rows] == n).double().mean()) if rows.any() else None for n, rows in own.items()}


@dataclass(frozen=True)
class Model:
    """What was found under one target.

    Args:
        area: largest share that its defense erases; 0 of none.
        spaces: of the identities.
        neighbours: points [n, 2] of private and erased features of a few identities, all in one plane.
    """

    label: str
    area: float
    spaces: Sequence[Space]
    neighbours: Mapping[int, Mapping[str, np.ndarray]]

    def mean(self, column: str) -> tuple[float, float, float]:
        """An overlap, mean over the identities, with Student's interval over them."""
        values = [space.overlaps[column] for space in self.spaces]
        return float(np.mean(values)), *span(values)


def under(
    label: str, area: float, features: Mapping[int, Mapping[str, Tensor]], tests: Tensor, test_labels: Tensor
) -> Model:
    """What is found under one target.

    Args:
        label: of its defense.
        area: largest share that it erases.
        features: [n, D] of each set, by identity; at least two identities.
        tests: features of test images [N, D].
        test_labels: [N].
    """
    centres = {identity: sets["erased"].mean(dim=0) for identity, sets in features.items()}
    nearest = nearest_shares(centres, tests, test_labels)
    few = {identity: features[identity] for identity in list(features)[:NEIGHBOURS]}
    shown = ("private", "erased")
    plane, _ = principal_components(torch.cat([sets[name] for sets in few.values() for name in shown]))
    parts = iter(plane.split([len(sets[name]) for sets in few.values() for name in shown]))
    return Model(
        label,
        area,
        [space_of(identity, sets, nearest[identity]) for identity, sets in features.items()],
        {identity: {name: next(parts).numpy() for name in shown} for identity in few},
    )


def span(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two values or more."""
    interval = t_interval(values)
    assert interval is not None, "two identities at least are compared"
    return interval
