"""LOKT's GAN: losses by hand, who is asked when, what is learned from whom."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from midef.training.generative import t_acgan
from midef.training.generative.loop import TrainingRun
from midef.training.generative.t_acgan import TAcganSettings, discriminator_loss, fit_t_acgan, generator_loss

CLASSES, PX, LATENT_DIM = 3, 4, 2


def rows(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(logits: list[float], label: int) -> float:
    return -math.log(math.exp(logits[label]) / sum(math.exp(v) for v in logits))


LABELS = torch.tensor([0, 2, 1, 1, 2])


def test_the_generator_s_loss_equals_the_formula_by_loops() -> None:
    realness, classes = rows(5), rows(5, CLASSES, seed=1)
    adversarial = [-math.log(sigmoid(r)) for r in realness.tolist()]
    of_class = [cross_entropy(c, y) for c, y in zip(classes.tolist(), LABELS.tolist(), strict=True)]
    found = generator_loss(realness, classes, LABELS, class_weight=1.5)
    assert found.item() == pytest.approx((sum(adversarial) + 1.5 * sum(of_class)) / 5, rel=1e-5)
    without = generator_loss(realness, classes, LABELS, class_weight=0.0)
    assert without.item() == pytest.approx(sum(adversarial) / 5, rel=1e-5)


def test_the_discriminator_s_loss_equals_the_formula_by_loops() -> None:
    real, fake, classes = rows(4), rows(5, seed=1), rows(5, CLASSES, seed=2)
    of_real = sum(-math.log(sigmoid(r)) for r in real.tolist()) / 4
    of_fake = sum(-math.log(1 - sigmoid(r)) for r in fake.tolist()) / 5
    of_class = sum(cross_entropy(c, y) for c, y in zip(classes.tolist(), LABELS.tolist(), strict=True)) / 5
    found = discriminator_loss(real, fake, classes, LABELS, class_weight=1.5)
    assert found.item() == pytest.approx(of_real + of_fake + 1.5 * of_class, rel=1e-5)
    warming = discriminator_loss(real, fake, classes, None, class_weight=1.5)
    assert warming.item() == pytest.approx(of_real + of_fake, rel=1e-5)


# ---------------------------------------------------------------- the GAN


class ToyGenerator(nn.Module):
    """A colour for each class, a little moved by the latent; the range is that of tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Parameter(0.1 * torch.randn(CLASSES, 3))
        self.move = nn.Linear(LATENT_DIM, 3)
        self.norm = nn.BatchNorm2d(3)

    @override
    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        colour = self.colours[labels] + 0.3 * self.move(latents)
        return torch.tanh(0.5 * self.norm(colour[:, :, None, None].expand(-1, 3, PX, PX)))


class ToyDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), spectral_norm(nn.Linear(3 * PX**2, 16)), nn.LeakyReLU(0.2))
        self.real = nn.Linear(16, 1)
        self.classes = nn.Linear(16, CLASSES)

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        return self.real(features).squeeze(1), self.classes(features)


PUBLIC = torch.randint(0, 256, (40, 3, PX, PX), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)


def brightest(images: Tensor) -> Tensor:
    """A target: the colour that is strongest."""
    return images.mean(dim=(2, 3)).argmax(dim=1)


def toy(seed: int = 0) -> tuple[ToyGenerator, ToyDiscriminator]:
    torch.manual_seed(seed)
    return ToyGenerator(), ToyDiscriminator()


def train(
    generator: nn.Module, discriminator: nn.Module, ask: Any = brightest, *, seed: int = 1, **changed: Any
) -> dict[str, float]:
    how: dict[str, Any] = {
        "latent_dim": LATENT_DIM,
        "iterations": 4,
        "warm_up": 0,
        "discriminator_steps": 5,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "class_weight": 1.5,
        "sn_freeze_after_eval": False,
    }
    settings = TAcganSettings(**{**how, **changed})
    return fit_t_acgan(generator, discriminator, PUBLIC, ask, CLASSES, settings, TrainingRun(seed=seed))


