"""PLG-MI's GAN on a target that tells bright images from dark ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.networks.conditional import ConditionalGenerator, ProjectionDiscriminator
from midef.attacks.priors.plg_gan import PlgGan
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.nn.network import TargetModel
from midef.training.generative.plg import fit_plg

PX, CLASSES = 8, 2
SMALL: dict[str, Any] = {"latent_dim": 3, "width": 2, "steps": 2, "batch_size": 4, "critic_steps": 2, "top": 2}


class Brightness(nn.Module):
    """Logits [-b, b] of the mean brightness b about 0.5."""

    @override
    def forward(self, images: Tensor) -> Tensor:
        above = 10 * (images.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-above, above], dim=1)


class Watching(TargetHandle):
    """Remembers what the target is shown."""

    def __init__(self) -> None:
        model = TargetModel(
            [("brightness", Brightness()), ("drop", nn.Dropout(0.5))], nn.Identity(), feature_dim=2, n_classes=CLASSES
        )
        super().__init__(model, Defense(), AccessLevel.WHITE_BOX)
        self.shown: list[Tensor] = []

    @override
    def run(self, images: Tensor) -> Any:
        self.shown.append(images.detach())
        return super().run(images)


def public() -> Splits:
    """Seven images, from dark to bright, over the three parts."""
    grey = torch.tensor([0, 210, 80, 250, 130, 40, 170], dtype=torch.uint8)
    images = grey.view(7, 1, 1, 1).expand(7, 3, PX, PX).contiguous()
    part = [Images(one, torch.full((len(one),), -1)) for one in images.split([4, 1, 2])]
    return Splits(part[0], part[1], part[2], ())


def trained(prior: PlgGan, handle: TargetHandle | None = None, offset: float = 0.0) -> dict[str, nn.Module]:
    """offset: makes what the fresh generator draws brighter or darker."""
    torch.manual_seed(0)
    networks = prior.networks(PX, CLASSES)
    networks["generator"].colour.bias.data += offset  # type: ignore[operator,union-attr]
    handle = Watching() if handle is None else handle
    prior.fit(networks, public(), handle, FitContext(inputs=Inputs({}, lambda recipe: Path())))
    return networks


def test_labels_all_public_images_by_one_pass_of_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    labelled: list[Tensor] = []

    def spy(*given: Any) -> dict[str, float]:
        labelled.append(given[3])
        return fit_plg(*given)

    monkeypatch.setattr("midef.attacks.priors.plg_gan.fit_plg", spy)
    handle = Watching()
    trained(PlgGan(**SMALL), handle)
    assert labelled[0].tolist() == [[0, 5], [3, 1]], "the two darkest and the two brightest"
    assert handle.shown[0].shape == (7, 3, PX, PX) and float(handle.shown[0].max()) == pytest.approx(250 / 255)
    assert handle.queries == 7 + 2 * 4, "public images once, and the generator's batch in each step"
    trained(PlgGan(**{**SMALL, "top": 30}))
    assert labelled[1].shape == (CLASSES, 7), "a small public set is labelled whole"


@pytest.mark.parametrize("shown", ["clamp", "raw"])
def test_the_target_sees_what_range_says_and_the_discriminator_the_values_below_zero(
    shown: Literal["clamp", "raw"], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Tensor] = []
    forward = ProjectionDiscriminator.forward

    def spy(self: ProjectionDiscriminator, images: Tensor, labels: Tensor) -> Tensor:
        judged.append(images.detach())
        return forward(self, images, labels)

    monkeypatch.setattr(ProjectionDiscriminator, "forward", spy)
    handle = Watching()
    trained(PlgGan(**{**SMALL, "batch_size": 16}, range=shown), handle, offset=-1.0)
    lowest = min(float(images.min()) for images in handle.shown[1:])
    assert lowest < -0.05 if shown == "raw" else lowest >= 0
    assert float(judged[0].min()) < -0.05 and float(judged[1][16:].min()) < -0.05, "fakes"
    assert float(judged[1][:16].min()) >= 0, "real images"


@pytest.mark.slow
def test_it_draws_for_each_label_what_the_target_takes_for_it() -> None:
    """The public images say nothing here: each is labelled with both classes."""

    def margin(alpha: float) -> float:
        prior = PlgGan(
            **{**SMALL, "steps": 40, "critic_steps": 1, "batch_size": 8, "top": 7, "learning_rate": 1e-2}, alpha=alpha
        )
        generator = trained(prior)["generator"].eval()
        with torch.no_grad():
            latents = torch.randn(32, 3, generator=Generator().manual_seed(1))
            bright = [generator(latents, torch.full((32,), y)).clamp(0, 1).mean() for y in range(CLASSES)]
        return float(bright[1] - bright[0])

    assert margin(1.0) > margin(0.0) + 0.2


def test_says_how_sure_the_target_is_of_the_labels() -> None:
    prior = PlgGan(**SMALL)
    context = FitContext(inputs=Inputs({}, lambda recipe: Path()))
    facts = prior.fit(prior.networks(PX, CLASSES), public(), Watching(), context)
    above = 10 * (torch.tensor([0.0, 40.0, 250.0, 210.0]) / 255 - 0.5)
    expected = torch.sigmoid(2 * above.abs()).mean()  # two logits, the one minus the other
    assert facts["label_probability"] == pytest.approx(float(expected), abs=1e-5)
    assert set(facts) == {"label_probability", "generator_loss", "identity_loss", "discriminator_loss"}


def weights_of(networks: dict[str, nn.Module]) -> Tensor:
    return torch.cat([value.flatten().double() for net in networks.values() for value in net.state_dict().values()])


def test_training_repeats_with_its_seed_and_not_with_another() -> None:
    first = weights_of(trained(PlgGan(**SMALL)))
    again, other = trained(PlgGan(**SMALL)), trained(PlgGan(**SMALL, seed=1))
    assert torch.equal(first, weights_of(again)) and not torch.equal(first, weights_of(other))


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[dict[str, nn.Module]], Path]:
    """Stores networks as the stage does."""

    def store(networks: dict[str, nn.Module]) -> Path:
        for name, network in networks.items():
            state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
            save_file(state, tmp_path / f"{name}.safetensors")
        return tmp_path

    return store


def test_both_networks_come_back_from_storage_frozen(stored: Callable[[dict[str, nn.Module]], Path]) -> None:
    prior = PlgGan(**SMALL)
    networks = trained(prior)
    loaded = prior.load(stored(networks), PX, CLASSES, "cpu")
    for name, network in loaded.items():
        weights = network.state_dict()
        assert weights.keys() == networks[name].state_dict().keys()
        assert all(torch.equal(weights[key], value) for key, value in networks[name].state_dict().items())
    latents, labels = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    # training leaves them channels last, and answers are equal to the last bit in one memory layout only
    generator, judge = (
        networks[name].to(memory_format=torch.contiguous_format).eval() for name in ("generator", "discriminator")
    )
    images = generator(latents, labels)
    assert torch.equal(loaded["generator"](latents, labels), images)
    assert torch.equal(loaded["discriminator"](images, labels), judge(images, labels))
    assert isinstance(loaded["generator"], ConditionalGenerator) and loaded["generator"].latent_dim == 3
    for network in loaded.values():
        assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"top": 0}, "needs top >= 1, got 0"),
        ({"steps": 0}, "needs steps >= 1, got 0"),
        ({"batch_size": 1}, "batch norm, got 1"),
        ({"alpha": -0.1}, "alpha >= 0, got 0.0002, -0.1"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
    ],
    ids=str,
)
def test_refuses_what_cannot_be_trained(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlgGan(**wrong)


def test_defaults_are_the_published_settings() -> None:
    prior = PlgGan()
    assert (prior.steps, prior.batch_size, prior.critic_steps, prior.learning_rate) == (30_000, 64, 5, 2e-4)
    assert (prior.top, prior.alpha, prior.latent_dim, prior.width) == (30, 0.2, 128, 64)
