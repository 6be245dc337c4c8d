"""Attack accuracy against a sort, ties and broken numbers included."""

from __future__ import annotations

import numpy as np
import pytest

from midef.core import ShapeError
from midef.metrics.attack_accuracy import top_k_hits


@pytest.mark.parametrize("k", [1, 2, 5])
def test_hits_equal_a_sort_where_all_values_differ(k: int) -> None:
    rng = np.random.default_rng(0)
    logits = np.stack([rng.permutation(9) for _ in range(300)]).astype(np.float32)
    labels = rng.integers(0, 9, 300)
    expected = [label in np.argsort(-row)[:k] for row, label in zip(logits, labels, strict=True)]
    assert top_k_hits(logits, labels, k).tolist() == expected
    assert 0 < sum(expected) < 300


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("value", [0.0, -3.5, np.inf, -np.inf, np.nan], ids=str)
def test_constant_logits_are_never_a_hit(k: int, value: float) -> None:
    assert not top_k_hits(np.full((8, 8), value), np.arange(8), k).any()


def test_a_tie_at_the_border_is_a_miss_and_one_within_is_a_hit() -> None:
    logits = np.array([[3.0, 3.0, 1.0, 0.0]])
    assert [bool(top_k_hits(logits, np.array([0]), k)[0]) for k in (1, 2, 3)] == [False, True, True]


def test_a_label_whose_logit_is_no_number_is_not_hit() -> None:
    logits = np.array([[np.nan, 1.0, 2.0], [0.0, 5.0, np.nan]])
    assert top_k_hits(logits, np.array([0, 1]), 1).tolist() == [False, False]


def test_top_five_holds_top_one() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((200, 12)), rng.integers(0, 12, 200)
    one, five = top_k_hits(logits, labels, 1), top_k_hits(logits, labels, 5)
    assert (five | ~one).all() and five.sum() > one.sum()


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(np.zeros(4), np.zeros(4, int)), (np.zeros((3, 4)), np.zeros(2, int))],
    ids=["flat logits", "too few labels"],
)
def test_wrong_shapes_are_explained(logits: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"needs logits \[N, K\] and N labels"):
        top_k_hits(logits, labels, 1)
