"""LOKT's two loops: losses by hand, who is asked when, what is learned from whom."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from midef.core import derive_seed
from midef.training.generative import lokt
from midef.training.generative.lokt import (
    discriminator_loss,
    draw_labelled,
    fit_surrogate,
    fit_t_acgan,
    generator_loss,
    surrogate_loss,
)

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


def test_half_of_the_surrogate_s_loss_is_on_changed_images() -> None:
    plain, changed = rows(5, CLASSES), rows(5, CLASSES, seed=1)
    each = [
        0.5 * cross_entropy(p, y) + 0.5 * cross_entropy(c, y)
        for p, c, y in zip(plain.tolist(), changed.tolist(), LABELS.tolist(), strict=True)
    ]
    assert surrogate_loss(plain, changed, LABELS).item() == pytest.approx(sum(each) / 5, rel=1e-5)


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


def train(generator: nn.Module, discriminator: nn.Module, ask: Any = brightest, **changed: Any) -> dict[str, float]:
    how = {
        "latent_dim": LATENT_DIM,
        "n_classes": CLASSES,
        "iterations": 4,
        "warm_up": 0,
        "discriminator_steps": 5,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "class_weight": 1.5,
        "sn_freeze_after_eval": False,
        "seed": 1,
        "device": "cpu",
    }
    return fit_t_acgan(generator, discriminator, PUBLIC, ask, **{**how, **changed})


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
    monkeypatch.setattr(lokt, "FROZEN_FROM", 2)
    _, discriminator = toy()
    modes: list[bool] = []
    discriminator.register_forward_hook(lambda module, given, answer: modes.append(module.training))
    train(toy()[0], discriminator, sn_freeze_after_eval=frozen)
    forwards = 2 * (1 + 2 * 5)  # of two iterations: the generator's, and two in each discriminator step
    assert modes == [True] * forwards + [not frozen] * forwards


def test_the_gan_repeats_with_its_seed() -> None:
    found = []
    for seed in (0, 0, 1):
        generator, discriminator = toy()
        torch.manual_seed(seed + 5)  # the global generator takes no part
        train(generator, discriminator, seed=seed)
        found.append(generator.colours.detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


# ---------------------------------------------------------------- the surrogates


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_every_class_is_drawn_alike_and_the_target_sees_the_kept_images(chunk: int) -> None:
    generator, _ = toy()
    generator(rows(64, LATENT_DIM), torch.arange(64) % CLASSES)  # statistics that eval mode uses
    seen: list[Tensor] = []

    def ask(images: Tensor) -> Tensor:
        seen.append(images)
        return brightest(images)

    images, labels, label_match = draw_labelled(
        generator,
        ask,
        latent_dim=LATENT_DIM,
        n_classes=CLASSES,
        latents_per_class=4,
        resolution_px=PX,
        chunk=chunk,
        seed=3,
        device="cpu",
    )
    rng = torch.Generator().manual_seed(derive_seed(3, "surrogate latents"))
    wanted = torch.tensor([0] * 4 + [1] * 4 + [2] * 4)
    with torch.no_grad():
        drawn = generator.eval()(torch.randn(12, LATENT_DIM, generator=rng), wanted)
    assert images.dtype == torch.uint8
    assert torch.allclose(images.float() / 255, drawn.clamp(0, 1), atol=0.5 / 255 + 1e-6)
    assert torch.equal(torch.cat(seen), images.float() / 255)
    assert torch.equal(labels, brightest(images.float() / 255))
    assert label_match == pytest.approx((labels == wanted).float().mean().item())


def surrogate(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES))


def kernels(network: nn.Sequential) -> Tensor:
    return next(network.parameters()).detach()


def noisy(images: Tensor, rng: torch.Generator) -> Tensor:
    return images + 0.1 * torch.randn(images.shape, generator=rng)


SURROGATE: dict[str, Any] = {
    "steps": 6,
    "batch_size": 16,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "seed": 2,
    "device": "cpu",
}


def test_a_surrogate_is_trained_by_the_formula() -> None:
    labels, by_hand, fitted = brightest(PUBLIC.float()), surrogate(), surrogate()
    rng = torch.Generator().manual_seed(derive_seed(2, "surrogate"))
    sgd = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=6)
    waiting: list[int] = []
    for _ in range(6):
        if len(waiting) < 16:
            waiting += torch.randperm(40, generator=rng).tolist()
        now, waiting = waiting[:16], waiting[16:]
        shown = PUBLIC[now].float() / 255
        plain = by_hand(shown)
        changed = by_hand(noisy(shown, rng))
        loss = 0.5 * F.cross_entropy(plain, labels[now]) + 0.5 * F.cross_entropy(changed, labels[now])
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        cosine.step()
    found = fit_surrogate(fitted, PUBLIC, labels, noisy, **SURROGATE)
    for mine, wanted in zip(fitted.state_dict().values(), by_hand.state_dict().values(), strict=True):
        assert torch.allclose(mine, wanted, atol=1e-5)
    assert not torch.allclose(kernels(fitted), kernels(surrogate()), atol=1e-2)
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-4)


def test_a_surrogate_learns_the_labels() -> None:
    labels = brightest(PUBLIC.float())
    few = fit_surrogate(surrogate(), PUBLIC, labels, noisy, **{**SURROGATE, "steps": 2})
    many = fit_surrogate(surrogate(), PUBLIC, labels, noisy, **{**SURROGATE, "steps": 150})
    assert few["agreement"] < 0.7 < 0.9 < many["agreement"] <= 1
    assert many["loss"] < few["loss"] / 2


def test_a_surrogate_repeats_with_its_seed() -> None:
    labels, found = brightest(PUBLIC.float()), []
    for seed in (0, 0, 1):
        network = surrogate()
        torch.manual_seed(seed + 5)
        before = torch.get_rng_state()
        fit_surrogate(network, PUBLIC, labels, noisy, **{**SURROGATE, "seed": seed})
        assert torch.equal(torch.get_rng_state(), before)
        found.append(kernels(network))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
