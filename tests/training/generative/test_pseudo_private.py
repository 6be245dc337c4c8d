"""Tuning a generator to images: its steps written out by hand, what moves and what stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.attacks.priors.networks import style_gan2
from midef.attacks.priors.networks.style_gan2 import StyleGenerator
from midef.attacks.priors.networks.style_gan2_discriminator import StyleDiscriminator
from midef.training.generative import pseudo_private
from midef.training.generative.pseudo_private import TuningSettings, discriminator_features, flat, tuned
from midef.training.generative.set_distances import SET_DISTANCES, mean_discrepancy

PX, LATENT_DIM = 16, 8
SETTINGS = TuningSettings(
    distance="mmd", inversion_steps=4, inversion_rate=0.05, realness=0.1, tuning_steps=3, tuning_rate=0.01
)


@pytest.fixture
def networks() -> tuple[StyleGenerator, StyleDiscriminator]:
    torch.manual_seed(0)
    both = StyleGenerator(LATENT_DIM, 2, PX, 64, 6), StyleDiscriminator(PX, 64, 6)
    for network in both:
        network.eval().requires_grad_(False)
    return both


@pytest.fixture
def images(networks: tuple[StyleGenerator, StyleDiscriminator]) -> Tensor:
    """Of styles far from the middle."""
    generator, _ = networks
    w = 2 * torch.randn(3, LATENT_DIM, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        drawn: Tensor = generator.synthesis(generator.styles(w))
    return drawn


def tune(networks: tuple[StyleGenerator, StyleDiscriminator], images: Tensor, settings: TuningSettings) -> Any:
    features = discriminator_features(networks[1])
    return tuned(*networks, images, features, settings, torch.Generator().manual_seed(2))


def test_its_steps_are_those_of_the_projector_and_of_adam_on_all_of_the_synthesis(
    networks: tuple[StyleGenerator, StyleDiscriminator], images: Tensor
) -> None:
    found = tune(networks, images, SETTINGS)
    generator, discriminator = networks
    rng = torch.Generator().manual_seed(2)
    mapped = generator.mapping(torch.randn(600, LATENT_DIM, generator=rng))
    middle = mapped.mean(dim=0)
    spread = ((mapped - middle) ** 2).sum(dim=1).mean().sqrt()
    features = discriminator_features(discriminator)
    goal = features(images)
    w = middle.repeat(3, 1).requires_grad_(True)
    adam = torch.optim.Adam([w], lr=1.0)
    for step, rate in enumerate([0.0, 0.05, 0.05, 0.05]):  # the rise takes less than a step, and so does the fall
        done = step / 4
        noise = torch.randn(3, LATENT_DIM, generator=rng) * spread * 0.05 * max(0, 1 - done / 0.75) ** 2
        drawn = generator.synthesis((w + noise)[:, None].repeat(1, generator.num_ws, 1))
        loss = mean_discrepancy(features(drawn), goal) + 0.1 * torch.log1p(torch.exp(-discriminator(drawn))).mean()
        adam.zero_grad()
        loss.backward()
        adam.param_groups[0]["lr"] = rate
        adam.step()
    again = StyleGenerator(LATENT_DIM, 2, PX, 64, 6).eval()
    again.load_state_dict(generator.state_dict())
    adam = torch.optim.Adam(again.synthesis.parameters(), lr=0.01)
    for _ in range(3):
        adam.zero_grad()
        drawn = again.synthesis(w.detach()[:, None].repeat(1, generator.num_ws, 1))
        mean_discrepancy(features(drawn), goal).backward()
        adam.step()
    expected = again.state_dict()
    for name, tensor in found.state_dict().items():
        assert torch.allclose(tensor, expected[name], atol=1e-4), name


def test_the_mapping_the_mean_w_the_noise_and_the_generator_itself_stay(
    networks: tuple[StyleGenerator, StyleDiscriminator], images: Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in networks[0].state_dict().items()}
    found = tune(networks, images, SETTINGS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in networks[0].state_dict().items())
    moved = {name for name, tensor in found.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved <= {f"synthesis.{name}" for name, _ in networks[0].synthesis.named_parameters()}
    assert {name.split(".")[1] for name in moved} == {"b4", "b8", "b16"}, "every block is tuned"
    assert not any(module.training for module in found.modules())
    assert not any(p.requires_grad or p.grad is not None for p in found.parameters())
    assert not any(p.requires_grad for p in networks[0].parameters())


@pytest.mark.parametrize("distance", ["mmd", "ct", "pw"])
def test_the_tuned_generator_draws_more_like_the_images(
    networks: tuple[StyleGenerator, StyleDiscriminator], images: Tensor, distance: Any
) -> None:
    """Of random w, too: it has learned them."""
    settings = replace(SETTINGS, distance=distance, inversion_steps=20, tuning_steps=30)
    found = tune(networks, images, settings)
    features = discriminator_features(networks[1])
    latents = torch.randn(32, LATENT_DIM, generator=torch.Generator().manual_seed(5))

    def far(generator: Any) -> float:
        with torch.no_grad():
            drawn = generator.synthesis(generator.styles(generator.mapping(latents)))
            return float(SET_DISTANCES["ct" if distance == "ct" else "mmd"](features(drawn), features(images)))

    assert far(found) < 0.9 * far(networks[0])


def test_pairs_are_inverted_one_by_one(
    networks: tuple[StyleGenerator, StyleDiscriminator], images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discriminator compares the images of a batch, so an image among others would be inverted otherwise."""
    monkeypatch.setattr(pseudo_private, "NOISE", 0.0)
    settings = replace(SETTINGS, distance="pw", realness=10.0)
    features = discriminator_features(networks[1])
    goal = features(images)

    def pivots(which: Tensor) -> Tensor:
        return pseudo_private._pivots(*networks, which, features, settings, torch.Generator().manual_seed(0))

    assert torch.allclose(pivots(goal)[1:2], pivots(goal[1:2]), atol=1e-6)


