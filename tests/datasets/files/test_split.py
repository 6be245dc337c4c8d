"""The published 90/10 split, and what is taken out of its training part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from midef.datasets.files.split import apart, ninety_ten


@pytest.mark.parametrize("n", [2, 9, 10, 11, 31, 700, 1300])
def test_nine_of_ten_train_by_the_permutation_written_out(n: int, published_order: Callable[[int], list[int]]) -> None:
    order = published_order(n)
    assert ninety_ten(range(n)) == (order[: n * 9 // 10], order[n * 9 // 10 :])


def test_the_permutation_is_that_of_numpys_old_functions() -> None:
    """Golden: `numpy.random.seed(42); numpy.random.shuffle(list(range(10)))`, numpy 2.3, 2026-11-30."""
    train, report = ninety_ten("abcdefghij")
    assert "".join([*train, *report]) == "ibfahcjedg"
    state = np.random.get_state()
    np.random.seed(42)
    order = list(range(240))
    np.random.shuffle(order)
    np.random.set_state(state)
    assert [*ninety_ten(range(240))[0]] == order[:216]
    assert order != np.random.default_rng(42).permutation(240).tolist(), "the new generator is another one"


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    ninety_ten(range(50))
    assert np.random.random() == expected


def test_select_comes_out_of_train_for_each_label() -> None:
    train = [(f"{label}-{i}", label) for label, count in enumerate((1, 2, 20, 34)) for i in range(count)]
    left, select = apart(train, 0.1, 0)
    assert sorted(left + select) == sorted(train) and not set(left) & set(select)
    assert np.bincount([label for _, label in select], minlength=4).tolist() == [0, 1, 2, 3]
    assert apart(train, 0.1, 0) == (left, select) and apart(train, 0.1, 1)[1] != select
    assert apart(train[::-1], 0.1, 0)[1] != select, "their order is part of it"
