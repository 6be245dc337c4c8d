"""PLG-MI's search against its update rule, written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks.base import Task
from midef.attacks.latent_search.conditional import max_margin
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed
from midef.attacks.plg_mi import PlgMi
from midef.attacks.priors.networks.dcgan import standard_latents
from midef.attacks.priors.plg_gan import PlgGan
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Recipe, derive_seed
from midef.defenses import Defense
from midef.nn.network import TargetModel, freeze_

PX, CLASSES = 16, 4
GAN = PlgGan(width=4, latent_dim=6)
GanInputs = Callable[[Attack], Inputs]


@pytest.fixture
def gan_folder(tmp_path: Path) -> Path:
    """A generator with random weights, turned up until its images differ visibly and go below 0."""
    torch.manual_seed(0)
    networks = GAN.networks(PX, CLASSES)
    with torch.no_grad():
        networks["generator"].colour.weight.mul_(4)  # type: ignore[operator,union-attr]
        for name, parameter in networks["generator"].named_parameters():
            if name.endswith(("scale", "offset")):
                parameter.add_(0.3 * torch.randn(parameter.shape))
    for name, network in networks.items():
        save_file(dict(network.state_dict()), tmp_path / f"{name}.safetensors")
    return tmp_path


@pytest.fixture
def gan_inputs(gan_folder: Path) -> GanInputs:
    def inputs(attack: Attack) -> Inputs:
        target, public = Recipe("target", "classifier"), Recipe("split", "synthetic_faces", {"resolution_px": 32})
        return Inputs(attack.requires(target=target, public=public), lambda recipe: gan_folder)

    return inputs


@pytest.fixture
def target() -> TargetModel:
    """A smooth network, so that roundings do not send a search another way."""
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.Tanh(), nn.Flatten())
    model = TargetModel([("body", body)], nn.Linear(36, CLASSES), feature_dim=36, n_classes=CLASSES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    freeze_(model)
    return model


def task_of(count: int) -> Task:
    return Task(torch.arange(count) % CLASSES, torch.arange(count) // CLASSES, PX, 7, "cpu")


def search(attack: PlgMi, target: TargetModel, inputs: Inputs, count: int) -> Tensor:
    return attack.reconstruct(TargetHandle(target, Defense(), attack.access), inputs, task_of(count)).images


# ---------------------------------------------------------------- the loss


def test_max_margin_by_a_loop() -> None:
    logits, labels = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 5
    for row, label, found in zip(logits.tolist(), labels.tolist(), max_margin(logits, labels).tolist(), strict=True):
        others = [value for k, value in enumerate(row) if k != label]
        assert found == pytest.approx(max(others) - row[label], abs=1e-6)


def test_max_margin_pulls_the_label_up_and_its_strongest_rival_down() -> None:
    logits = torch.tensor([[1.0, 9.0, 3.0, 2.0], [5.0, 4.0, -1.0, 4.5]], requires_grad=True)
    (slope,) = torch.autograd.grad(max_margin(logits, torch.tensor([1, 2])).sum(), logits)
    assert slope.tolist() == [[0, -1, 1, 0], [1, 0, -1, 0]]


# ---------------------------------------------------------------- the search


@pytest.mark.parametrize("shown", ["clamp", "raw"])
def test_the_search_is_adam_on_two_new_views_in_each_step(
    shown: str, target: TargetModel, gan_inputs: GanInputs
) -> None:
    """z <- z - lr * m_hat / (sqrt(v_hat) + eps), betas (0.9, 0.999); each row has its own loss and random numbers."""
    attack = PlgMi(iterations=4, prior=PlgGan(width=4, latent_dim=6, range=shown))  # type: ignore[arg-type]
    inputs, task = gan_inputs(attack), task_of(6)
    found = search(attack, target, inputs, 6)
    generator = GAN.load(inputs.path("prior"), PX, CLASSES, "cpu")["generator"]
    pairs = zip(task.labels.tolist(), task.restarts.tolist(), strict=True)
    for one, pair in enumerate(pairs):
        seed, label = derive_seed("latent", task.seed, *pair), task.labels[one : one + 1]
        z, noise = standard_latents([seed], 6), RowStreams([seed])
        m, v = torch.zeros_like(z), torch.zeros_like(z)
        for step in range(1, 5):
            z.requires_grad_(True)
            image = generator(z, label)
            image = image.clamp(min=0) if shown == "clamp" else image
            loss = torch.zeros(())
            for _ in range(2):
                view = slightly_changed(image, noise.uniform(VIEW_DRAWS), jitter_p=1.0)
                loss = loss + max_margin(target(view).logits, label).sum()
            (slope,) = torch.autograd.grad(loss, z)
            m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
            z = z.detach() - 0.1 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        torch.testing.assert_close(found[one], generator(z, label)[0].clamp(0, 1), atol=1e-4, rtol=0)


def test_more_iterations_widen_the_margin(target: TargetModel, gan_inputs: GanInputs) -> None:
    def margin(iterations: int) -> float:
        attack = PlgMi(iterations=iterations, prior=GAN)
        images = search(attack, target, gan_inputs(attack), 16)
        return float(max_margin(target(images).logits, task_of(16).labels).mean())

    few, some, many = margin(1), margin(8), margin(40)
    assert few > some > many and many < few - 0.5, (few, some, many)


def test_latents_are_not_bounded(target: TargetModel, gan_inputs: GanInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    draw = PlgMi.draw

    def spy(self: PlgMi, networks: dict[str, nn.Module], latents: Tensor, rows: object) -> Tensor:
        seen.append(latents.detach().clone())
        return draw(self, networks, latents, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(PlgMi, "draw", spy)
    attack = PlgMi(iterations=20, learning_rate=1.0, prior=GAN)
    search(attack, target, gan_inputs(attack), 4)
    assert seen[-1].abs().max() > seen[0].abs().max() + 2


def test_what_is_returned_is_a_picture_without_stretching(target: TargetModel, gan_inputs: GanInputs) -> None:
    attack = PlgMi(iterations=1, prior=PlgGan(width=4, latent_dim=6, range="raw"))
    images = search(attack, target, gan_inputs(attack), 8)
    assert float(images.min()) == 0.0 and float((images == 0).float().mean()) > 0.1, "values below 0 become 0"
    assert len({round(float(image.max()), 4) for image in images}) > 1, "the brightest pixel is not moved to 1"


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"learning_rate": 0.0}], ids=str)
def test_refuses_what_cannot_be_searched(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"needs (iterations >= 1|learning_rate > 0), got 0"):
        PlgMi(**wrong)  # type: ignore[arg-type]


def test_the_preset_is_the_published_setting() -> None:
    attack = ATTACKS.remake(ATTACKS.choose("plg_mi:orig"))
    assert attack == PlgMi(prior=PlgGan(range="raw"))
    assert isinstance(attack, PlgMi) and (attack.iterations, attack.learning_rate) == (600, 0.1)
