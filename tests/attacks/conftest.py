"""A target that can be computed by hand, and a small GAN with random weights, stored as the stage stores one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from midef.attacks import Attack
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.priors.wgan_gp import WganGp
from midef.core import Inputs, Recipe
from midef.nn.network import TargetModel

RESOLUTION_PX, CLASSES = 32, 4


@pytest.fixture
def target() -> TargetModel:
    """Classes are told by brightness and colour of the four quarters."""
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.AvgPool2d(RESOLUTION_PX // 2), nn.Flatten())
    model = TargetModel([("quarters", trunk)], nn.Linear(12, CLASSES), feature_dim=12, n_classes=CLASSES)
    with torch.no_grad():
        model.head.weight.mul_(10)  # type: ignore[operator]
    return model.eval()


@pytest.fixture
def small_gan() -> WganGp:
    return WganGp(width=4, latent_dim=8)


@pytest.fixture
def gan_networks(small_gan: WganGp) -> dict[str, nn.Module]:
    """Generator and critic. The generator is turned up until its images differ visibly."""
    torch.manual_seed(0)
    networks = small_gan.networks(RESOLUTION_PX, 0)
    with torch.no_grad():
        networks["generator"].project[0].weight.mul_(8)  # type: ignore[index,union-attr,operator]
        networks["generator"].grow[-2].weight.mul_(8)  # type: ignore[index,union-attr,operator]
    return {name: network.eval() for name, network in networks.items()}


@pytest.fixture
def gan_inputs(tmp_path: Path, gan_networks: dict[str, nn.Module]) -> Callable[[Attack], Inputs]:
    """What `attack` starts from."""
    for name, network in gan_networks.items():
        save_file(dict(network.state_dict()), tmp_path / f"{name}.safetensors")

    def inputs(attack: Attack) -> Inputs:
        target, public = Recipe("target", "classifier"), Recipe("split", "synthetic_faces", {"resolution_px": 32})
        return Inputs(attack.requires(target=target, public=public), lambda recipe: tmp_path)

    return inputs


@pytest.fixture
def style_prior() -> StyleGan2:
    return StyleGan2(latent_dim=8, channel_base=256, channel_max=8)


@pytest.fixture
def style_networks(style_prior: StyleGan2) -> dict[str, nn.Module]:
    """A StyleGAN2 of 32 px with random weights; a quarter of its pixels leave [-1, 1], and w is truncated visibly."""
    torch.manual_seed(0)
    networks = style_prior.networks(RESOLUTION_PX, 0)
    generator = networks["generator"]
    with torch.no_grad():
        generator.mapping.w_avg.copy_(torch.linspace(-0.5, 0.5, 8))  # type: ignore[union-attr,operator]
    return {name: network.eval().requires_grad_(False) for name, network in networks.items()}


@pytest.fixture
def style_inputs(
    tmp_path: Path, style_prior: StyleGan2, style_networks: dict[str, nn.Module]
) -> Callable[[Attack], Inputs]:
    """What an attack on styles starts from."""
    style_prior.store(style_networks, tmp_path)

    def inputs(attack: Attack) -> Inputs:
        target, public = Recipe("target", "classifier"), Recipe("split", "synthetic_faces", {"resolution_px": 32})
        return Inputs(attack.requires(target=target, public=public), lambda recipe: tmp_path)

    return inputs
