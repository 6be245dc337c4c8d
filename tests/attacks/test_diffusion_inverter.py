"""Sampling from the diffusion model: against the formula by loops, against a perfect denoiser, and on a toy."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.attacks import diffusion_inverter
from midef.attacks.base import Task
from midef.attacks.diffusion_inverter import DiffusionInverter
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.priors.diffusion import Diffusion
from midef.attacks.priors.networks.unet import Denoiser
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError, Inputs, Recipe, derive_seed
from midef.defenses import Defense
from midef.models import ARCHITECTURES
from midef.training.generative.diffusion import DenoiserSettings, fit_denoiser
from midef.training.generative.inverter import AnsweredImages
from midef.training.generative.loop import TrainingRun

CLASSES, PX = 4, 8
SMALL = Diffusion(width=8, noise_steps=5, beta_first=0.01, beta_last=0.3)


class Stub(nn.Module):
    """Predicts by a function of (images, share, answers), and counts how often it encodes and decodes."""

    def __init__(self, predict: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.predict, self.encoded, self.decoded = predict, 0, 0

    def encode(self, images: Tensor) -> Tensor:
        self.encoded += 1
        return images

    def decode(self, seen: Tensor, share: Tensor, answers: Tensor) -> Tensor:
        self.decoded += 1
        return self.predict(seen, share, answers)


def trained_once() -> Denoiser:
    """A denoiser in eval mode whose running statistics and biases are not the fresh ones, so that answers count."""
    torch.manual_seed(0)
    denoiser = Denoiser(CLASSES, PX, 8).train()
    for _ in range(20):
        denoiser(torch.randn(16, 3, PX, PX), torch.rand(16), torch.rand(16, CLASSES))
    return denoiser.eval()


def answers(n: int = 3) -> Tensor:
    return torch.rand(n, CLASSES, generator=Generator().manual_seed(0)).softmax(1)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 2.0])
@torch.no_grad()
def test_images_equal_the_formula_by_loops(guidance: float) -> None:
    denoiser, noise = trained_once(), RowStreams([3, 4, 5])
    betas = [0.01 + 0.29 * i / 4 for i in range(5)]
    expected = noise.normal(3, PX, PX)
    for t in range(5, 0, -1):
        kept = 1.0
        for beta in betas[:t]:
            kept *= 1 - beta
        share = torch.full((3,), t / 5)
        predicted = (1 + guidance) * denoiser(expected, share, answers())
        predicted = predicted - guidance * denoiser(expected, share, 0 * answers())
        expected = (expected - betas[t - 1] / sqrt(1 - kept) * predicted) / sqrt(1 - betas[t - 1])
        if t > 1:
            expected = expected + sqrt(betas[t - 1]) * noise.normal(3, PX, PX)
    found = DiffusionInverter(guidance=guidance, prior=SMALL).draw(denoiser, answers(), RowStreams([3, 4, 5]), PX)
    assert torch.allclose(found, expected.clamp(0, 1), atol=1e-5)
    assert (expected.min() < 0 or expected.max() > 1) and found.unique().numel() > 2, "clipping took part, in part"


@pytest.mark.parametrize("guidance", [0.0, 0.5, 2.0])
def test_a_perfect_denoiser_gives_the_image_of_the_answer(guidance: float) -> None:
    """Knowing the image, the noise is what is left of the noisy one; all steps together then end at the image."""
    target = torch.rand(CLASSES, 3, PX, PX, generator=Generator().manual_seed(1))
    betas = SMALL.betas().float()

    def perfect(images: Tensor, share: Tensor, given: Tensor) -> Tensor:
        kept = (1 - betas[: round(float(share[0]) * 5)]).prod()
        # without an answer the same: whatever guidance does then, it stretches a difference of nothing
        wanted = target[:3]
        return (images - kept.sqrt() * wanted) / (1 - kept).sqrt()

    stub = Stub(perfect)
    attack = DiffusionInverter(guidance=guidance, prior=SMALL)
    found = attack.draw(stub, answers(), RowStreams([0, 1, 2]), PX)  # type: ignore[arg-type]
    assert torch.allclose(found, target[:3], atol=1e-4)


@pytest.mark.parametrize(("guidance", "decoded"), [(0.0, 5), (0.5, 10)])
def test_guidance_costs_one_more_decoding_and_none_is_not_paid_for(guidance: float, decoded: int) -> None:
    stub = Stub(lambda images, share, given: 0 * images)
    DiffusionInverter(guidance=guidance, prior=SMALL).draw(stub, answers(), RowStreams([0, 1, 2]), PX)  # type: ignore[arg-type]
    assert (stub.encoded, stub.decoded) == (5, decoded)


class Affine(nn.Module):
    """Scales and shifts the image by what the share and the answer say: all that a perfect denoiser needs here."""

    def __init__(self) -> None:
        super().__init__()
        self.told = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6))

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, seen: Tensor, share: Tensor, given: Tensor) -> Tensor:
        scale, shift = self.told(torch.cat([share[:, None], given], dim=1))[:, :, None, None].chunk(2, dim=1)
        drawn: Tensor = scale * seen + shift
        return drawn

    @override
    def forward(self, images: Tensor, share: Tensor, given: Tensor) -> Tensor:
        return self.decode(images, share, given)


@pytest.mark.parametrize("guidance", [0.0, 0.5])
def test_training_and_sampling_together_beat_the_mean_image(guidance: float) -> None:
    """Two answers, two colours: what is drawn must be much nearer to the answer's image than the mean of both is."""
    told = torch.eye(2).repeat(64, 1)
    images = (30 + 190 * told[:, :1, None, None]).expand(-1, 3, PX, PX).to(torch.uint8)
    prior = Diffusion(noise_steps=40, beta_last=0.2)
    torch.manual_seed(0)
    network = Affine()
    pairs = AnsweredImages(answers=told, images=images, held_answers=told, held_images=images)
    settings = DenoiserSettings(drop_context=0.1, epochs=100, batch_size=64, learning_rate=1e-2)
    fit_denoiser(network, pairs, prior.betas(), settings, TrainingRun(seed=0))
    attack = DiffusionInverter(guidance=guidance, prior=prior)
    found = attack.draw(network, told[:16], RowStreams(range(16)), PX)  # type: ignore[arg-type]
    errors = (found - images[:16] / 255).square().mean(dim=(1, 2, 3))
    mean_image = (190 / 255 / 2) ** 2
    assert float(errors.max()) < 0.3 * mean_image