def test_the_classes_of_the_generator_become_those_of_the_target() -> None:
    generator, discriminator = toy()
    found = train(generator, discriminator, iterations=80, learning_rate=2e-2)
    generator.eval()
    wanted = torch.arange(CLASSES).repeat(20)
    with torch.no_grad():
        drawn = generator(rows(60, LATENT_DIM), wanted)
        named = discriminator(drawn)[1].argmax(dim=1)
    assert (brightest(drawn.clamp(0, 1)) == wanted).float().mean() > 0.9
    assert (named == brightest(drawn.clamp(0, 1))).float().mean() > 0.9
    assert found["label_match"] > 0.8 and 0.8 < found["class_agreement"] <= 1


def test_the_discriminator_learns_what_the_target_answers_not_what_was_asked_for() -> None:
    generator, discriminator = toy()
    train(generator, discriminator, lambda images: torch.full((len(images),), 2), iterations=25, learning_rate=2e-2)
    with torch.no_grad():
        drawn = generator(rows(30, LATENT_DIM), torch.arange(30) % CLASSES)
        assert (discriminator(drawn)[1].argmax(dim=1) == 2).all()


@pytest.mark.parametrize(("warm_up", "asked"), [(0, 4 * 5), (3, 5), (4, 0)])
def test_nothing_is_asked_and_no_class_is_learned_while_warming_up(warm_up: int, asked: int) -> None:
    generator, discriminator = toy()
    before = discriminator.classes.weight.detach().clone()
    judged = discriminator.real.weight.detach().clone()
    seen: list[Tensor] = []

    def ask(images: Tensor) -> Tensor:
        seen.append(images)
        return brightest(images)

    train(generator, discriminator, ask, warm_up=warm_up)
    assert [len(images) for images in seen] == [16] * asked
    assert torch.equal(discriminator.classes.weight, before) == (asked == 0)
    assert not torch.equal(discriminator.real.weight, judged)
    assert all(images.min() >= 0 and images.max() <= 1 and not images.requires_grad for images in seen)


@pytest.mark.parametrize(("warm_up", "same"), [(4, True), (0, False)])
def test_while_warming_up_the_weight_of_the_classes_moves_nothing(warm_up: int, same: bool) -> None:
    found = []
    for class_weight in (0.1, 10.0):
        generator, discriminator = toy()
        train(generator, discriminator, warm_up=warm_up, class_weight=class_weight)
        found.append(torch.cat([p.detach().flatten() for p in (*generator.parameters(), *discriminator.parameters())]))
    assert torch.equal(found[0], found[1]) == same


def test_an_iteration_is_one_step_of_the_generator_then_five_of_the_discriminator() -> None:
    generator, discriminator = toy()
    steps: list[str] = []
    generator.colours.register_post_accumulate_grad_hook(lambda p: steps.append("generator"))
    discriminator.real.weight.register_post_accumulate_grad_hook(lambda p: steps.append("discriminator"))
    train(generator, discriminator, iterations=2)
    assert steps == (["generator"] + 5 * ["discriminator"]) * 2


@pytest.mark.parametrize("frozen", [False, True])
def test_the_released_code_s_frozen_spectral_norm_is_a_switch(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t_acgan, "FROZEN_FROM", 2)
    _, discriminator = toy()
    modes: list[bool] = []
    discriminator.register_forward_hook(lambda module, given, answer: modes.append(module.training))
    train(toy()[0], discriminator, sn_freeze_after_eval=frozen)
    forwards = 2 * (1 + 2 * 5)  # of two iterations: the generator's, and two in each discriminator step
    assert modes == [*[True] * forwards, *[not frozen] * forwards, False]  # the last: a check of what it answers


def test_the_gan_repeats_with_its_seed() -> None:
    found = []
    for seed in (0, 0, 1):
        generator, discriminator = toy()
        torch.manual_seed(seed + 5)  # the global generator takes no part
        train(generator, discriminator, seed=seed)
        found.append(generator.colours.detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
