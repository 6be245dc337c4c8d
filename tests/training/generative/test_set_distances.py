"""Distances of sets against double loops over their members."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from midef.training.generative.set_distances import SET_DISTANCES, mean_discrepancy, pair_distance, transport_cost


def features(count: int, seed: int, shift: float = 0.0) -> Tensor:
    return shift + torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = features(3, 0), features(4, 1, 0.5)


def squared(a: Tensor, b: Tensor) -> float:
    return sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))


def mmd_by_hand(x: Tensor, y: Tensor) -> float:
    both = [*x, *y]
    pairs = [squared(a, b) for i, a in enumerate(both) for j, b in enumerate(both) if i != j]
    smallest = sum(pairs) / len(pairs) / 4

    def kernel(a: Tensor, b: Tensor) -> float:
        return sum(math.exp(-squared(a, b) / (smallest * 2**j)) for j in range(5))

    def mean(first: Tensor, second: Tensor) -> float:
        return sum(kernel(a, b) for a in first for b in second) / (len(first) * len(second))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def ct_by_hand(x: Tensor, y: Tensor) -> float:
    def cost(a: Tensor, b: Tensor) -> float:
        return 1 - float(a @ b) / (float(a.norm()) * float(b.norm()))

    def one_way(first: Tensor, second: Tensor) -> float:
        total = 0.0
        for a in first:
            weights = [math.exp(float(a @ b)) for b in second]
            total += sum(w * cost(a, b) for w, b in zip(weights, second, strict=True)) / sum(weights)
        return total / len(first)

    return (one_way(x, y) + one_way(y, x)) / 2


def test_they_are_what_the_formulas_say() -> None:
    assert float(mean_discrepancy(X, Y)) == pytest.approx(mmd_by_hand(X, Y), rel=1e-9)
    assert float(transport_cost(X, Y)) == pytest.approx(ct_by_hand(X, Y), rel=1e-9)
    pairs = [squared(a, b) for a, b in zip(X, Y[:3], strict=True)]
    assert float(pair_distance(X, Y[:3])) == pytest.approx(sum(pairs) / 3, rel=1e-9)


def test_the_discrepancy_of_a_set_and_itself_is_0_in_any_order_and_grows_with_what_parts_them() -> None:
    assert float(mean_discrepancy(X, X)) == pytest.approx(0, abs=1e-12)
    assert float(mean_discrepancy(X, X.flip(0))) == pytest.approx(0, abs=1e-12)
    near, far = mean_discrepancy(X, X + 0.1), mean_discrepancy(X, X + 3)
    assert 0 < float(near) < float(far)


@pytest.mark.parametrize("name", ["mmd", "ct"])
def test_neither_set_comes_first(name: str) -> None:
    distance = SET_DISTANCES[name]
    assert float(distance(X, Y)) == pytest.approx(float(distance(Y, X)), rel=1e-9)
    assert float(distance(X, Y[[2, 0, 3, 1]])) == pytest.approx(float(distance(X, Y)), rel=1e-9)


def test_one_and_the_same_image_everywhere_is_a_distance_of_0_with_a_slope() -> None:
    """Inversion starts so: all images the same, and the bandwidth of equal members is 0."""
    x = X[:1].expand(3, -1).clone().requires_grad_(True)
    value = mean_discrepancy(x, X[:1].expand(2, -1))
    (slope,) = torch.autograd.grad(value, x)
    assert float(value.detach()) == pytest.approx(0, abs=1e-12) and slope.isfinite().all()


@pytest.mark.parametrize("name", SET_DISTANCES)
def test_descending_any_of_them_brings_the_sets_together(name: str) -> None:
    x = X.clone().requires_grad_(True)
    adam = torch.optim.Adam([x], lr=0.05)
    values = []
    for _ in range(60):
        adam.zero_grad()
        loss = SET_DISTANCES[name](x, Y[:3])
        loss.backward()
        adam.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.3 * values[0]


def test_the_discrepancy_keeps_no_differences_of_long_features_for_the_way_back() -> None:
    """Twenty members of LPIPS's 8 million numbers: their differences would be 13 GB."""
    x = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = mean_discrepancy(x, x.detach() + 0.1)
    assert sum(kept.values()) < 2 * 10 * 1000
    double = x.detach().double().requires_grad_(True)
    (slope,) = torch.autograd.grad(value, x)
    (expected,) = torch.autograd.grad(mean_discrepancy(double, double.detach() + 0.1), double)
    assert torch.allclose(slope.double(), expected, rtol=1e-3, atol=1e-7)
