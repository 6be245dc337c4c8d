"""KedMI's losses from their formulas and from the released code, and the loop that trains with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.training.generative import kedmi
from midef.training.generative.kedmi import KedmiSettings, discriminator_loss, fit_kedmi, generator_loss, reality_loss
from midef.training.generative.loop import TrainingRun


def made(shape: tuple[int, ...], frequency: float) -> Tensor:
    """Numbers between -3 and 3 that need no file: 3 sin(frequency i), i = 1, 2, ..."""
    return 3 * torch.sin(frequency * torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)).view(shape)


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize("classes", [1, 7, 1000])
def test_the_reality_loss_is_log_2_where_real_and_not_real_are_as_likely(classes: int) -> None:
    logits = torch.full((3, classes), -math.log(classes))  # log-sum-exp 0
    assert torch.allclose(reality_loss(logits), torch.full((3,), math.log(2)), atol=1e-6)


def test_the_reality_loss_is_minus_the_log_of_one_minus_the_last_of_k_plus_one_probabilities() -> None:
    logits = made((20, 5), 1.3)
    found = reality_loss(logits)
    for row, mine in zip(logits.tolist(), found.tolist(), strict=True):
        real = sum(math.exp(o) for o in row)
        assert mine == pytest.approx(-math.log(real / (real + math.exp(0))), abs=1e-5)
        lse = math.log(real)
        assert mine == pytest.approx(math.log(1 + math.exp(lse)) - lse, abs=1e-5)


def test_the_reality_loss_is_per_row_finite_and_falls_as_images_look_more_real() -> None:
    logits = torch.tensor([-1e4, -5.0, 0.0, 5.0, 1e4])[:, None].expand(-1, 3)
    found = reality_loss(logits)
    assert found.shape == (5,) and found.isfinite().all()
    assert (found.diff() < 0).all() and found.min() >= 0


# Golden: the same inputs through the formulas of the released code, sutd-visual-computing-group/Re-thinking_MI at
# 25ed95fd: engine.py (`train_specific_gan`, with `softXEnt`, `log_sum_exp` and `HLoss` of utils.py) and attack.py
# (`Prior_Loss`). Run in float64 with torch 2.15 on 2026-11-21. Its soft labels are a softmax of logits.
def test_the_losses_are_those_of_the_released_code() -> None:
    labelled, answered, unlabelled, drawn = (made((4, 5), k) for k in (1.0, 2.0, 3.0, 4.0))
    found = discriminator_loss(labelled, answered.softmax(dim=1), unlabelled, drawn)
    assert found.item() == pytest.approx(4.437445628801477, rel=1e-6)
    of_drawn, of_real = made((4, 6), 5.0), made((4, 6), 6.0)
    assert generator_loss(of_drawn, of_real, drawn, entropy_weight=1e-4).item() == pytest.approx(0.1904239033564215)
    assert reality_loss(unlabelled).mean().item() == pytest.approx(0.05228901695173427, rel=1e-5)


def test_the_discriminator_loss_by_loops() -> None:
    labelled, unlabelled, drawn = (made((3, 4), k) for k in (1.1, 1.7, 2.3))
    soft = made((3, 4), 0.7).softmax(dim=1)
    expected = 0.0
    for i in range(3):
        z = sum(math.exp(o) for o in labelled[i].tolist())
        expected -= sum(q * math.log(math.exp(o) / z) for q, o in zip(soft[i], labelled[i], strict=True)) / 3
        real = sum(math.exp(o) for o in unlabelled[i].tolist())
        fake = sum(math.exp(o) for o in drawn[i].tolist())
        expected += 0.5 * (-math.log(real / (1 + real)) - math.log(1 / (1 + fake))) / 3
    assert discriminator_loss(labelled, soft, unlabelled, drawn).item() == pytest.approx(float(expected), rel=1e-5)


def test_the_generator_is_paid_for_sure_classes_by_the_image_not_by_the_batch() -> None:
    logits, features = made((4, 5), 0.9), torch.zeros(4, 6)

    def loss(times: int) -> float:
        many, seen = features.repeat(times, 1), logits.repeat(times, 1)
        return generator_loss(many, many, seen, entropy_weight=1.0).item()

    p = logits.softmax(dim=1)
    assert loss(1) == pytest.approx(-(p * p.log()).sum().item())
    assert loss(3) == pytest.approx(3 * loss(1)), "the entropy is a sum over the batch"


# ---------------------------------------------------------------- the loop

SIDE = 4
SETTINGS = KedmiSettings(
    latent_dim=2, steps=12, batch_size=16, learning_rate=1e-2, discriminator_steps=3, entropy_weight=1e-4
)
RUN = TrainingRun(seed=0)


def lasting(steps: int) -> KedmiSettings:
    return replace(SETTINGS, steps=steps)


class ToyDiscriminator(nn.Module):
    """Without convolutions; writes down the batches it is shown."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 16), nn.LeakyReLU(0.2))
        self.head = nn.Linear(16, classes)
        self.shown: list[tuple[int, Tensor]] = []

    @override
    def forward(self, images: Tensor, groups: int = 1) -> tuple[Tensor, Tensor]:
        self.shown.append((groups, images.detach().clone()))
        features = self.trunk(images)
        return features, self.head(features)


