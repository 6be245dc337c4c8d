"""Shapes and sizes of the shared networks, as the specification gives them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from midef.attacks.priors.networks.dcgan import Critic, Generator, standard_latents
from midef.core import ShapeError
from midef.nn.doubling import doublings
from midef.nn.inversion import TransposedCnn
from midef.nn.network import count_parameters


def test_parameter_counts_are_those_of_the_papers() -> None:
    assert count_parameters(Generator(100, 64, 64)) == 5_142_083
    assert count_parameters(Critic(64, 64)) == 4_316_545


@pytest.mark.parametrize("resolution_px", [8, 16, 32, 64, 128])
def test_images_have_the_resolution_and_the_range(resolution_px: int) -> None:
    torch.manual_seed(0)
    images = Generator(5, resolution_px, 2).eval()(10 * torch.randn(3, 5))
    assert images.shape == (3, 3, resolution_px, resolution_px)
    assert images.min() >= 0 and images.max() <= 1
    assert Critic(resolution_px, 2)(images).shape == (3,)
    assert TransposedCnn(7, resolution_px, 2)(torch.rand(3, 7)).shape == images.shape


@pytest.mark.parametrize(
    ("resolution_px", "blocks", "kernels"),
    [
        (64, None, [4, 4, 4, 4, 4]),
        (64, 5, [4, 4, 4, 4, 4]),
        (64, 4, [8, 4, 4, 4]),
        (64, 6, [4, 4, 4, 4, 3, 4]),
        (32, None, [4, 4, 4, 4]),
        (32, 4, [4, 4, 4, 4]),
        (32, 6, [4, 4, 4, 3, 3, 4]),
        (8, 4, [4, 3, 3, 4]),
    ],
)
def test_the_inversion_network_has_the_blocks_asked_for(
    resolution_px: int, blocks: int | None, kernels: list[int]
) -> None:
    network = TransposedCnn(7, resolution_px, 2, blocks)
    layers = [layer for layer in network.grow if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.kernel_size[0] for layer in layers] == kernels
    assert network(torch.rand(3, 7)).shape == (3, 3, resolution_px, resolution_px)
    norms = [layer for layer in network.grow if isinstance(layer, nn.BatchNorm2d)]
    tanhs = [layer for layer in network.grow if isinstance(layer, nn.Tanh)]
    assert len(norms) == len(tanhs) == len(kernels) - 1


def test_the_inversion_network_of_64_px_has_the_published_channels() -> None:
    def channels(blocks: int | None) -> list[int]:
        network = TransposedCnn(530, 64, 128, blocks)
        return [layer.out_channels for layer in network.grow if isinstance(layer, nn.ConvTranspose2d)]

    with torch.device("meta"):
        assert channels(None) == [1024, 512, 256, 128, 3]
        assert channels(6) == [1024, 512, 256, 128, 128, 3]
        assert channels(4) == [512, 256, 128, 3]


@pytest.mark.parametrize("resolution_px", [4, 48, 100])
def test_other_resolutions_are_refused(resolution_px: int) -> None:
    with pytest.raises(ShapeError, match=rf"8, 16, 32, 64, ... px, got {resolution_px}"):
        doublings(resolution_px)


def test_the_critic_judges_each_image_alone_in_train_and_eval_mode() -> None:
    torch.manual_seed(0)
    critic, images = Critic(32, 4), torch.rand(6, 3, 32, 32)
    together = critic.train()(images)
    assert torch.allclose(together, critic.eval()(images))
    assert torch.allclose(together[2], critic(images[2:3])[0], atol=1e-5)


def test_latents_belong_to_their_seed_alone() -> None:
    assert torch.equal(standard_latents([3, 1, 2], 6)[[1, 0]], standard_latents([1, 3], 6))
