from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from midef.analysis.rank import error_against_rank, feature_covariance, ideal_inversion_error
from midef.core import SpecError


def matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(size: int, seed: int) -> torch.Tensor:
    root = matrix(size, size, seed)
    return root @ root.T


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 8), st.integers(0, 99))
def test_of_white_features_it_is_the_dimension_less_the_rank(classes: int, size: int, rank: int, seed: int) -> None:
    rank = min(rank, classes, size)
    weight = matrix(classes, rank, seed) @ matrix(rank, size, seed + 1)
    assert ideal_inversion_error(weight, torch.eye(size)) == pytest.approx(size - rank, abs=1e-8)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 5), st.integers(0, 99))
def test_equals_the_textbook_posterior_covariance(classes: int, size: int, noise: float, seed: int) -> None:
    weight, spread = matrix(classes, size, seed).numpy(), covariance(size, seed + 1).numpy()
    inner = np.linalg.inv(weight @ spread @ weight.T + noise * np.eye(classes))
    posterior = spread - spread @ weight.T @ inner @ weight @ spread
    found = ideal_inversion_error(torch.tensor(weight), torch.tensor(spread), noise=noise)
    assert found == pytest.approx(np.trace(posterior), rel=1e-6, abs=1e-9)


def test_with_noise_and_white_features_it_is_a_sum_over_singular_values() -> None:
    weight = matrix(4, 7, 0)
    sizes = torch.linalg.svdvals(weight)
    expected = 7 - (sizes**2 / (sizes**2 + 0.3)).sum()
    assert ideal_inversion_error(weight, torch.eye(7), noise=0.3) == pytest.approx(float(expected))


def test_no_regression_on_drawn_data_does_better() -> None:
    """Least squares on many drawn pairs comes down to the bound from above, and not below it."""
    weight, spread = matrix(2, 5, 3), covariance(5, 4)
    draws = matrix(20_000, 5, 5) @ torch.linalg.cholesky(spread).T
    answers = draws @ weight.T
    solved = torch.linalg.lstsq(answers[:10_000], draws[:10_000]).solution
    measured = float((answers[10_000:] @ solved - draws[10_000:]).square().sum(dim=1).mean())
    bound = ideal_inversion_error(weight, spread)
    assert measured == pytest.approx(bound, rel=0.05)


def test_errors_fall_with_the_rank_from_everything_to_the_full_head() -> None:
    weight, spread = matrix(6, 9, 1), covariance(9, 2)
    found = error_against_rank(weight, spread, range(7))
    errors = [f.error for f in found]
    assert errors == sorted(errors, reverse=True)
    assert found[0].share == pytest.approx(1.0) and errors[0] == pytest.approx(float(spread.trace()))
    assert errors[-1] == pytest.approx(ideal_inversion_error(weight, spread))


def test_directions_without_variance_cost_nothing() -> None:
    spread = torch.diag(torch.tensor([2.0, 1.0, 0.0]))
    assert ideal_inversion_error(torch.tensor([[1.0, 0.0, 0.0]]), spread) == pytest.approx(1.0)
    assert ideal_inversion_error(torch.zeros(1, 3), spread) == pytest.approx(3.0)


def test_covariance_is_numpys() -> None:
    features = matrix(12, 4, 0)
    np.testing.assert_allclose(feature_covariance(features), np.cov(features.numpy(), rowvar=False))


def test_refuses_shapes_and_ranks_that_do_not_fit() -> None:
    with pytest.raises(SpecError, match=r"needs weight \[K, D\]"):
        ideal_inversion_error(torch.zeros(2, 3), torch.eye(2))
    with pytest.raises(SpecError, match="has ranks 0 to 2; got 3"):
        error_against_rank(torch.zeros(2, 3), torch.eye(3), [3])
