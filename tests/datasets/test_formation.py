"""The image formation of procedural faces: the data set's own images, as a function with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from midef.datasets import DATASETS
from midef.datasets.faces.drawing import render
from midef.datasets.faces.formation import MIXTURE_SCALE, FaceFormation
from midef.datasets.faces.ranges import CONCENTRATION, IDENTITY, NUISANCE, PALETTES
from midef.datasets.synthetic_faces import SyntheticFaces


def drawn(dataset: SyntheticFaces, count: int = 3, resolution_px: int = 32) -> dict[str, Tensor]:
    """Parameters of `count` images of every identity, float64."""
    each = [dataset._nuisance(identity, "train", count, resolution_px) for identity in range(dataset.identities)]
    named = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
    named |= dict(zip(IDENTITY, dataset.traits().repeat(count, axis=0).T, strict=True))
    return {name: torch.from_numpy(value).double() for name, value in named.items()}


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0, 2.0])
def test_equal_parameters_give_the_images_of_the_data_set(difficulty: float) -> None:
    dataset = SyntheticFaces(identities=6, train_images=3, difficulty=difficulty)
    face = drawn(dataset)
    formation = dataset.formation()
    latents = formation.latents(face)
    assert latents.shape == (18, formation.latent_dim) and formation.latent_dim == 62
    formed = render(formation.parameters(latents.float()), 32)
    noisy = formed + 0.02 * difficulty * face["noise"].float()
    levels = (noisy.clamp(0, 1) * 255).round() - dataset.load(32).train.images.float()
    assert levels.abs().max() <= 1 and (levels != 0).float().mean() < 1e-2, "but for rounding"
    assert torch.allclose(formed, render({name: value.float() for name, value in face.items()}, 32), atol=1e-4)
    assert torch.equal(formation.images(latents.float(), 32), formed.clamp(0, 1))


def test_identity_latents_are_the_first_coordinates_and_exact() -> None:
    dataset = SyntheticFaces(identities=50)
    latents = dataset.identity_latents()
    formation = dataset.formation()
    assert latents.shape == (50, formation.n_traits) == (50, 24)
    padded = torch.zeros(50, formation.latent_dim, dtype=torch.float64)
    padded[:, :24] = torch.from_numpy(latents)
    face = formation.parameters(padded)
    back = torch.stack([face[name] for name in IDENTITY], dim=1).numpy()
    low, high = np.array(list(IDENTITY.values())).T
    assert np.abs((back - dataset.traits()) / (high - low)).max() < 1e-14
    public = SyntheticFaces(identities=50, population="public").identity_latents()
    assert public.shape == (50, 24) and np.abs(public - latents).max() > 1


def test_standard_normal_latents_follow_the_population() -> None:
    """Quantiles of every trait, nuisance and colour channel, and of the weights of the palettes."""
    dataset = SyntheticFaces(identities=500, seed=5)
    face = drawn(dataset, count=4, resolution_px=1)
    count = len(face["skin"])
    latents = torch.randn(20_000, 62, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    formed = dataset.formation().parameters(latents)
    at = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    for name, values in formed.items():
        found, expected = (torch.quantile(v.reshape(len(v), -1), at, dim=0) for v in (values, face[name]))
        spread = face[name].max() - face[name].min()
        assert ((found - expected).abs() < 0.06 * spread).all(), f"{name} of {count} images"


def test_weights_of_palettes_spread_as_those_of_the_data_set() -> None:
    logits = MIXTURE_SCALE * torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0))
    ours = logits.softmax(dim=1).numpy()
    theirs = np.random.default_rng(0).dirichlet(np.full(4, CONCENTRATION), size=20_000)
    assert np.abs(ours.std(axis=0) - theirs.std(axis=0)).max() < 0.01
    assert np.abs(np.quantile(ours, [0.1, 0.5, 0.9]) - np.quantile(theirs, [0.1, 0.5, 0.9])).max() < 0.03
    assert all(len(palette) == 4 for palette in PALETTES.values())


def slopes(latents: Tensor, weights: Tensor, resolution_px: int) -> Tensor:
    formation = FaceFormation()
    latents = latents.clone().requires_grad_(True)
    (formation.images(latents, resolution_px) * weights).sum().backward()
    assert latents.grad is not None
    return latents.grad


@pytest.mark.parametrize("resolution_px", [16, 33])
def test_gradients_are_those_of_finite_differences(resolution_px: int) -> None:
    """At 33 px a pixel lies at x = 0 and y = 0, where distances have kinks."""
    rng = torch.Generator().manual_seed(1)
    latents = torch.randn(4, 62, generator=rng, dtype=torch.float64)
    weights = torch.randn(4, 3, resolution_px, resolution_px, generator=rng, dtype=torch.float64)
    slope = slopes(latents, weights, resolution_px)
    step = 1e-6
    moved = latents[:, None] + step * torch.eye(62, dtype=torch.float64)
    back = latents[:, None] - step * torch.eye(62, dtype=torch.float64)

    def losses(at: Tensor) -> Tensor:
        images = FaceFormation().images(at.flatten(0, 1), resolution_px)
        return (images.unflatten(0, (4, 62)) * weights[:, None]).sum(dim=(2, 3, 4))

    expected = (losses(moved) - losses(back)) / (2 * step)
    assert ((slope - expected).abs() / (1 + expected.abs())).max() < 1e-4


STRAIGHT = dict.fromkeys(("turn", "scale", "shift_x", "shift_y", "yaw"), 0.0)
EDGES: dict[str, dict[str, float]] = {
    "middle of every range": {},
    "head straight, its centre on a pixel": STRAIGHT,
    "corners of the mouth on pixels": {**STRAIGHT, "mouth_width": 0.125},
    "eyes on pixels": {**STRAIGHT, "eye_spacing": 0.125,
                       "eye_height": -0.125, "eye_tilt": 0.0},
    "no hair, no smile, mouth closed": {"hair_volume": 0.0, "smile": 0.0, "mouth_open": 0.0, "light": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_where_distances_have_edges(edge: str, dtype: torch.dtype) -> None:
    """On 24 px and 25 px: pixels fall on the edges of shapes, on y = 0 and into the centres of ellipses."""
    middle: dict[str, Any] = {k: (low + high) / 2 for k, (low, high) in {**IDENTITY, **NUISANCE}.items()}
    colours = {
        name: torch.full((1, 3), 0.5, dtype=dtype) for name in (*PALETTES, "background", "clothes", "lips", "iris")
    }
    for resolution_px in (8, 24, 25):
        face = {name: torch.tensor([value], dtype=dtype) for name, value in {**middle, **EDGES[edge]}.items()} | colours
        face = {name: value.clone().requires_grad_(True) for name, value in face.items()}
        weights = torch.randn(1, 3, resolution_px, resolution_px, generator=torch.Generator().manual_seed(0)).to(dtype)
        (render(face, resolution_px) * weights).sum().backward()
        for name, value in face.items():
            assert value.grad is not None and value.grad.isfinite().all(), name


def test_gradients_of_random_faces_are_finite_and_not_huge() -> None:
    latents = 2 * torch.randn(256, 62, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(256, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    slope = slopes(latents, weights, 32)
    assert slope.isfinite().all() and slope.abs().max() < 1e3


def test_photographs_have_no_formation(tmp_path: Any) -> None:
    photographs = DATASETS.make("image_folder", {"path": str(tmp_path)})
    assert photographs.formation() is None and photographs.identity_latents() is None
