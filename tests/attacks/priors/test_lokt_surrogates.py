"""LOKT's surrogates as a prior: what the target labels, what they are taught, how their images are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.attacks import AccessLevel
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.lokt_surrogates import LoktSurrogates
from midef.attacks.priors.t_acgan import TAcgan
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, PreflightError, Recipe
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.nn.network import TargetModel
from midef.training.generative.loop import TrainingRun

PX, CLASSES, EACH = 8, 3, 5
PUBLIC, TARGET = Recipe("split", "synthetic_faces", {"resolution_px": 32}), Recipe("target", "classifier")
SMALL: dict[str, Any] = {
    "family": "cnn_tiny",
    "count": 2,
    "weights": "none",
    "latents_per_class": EACH,
    "steps": 2,
    "batch_size": 4,
    "gan": TAcgan(width=2, latent_dim=4, iterations=1, warm_up=0),
}


@pytest.fixture
def target() -> TargetModel:
    """The strongest colour, of every pixel after its mean over drawn images is taken away."""
    torch.manual_seed(0)
    see = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * PX**2, momentum=None))
    model = TargetModel([("see", see)], nn.Linear(3 * PX**2, CLASSES), feature_dim=3 * PX**2, n_classes=CLASSES)
    with torch.no_grad():
        model.head.bias.zero_()  # type: ignore[operator]
        model.train()(generator_of(LoktSurrogates(**SMALL))(torch.randn(64, 4), torch.arange(64) % CLASSES).clamp(0, 1))
    return model


def generator_of(prior: LoktSurrogates) -> nn.Module:
    torch.manual_seed(3)
    generator = prior.gan.networks(PX, CLASSES)["generator"]
    with torch.no_grad():
        generator.get_parameter("colour.bias").fill_(0.5)  # most of the picture above 0
    return generator.eval()


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    prior = LoktSurrogates(**SMALL)
    networks = {**prior.gan.networks(PX, CLASSES), "generator": generator_of(prior)}
    for name, network in networks.items():
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / f"{name}.safetensors")
    return Inputs(prior.requires(public=PUBLIC, target=TARGET), lambda recipe: tmp_path)


def public() -> Splits:
    part = Images(torch.zeros(2, 3, PX, PX, dtype=torch.uint8), torch.full((2,), -1))
    return Splits(part, part, part, ())


def test_starts_from_the_gan_of_this_target() -> None:
    prior = LoktSurrogates(**SMALL)
    recipe = prior.recipe(public=PUBLIC, target=TARGET)
    assert recipe.kind == "surrogate"
    assert recipe.inputs["gan"] == prior.gan.recipe(public=PUBLIC, target=TARGET)
    assert recipe.inputs["gan"].inputs["target"] == TARGET


def test_surrogates_learn_the_target_s_labels_of_the_gan_s_images(
    target: TargetModel, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[tuple[Tensor, Tensor]] = []
    seeds: list[int] = []

    prior = LoktSurrogates(**SMALL)

    def spy(
        network: nn.Module, images: Tensor, labels: Tensor, change: Any, settings: Any, run: TrainingRun
    ) -> dict[str, float]:
        assert settings is prior
        taught.append((images, labels))
        seeds.append(run.seed)
        return {"loss": 0.0}

    monkeypatch.setattr("midef.attacks.priors.lokt_surrogates.fit_surrogate", spy)
    handle = TargetHandle(target, Defense(), AccessLevel.LABELS)
    facts = prior.fit(prior.networks(PX, CLASSES), public(), handle, FitContext(inputs=inputs))
    assert handle.queries == CLASSES * EACH and len(taught) == 2 and len(set(seeds)) == 2
    for images, labels in taught:
        assert len(images.flatten(1).unique(dim=0)) == CLASSES * EACH, "drawn once each"
        with torch.no_grad():
            assert torch.equal(labels, target.eval()(images.float() / 255).logits.argmax(dim=1))
    wanted = torch.arange(CLASSES).repeat_interleave(EACH)
    assert len(taught[0][1].unique()) > 1
    assert facts["label_match"] == pytest.approx((taught[0][1] == wanted).float().mean().item())


def test_every_surrogate_is_trained_and_says_so(target: TargetModel, inputs: Inputs) -> None:
    prior = LoktSurrogates(**SMALL)
    torch.manual_seed(0)
    networks = prior.networks(PX, CLASSES)
    before = {name: network.get_parameter("head.weight").detach().clone() for name, network in networks.items()}
    told: list[dict[str, Any]] = []
    handle = TargetHandle(target, Defense(), AccessLevel.LABELS)
    prior.fit(networks, public(), handle, FitContext(inputs=inputs, report=told.append))
    assert set(networks) == {"surrogate0", "surrogate1"} == {fact["network"] for fact in told}
    for name, weight in before.items():
        assert not torch.equal(networks[name].get_parameter("head.weight"), weight)


@pytest.mark.parametrize("jitter_p", [0.0, 1.0])
def test_images_are_changed_each_on_its_own(jitter_p: float) -> None:
    prior = LoktSurrogates(**{**SMALL, "jitter_p": jitter_p})
    grey = torch.full((6, 3, PX, PX), 0.5)
    changed = prior.change(grey, torch.Generator().manual_seed(0))
    again = prior.change(grey, torch.Generator().manual_seed(0))
    middle = changed[:, :, PX // 2, PX // 2]  # crops and turns leave the middle of a grey image grey
    assert torch.equal(changed, again) and changed.shape == grey.shape
    assert torch.allclose(middle, torch.tensor(0.5), atol=1e-3) == (jitter_p == 0)
    assert jitter_p == 0 or len(middle[:, 0].unique()) == 6


def test_a_missing_file_is_an_error_before_the_target_is_asked(
    target: TargetModel, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    prior = LoktSurrogates(**{**SMALL, "family": "densenet", "count": 1, "weights": "imagenet"})
    handle = TargetHandle(target, Defense(), AccessLevel.LABELS)
    with pytest.raises(PreflightError, match=r"no file densenet121\S+\.pth in"):
        prior.fit(prior.networks(32, CLASSES), public(), handle, FitContext(inputs=inputs))
    assert handle.queries == 0


def test_defaults_are_the_published_ones() -> None:
    prior = LoktSurrogates()
    assert (prior.family, prior.count, prior.weights, prior.latents_per_class) == ("densenet", 3, "imagenet", 500)
    assert (prior.steps, prior.batch_size, prior.learning_rate) == (23_400, 256, 0.1)
    assert (prior.momentum, prior.weight_decay, prior.jitter_p) == (0.9, 5e-4, 0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 4}, "needs 1 <= count <= 3"),
        ({"steps": 0}, "steps >= 1"),
        ({"jitter_p": 1.5}, "needs 0 <= jitter_p <= 1"),
        ({"momentum": 1.0}, "0 <= momentum < 1"),
    ],
    ids=str,
)
def test_refuses_what_cannot_be_trained(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoktSurrogates(**wrong)


def test_says_why_it_cannot_work_here() -> None:
    assert LoktSurrogates().problems(64) == []
    assert LoktSurrogates().problems(48) == [], "its GAN draws 64 px for them"
    assert LoktSurrogates(family="cnn_tiny").problems(48) == ["cnn_tiny has no imagenet weights; choose weights=none"]
    gan, weights, network = LoktSurrogates(family="cnn_tiny").problems(6)
    assert "t_acgan draws 8 px and more" in gan and "choose weights=none" in weights
    assert network == "cnn_tiny needs at least 8 px, not 6; choose a larger resolution_px"
    assert "choose family=cnn_tiny" in LoktSurrogates().problems(16)[-1]
