"""The network that reads traits: it repeats, knows people it never saw, and is disturbed as it should be."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from midef.datasets import DATASETS, ImageFormation
from midef.metrics.trait_accuracy import nearest_hits
from midef.training.generative.loop import TrainingRun
from midef.training.trait_regressor import (
    TraitRegressor,
    blurred,
    disturbed,
    fit_trait_regressor,
    rate_share,
    read_traits,
    trait_weights,
)


class Flat(ImageFormation):
    """An image of one grey: the first latent times 0.3 plus the third times 0.1; the second moves nothing."""

    latent_dim, n_traits = 4, 3

    @override
    def images(self, latents: Tensor, resolution_px: int) -> Tensor:
        grey = 0.5 + 0.3 * latents[:, 0] + 0.1 * latents[:, 2] + 5 * latents[:, 3]
        return grey[:, None, None, None].expand(-1, 3, resolution_px, resolution_px)


def faces() -> ImageFormation:
    formation = DATASETS.make("synthetic_faces", {"difficulty": 0.2}).formation()
    assert formation is not None
    return formation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_trait_weighs_as_much_as_it_moves_the_image() -> None:
    assert trait_weights(Flat(), 8) == pytest.approx([0.3, 0.0, 0.1], abs=1e-5)


def test_weights_repeat_and_are_about_those_of_other_images() -> None:
    formation = faces()
    weights = weights_at(16).numpy()
    assert (weights == trait_weights(formation, 16)).all()
    latents = torch.randn(256, formation.latent_dim, generator=generator(5), dtype=torch.float64)
    for trait in (0, 1, 9):
        moved = latents.clone()
        moved[:, trait] += 1e-4
        slope = (formation.images(moved, 16) - formation.images(latents, 16)) / 1e-4
        assert weights[trait] == pytest.approx(float(slope.square().mean()) ** 0.5, rel=0.2)


@cache
def weights_at(resolution_px: int) -> torch.Tensor:
    return torch.from_numpy(trait_weights(faces(), resolution_px))


def fitted(images: int, resolution_px: int = 16, seed: int = 0) -> tuple[TraitRegressor, dict[str, float]]:
    run = TrainingRun(seed=seed)
    return fit_trait_regressor(faces(), weights_at(resolution_px), resolution_px=resolution_px, images=images, run=run)


def test_training_repeats_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    one, losses = fitted(130)
    torch.manual_seed(2)
    other, again = fitted(130)
    assert losses == again
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    third, _ = fitted(130, seed=1)
    assert not torch.equal(one.head[0].weight, third.head[0].weight)


def test_it_knows_people_it_never_saw() -> None:
    """A small budget at 16 px: far above chance, which is 5 %, for every image of people of a private population."""
    network, losses = fitted(4000)
    people = DATASETS.make("synthetic_faces", {"identities": 20, "difficulty": 0.2, "report_images": 5})
    latents = people.identity_latents()
    assert latents is not None
    report = people.load(16).report
    traits = read_traits(network, report.images, "cpu").numpy()
    hits = nearest_hits(traits, report.labels.numpy(), latents, weights_at(16).numpy())
    assert hits.mean() > 0.2 and losses["loss"] < 0.9
    alone = read_traits(network, report.images[3:4], "cpu").numpy()
    assert alone == pytest.approx(traits[3:4], abs=1e-5), "an image is read whatever stands beside it"


@pytest.mark.parametrize("resolution_px", [8, 24, 32, 112])
def test_every_resolution_is_read(resolution_px: int) -> None:
    network = TraitRegressor(5, resolution_px, width=2).eval()
    assert network(torch.rand(2, 3, resolution_px, resolution_px)).shape == (2, 5)


@pytest.mark.parametrize("images", [2, 63, 64, 65])
def test_any_number_of_images_is_a_training(images: int) -> None:
    _, losses = fitted(images, resolution_px=8)
    assert math.isfinite(losses["loss"])


def test_blur_keeps_what_is_even_and_the_sum_of_a_point() -> None:
    even, point = torch.full((1, 3, 9, 9), 0.3), torch.zeros(2, 3, 9, 9)
    point[:, :, 4, 4] = 1
    assert torch.allclose(blurred(even, torch.tensor([0.9])), even)
    spread = blurred(point, torch.tensor([0.05, 0.9]))
    assert torch.allclose(spread.sum(dim=(2, 3)), torch.ones(2, 3))
    assert torch.allclose(spread[0], point[0]) and 0.1 < float(spread[1, 0, 4, 4]) < 0.3
    ratio = float(spread[1, 0, 4, 5] / spread[1, 0, 4, 4])
    assert ratio == pytest.approx(math.exp(-1 / (2 * 0.9**2)), rel=1e-4)


def test_disturbed_images_are_near_what_they_were() -> None:
    images = faces().images(torch.randn(16, faces().latent_dim, generator=generator()), 16)
    changed = disturbed(images, generator(1))
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert 0.01 < float((changed - images).abs().mean()) < 0.12
    assert torch.equal(changed, disturbed(images, generator(1)))


def test_the_rate_rises_to_the_full_one_and_falls_to_nothing() -> None:
    shares = [rate_share(i / 1000) for i in range(1001)]
    assert max(shares) == pytest.approx(1.0) and shares.index(max(shares)) == 100
    assert shares[0] == pytest.approx(0.1) and shares[-1] == pytest.approx(0.0, abs=1e-9)
    assert shares[100:] == sorted(shares[100:], reverse=True) and shares[:100] == sorted(shares[:100])
