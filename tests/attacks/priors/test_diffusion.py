"""The conditional diffusion model: its network, its schedule, and what it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from midef.attacks import AccessLevel
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.diffusion import Diffusion
from midef.attacks.priors.networks.unet import Denoiser
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, ShapeError
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.nn.network import TargetModel, count_parameters
from midef.training.generative.diffusion import kept_variance
from midef.training.generative.inverter import AnsweredImages

CLASSES, PX = 4, 8


@pytest.mark.parametrize(("resolution_px", "width"), [(32, 128), (64, 128), (64, 16)])
def test_the_network_has_the_parameters_its_description_adds_up_to(resolution_px: int, width: int) -> None:
    """Layer by layer from the description, with K answers. The full-map kernel grows with the resolution."""
    k, w, full = 10, width, resolution_px // 4

    def conv(came: int, out: int, kernel: int = 3) -> int:
        return came * out * kernel**2 + out

    def block(came: int, out: int) -> int:  # two convolutions with batch norm
        return conv(came, out) + 2 * out + conv(out, out) + 2 * out

    def embedding(came: int, out: int) -> int:
        return came * out + out + out * out + out

    expected = block(3, w) + block(w, w) + block(w, 2 * w)
    expected += conv(2 * w, 2 * w, full) + 2 * 2 * w  # grown back from the pooled map, with group norm
    expected += embedding(1, 2 * w) + embedding(1, w) + embedding(k, 2 * w) + embedding(k, w)
    expected += conv(4 * w, w, 2) + 2 * block(w, w) + conv(2 * w, w, 2) + 2 * block(w, w)
    expected += conv(2 * w, w) + 2 * w + conv(w, 3)
    with torch.device("meta"):
        assert count_parameters(Denoiser(k, resolution_px, width)) == expected


def test_other_resolutions_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"8, 16, 32, 64, \.\.\. px, got 28"):
        Denoiser(10, 28, 8)


@pytest.mark.parametrize("resolution_px", [8, 32, 64])
def test_noise_has_the_shape_of_the_images(resolution_px: int) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, resolution_px, resolution_px)
    assert Denoiser(5, resolution_px, 8)(images, torch.rand(2), torch.rand(2, 5)).shape == images.shape


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(CLASSES, 16, 8)


def given(n: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    rng = Generator().manual_seed(0)
    images = torch.rand(n, 3, 16, 16, generator=rng)
    return images, torch.rand(n, generator=rng), torch.rand(n, CLASSES, generator=rng)


def test_in_eval_mode_no_image_sees_another(denoiser: Denoiser) -> None:
    images, share, answers = given()
    denoiser.train()(images, share, answers)  # running statistics that are not the fresh ones
    together = denoiser.eval()(images, share, answers)
    alone = torch.cat([denoiser(images[i : i + 1], share[i : i + 1], answers[i : i + 1]) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("which", ["image", "share", "answer"])
def test_everything_it_is_given_counts(denoiser: Denoiser, which: str) -> None:
    images, share, answers = given()
    other = {
        "image": (images.flip(0), share, answers),
        "share": (images, share.flip(0), answers),
        "answer": (images, share, answers.flip(0)),
    }[which]
    assert not torch.equal(denoiser.eval()(*other), denoiser(images, share, answers))


@pytest.mark.parametrize("name", ["answer1", "answer2", "share1", "share2"])
@torch.no_grad()
def test_the_answer_multiplies_and_the_share_is_added_at_both_levels(denoiser: Denoiser, name: str) -> None:
    images, share, answers = given()
    denoiser.eval()
    before = denoiser(images, share, answers)
    last = getattr(denoiser, name)[2]
    last.weight.zero_()
    last.bias.zero_()
    seen = denoiser.encode(images)
    without = denoiser.decode(seen, share, answers)
    assert not torch.equal(without, before)
    if name == "answer1":  # nothing times the pooled map: the map no longer counts
        other = seen._replace(pooled=seen.pooled + torch.randn(seen.pooled.shape))
        assert torch.equal(denoiser.decode(other, share, answers), without)
    if name == "answer2":  # nothing times all that comes from below
        other = seen._replace(quarter=seen.quarter + torch.randn(seen.quarter.shape))
        assert torch.equal(denoiser.decode(other, share, answers), without)
    if name.startswith("share"):  # adding nothing keeps the map
        other = seen._replace(pooled=seen.pooled + 1)
        assert not torch.equal(denoiser.decode(other, share, answers), without)


def test_the_network_can_learn_to_draw_what_the_answer_tells() -> None:
    """Where the image tells nothing, two answers must lead to two pictures."""
    torch.manual_seed(0)
    denoiser, told = Denoiser(2, PX, 16), torch.eye(2).repeat(4, 1)
    left = (torch.arange(PX) < PX // 2).float()
    wanted = torch.where(told[:, :1, None, None] > 0, left, 1 - left).expand(-1, 3, PX, PX)
    nothing, share = torch.zeros(8, 3, PX, PX), torch.full((8,), 0.5)
    adam = torch.optim.Adam(denoiser.parameters(), lr=1e-2)
    for _ in range(30):
        loss = (denoiser(nothing, share, told) - wanted).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert float(loss.detach()) < 0.05, "the picture between the two is wrong by 0.25"


def test_the_schedule_rises_linearly_and_ends_in_noise() -> None:
    betas = Diffusion().betas()
    assert betas.shape == (400,) and float(betas[0]) == pytest.approx(1e-4) and float(betas[-1]) == pytest.approx(0.02)
    assert torch.allclose(betas.diff(), torch.full((399,), (0.02 - 1e-4) / 399, dtype=torch.float64))
    assert float(kept_variance(betas)[-1]) < 0.02
    shorter = Diffusion(noise_steps=100, beta_last=0.08).betas()  # as the docstring advises
    assert float(kept_variance(shorter)[-1]) < 0.02


def part(n: int, seed: int) -> Images:
    rng = Generator().manual_seed(seed)
    return Images(torch.randint(0, 256, (n, 3, PX, PX), generator=rng, dtype=torch.uint8), torch.full((n,), -1))


def test_it_is_fitted_on_served_scores_as_they_are_and_every_image_is_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    pixels = 3 * PX**2
    target = TargetModel([("pixels", nn.Flatten())], nn.Linear(pixels, CLASSES), feature_dim=pixels, n_classes=CLASSES)
    public = Splits(part(10, 0), part(3, 1), part(4, 2), ())
    handle = TargetHandle(target, Defense(), AccessLevel.SCORES)
    seen: list[tuple[AnsweredImages, Tensor, object]] = []

    def spy(
        network: nn.Module, pairs: AnsweredImages, betas: Tensor, settings: object, run: object
    ) -> dict[str, float]:
        seen.append((pairs, betas, settings))
        return {}

    monkeypatch.setattr("midef.attacks.priors.diffusion.fit_denoiser", spy)
    prior = Diffusion(width=8, noise_steps=7, drop_context=0.3, batch_size=5)
    prior.fit({"denoiser": nn.Identity()}, public, handle, FitContext(inputs=Inputs({}, Path)))
    assert handle.queries == 17
    [(pairs, betas, settings)] = seen
    assert torch.equal(pairs.images, torch.cat([public.train.images, public.report.images]))
    assert torch.equal(pairs.held_images, public.select.images), "held-out images are not fitted"
    with torch.no_grad():
        assert torch.allclose(pairs.answers, target(pairs.images.float() / 255).logits.softmax(1))
        assert torch.allclose(pairs.held_answers, target(pairs.held_images.float() / 255).logits.softmax(1))
    assert len(betas) == 7 and settings is prior


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 12}, "width as a multiple of 8"),
        ({"noise_steps": 0}, "noise_steps, epochs and batch_size >= 1"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"beta_first": 0.03}, "0 < beta_first <= beta_last < 1, got 0.03, 0.02"),
        ({"beta_last": 1.0}, "0 < beta_first <= beta_last < 1"),
        ({"drop_context": 0.0}, "0 < drop_context < 1"),
        ({"answer_noise": 0.0}, "answer_noise > 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_out_of_range_are_refused_with_what_is_needed(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Diffusion(**wrong)
