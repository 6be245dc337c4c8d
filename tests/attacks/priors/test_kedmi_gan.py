"""KedMI's discriminator against the formula and the released code, and what its GAN asks the target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import PRIORS, AccessLevel
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.kedmi_gan import KedmiGan
from midef.attacks.priors.networks.kedmi import MinibatchDiscriminator, nearness
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.nn.network import TargetModel, count_parameters

count_macs: Callable[..., int] = run_path(str(Path(__file__).parents[2] / "models" / "macs.py"))["count_macs"]
PX, CLASSES = 16, 3


def made(shape: tuple[int, ...], frequency: float, scale: float) -> Tensor:
    """Numbers that need no file: scale * sin(frequency i), i = 1, 2, ..."""
    return scale * torch.sin(frequency * torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)).view(shape)


# ---------------------------------------------------------------- the discriminator


def test_the_discriminator_has_the_size_of_the_papers() -> None:
    with torch.device("meta"):
        network = MinibatchDiscriminator(1000, 64, 64)
        macs = count_macs(network.trunk, torch.zeros(1, 3, 64, 64))
    assert count_parameters(network) == 18_888_936
    assert network.projection.shape == (4096, 64 * 50)
    assert f"{(macs + network.projection.numel()) / 1e9:.3f}" == "0.132"


@pytest.mark.parametrize("resolution_px", [8, 16, 32, 64, 128])
def test_it_gives_features_and_logits_at_every_resolution(resolution_px: int) -> None:
    torch.manual_seed(0)
    network = MinibatchDiscriminator(7, resolution_px, 2)
    features, logits = network(torch.rand(3, 3, resolution_px, resolution_px))
    assert features.shape == (3, network.projection.shape[0]) and logits.shape == (3, 7)


def test_nearness_equals_the_formula_by_loops() -> None:
    projected = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
    found = nearness(projected)
    for i in range(5):
        for b in range(3):
            distances = [float((projected[i, b] - projected[j, b]).abs().sum()) for j in range(5) if j != i]
            assert found[i, b].item() == pytest.approx(sum(math.exp(-d) for d in distances), abs=1e-5)


def test_nearness_is_that_of_the_released_code() -> None:
    """Golden: `MinibatchDiscrimination` of sutd-visual-computing-group/Re-thinking_MI, models/discri.py at e820b19e,
    with 6 inputs, 3 kernels of 2 dimensions and 4 rows; float64, torch 2.15, 2026-11-21."""
    features, projection = made((4, 6), 7.0, 1.0), made((6, 3, 2), 8.0, 0.3)
    found = nearness((features @ projection.flatten(1)).view(4, 3, 2))
    expected = [
        [2.1720906519112595, 2.1307669985789373, 2.1510439173457043],
        [1.758236978270674, 1.751640629915002, 1.8322083978986718],
        [2.0729181088225683, 1.948228919972446, 1.8994546156469285],
        [2.1087994968622703, 2.091357537964363, 2.1375894876556707],
    ]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-9)


def test_nearness_is_0_alone_and_one_for_each_copy() -> None:
    row = torch.randn(1, 4, 5)
    assert torch.equal(nearness(row), torch.zeros(1, 4))
    assert torch.allclose(nearness(row.repeat(6, 1, 1)), torch.full((6, 4), 5.0))


def test_the_gradient_of_nearness_is_that_of_the_formula() -> None:
    projected = made((4, 2, 3), 1.7, 1.0).requires_grad_(True)
    apart = (projected[:, None] - projected[None]).abs().sum(dim=3)
    (expected,) = torch.autograd.grad(((-apart).exp().sum(dim=1) - 1).square().sum(), projected)
    (found,) = torch.autograd.grad(nearness(projected).square().sum(), projected)
    assert expected.abs().max() > 0.1 and torch.allclose(found, expected)


def similar_images(n: int, px: int) -> Tensor:
    """One picture under noise of a few grey values."""
    rng = torch.Generator().manual_seed(0)
    return (torch.rand(1, 3, px, px, generator=rng) + 0.02 * torch.randn(n, 3, px, px, generator=rng)).clamp(0, 1)


@pytest.mark.slow
def test_a_fresh_projection_finds_no_two_of_sixty_images_near() -> None:
    """That is why judging images one by one changes nothing: it leaves out a nearness of 0."""
    torch.manual_seed(0)
    network, images = MinibatchDiscriminator(20, 64, 64), similar_images(60, 64)
    with torch.no_grad():
        together, alone = network.train()(images)[1], network.eval()(images)[1]
        copies = images[:1].expand(60, -1, -1, -1)
        seen, not_seen = network.train()(copies)[1], network.eval()(copies)[1]
    assert torch.allclose(together, alone, atol=1e-6)
    assert (seen - not_seen).abs().max() > 0.1, "sixty copies of one image are near"


def test_in_eval_mode_an_image_is_judged_alone_and_in_train_mode_not() -> None:
    torch.manual_seed(0)
    network = MinibatchDiscriminator(4, 32, 2)
    nn.init.normal_(network.projection, std=1e-3)  # so that images are near
    images = similar_images(6, 32)
    whole, single = network.eval()(images)[1], network(images[2:3])[1]
    assert torch.allclose(whole[2:3], single, atol=1e-5)
    assert not torch.allclose(network.train()(images)[1][2:3], single, atol=1e-2)


def test_groups_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    network = MinibatchDiscriminator(4, 32, 2)
    nn.init.normal_(network.projection, std=1e-3)
    images = similar_images(6, 32)
    at_once = network(images, groups=3)
    apart = [network(part) for part in images.split(2)]
    for i in range(2):
        assert torch.allclose(at_once[i], torch.cat([found[i] for found in apart]), atol=1e-5)
    assert not torch.allclose(at_once[1], network(images)[1], atol=1e-2)


# ---------------------------------------------------------------- what it asks


class Batchy(nn.Module):
    """A target whose answers depend on its mode: batch statistics in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Flatten()
        self.norm = nn.BatchNorm1d(3 * PX**2)

    @override
    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.norm(self.flat(images))
        return found


