"""The maths of BiDO against a slow reading of the formula in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import exp
from statistics import median_low
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch, Tuning
from midef.defenses.bido import (
    Bido,
    centred_kernel,
    coco,
    gaussian_kernel,
    normalised_hsic,
    normalised_kernel,
    roots_of_product,
)
from midef.models import ARCHITECTURES
from midef.nn.network import Forward
from midef.nn.taps import CODE
from midef.training.classifier.batches import batches_of

Matrix = npt.NDArray[np.float64]
MEASURES: list[Callable[[Tensor, Tensor], Tensor]] = [normalised_hsic, coco]
either_measure = pytest.mark.parametrize("measure", MEASURES, ids=["hsic", "coco"])


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


def slow_distance(first: Matrix, second: Matrix) -> float:
    return sum((float(u) - float(v)) ** 2 for u, v in zip(first, second, strict=True))


def slow_kernel(kind: str, rows: Matrix, sigma: float) -> Matrix:
    n, dim = rows.shape
    width = sigma**2 * dim
    if sigma == 0:
        width = median_low([slow_distance(rows[a], rows[b]) for a in range(n) for b in range(a)])
    kernel = np.zeros((n, n))
    for a in range(n):
        for b in range(n):
            if kind == "linear":
                kernel[a, b] = sum(float(u) * float(v) for u, v in zip(rows[a], rows[b], strict=True))
            elif kind == "gaussian":
                kernel[a, b] = exp(-slow_distance(rows[a], rows[b]) / (2 * width))
            else:
                kernel[a, b] = 1 / (1 + slow_distance(rows[a], rows[b])) ** 0.5
    return kernel


def slow_dependence(measure: str, first: Matrix, second: Matrix) -> float:
    n = len(first)
    centring = np.eye(n) - np.ones((n, n)) / n
    if measure == "coco":
        product = centring @ first @ centring @ centring @ second @ centring
        return float(np.sqrt(np.sqrt((product**2).sum())) / n)
    ratios = [k @ centring @ np.linalg.inv(k @ centring + 1e-5 * n * np.eye(n)) for k in (first, second)]
    return float(np.trace(ratios[0] @ ratios[1]))


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


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 16), st.sampled_from([0.0, 0.1, 1.0, 5.0]))
def test_coco_lies_between_zero_and_one(seed: int, n: int, sigma: float) -> None:
    first = gaussian_kernel(points(seed, n, spread=9.0), sigma=sigma)
    second = gaussian_kernel(points(seed + 1, n, dim=3), sigma=sigma)
    assert 0 <= float(coco(first, second)) <= 1
    assert 0 < float(coco(first, first)) <= 1


def test_dependence_on_itself_nearly_reaches_the_bound() -> None:
    kernel = gaussian_kernel(points(0, spread=30.0), sigma=1.0)  # all points far apart: full rank
    assert float(normalised_hsic(kernel, kernel)) == pytest.approx(11, abs=0.05)


@either_measure
@given(st.permutations(range(12)))
@settings(deadline=None, max_examples=20)
def test_a_joint_permutation_of_the_batch_changes_nothing(
    measure: Callable[[Tensor, Tensor], Tensor], order: list[int]
) -> None:
    first, second = points(3), points(4, dim=2)
    plain = measure(gaussian_kernel(first, sigma=1.0), gaussian_kernel(second, sigma=1.0))
    moved = measure(gaussian_kernel(first[order], sigma=1.0), gaussian_kernel(second[order], sigma=1.0))
    torch.testing.assert_close(moved, plain)


@either_measure
def test_permuting_one_side_does_change_it(measure: Callable[[Tensor, Tensor], Tensor]) -> None:
    rows = points(3, dim=2)  # low rank: the dependence of full-rank kernels is saturated at B - 1
    kernel, moved = slow_linear(rows), slow_linear(rows.roll(1, dims=0))
    assert measure(kernel, kernel) - measure(kernel, moved) > 0.1


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_a_constant_depends_on_nothing(value: float) -> None:
    constant = gaussian_kernel(torch.full((12, 7), value, dtype=torch.float64), sigma=5.0)
    assert float(normalised_hsic(constant, gaussian_kernel(points(1), sigma=1.0))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sigma", [5.0, 0.0], ids=["bandwidth", "median"])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_constant_activation_has_no_coco_and_a_finite_slope(value: float, sigma: float, dtype: torch.dtype) -> None:
    activation = torch.full((12, 7), value, dtype=dtype, requires_grad=True)
    found = coco(gaussian_kernel(activation, sigma=sigma), gaussian_kernel(points(1).to(dtype), sigma=1.0))
    found.backward()
    # The root turns the rounding of a kernel, 1e-7 in float32, into 1e-3 or so.
    assert float(found.detach()) == pytest.approx(0, abs=2e-3 if dtype is torch.float32 else 1e-6)
    assert activation.grad is not None and torch.isfinite(activation.grad).all()


def test_where_coco_is_exactly_zero_its_slope_is_zero() -> None:
    kernels = torch.stack([torch.zeros(4, 4), centred_kernel(slow_linear(points(0, n=4)).float())]).requires_grad_()
    other = torch.eye(4)
    found = roots_of_product(kernels, other)
    found.sum().backward()
    assert found[0].item() == 0 and found[1].item() > 0
    assert kernels.grad is not None
    assert torch.equal(kernels.grad[0], torch.zeros(4, 4))
    assert torch.isfinite(kernels.grad).all() and kernels.grad[1].any()


@either_measure
def test_slopes_of_the_dependence_are_right(measure: Callable[[Tensor, Tensor], Tensor]) -> None:
    rows = points(5, n=6, dim=4).requires_grad_(True)
    labels = slow_linear(points(6, n=6, dim=2))
    assert torch.autograd.gradcheck(lambda x: measure(gaussian_kernel(x, sigma=1.0), labels), rows, rtol=1e-3)


def a_pass(dtype: torch.dtype) -> tuple[Forward, Batch]:
    """Sixteen images, four of each of four of five identities, and the activations of two layers."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(4)
    images = torch.rand(16, 3, 8, 8, generator=rng, dtype=dtype)
    taps = {
        "block1": 5 * torch.randn(16, 4, 2, 2, generator=rng, dtype=dtype),
        "embedding": 9 * torch.randn(16, 6, generator=rng, dtype=dtype),
    }
    forward = Forward(torch.zeros(16, 5, dtype=dtype), taps["embedding"], taps)
    return forward, Batch(images, labels, torch.arange(16))


