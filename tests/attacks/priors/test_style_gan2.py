"""The StyleGAN2 prior: what it trains, stores and refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from midef.attacks import PRIORS
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.networks.style_gan2 import StyleGenerator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core import Inputs, Recipe
from midef.datasets import Images, Splits
from midef.nn.network import count_parameters
from midef.training.generative.loop import TrainingRun

SMALL = StyleGan2(latent_dim=8, channel_base=64, channel_max=8, steps=2, batch_size=4)
NOTHING = Inputs({}, lambda recipe: Path())


def public(px: int = 16, count: int = 24) -> Splits:
    """Images with one bright and one dark half."""
    shades = torch.randint(0, 40, (count, 3, px, px), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shades[:, :, : px // 2] += 200

    def part(images: Tensor) -> Images:
        return Images(images, torch.full((len(images),), -1))

    return Splits(part(shades[:16]), part(shades[16:20]), part(shades[20:]), ())


def fitted(prior: StyleGan2, px: int = 16) -> tuple[StyleGenerator, dict[str, Any]]:
    torch.manual_seed(0)
    networks = prior.networks(px, 0)
    facts = prior.fit(networks, public(px), FitContext(inputs=NOTHING))
    generator = networks["generator"]
    assert isinstance(generator, StyleGenerator)
    return generator, facts


def test_it_learns_which_half_is_bright() -> None:
    latents = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))

    def contrast(steps: int) -> float:
        prior = replace(SMALL, steps=steps, batch_size=8, learning_rate=0.01, ada_target=1.0)
        generator, _ = fitted(prior)
        with torch.no_grad():
            images = generator.eval()(latents)
        return float((images[:, :, :8] - images[:, :, 8:]).mean())

    assert contrast(30) > contrast(1) + 0.25


def test_truncation_pulls_towards_the_mean_of_what_it_maps() -> None:
    generator, _ = fitted(replace(SMALL, steps=3, learning_rate=0.5))
    with torch.no_grad():
        w = generator.mapping(torch.randn(50_000, 8, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(generator.mapping.w_avg, w.mean(dim=0), atol=0.02)
    assert w.mean(dim=0).abs().max() > 0.1, "a mean of zeros would show nothing"


def test_default_is_the_published_recipe() -> None:
    assert StyleGan2() == StyleGan2(
        latent_dim=512,
        mapping_layers=2,
        channel_base=16384,
        channel_max=512,
        steps=54171,
        batch_size=64,
        learning_rate=0.0025,
        r1=0.0128,
        ada_target=0.6,
    )


def test_all_public_images_are_used_and_the_target_never(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def spy(
        generator: Any, discriminator: Any, images: Tensor, draw: Any, layers: int, settings: Any, run: TrainingRun
    ) -> dict[str, float]:
        given.update(images=images, layers=layers, settings=settings, seed=run.seed)
        return {}

    monkeypatch.setattr("midef.attacks.priors.style_gan2.fit_style_gan", spy)
    prior = StyleGan2(latent_dim=8, channel_base=64, channel_max=8, seed=3, r1=0.5, ada_images=7, ema_images=9)
    fitted(prior)
    assert len(given["images"]) == 24 and given["layers"] == 6
    assert given["settings"] is prior
    seed = given["seed"]
    fitted(StyleGan2(latent_dim=8, channel_base=64, channel_max=8, seed=4))
    assert given["seed"] != seed


def test_what_is_stored_comes_back_frozen_and_draws_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks = SMALL.networks(16, 0)
    for name, network in networks.items():
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors")
    torch.manual_seed(9)  # the fixed noise is stored, too
    loaded = SMALL.load(tmp_path, 16, 0, "cpu")
    assert set(loaded) == {"generator", "discriminator"}
    assert not any(p.requires_grad for network in loaded.values() for p in network.parameters())
    latents = torch.randn(2, 8)
    assert torch.equal(loaded["generator"](latents), networks["generator"](latents))


def test_one_recipe_serves_all_targets() -> None:
    public_set = Recipe("split", "synthetic_faces", {"resolution_px": 16})
    keys = {
        SMALL.recipe(public=public_set, target=Recipe("target", "classifier", {"seed": seed})).key for seed in (0, 1)
    }
    assert len(keys) == 1


def test_it_draws_powers_of_two() -> None:
    assert [SMALL.drawn_px(px) for px in (8, 48, 64, 112, 224)] == [8, 64, 64, 256, 256]
    assert all(SMALL.problems(px) == [] for px in (8, 48, 224))
    other = (
        "style_gan2 draws 8, 16, 32, 64, ... px, not 7; choose such a resolution_px, or the prior's own resolution_px"
    )
    assert SMALL.problems(7) == [other]


def test_it_learns_from_images_that_were_not_enlarged() -> None:
    """Where it draws at more than the target takes, the public images are read at that; else they are made smaller."""
    target = Recipe("target", "classifier")
    for own_px, asked_px, learned_px in ((0, 64, 64), (0, 224, 256), (64, 224, 224), (64, 32, 64)):
        public_set = Recipe("split", "synthetic_faces", {"resolution_px": asked_px})
        recipe = replace(SMALL, resolution_px=own_px).recipe(public=public_set, target=target)
        assert recipe.inputs["public"].params["resolution_px"] == learned_px, (own_px, asked_px)


def test_it_may_draw_at_a_resolution_of_its_own() -> None:
    """Public images of 20 px are learned at 16 px; the generator shows 20."""
    prior = replace(SMALL, resolution_px=16)
    assert prior.problems(20) == []
    generator, _ = fitted(prior, 20)
    assert generator.resolution_px == 16
    w = generator.mapping(torch.randn(2, 8))
    assert generator.synthesis(generator.styles(w)).shape == (2, 3, 16, 16)
    assert generator(torch.randn(2, 8)).shape == (2, 3, 20, 20)


@pytest.mark.parametrize(("preset", "px"), [("cpu-32", 32), ("cpu-64", 64)])
def test_presets_for_a_cpu_are_small(preset: str, px: int) -> None:
    prior = PRIORS.make("style_gan2", StyleGan2.presets[preset])
    assert isinstance(prior, StyleGan2) and prior.resolution_px == px and prior.batch_size % 4 == 0
    assert sum(count_parameters(network) for network in prior.networks(64, 0).values()) < 2e6


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "steps >= 1, got 0"),
        ({"mapping_layers": 0}, "mapping_layers >= 1"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"r1": -1.0}, "r1 >= 0"),
        ({"resolution_px": 48}, "draws 8, 16, 32, 64, ... px, not 48"),
        ({"ada_target": 0.0}, "0 < ada_target <= 1"),
        ({"ada_target": 1.5}, "0 < ada_target <= 1"),
    ],
    ids=str,
)
def test_refuses_what_cannot_be_trained(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StyleGan2(**wrong)


def test_it_is_found_by_its_name() -> None:
    assert isinstance(PRIORS.make("style_gan2", {"latent_dim": 32}), StyleGan2)