@pytest.mark.parametrize("at", [2, 6], ids=["inversion", "tuning"])
def test_where_memory_runs_out_it_is_done_again_with_less_and_gives_the_same(
    networks: tuple[StyleGenerator, StyleDiscriminator], images: Tensor, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    expected = tune(networks, images, SETTINGS).state_dict()
    features, calls, recomputed = discriminator_features(networks[1]), [], []
    through = style_gan2.checkpoint

    def short(drawn: Tensor) -> Tensor:
        calls.append(len(drawn))
        if len(calls) == at:
            raise torch.OutOfMemoryError("short")
        return features(drawn)

    def spy(*args: Any, **how: Any) -> Any:
        recomputed.append(len(calls))
        return through(*args, **how)

    monkeypatch.setattr(style_gan2, "checkpoint", spy)
    found: Any = tuned(*networks, images, short, SETTINGS, torch.Generator().manual_seed(2))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    assert len(recomputed) == 3 * (4 + 3) and min(recomputed) > at, "three blocks in every step of the second time"
    assert not found.synthesis.checkpointed and not networks[0].synthesis.checkpointed

    def always(drawn: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("short")

    with pytest.raises(torch.OutOfMemoryError, match="short"):
        tuned(*networks, images, always, SETTINGS, torch.Generator().manual_seed(2))


def test_maps_become_vectors_whose_squared_distance_averages_over_places() -> None:
    rng = torch.Generator().manual_seed(0)
    maps = [
        (torch.randn(1, c, px, px, generator=rng), torch.randn(1, c, px, px, generator=rng))
        for c, px in ((3, 4), (5, 2))
    ]
    expected = sum((F.normalize(a) - F.normalize(b)).square().sum(dim=1).mean() for a, b in maps)
    found = (flat([a for a, _ in maps]) - flat([b for _, b in maps])).square().sum()
    assert float(found) == pytest.approx(float(expected), rel=1e-4)  # type: ignore[arg-type]


def test_features_of_the_discriminator_do_not_hang_on_the_batch(
    networks: tuple[StyleGenerator, StyleDiscriminator], images: Tensor
) -> None:
    features = discriminator_features(networks[1])
    assert torch.allclose(features(images)[:1], features(images[:1]), atol=1e-6)
    assert isinstance(networks[1], nn.Module) and features(images).shape[0] == 3
