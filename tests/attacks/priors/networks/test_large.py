"""Networks of 256 px: two more blocks than those of 64, whose numbers are the specification's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.attacks.priors.networks import macs
from midef.attacks.priors.networks.conditional import (
    AuxiliaryDiscriminator,
    ConditionalGenerator,
    ProjectionDiscriminator,
)
from midef.attacks.priors.networks.dcgan import Critic, Generator
from midef.attacks.priors.networks.kedmi import MinibatchDiscriminator
from midef.nn.doubling import drawn_for
from midef.nn.inversion import TransposedCnn
from midef.nn.network import count_parameters
from midef.nn.sized import SizedGenerator

Build = Callable[[int], nn.Module]
K = 1000

BUILDS: dict[str, Build] = {
    "generator": lambda px: Generator(100, px, 64),
    "critic": lambda px: Critic(px, 64),
    "minibatch discriminator": lambda px: MinibatchDiscriminator(K, px, 64),
    "conditional generator": lambda px: ConditionalGenerator(128, K, px, 64),
    "projection discriminator": lambda px: ProjectionDiscriminator(K, px, 4),
    "inversion network": lambda px: TransposedCnn(530, px, 64),
}


def conv(c_in: int, c_out: int, k: int, *, bias: int = 1) -> int:
    return c_in * c_out * k**2 + bias * c_out


def residual(c_in: int, c_out: int, *, rows: int = 0, up: bool = False) -> int:
    """Two convolutions k3, the shortcut k1, and `rows` classes of scale and offset for two norms where it grows."""
    between = c_out if up else c_in
    return conv(c_in, between, 3) + conv(between, c_out, 3) + conv(c_in, c_out, 1) + 2 * rows * (c_in + c_out) * up


MORE: dict[str, int] = {
    "generator": 2 * (conv(64, 64, 5, bias=0) + 2 * 64),
    "critic": 2 * (conv(512, 512, 5) + 2 * 512),
    # the last convolution has kernel 3 at either resolution
    "minibatch discriminator": 2 * (conv(256, 256, 5) + 2 * 256),
    "conditional generator": 2 * residual(64, 64, rows=K, up=True),
    "projection discriminator": 2 * residual(64, 64),
    "inversion network": 2 * (conv(64, 64, 4) + 2 * 64),
}
"""Parameters of the two blocks, from their definition: as wide as the block of the 64 px network that they follow."""


@pytest.mark.parametrize("name", BUILDS)
def test_256_px_are_two_blocks_more(name: str) -> None:
    with torch.device("cpu" if name == "projection discriminator" else "meta"):  # its norms are slow without numbers
        at_64, at_256 = (count_parameters(BUILDS[name](px)) for px in (64, 256))
    assert at_256 == at_64 + MORE[name]


def test_a_dcgan_of_256_px_has_as_many_parameters_as_the_published_one() -> None:
    """5.35 million; channels that go on doubling would give 73."""
    with torch.device("meta"):
        assert count_parameters(Generator(100, 256, 64)) == 5_347_139
        assert count_parameters(Critic(256, 64)) == 17_426_817
        assert count_parameters(MinibatchDiscriminator(K, 256, 64)) == 22_167_272


def test_names_and_shapes_of_64_px_are_in_the_networks_of_256() -> None:
    """The first blocks of a generator are those of 64 px, the last ones of a critic are new."""
    with torch.device("meta"):
        small, large = (Generator(100, px, 64).state_dict() for px in (64, 256))
    kept = [name for name in small if name.split(".")[:2] != ["grow", "9"]]
    assert all(small[name].shape == large[name].shape for name in kept) and len(kept) == len(small) - 2


# ---------------------------------------------------------------- work

count_macs: Callable[..., int] = run_path(str(Path(__file__).parents[3] / "models" / "macs.py"))["count_macs"]

COUNTED: dict[str, tuple[Build, Callable[[], list[Tensor]], Callable[[int], int]]] = {
    "generator": (
        BUILDS["generator"],
        lambda: [torch.empty(1, 100)],
        lambda px: macs.of_generator(100, px, 64),
    ),
    "conditional generator": (
        BUILDS["conditional generator"],
        lambda: [torch.empty(1, 128), torch.zeros(1, dtype=torch.long)],
        lambda px: macs.of_conditional_generator(128, px, 64),
    ),
    "inversion network": (
        lambda px: TransposedCnn(1, px, 64),
        lambda: [torch.empty(1, 1)],
        lambda px: macs.of_transposed_cnn(px, 64),
    ),
    "inversion network of six blocks": (
        lambda px: TransposedCnn(1, px, 64, 6),
        lambda: [torch.empty(1, 1)],
        lambda px: macs.of_transposed_cnn(px, 64, 6),
    ),
}


@pytest.mark.parametrize("px", [16, 256])
@pytest.mark.parametrize("name", COUNTED)
def test_generators_do_the_work_that_plans_count(name: str, px: int) -> None:
    build, given, expected = COUNTED[name]
    with torch.device("meta"):
        counted = count_macs(build(px).eval(), *given())
    assert counted == pytest.approx(expected(px), rel=0.02 if "inversion" in name else 1e-9)


JUDGES: dict[str, tuple[Build, Callable[[int], int]]] = {
    "critic": (BUILDS["critic"], lambda px: macs.of_critic(px, 64)),
    "minibatch discriminator": (
        lambda px: MinibatchDiscriminator(1, px, 64),
        lambda px: macs.of_minibatch_discriminator(px, 64),
    ),
    "auxiliary discriminator": (
        lambda px: AuxiliaryDiscriminator(1, px, 4),
        lambda px: macs.of_down_trunk(px, 4),
    ),
}


@pytest.mark.parametrize("px", [16, 256])
@pytest.mark.parametrize("name", JUDGES)
def test_discriminators_do_the_work_that_plans_count(name: str, px: int) -> None:
    build, expected = JUDGES[name]
    with torch.device("cpu" if name == "auxiliary discriminator" else "meta"):
        counted = count_macs(build(px).eval(), torch.zeros(1, 3, px, px))
    projected = 4096 * 3200 * (name == "minibatch discriminator")  # in train mode only
    if name == "minibatch discriminator" and px == 16:
        projected = 64 * 16 * 3200
    assert counted + projected == pytest.approx(expected(px), rel=1e-3)


def test_the_work_at_64_px_is_the_specifications() -> None:
    """GMAC, derived there; it counts shortcuts at the larger of their two resolutions: four times ours."""
    shortcuts_up = 4 * 1024 * 512 * 4**2
    shortcuts_down = 3 * 64 * 32**2 + 4 * 64 * 128 * 16**2
    assert round(macs.of_generator(100, 64, 64) / 1e9, 3) == 0.163
    assert round(macs.of_critic(64, 64) / 1e9, 3) == 0.162
    assert round(macs.of_minibatch_discriminator(64, 64) / 1e9, 3) == 0.132
    assert round((macs.of_conditional_generator(128, 64, 64) + 3 * shortcuts_up) / 1e9, 2) == 1.95
    assert round((macs.of_down_trunk(64, 64) + 3 * shortcuts_down) / 1e9, 3) == pytest.approx(0.645, abs=0.0011)


# ---------------------------------------------------------------- what it shows


def test_the_published_resolutions_are_64_and_256() -> None:
    assert [drawn_for(px) for px in (8, 28, 48, 64, 65, 112, 160, 224, 256, 299)] == [
        *(8, 32, 64, 64),
        *(256, 256, 256, 256, 256),
        512,
    ]
    assert drawn_for(128) == 128, "a power of two is what was asked for"


SHOWN: dict[str, tuple[Callable[..., SizedGenerator], Callable[[], list[Tensor]]]] = {
    "generator": (lambda **px: Generator(5, 32, 2, **px), lambda: [torch.randn(3, 5)]),
    "conditional generator": (
        lambda **px: ConditionalGenerator(5, 4, 32, 2, **px),
        lambda: [torch.randn(3, 5), torch.tensor([0, 3, 1])],
    ),
    "inversion network": (lambda **px: TransposedCnn(4, 32, 2, **px), lambda: [torch.rand(3, 4)]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_images_are_resized_by_antialiased_bilinear_weights(name: str) -> None:
    build, given = SHOWN[name]
    torch.manual_seed(0)
    generator, inputs = build(shown_px=28).eval(), given()
    with torch.no_grad():
        shown, drawn = generator(*inputs), generator.showing(32)(*inputs)
        expected = F.interpolate(drawn, size=(28, 28), mode="bilinear", align_corners=False, antialias=True)
    assert drawn.shape == (3, 3, 32, 32) and torch.equal(shown, expected)
    assert torch.equal(generator(*inputs), shown) and generator.shown_px == 28, "the other one is as it was"
    assert all(a is b for a, b in zip(generator.parameters(), generator.showing(32).parameters(), strict=True))
    plain = build().eval()
    plain.load_state_dict(generator.state_dict())
    assert torch.equal(plain(*inputs), drawn), "what it shows is no part of its weights"


@pytest.mark.parametrize("px", [64, 256])
@pytest.mark.parametrize("name", ["generator", "conditional generator"])
def test_it_says_how_much_memory_a_searched_image_takes(name: str, px: int) -> None:
    """What is really kept for the way back is 30 % less to 30 % more."""
    builds: dict[str, tuple[Any, list[Tensor]]] = {
        "generator": (Generator(4, px, 8), []),
        "conditional generator": (ConditionalGenerator(4, 2, px, 8), [torch.tensor([0, 1])]),
    }
    network, labels = builds[name]
    generator = network.eval().requires_grad_(False)
    kept, own = dict[int, int](), {tensor.data_ptr() for tensor in generator.state_dict().values()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        images = generator(torch.randn(2, 4, requires_grad=True), *labels)
    assert images.requires_grad
    assert 0.7 < sum(kept.values()) / 2 / generator.bytes_per_image < 1.3
