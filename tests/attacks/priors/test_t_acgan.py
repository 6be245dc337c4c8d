"""LOKT's GAN as a prior: what the target is asked, and the published settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import PRIORS, AccessLevel
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.t_acgan import TAcgan
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.defenses.serving import Query
from midef.nn.network import TargetModel

PX, CLASSES = 8, 3
NOTHING = Inputs({}, lambda recipe: Path())
SMALL: dict[str, Any] = {
    "width": 2,
    "latent_dim": 4,
    "iterations": 3,
    "warm_up": 1,
    "discriminator_steps": 2,
    "batch_size": 4,
}


class Last(Defense):
    """Serves the last class, whatever is seen."""

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return torch.eye(CLASSES)[-1].expand_as(query.probabilities)


@pytest.fixture
def target() -> TargetModel:
    torch.manual_seed(0)
    pixels = 3 * PX**2
    return TargetModel([("see", nn.Flatten())], nn.Linear(pixels, CLASSES), feature_dim=pixels, n_classes=CLASSES)


def public() -> Splits:
    def part(n: int, seed: int) -> Images:
        rng = torch.Generator().manual_seed(seed)
        return Images(torch.randint(0, 256, (n, 3, PX, PX), generator=rng, dtype=torch.uint8), torch.full((n,), -1))

    return Splits(part(4, 0), part(2, 1), part(3, 2), ())


def test_the_target_labels_drawn_images_after_the_warm_up_and_no_public_ones(target: TargetModel) -> None:
    seen: list[Tensor] = []
    target.register_forward_hook(lambda module, given, answer: seen.append(given[0]))
    handle = TargetHandle(target, Defense(), AccessLevel.LABELS)
    prior = TAcgan(**SMALL)
    torch.manual_seed(0)
    prior.fit(prior.networks(PX, CLASSES), public(), handle, FitContext(inputs=NOTHING))
    assert handle.queries == (3 - 1) * 2 * 4 and [len(images) for images in seen] == [4] * 4
    known = torch.cat([part.images for part in public().parts.values()]).float().flatten(1) / 255
    for images in seen:
        assert images.min() >= 0 and images.max() <= 1
        assert torch.cdist(images.flatten(1), known).min() > 0.1


def test_the_target_answers_through_its_defense(target: TargetModel) -> None:
    handle = TargetHandle(target, Last(), AccessLevel.LABELS)
    prior = TAcgan(**{**SMALL, "iterations": 15, "learning_rate": 2e-2})
    torch.manual_seed(0)
    networks = prior.networks(PX, CLASSES)
    prior.fit(networks, public(), handle, FitContext(inputs=NOTHING))
    with torch.no_grad():
        drawn = networks["generator"](torch.randn(6, 4), torch.arange(6) % CLASSES)
        assert (networks["discriminator"](drawn)[1].argmax(dim=1) == CLASSES - 1).all()


@pytest.mark.parametrize(
    ("preset", "warm_up", "iterations"),
    [("celeba", 1000, 20_000), ("ffhq", 2000, 21_000), ("facescrub", 3000, 8000), ("pubfig", 6000, 11_000)],
)
def test_presets_are_the_published_settings(preset: str, warm_up: int, iterations: int) -> None:
    prior = PRIORS.remake(PRIORS.choose(f"t_acgan:{preset}"))
    assert isinstance(prior, TAcgan)
    assert (prior.warm_up, prior.iterations) == (warm_up, iterations)
    assert (prior.batch_size, prior.discriminator_steps, prior.learning_rate) == (128, 5, 2e-4)
    assert (prior.latent_dim, prior.class_weight, prior.sn_freeze_after_eval) == (128, 1.5, False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"iterations": 0}, "needs iterations >= 1"),
        ({"warm_up": 20_000}, "needs 0 <= warm_up < iterations"),
        ({"warm_up": -1}, "needs 0 <= warm_up < iterations"),
        ({"class_weight": 0.0}, "class_weight > 0"),
        ({"batch_size": 1}, "batch_size >= 2"),
    ],
    ids=str,
)
def test_refuses_what_cannot_be_trained(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TAcgan(**wrong)


def test_says_which_resolutions_it_draws() -> None:
    assert TAcgan().problems(64) == TAcgan().problems(48) == TAcgan().problems(224) == []
    assert TAcgan().problems(7) == ["t_acgan draws 8 px and more, not 7; choose a larger resolution_px"]
