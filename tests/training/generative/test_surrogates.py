"""LOKT's surrogates: their loss by hand, the images they are trained on, and that they learn."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from midef.core import derive_seed
from midef.training.generative.loop import TrainingRun
from midef.training.generative.surrogates import SurrogateSettings, draw_labelled, fit_surrogate, surrogate_loss

CLASSES, PX, LATENT_DIM = 3, 4, 2
LABELS = torch.tensor([0, 2, 1, 1, 2])
PUBLIC = torch.randint(0, 256, (40, 3, PX, PX), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cross_entropy(logits: list[float], label: int) -> float:
    return -math.log(math.exp(logits[label]) / sum(math.exp(v) for v in logits))


def test_half_of_the_surrogate_s_loss_is_on_changed_images() -> None:
    plain, changed = rows(5, CLASSES), rows(5, CLASSES, seed=1)
    each = [
        0.5 * cross_entropy(p, y) + 0.5 * cross_entropy(c, y)
        for p, c, y in zip(plain.tolist(), changed.tolist(), LABELS.tolist(), strict=True)
    ]
    assert surrogate_loss(plain, changed, LABELS).item() == pytest.approx(sum(each) / 5, rel=1e-5)


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


def brightest(images: Tensor) -> Tensor:
    """A target: the colour that is strongest."""
    return images.mean(dim=(2, 3)).argmax(dim=1)


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_every_class_is_drawn_alike_and_the_target_sees_the_kept_images(chunk: int) -> None:
    torch.manual_seed(0)
    generator = ToyGenerator()
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
        run=TrainingRun(seed=3),
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


def fit(network: nn.Module, labels: Tensor, *, steps: int = 6, seed: int = 2) -> dict[str, float]:
    settings = SurrogateSettings(steps=steps, batch_size=16, learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
    return fit_surrogate(network, PUBLIC, labels, noisy, settings, TrainingRun(seed=seed))


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
    found = fit(fitted, labels)
    for mine, wanted in zip(fitted.state_dict().values(), by_hand.state_dict().values(), strict=True):
        assert torch.allclose(mine, wanted, atol=1e-5)
    assert not torch.allclose(kernels(fitted), kernels(surrogate()), atol=1e-2)
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-4)


def test_a_surrogate_learns_the_labels() -> None:
    labels = brightest(PUBLIC.float())
    few = fit(surrogate(), labels, steps=2)
    many = fit(surrogate(), labels, steps=150)
    assert few["agreement"] < 0.7 < 0.9 < many["agreement"] <= 1
    assert many["loss"] < few["loss"] / 2


def test_a_surrogate_repeats_with_its_seed() -> None:
    labels, found = brightest(PUBLIC.float()), []
    for seed in (0, 0, 1):
        network = surrogate()
        torch.manual_seed(seed + 5)
        before = torch.get_rng_state()
        fit(network, labels, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(kernels(network))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