@pytest.fixture
def target() -> TargetModel:
    torch.manual_seed(0)
    return TargetModel([("batchy", Batchy())], nn.Linear(3 * PX**2, CLASSES), feature_dim=3 * PX**2, n_classes=CLASSES)


def part(n: int, seed: int) -> Images:
    rng = torch.Generator().manual_seed(seed)
    return Images(torch.randint(0, 256, (n, 3, PX, PX), generator=rng, dtype=torch.uint8), torch.full((n,), -1))


SMALL = KedmiGan(width=2, latent_dim=4, steps=5, batch_size=6, discriminator_steps=2)


def fitted(prior: KedmiGan, public: Splits, handle: TargetHandle) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    networks = prior.networks(PX, CLASSES)
    prior.fit(networks, public, handle, FitContext(inputs=Inputs({}, lambda recipe: Path())))
    return networks


@pytest.mark.parametrize(("label_mode", "queries"), [("eval", 17), ("train", 5 * 6)])
def test_it_asks_once_per_public_image_or_once_per_step(
    target: TargetModel, label_mode: Literal["eval", "train"], queries: int
) -> None:
    handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    prior = replace(SMALL, label_mode=label_mode)
    fitted(prior, Splits(part(10, 0), part(3, 1), part(4, 2), ()), handle)
    assert handle.queries == queries
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items()), "the target drifted"
    assert not target.training


def test_labels_are_the_probabilities_of_the_images_asked_for(
    target: TargetModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midef.attacks.target_handle.CHUNK", 4)
    handle, images = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX), part(10, 0).images
    index = torch.tensor([7, 0, 7, 3])
    batch = images[index].float() / 255
    found = SMALL.soft_labels(handle, images)(index, batch)
    with torch.no_grad():
        expected = target(batch).logits.exp()
    assert torch.allclose(found, expected / expected.sum(dim=1, keepdim=True), atol=1e-6)
    assert not found.requires_grad
    drifting = replace(SMALL, label_mode="train").soft_labels(handle, images)(index, batch)
    assert not torch.allclose(drifting, found, atol=1e-2) and torch.allclose(drifting.sum(dim=1), torch.ones(4))


def test_the_labels_are_those_of_the_parts_in_their_order(target: TargetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained on is train, select and report, and a label is looked up by the position in the same order."""
    seen: dict[str, Tensor] = {}

    def spy(g: nn.Module, d: nn.Module, images: Tensor, labels: Callable[..., Tensor], *_: object) -> dict[str, float]:
        everything = torch.arange(len(images))
        seen.update(images=images, labels=labels(everything, images.float() / 255))
        return {}

    monkeypatch.setattr("midef.attacks.priors.kedmi_gan.fit_kedmi", spy)
    public = Splits(part(10, 0), part(3, 1), part(4, 2), ())
    fitted(SMALL, public, TargetHandle(target, Defense(), AccessLevel.WHITE_BOX))
    assert torch.equal(seen["images"], torch.cat([public.train.images, public.select.images, public.report.images]))
    with torch.no_grad():
        assert torch.allclose(seen["labels"], target(seen["images"].float() / 255).logits.softmax(1), atol=1e-6)


def test_training_repeats_with_its_seed_and_not_with_another(target: TargetModel) -> None:
    def weights(seed: int) -> Tensor:
        handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
        public = Splits(part(8, 0), part(8, 1), part(8, 2), ())
        networks = fitted(replace(SMALL, seed=seed), public, handle)
        return torch.cat([p.detach().flatten() for network in networks.values() for p in network.parameters()])

    assert torch.equal(weights(0), weights(0)) and not torch.equal(weights(0), weights(1))


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_it_learns_where_its_images_are_bright(target: TargetModel, side: str) -> None:
    images = torch.full((8, 3, PX, PX), 25, dtype=torch.uint8)
    images[:, :, :, slice(PX // 2) if side == "left" else slice(PX // 2, PX)] = 230
    same = Images(images, torch.full((8,), -1))
    public = Splits(same, same, same, ())
    prior = KedmiGan(width=4, latent_dim=4, steps=40, batch_size=8, discriminator_steps=1, learning_rate=1e-2)
    generator = fitted(prior, public, TargetHandle(target, Defense(), AccessLevel.WHITE_BOX))["generator"].eval()
    with torch.no_grad():
        drawn = generator(torch.randn(32, 4))
    left, right = float(drawn[..., : PX // 2].mean()), float(drawn[..., PX // 2 :].mean())
    assert (left - right if side == "left" else right - left) > 0.2


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(("preset", "epochs"), [("orig", 120), ("lomma", 120), ("bido", 100)])
def test_presets_are_the_released_settings(preset: str, epochs: int) -> None:
    prior = PRIORS.remake(PRIORS.choose(f"kedmi_gan:{preset}"))
    assert isinstance(prior, KedmiGan)
    assert (prior.steps, prior.label_mode) == (epochs * (30_000 // 64), "train")
    assert (prior.learning_rate, prior.batch_size, prior.discriminator_steps) == (2e-4, 64, 5)
    assert (prior.entropy_weight, prior.latent_dim, prior.width) == (1e-4, 100, 64)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"entropy_weight": -1.0}], ids=str
)
def test_refuses_what_cannot_be_trained(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"needs .*{next(iter(wrong))}"):
        KedmiGan(**wrong)  # type: ignore[arg-type]
