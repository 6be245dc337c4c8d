"""Noising and its reverse from the formulas, and the training loop of the denoiser on toys."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.training.generative.diffusion import (
    DenoiserSettings,
    fit_denoiser,
    guided,
    kept_variance,
    noised,
    step_back,
)
from midef.training.generative.inverter import AnsweredImages
from midef.training.generative.loop import Report, TrainingRun

BETAS = torch.linspace(0.01, 0.3, 12, dtype=torch.float64)


def test_noising_at_once_equals_noising_step_by_step() -> None:
    """Step by step, an image is scaled and the variances of the independent noises add up."""
    rng = Generator().manual_seed(0)
    image = torch.rand(1, 3, 4, 4, generator=rng, dtype=torch.float64)
    steps = [torch.randn(image.shape, generator=rng, dtype=torch.float64) for _ in BETAS]
    kept = kept_variance(BETAS)
    now, scale, variance = image, 1.0, 0.0
    for t, beta in enumerate(BETAS.tolist()):
        now = sqrt(1 - beta) * now + sqrt(beta) * steps[t]
        scale, variance = scale * sqrt(1 - beta), (1 - beta) * variance + beta
        noise = (now - scale * image) / sqrt(variance)  # all that was added so far, as one standard normal
        torch.testing.assert_close(noised(image, noise, kept[t : t + 1]), now)


def test_each_image_is_noised_to_its_own_step() -> None:
    images, noise = torch.rand(3, 3, 2, 2), torch.randn(3, 3, 2, 2)
    kept = torch.tensor([1.0, 0.0, 0.36])
    found = noised(images, noise, kept)
    assert torch.equal(found[0], images[0]) and torch.equal(found[1], noise[1])
    torch.testing.assert_close(found[2], 0.6 * images[2] + 0.8 * noise[2])


def test_a_step_back_by_hand() -> None:
    x, predicted, noise = torch.tensor([[[[2.0]]]]), torch.tensor([[[[0.5]]]]), torch.tensor([[[[-1.0]]]])
    # alpha 0.64, kept 0.19: (2 - 0.36 / 0.9 * 0.5) / 0.8 = 2.25, and 0.6 of the noise
    assert float(step_back(x, predicted, None, beta=0.36, kept=0.19)) == pytest.approx(2.25)
    assert float(step_back(x, predicted, noise, beta=0.36, kept=0.19)) == pytest.approx(1.65)


def test_the_first_step_is_undone_exactly_when_the_noise_is_known() -> None:
    images, noise = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    beta = 0.2
    once = noised(images, noise, torch.full((2,), 1 - beta))
    torch.testing.assert_close(step_back(once, noise, None, beta=beta, kept=1 - beta), images)


def test_guidance_stretches_the_effect_of_the_answer() -> None:
    conditional, unconditional = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 2.0])
    assert torch.equal(guided(conditional, unconditional, 0.0), conditional)
    assert guided(conditional, unconditional, 2.0).tolist() == [2.0, 2.0]


class Recorder(nn.Module):
    """Predicts with one number and writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    @override
    def forward(self, images: Tensor, share: Tensor, answers: Tensor) -> Tensor:
        if self.training:
            self.seen.append((images.detach(), share, answers))
        return self.weight * images


class Toy(nn.Module):
    """A convolution that is told the share of the noising and the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.given, self.into = nn.Linear(3, 8), nn.Conv2d(3, 8, 3, 1, 1)
        self.out = nn.Conv2d(8, 3, 3, 1, 1)

    @override
    def forward(self, images: Tensor, share: Tensor, answers: Tensor) -> Tensor:
        given = self.given(torch.cat([share[:, None], answers], dim=1))[:, :, None, None]
        drawn: Tensor = self.out(torch.relu(self.into(images) + given))
        return drawn


def pairs(n: int) -> tuple[Tensor, Tensor]:
    """Two answers, two colours."""
    answers = torch.eye(2).repeat(n // 2, 1)
    return answers, (40 + 160 * answers[:, :1, None, None]).expand(-1, 3, 4, 4).to(torch.uint8)


def fit(
    network: nn.Module,
    answers: Tensor,
    images: Tensor,
    *,
    seed: int = 0,
    report: Report | None = None,
    **changed: Any,
) -> dict[str, float]:
    """What is trained on is also held out."""
    pairs = AnsweredImages(answers=answers, images=images, held_answers=answers, held_images=images)
    how = {"drop_context": 0.1, "epochs": 1, "batch_size": 16, "learning_rate": 1e-2, **changed}
    return fit_denoiser(network, pairs, BETAS, DenoiserSettings(**how), TrainingRun(seed=seed, report=report))


def test_training_reduces_the_loss_and_leaves_the_network_in_eval_mode() -> None:
    torch.manual_seed(0)
    network, (answers, images) = Toy(), pairs(64)
    said: list[dict[str, int]] = []
    before = fit(network, answers, images, learning_rate=1e-12)
    after = fit(network, answers, images, epochs=40, report=said.append)
    assert before["held_out_loss"] > 0.8, "a fresh network predicts about nothing of unit noise"
    assert after["held_out_loss"] < 0.3 * before["held_out_loss"] and after["loss"] < 0.3 * before["loss"]
    assert not network.training
    assert said[-1] == {"epoch": 40, "epochs": 40} and len(said) == 20


def test_it_sees_every_image_once_per_epoch_at_steps_of_the_schedule_with_its_answer_or_none() -> None:
    network = Recorder()
    n = 4000
    answers = torch.arange(1.0, n + 1)[:, None].repeat(1, 2)
    images = torch.full((n, 3, 4, 4), 255, dtype=torch.uint8)
    fit(network, answers, images, drop_context=0.25, batch_size=512)
    seen = torch.cat([context for _, _, context in network.seen])[:, 0]
    dropped = seen == 0
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert seen[~dropped].unique().numel() == int((~dropped).sum()), "no image twice"
    share = torch.cat([share for _, share, _ in network.seen])
    assert torch.allclose(share.unique(), torch.arange(1, 13) / 12), "from the first step to the last, as a share"
    # white images at the last step: the square root of what is kept, plus noise that fills up to one
    last = torch.cat([x for x, _, _ in network.seen])[share == 1]
    kept = float(kept_variance(BETAS)[-1])
    assert float(last.mean()) == pytest.approx(sqrt(kept), abs=0.03)
    assert float(last.var()) == pytest.approx(1 - kept, rel=0.05)


def test_the_learning_rate_falls_linearly_over_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *given: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    fit(Toy(), *pairs(20), epochs=2, batch_size=16, learning_rate=0.8)
    assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_the_same_seed_gives_the_same_network() -> None:
    found = []
    for run, seed in enumerate((0, 0, 1)):
        torch.manual_seed(0)
        network = Toy()
        torch.manual_seed(7 + run)  # nothing is drawn from the global generator
        fit(network, *pairs(32), seed=seed)
        found.append(network.out.weight.detach().clone())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