@pytest.mark.parametrize("measure", ["hsic", "coco"])
@pytest.mark.parametrize("label_kernel", ["linear", "gaussian", "imq"])
@pytest.mark.parametrize("sigma", [0.8, 0.0], ids=["bandwidth", "median"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_penalties_from_the_formula(dtype: torch.dtype, sigma: float, label_kernel: str, measure: str) -> None:
    forward, batch = a_pass(dtype)
    params = {"lambda_x": 0.3, "lambda_y": 0.7, "sigma": sigma, "measure": measure, "label_kernel": label_kernel}
    found = DEFENSES.make("bido", params).penalties(forward, batch, 0.0)
    images = slow_kernel("gaussian", batch.images.flatten(1).double().numpy(), sigma)
    labels = slow_kernel(label_kernel, np.eye(5)[batch.labels.numpy()], sigma)
    assert set(found) == {f"{measure}_{side}.{name}" for side in "xy" for name in forward.taps}
    near = 1e-2 if dtype is torch.float32 else 1e-6
    for name, tap in forward.taps.items():
        hidden = slow_kernel("gaussian", tap.flatten(1).double().numpy(), sigma)
        on_image, on_label = slow_dependence(measure, hidden, images), slow_dependence(measure, hidden, labels)
        assert float(found[f"{measure}_x.{name}"]) == pytest.approx(0.3 * on_image, rel=near)
        assert float(found[f"{measure}_y.{name}"]) == pytest.approx(-0.7 * on_label, rel=near)


def test_the_code_another_defense_taps_is_no_hidden_layer() -> None:
    forward, batch = a_pass(torch.float32)
    alone = Bido().penalties(forward, batch, 0.0)
    beside = forward._replace(taps={**forward.taps, CODE: torch.randn(16, 3)})
    assert Bido().penalties(beside, batch, 0.0) == alone
    assert Bido().penalties(forward._replace(taps={CODE: torch.randn(16, 3)}), batch, 0.0) == {}
    assert Bido().off().penalties(forward, batch, 0.0) == {}


def test_kernels_of_images_and_labels_are_made_once_and_without_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost BiDO may add to a step: one inversion for what is given, one with a graph for all hidden layers."""
    inversions: list[tuple[tuple[int, ...], bool]] = []
    invert = torch.linalg.inv_ex

    def counted(matrices: Tensor) -> Any:
        inversions.append((tuple(matrices.shape), matrices.requires_grad))
        return invert(matrices)

    monkeypatch.setattr(torch.linalg, "inv_ex", counted)
    forward, batch = a_pass(torch.float32)
    taps = {name: tap.requires_grad_() for name, tap in forward.taps.items()}
    batch.images.requires_grad_()
    terms = Bido().penalties(forward, batch, 0.0)
    assert inversions == [((2, 16, 16), False), ((2, 16, 16), True)]
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(tap.grad is not None and tap.grad.any() for tap in taps.values())


def test_a_kernel_that_is_not_finite_gives_no_number() -> None:
    kernel = gaussian_kernel(points(0), sigma=1.0)
    kernel[0, 1] = torch.nan
    assert normalised_kernel(kernel).isnan().any()


def test_half_precision_activations_are_judged_in_single() -> None:
    kernel = gaussian_kernel(points(0).float(), sigma=1.0).bfloat16()
    assert normalised_kernel(kernel).dtype == torch.float32
    assert torch.isfinite(normalised_kernel(kernel)).all()


def test_balanced_batches_hold_four_images_of_sixteen_identities() -> None:
    labels = torch.arange(40).repeat_interleave(20)
    batches = batches_of(labels, 64, Bido().images_per_identity, torch.Generator().manual_seed(0))
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


def test_only_blocks_that_train_are_looked_at() -> None:
    facts = replace(ARCHITECTURES.make("vgg16").facts(), frozen=frozenset({"block1", "block2", "block5"}))
    assert Bido().taps(facts) == ("block3", "block4", "embedding")


def test_tuning_moves_along_the_ray_of_the_published_strengths() -> None:
    assert isinstance(Bido.tuning, Tuning)
    for preset in ("celeba-vgg16", "facescrub-resnet152", "facescrub-resnet152-pretrained"):
        published = dict(Bido.presets[preset])
        assert Bido.tuning.params(published["lambda_x"]) == pytest.approx(published), preset
        assert Bido.tuning.low <= published["lambda_x"] <= Bido.tuning.high


def test_a_network_with_every_tap_frozen_is_refused() -> None:
    facts = ARCHITECTURES.make("vgg16_tiny").facts()
    assert Bido().off().problems(replace(facts, frozen=frozenset(facts.blocks))) == []
    assert Bido().problems(replace(facts, frozen=frozenset(facts.taps[:2]))) == []
    (problem,) = Bido().problems(replace(facts, frozen=frozenset(facts.blocks)))
    assert problem.startswith("BiDO needs at least one trainable tap; block1, block2") and "freeze fewer" in problem


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lambda_x": -1.0}, "needs lambda_x, lambda_y >= 0, got -1.0, 0.5"),
        ({"sigma": -1.0}, "needs sigma > 0, or 0 for the median heuristic; got -1.0"),
        ({"measure": "mmd"}, "'hsic' or 'coco'"),
        ({"label_kernel": "rbf"}, "'linear', 'gaussian' or 'imq'"),
        ({"lambda_y": float("nan")}, "finite"),
        ({"sigma": float("inf")}, "finite"),
    ],
    ids=["negative weight", "negative bandwidth", "measure", "kernel", "nan weight", "infinite bandwidth"],
)
def test_impossible_values_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.choose({"name": "bido", **params})