# ---------------------------------------------------------------- the attack


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    torch.manual_seed(0)
    save_file(trained_once().state_dict(), tmp_path / "denoiser.safetensors")
    attack = DiffusionInverter(prior=SMALL)
    needed = attack.requires(
        target=Recipe("target", "classifier"), public=Recipe("split", "synthetic_faces", {"resolution_px": 32})
    )
    return Inputs(needed, lambda recipe: tmp_path)


@pytest.fixture
def handle() -> TargetHandle:
    return TargetHandle(ARCHITECTURES.make("vgg16_tiny").build(CLASSES, 32), Defense(), DiffusionInverter.access)


def task(observed: Tensor | None, seed: int = 0) -> Task:
    return Task(torch.tensor([0, 0, 3]), torch.tensor([0, 1, 0]), PX, seed, "cpu", observed)


def test_it_draws_from_the_observed_answers_and_noise_of_each_pair(inputs: Inputs, handle: TargetHandle) -> None:
    attack = DiffusionInverter(prior=SMALL)
    found = attack.reconstruct(handle, inputs, task(answers(), seed=6))
    seeds = [derive_seed("diffusion", 6, *pair) for pair in ((0, 0), (0, 1), (3, 0))]
    denoiser = attack.prior.load(inputs.path("inverter"), PX, CLASSES, "cpu")["denoiser"]
    expected = attack.draw(denoiser, answers(), RowStreams(seeds), PX)  # type: ignore[arg-type]
    assert torch.allclose(found.images, expected, atol=1e-5) and found.found.all()
    assert handle.queries == 0, "the victims asked, not the attacker"


def test_fewer_rows_are_drawn_together_above_the_papers_resolution(
    inputs: Inputs, handle: TargetHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack, together = DiffusionInverter(prior=SMALL), list[int]()
    whole = attack.reconstruct(handle, inputs, task(answers(), seed=6))
    draw = DiffusionInverter.draw

    def spy(self: DiffusionInverter, denoiser: Denoiser, seen: Tensor, noise: RowStreams, px: int) -> Tensor:
        together.append(len(seen))
        return draw(self, denoiser, seen, noise, px)

    monkeypatch.setattr(DiffusionInverter, "draw", spy)
    monkeypatch.setattr(diffusion_inverter, "CHUNK", 8)
    monkeypatch.setattr(diffusion_inverter, "USUAL_PX", PX // 2)
    found = attack.reconstruct(handle, inputs, task(answers(), seed=6))
    assert together == [2, 1], "a quarter of 8, as memory of an image is four times as much"
    assert torch.allclose(found.images, whole.images, atol=1e-5)


def test_a_changed_answer_changes_the_image(inputs: Inputs, handle: TargetHandle) -> None:
    drawn = [
        DiffusionInverter(prior=prior).reconstruct(handle, inputs, task(answers())).images
        for prior in (SMALL, Diffusion(width=8, noise_steps=5, beta_first=0.01, beta_last=0.3, answers="softmax"))
    ]
    assert not torch.equal(drawn[0], drawn[1])


def test_it_refuses_to_work_without_observed_answers(inputs: Inputs, handle: TargetHandle) -> None:
    with pytest.raises(AccessError, match="needs the observed scores of one private image per reconstruction"):
        DiffusionInverter(prior=SMALL).reconstruct(handle, inputs, task(None))


def test_guidance_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs guidance >= 0, got -0\.5"):
        DiffusionInverter(guidance=-0.5)


def test_the_prior_serves_every_guidance() -> None:
    given = {
        "target": Recipe("target", "classifier"),
        "public": Recipe("split", "synthetic_faces", {"resolution_px": 32}),
    }
    keys = {DiffusionInverter(guidance=w).requires(**given)["inverter"].key for w in (0.0, 0.5, 2.0)}
    assert len(keys) == 1