def toy() -> tuple[nn.Module, ToyDiscriminator, Tensor]:
    """Networks, and 64 images of which no two are the same: reddish, the i-th with blue value i."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 3 * SIDE**2), nn.Unflatten(1, (3, SIDE, SIDE)), nn.Sigmoid())
    images = torch.tensor([230, 60, 0], dtype=torch.uint8).view(1, 3, 1, 1).repeat(64, 1, SIDE, SIDE)
    images[:, 2] = torch.arange(64, dtype=torch.uint8)[:, None, None]
    return generator, ToyDiscriminator(4), images


def uniform(index: Tensor, images: Tensor) -> Tensor:
    return torch.full((len(index), 4), 0.25)


def positions(images: Tensor) -> list[int]:
    """Which images of `toy` these are."""
    return [round(blue * 255) for blue in images[:, 2, 0, 0].tolist()]


def test_labels_belong_to_the_images_and_the_three_streams_are_shuffled_apart() -> None:
    generator, discriminator, images = toy()
    asked: list[list[int]] = []

    def answer(index: Tensor, batch: Tensor) -> Tensor:
        assert positions(batch) == index.tolist()
        asked.append(index.tolist())
        return uniform(index, batch)

    fit_kedmi(generator, discriminator, images, answer, lasting(12), RUN)
    shown = [batch for groups, batch in discriminator.shown if groups == 3]
    labelled = [positions(batch[:16]) for batch in shown]
    unlabelled = [positions(batch[16:32]) for batch in shown]
    matched = [positions(batch) for groups, batch in discriminator.shown if groups == 1 and len(batch) == 16][::2]
    assert labelled == asked and len(shown) == 12 and all(len(batch) == 48 for batch in shown)
    first_pass = [sorted(chain(*stream[:4])) for stream in (labelled, unlabelled, matched)]
    assert first_pass == [list(range(64))] * 3, "each stream sees each image once in a pass"
    assert labelled[0] != unlabelled[0] != matched[0] != labelled[0]
    assert labelled[:4] != labelled[4:8], "a second pass is shuffled anew"


def test_a_batch_is_full_even_where_there_are_fewer_images() -> None:
    generator, discriminator, images = toy()
    fit_kedmi(generator, discriminator, images[:5], uniform, lasting(2), RUN)
    assert [len(batch) for groups, batch in discriminator.shown if groups == 3] == [48, 48]


@pytest.mark.parametrize(("steps", "moves"), [(2, False), (3, True)])
def test_the_generator_waits_for_the_discriminator(steps: int, moves: bool) -> None:
    generator, discriminator, images = toy()
    before, judged = generator[0].weight.detach().clone(), discriminator.head.weight.detach().clone()  # type: ignore[index]
    fit_kedmi(generator, discriminator, images, uniform, lasting(steps), RUN)
    assert torch.equal(generator[0].weight, before) == (not moves)  # type: ignore[index]
    assert not torch.equal(discriminator.head.weight, judged)
    assert all(p.requires_grad for p in discriminator.parameters()), "the discriminator was left frozen"


def test_the_discriminator_learns_the_answers_and_the_generator_the_colour() -> None:
    generator, discriminator, images = toy()
    classes = torch.arange(64) // 16  # what the target says: by the blue value
    soft = nn.functional.one_hot(classes, 4).float()
    images[:, 2] *= 4
    latents = torch.randn(200, 2)
    wanted = (images.float() / 255).mean(dim=(0, 2, 3))
    before = (generator(latents).mean(dim=(0, 2, 3)) - wanted).abs().max()
    facts = fit_kedmi(generator, discriminator, images, lambda i, _: soft[i], lasting(300), RUN)
    with torch.no_grad():
        _, logits = discriminator(images.float() / 255)
        _, drawn = discriminator(generator(latents))
        after = (generator(latents).mean(dim=(0, 2, 3)) - wanted).abs().max()
    assert (logits.argmax(dim=1) == classes).float().mean() > 0.8
    assert after < 0.5 * before
    assert drawn.isfinite().all() and set(facts) == {"discriminator_loss", "generator_loss"}


def test_it_ends_with_the_mean_losses_of_its_last_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    losses: dict[str, list[float]] = {"discriminator_loss": [], "generator_loss": []}
    for name, seen in losses.items():
        loss: Callable[..., Tensor] = getattr(kedmi, name)

        def spy(*given: Any, _loss: Callable[..., Tensor] = loss, _seen: list[float] = seen, **more: Any) -> Tensor:
            found = _loss(*given, **more)
            _seen.append(found.item())
            return found

        monkeypatch.setattr(kedmi, name, spy)
    generator, discriminator, images = toy()
    told: list[dict[str, Any]] = []
    facts = fit_kedmi(generator, discriminator, images, uniform, lasting(60), TrainingRun(seed=0, report=told.append))
    assert facts["discriminator_loss"] == pytest.approx(sum(losses["discriminator_loss"][-6:]) / 6, rel=1e-5)
    assert facts["generator_loss"] == pytest.approx(sum(losses["generator_loss"][-2:]) / 2, rel=1e-5)
    assert len(told) == 20 and told[-1] == {"step": 60, "steps": 60}


def test_the_same_seed_gives_the_same_generator() -> None:
    found: list[Tensor] = []
    for seed in (0, 0, 1):
        generator, discriminator, images = toy()
        torch.manual_seed(seed + len(found))  # nothing is drawn from the global generator
        fit_kedmi(generator, discriminator, images, uniform, lasting(9), TrainingRun(seed=seed))
        found.append(generator[0].weight.detach().clone())  # type: ignore[index]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
