"""The steps of PLG-MI's GAN from their formulas, and that it learns what it is labelled with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.core.seeds import derive_seed
from midef.training.generative.loop import TrainingRun
from midef.training.generative.plg import LabelledBatches, PlgSettings, fit_plg, hinge_loss, top_labelled

CLASSES, PX = 2, 4


# ---------------------------------------------------------------- pseudo labels


def test_top_labelled_by_sorting_each_class() -> None:
    probabilities = torch.rand(40, 70, generator=Generator().manual_seed(0)).softmax(1)
    rows, values = top_labelled(probabilities, 6)
    assert rows.shape == values.shape == (70, 6)
    for label in range(70):
        best = sorted(range(40), key=lambda image: -float(probabilities[image, label]))[:6]
        assert rows[label].tolist() == best
        assert torch.equal(values[label], probabilities[best, label])


def test_of_equally_probable_images_the_earlier_are_taken() -> None:
    rows, _ = top_labelled(torch.tensor([0.1, 0.9, 0.5, 0.5, 0.9, 0.5]).view(6, 1), 4)
    assert rows.tolist() == [[1, 4, 2, 3]]


def test_a_small_public_set_is_labelled_whole() -> None:
    rows, _ = top_labelled(torch.tensor([[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]]), 30)
    assert rows.tolist() == [[1, 0, 2], [2, 0, 1]]


def test_one_image_may_be_labelled_with_every_class() -> None:
    rows, _ = top_labelled(torch.tensor([[0.4, 0.4], [0.0, 0.1]]), 1)
    assert rows.tolist() == [[0], [0]]


def test_batches_give_every_pair_once_before_any_again_with_noise_below_a_grey_level() -> None:
    grey = torch.arange(0, 250, 50, dtype=torch.uint8)
    images = grey.view(5, 1, 1, 1).expand(5, 3, PX, PX).contiguous()
    chosen = torch.tensor([[4, 0], [3, 0], [1, 2]])
    batches = LabelledBatches(images, chosen, 4, Generator().manual_seed(0))
    seen: list[tuple[int, int]] = []
    noise: list[Tensor] = []
    for _ in range(3):
        real, labels = batches.draw()
        rows = (real.amin(dim=(1, 2, 3)) * 255 / 50).long()
        noise.append(real - rows.view(4, 1, 1, 1) * 50 / 255)
        seen += zip(labels.tolist(), rows.tolist(), strict=True)
    pairs = sorted((label, row) for label in range(3) for row in chosen[label].tolist())
    assert sorted(seen[:6]) == pairs and sorted(seen[6:]) == pairs and seen[:6] != seen[6:]
    drawn = torch.cat(noise)
    assert drawn.min() >= -1e-6 and drawn.max() < 1 / 256 + 1e-6
    assert float(drawn.mean()) == pytest.approx(1 / 512, rel=0.1)


def test_a_batch_may_be_larger_than_all_pairs() -> None:
    batches = LabelledBatches(torch.zeros(1, 3, PX, PX, dtype=torch.uint8), torch.tensor([[0]]), 5, Generator())
    real, labels = batches.draw()
    assert real.shape == (5, 3, PX, PX) and labels.tolist() == [0] * 5


# ---------------------------------------------------------------- the steps


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [([2.0, 1.0], [-1.0, -3.0], 0.0), ([0.0, 2.0], [-2.0, -2.0], 0.5), ([1.0, 1.0], [0.5, -2.0], 0.75)],
)
def test_hinge_loss_from_the_formula(real: list[float], fake: list[float], expected: float) -> None:
    assert hinge_loss(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(expected)


class ToyGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(CLASSES, 3 * PX**2)
        self.mix = nn.Linear(2, 3 * PX**2)

    @override
    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return torch.tanh(self.rows(labels) + self.mix(latents)).view(-1, 3, PX, PX)


class ToyDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(CLASSES, 3 * PX**2)

    @override
    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        scores: Tensor = (self.rows(labels) * images.flatten(1)).sum(dim=1)
        return scores


def toy() -> tuple[ToyGenerator, ToyDiscriminator, Tensor, Tensor]:
    """Networks, and public images: dark ones are labelled 0, bright ones 1."""
    torch.manual_seed(0)
    generator, discriminator = ToyGenerator(), ToyDiscriminator()
    with torch.no_grad():
        discriminator.rows.weight.mul_(0.1)
    images = torch.full((4, 3, PX, PX), 25, dtype=torch.uint8)
    images[2:] = 230
    return generator, discriminator, images, torch.tensor([[0, 1], [3, 2]])


def darkness(images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
    """[B], its slope differs from class to class; takes one number of the stream for each image."""
    return (1 + labels) * images.mean(dim=(1, 2, 3)) + torch.rand(len(images), generator=rng)


SMALL: dict[str, Any] = {
    "latent_dim": 2,
    "alpha": 0.2,
    "steps": 1,
    "batch_size": 6,
    "learning_rate": 1e-2,
    "critic_steps": 2,
}


def fitted(
    identity: Callable[[Tensor, Tensor, Generator], Tensor] = darkness,
    *,
    seed: int = 3,
    report: Callable[[dict[str, Any]], None] | None = None,
    **changed: Any,
) -> tuple[ToyGenerator, ToyDiscriminator, dict[str, float]]:
    generator, discriminator, images, chosen = toy()
    settings, run = PlgSettings(**{**SMALL, **changed}), TrainingRun(seed=seed, report=report)
    facts = fit_plg(generator, discriminator, images, chosen, identity, settings, run)
    return generator, discriminator, facts


def test_a_step_is_one_of_the_generator_then_those_of_the_discriminator_by_hand() -> None:
    """The same random numbers, the losses from their formulas, Adam with betas (0, 0.9) written out."""
    generator, discriminator, images, chosen = toy()
    rng = Generator().manual_seed(derive_seed(3, "plg"))
    pairs = LabelledBatches(images, chosen, 6, rng)
    squares: dict[nn.Parameter, Tensor] = {}
    steps: dict[nn.Parameter, int] = {}

    def descend(loss: Tensor, network: nn.Module) -> None:
        weights = list(network.parameters())
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            steps[weight] = steps.get(weight, 0) + 1
            squares[weight] = 0.9 * squares.get(weight, torch.zeros_like(slope)) + 0.1 * slope**2
            corrected = squares[weight] / (1 - 0.9 ** steps[weight])
            with torch.no_grad():
                weight.sub_(1e-2 * slope / (corrected.sqrt() + 1e-8))

    losses = []
    for _ in range(2):
        labels = torch.randint(CLASSES, (6,), generator=rng)
        fake = generator(torch.randn(6, 2, generator=rng), labels)
        realness, identity = -discriminator(fake, labels).mean(), darkness(fake, labels, rng).mean()
        descend(realness + 0.2 * identity, generator)
        of_d = 0.0
        for _ in range(2):
            real, real_labels = pairs.draw()
            labels = torch.randint(CLASSES, (6,), generator=rng)
            fake = generator(torch.randn(6, 2, generator=rng), labels).detach()
            loss = (1 - discriminator(real, real_labels)).clamp(min=0).sum() / 6
            loss = loss + (1 + discriminator(fake, labels)).clamp(min=0).sum() / 6
            descend(loss, discriminator)
            of_d += loss.item() / 2
        losses.append((realness.item(), identity.item(), of_d))
    found_g, found_d, facts = fitted(steps=2)
    for found, wanted in [(found_g, generator), (found_d, discriminator)]:
        for one, other in zip(found.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    names = ("generator_loss", "identity_loss", "discriminator_loss")
    assert facts == {name: pytest.approx(value, abs=1e-4) for name, value in zip(names, losses[1], strict=True)}


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_the_generator_draws_once_to_learn_and_then_anew_for_each_step_of_the_discriminator(
    critic_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[bool, Tensor]] = []
    forward = ToyGenerator.forward

    def spy(self: ToyGenerator, latents: Tensor, labels: Tensor) -> Tensor:
        if self.training:  # else what is checked after the last step
            calls.append((torch.is_grad_enabled(), latents))
        return forward(self, latents, labels)

    monkeypatch.setattr(ToyGenerator, "forward", spy)
    fitted(critic_steps=critic_steps, steps=4)
    assert [learns for learns, _ in calls] == ([True] + [False] * critic_steps) * 4
    assert len({tuple(latents.flatten().tolist()) for _, latents in calls}) == len(calls)


def brightness(generator: ToyGenerator, label: int) -> float:
    with torch.no_grad():
        latents = torch.randn(64, 2, generator=Generator().manual_seed(1))
        return float(generator(latents, torch.full((64,), label)).mean())


def test_it_learns_what_each_label_looks_like() -> None:
    generator, _, _ = fitted(alpha=0.0, steps=400, learning_rate=2e-2, batch_size=16)
    assert brightness(generator, 1) > brightness(generator, 0) + 0.3


def test_the_identity_loss_is_made_smaller_the_more_the_larger_alpha() -> None:
    drawn = [brightness(fitted(alpha=alpha, steps=30)[0], 1) for alpha in (0.0, 0.5, 5.0)]
    assert drawn[0] > drawn[1] > drawn[2]


def test_repeats_with_its_seed_and_not_with_another() -> None:
    def weights(seed: int) -> Tensor:
        generator, discriminator, _ = fitted(seed=seed, steps=3)
        return torch.cat([p.detach().flatten() for net in (generator, discriminator) for p in net.parameters()])

    first = weights(0)
    torch.rand(7)  # nothing is drawn from the global stream
    assert torch.equal(first, weights(0)) and not torch.equal(first, weights(1))


def test_tells_about_twenty_times_how_far_it_is() -> None:
    told: list[dict[str, Any]] = []
    fitted(steps=100, critic_steps=1, report=told.append)
    assert len(told) == 20 and told[-1] == {"step": 100, "steps": 100}
