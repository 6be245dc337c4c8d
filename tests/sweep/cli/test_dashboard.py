"""`midef dashboard`: what attack accuracy may be plotted against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Midef = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("utility", "said"),
    [
        ("confidence_distorsion", "is no metric; did you mean 'confidence_distortion'"),
        ("knn_distance", "says how private a defense is; "),
    ],
)
def test_a_utility_is_a_metric_of_what_a_defense_costs(midef: Midef, utility: str, said: str, tmp_path: Any) -> None:
    code, _, err = midef("dashboard", "build", "--store", str(tmp_path), "--utility", utility)
    assert code == 2 and said in err and f"--utility {utility}" in err
