"""The maths of BiDO against a slow reading of the formula in float64."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch
from midef.defenses.bido import Bido, gaussian_kernel, normalised_hsic, normalised_kernel
from midef.models import ARCHITECTURES
from midef.models._network import Forward
from midef.training.classifier import _batches


def points(seed: int, n: int = 12, dim: int = 7, spread: float = 1.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, dim, generator=rng, dtype=torch.float64)


def slow_gaussian(rows: Tensor, sigma: float) -> Tensor:
    n, dim = rows.shape
    kernel = torch.zeros(n, n, dtype=torch.float64)
    for a in range(n):
        for b in range(n):
            distance = sum((u - v) ** 2 for u, v in zip(rows[a].tolist(), rows[b].tolist(), strict=True))
            kernel[a, b] = exp(-distance / (2 * sigma**2 * dim))
    return kernel


def slow_linear(rows: Tensor) -> Tensor:
    n = len(rows)
    return torch.tensor([[float(rows[a] @ rows[b]) for b in range(n)] for a in range(n)], dtype=torch.float64)


def slow_hsic(first: Tensor, second: Tensor) -> float:
    """sum(R_K * R_L^T), R = (K H)(K H + 1e-5 B I)^-1, H = I - 11^T / B."""
    n = len(first)
    eye = torch.eye(n, dtype=torch.float64)
    centring = eye - torch.ones(n, n, dtype=torch.float64) / n
    ratios = []
    for kernel in (first, second):
        centred = kernel.double() @ centring
        # R X = C with X = C + ridge, solved from the left on transposes
        ratios.append(torch.linalg.solve((centred + 1e-5 * n * eye).T, centred.T).T)
    return float((ratios[0] * ratios[1].T).sum())


def test_bandwidth_grows_with_the_dimension() -> None:
    dim = 3 * 64 * 64
    images = torch.stack([torch.zeros(dim), torch.full((dim,), 50**0.5)])
    assert dim == 12_288 and float((images[1] - images[0]).square().sum()) == pytest.approx(614_400)
    kernel = gaussian_kernel(images, sigma=5.0)
    assert float(kernel[0, 1]) == pytest.approx(exp(-1), rel=1e-5)
    torch.testing.assert_close(kernel.diagonal(), torch.ones(2))


@pytest.mark.parametrize("sigma", [0.5, 5.0])
def test_gaussian_kernel_from_the_formula(sigma: float) -> None:
    rows = points(0, spread=3.0)
    torch.testing.assert_close(gaussian_kernel(rows, sigma=sigma), slow_gaussian(rows, sigma))


@pytest.mark.parametrize("seed", range(5))
def test_normalised_hsic_from_the_formula(seed: int) -> None:
    first, second = slow_gaussian(points(seed), 1.0), slow_linear(points(seed + 100, dim=3))
    assert float(normalised_hsic(first, second)) == pytest.approx(slow_hsic(first, second), rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 16), st.sampled_from([0.1, 1.0, 5.0]))
def test_dependence_lies_between_zero_and_one_less_than_the_batch(seed: int, n: int, sigma: float) -> None:
    first = gaussian_kernel(points(seed, n), sigma=sigma)
    second = gaussian_kernel(points(seed + 1, n, dim=3), sigma=sigma)
    for value in (normalised_hsic(first, second), normalised_hsic(first, first)):
        assert -1e-6 <= float(value) <= n - 1 + 1e-6


def test_dependence_on_itself_nearly_reaches_the_bound() -> None:
    kernel = gaussian_kernel(points(0, spread=30.0), sigma=1.0)  # all points far apart: full rank
    assert float(normalised_hsic(kernel, kernel)) == pytest.approx(11, abs=0.05)


@given(st.permutations(range(12)))
@settings(deadline=None, max_examples=20)
def test_a_joint_permutation_of_the_batch_changes_nothing(order: list[int]) -> None:
    first, second = points(3), points(4, dim=2)
    plain = normalised_hsic(gaussian_kernel(first, sigma=1.0), gaussian_kernel(second, sigma=1.0))
    moved = normalised_hsic(gaussian_kernel(first[order], sigma=1.0), gaussian_kernel(second[order], sigma=1.0))
    torch.testing.assert_close(moved, plain)


def test_permuting_one_side_does_change_it() -> None:
    rows = points(3, dim=2)  # low rank: the dependence of full-rank kernels is saturated at B - 1
    kernel, moved = slow_linear(rows), slow_linear(rows.roll(1, dims=0))
    assert normalised_hsic(kernel, kernel) - normalised_hsic(kernel, moved) > 0.1


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_a_constant_depends_on_nothing(value: float) -> None:
    constant = gaussian_kernel(torch.full((12, 7), value, dtype=torch.float64), sigma=5.0)
    assert float(normalised_hsic(constant, gaussian_kernel(points(1), sigma=1.0))) == pytest.approx(0, abs=1e-9)


def test_slopes_of_the_dependence_are_right() -> None:
    rows = points(5, n=6, dim=4).requires_grad_(True)
    labels = normalised_kernel(slow_linear(points(6, n=6, dim=2)))

    def dependence(x: Tensor) -> Tensor:
        return (normalised_kernel(gaussian_kernel(x, sigma=1.0)) * labels.T).sum()

    assert torch.autograd.gradcheck(dependence, rows, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_penalties_from_the_formula(dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(4)
    images = torch.rand(16, 3, 8, 8, generator=rng, dtype=dtype)
    taps = {
        "block1": 5 * torch.randn(16, 4, 2, 2, generator=rng, dtype=dtype),
        "embedding": 9 * torch.randn(16, 6, generator=rng, dtype=dtype),
    }
    forward = Forward(torch.zeros(16, 5, dtype=dtype), taps["embedding"], taps)
    defense = Bido(lambda_x=0.3, lambda_y=0.7, sigma=0.8)
    found = defense.penalties(forward, Batch(images, labels, torch.arange(16)), 0.0)
    image_kernel = slow_gaussian(images.flatten(1).double(), 0.8)
    label_kernel = slow_linear(torch.eye(5, dtype=torch.float64)[labels])
    assert set(found) == {f"hsic_{side}.{name}" for side in "xy" for name in taps}
    for name, hidden in taps.items():
        kernel = slow_gaussian(hidden.flatten(1).double(), 0.8)
        tolerance = 1e-2 if dtype is torch.float32 else 1e-6
        assert float(found[f"hsic_x.{name}"]) == pytest.approx(0.3 * slow_hsic(kernel, image_kernel), rel=tolerance)
        assert float(found[f"hsic_y.{name}"]) == pytest.approx(-0.7 * slow_hsic(kernel, label_kernel), rel=tolerance)


def test_half_precision_activations_are_judged_in_single() -> None:
    kernel = gaussian_kernel(points(0).float(), sigma=1.0).bfloat16()
    assert normalised_kernel(kernel).dtype == torch.float32
    assert torch.isfinite(normalised_kernel(kernel)).all()


def test_balanced_batches_hold_four_images_of_sixteen_identities() -> None:
    labels = torch.arange(40).repeat_interleave(20)
    batches = _batches(labels, 64, Bido().images_per_identity, torch.Generator().manual_seed(0))
    assert len(batches) == 800 // 64
    for batch in batches:
        assert len(batch.unique()) == 64
        counts = torch.bincount(labels[batch], minlength=40)
        assert sorted(counts.tolist(), reverse=True) == [4] * 16 + [0] * 24
    assert len(torch.cat(batches).unique()) > 400, "the batches keep drawing the same images"


def test_taps_are_the_hidden_list_of_the_architecture() -> None:
    facts = ARCHITECTURES.make("vgg16").facts()
    assert Bido().taps(facts) == facts.taps
    assert Bido().off().taps(facts) == ()


def test_a_network_with_every_tap_frozen_is_refused() -> None:
    facts = ARCHITECTURES.make("vgg16_tiny").facts()
    assert Bido().problems(replace(facts, frozen=frozenset(facts.taps[:2]))) == []
    (problem,) = Bido().problems(replace(facts, frozen=frozenset(facts.blocks)))
    assert problem.startswith("BiDO needs at least one trainable tap; block1, block2") and "freeze fewer" in problem


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lambda_x": -1.0}, "needs lambda_x, lambda_y >= 0, got -1.0, 0.5"),
        ({"sigma": 0.0}, "needs sigma > 0, got 0.0"),
        ({"lambda_y": float("nan")}, "finite"),
        ({"sigma": float("inf")}, "finite"),
    ],
    ids=["negative weight", "no bandwidth", "nan weight", "infinite bandwidth"],
)
def test_impossible_values_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.choose({"name": "bido", **params})
