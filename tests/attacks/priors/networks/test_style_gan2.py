"""StyleGAN2's networks against their definitions, written the slow way."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midef.attacks.priors.networks.style_gan2 import (
    EqualConv,
    EqualLinear,
    Mapping,
    ModulatedConv,
    StyleDiscriminator,
    StyledLayer,
    StyleGenerator,
    doubled,
    filtered,
    with_spread,
)
from midef.nn.network import count_parameters


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def small(resolution_px: int = 16) -> StyleGenerator:
    return StyleGenerator(8, 2, resolution_px, 64, 6).eval()


def zero_inserted(images: Tensor) -> Tensor:
    spread = images.new_zeros(*images.shape[:2], 2 * images.shape[2], 2 * images.shape[3])
    spread[:, :, ::2, ::2] = images
    return spread


def by_loops(images: Tensor, *, before: int, after: int, gain: float) -> Tensor:
    """[1, 3, 3, 1] x [1, 3, 3, 1] / 64 at every place, with zeros around."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    padded = F.pad(images, (before, after, before, after))
    rows, columns = padded.shape[2] - 3, padded.shape[3] - 3
    out = torch.zeros(*images.shape[:2], rows, columns)
    for i in range(4):
        for j in range(4):
            out += gain / 64 * taps[i] * taps[j] * padded[:, :, i : i + rows, j : j + columns]
    return out


def test_the_filter_is_the_product_of_two_1331() -> None:
    images = torch.randn(2, 3, 5, 6)
    assert torch.allclose(filtered(images, pad=2), by_loops(images, before=2, after=2, gain=1), atol=1e-5)
    thinned = by_loops(images, before=1, after=1, gain=1)[:, :, ::2, ::2]
    assert torch.allclose(filtered(images, pad=1, stride=2), thinned, atol=1e-5)


def test_doubling_inserts_zeros_and_filters() -> None:
    images = torch.randn(2, 3, 5, 6)
    expected = by_loops(zero_inserted(images), before=2, after=1, gain=4)
    assert doubled(images).shape == (2, 3, 10, 12)
    assert torch.allclose(doubled(images), expected, atol=1e-5)
    assert torch.allclose(doubled(torch.ones(1, 1, 4, 4))[:, :, 1:-1, 1:-1], torch.ones(1, 1, 6, 6))


@pytest.mark.parametrize("demodulate", [True, False], ids=["demodulated", "plain"])
def test_a_modulated_convolution_scales_each_image_s_kernels(demodulate: bool) -> None:
    conv = ModulatedConv(4, 5, 3, 7, demodulate=demodulate)
    images, style = torch.randn(3, 4, 6, 6), torch.randn(3, 7)
    for i in range(3):
        weight = conv.weight * conv.affine(style[i : i + 1])[0][None, :, None, None]
        weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).sqrt() if demodulate else weight / sqrt(36)
        expected = F.conv2d(images[i : i + 1], weight, padding=1)
        assert torch.allclose(conv(images, style)[i : i + 1], expected, atol=1e-5)


def test_a_doubling_convolution_is_zeros_convolution_filter() -> None:
    conv = ModulatedConv(4, 5, 3, 7, up=True)
    images, style = torch.randn(1, 4, 6, 6), torch.randn(1, 7)
    weight = conv.weight * conv.affine(style)[0][None, :, None, None]
    weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
    # a transposed convolution is one with mirrored kernels over zero-inserted images
    dense = F.conv2d(F.pad(zero_inserted(images), (2, 1, 2, 1)), weight.flip(2, 3))
    expected = by_loops(dense, before=1, after=1, gain=4)
    assert conv(images, style).shape == (1, 5, 12, 12)
    assert torch.allclose(conv(images, style)[:, :, :11, :11], expected[:, :, :11, :11], atol=1e-4)


def test_a_style_starts_at_one_and_demodulation_undoes_its_size() -> None:
    conv = ModulatedConv(4, 5, 3, 7)
    assert torch.allclose(conv.affine(torch.zeros(1, 7)), torch.ones(1, 4))
    images, zero = torch.randn(1, 4, 6, 6), torch.zeros(1, 7)
    before = conv(images, zero)
    with torch.no_grad():
        conv.affine.bias.mul_(10)
    assert torch.allclose(conv(images, zero), before, atol=1e-4)


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_equal_learning_rates(rate: float) -> None:
    """Outputs have unit variance at the start, and a step of size 1 moves the used weight by rate / sqrt(fan-in)."""
    layer = EqualLinear(400, 300, rate=rate)
    assert layer.weight.std().item() == pytest.approx(1 / rate, rel=0.05)
    values = torch.randn(200, 400)
    assert layer(values).std().item() == pytest.approx(1, rel=0.05)
    before = layer(values)
    with torch.no_grad():
        layer.weight.add_(1)
        layer.bias.add_(1)
    assert torch.allclose(layer(values) - before, rate * values.sum(1, keepdim=True) / 20 + rate, atol=1e-3)


def test_convolutions_keep_the_variance_and_halve_the_resolution() -> None:
    images = torch.randn(4, 8, 16, 16)
    assert EqualConv(8, 64, 3)(images)[:, :, 1:-1, 1:-1].std().item() == pytest.approx(1, abs=0.1)
    wide = EqualConv(8, 6, 3, down=True)
    expected = F.conv2d(by_loops(images, before=2, after=2, gain=1), wide.weight / sqrt(72), stride=2)
    assert expected.shape == (4, 6, 8, 8) and torch.allclose(wide(images), expected, atol=1e-4)
    point = EqualConv(8, 6, 1, bias=False, down=True)
    thinned = by_loops(images, before=1, after=1, gain=1)[:, :, ::2, ::2]
    assert torch.allclose(point(images), F.conv2d(thinned, point.weight / sqrt(8)), atol=1e-4)


def test_the_mapping_sees_only_the_direction_of_a_latent() -> None:
    mapping = Mapping(8, 2)
    latents = torch.randn(4, 8)
    assert torch.allclose(mapping(latents), mapping(7 * latents), atol=1e-4)
    several = mapping(latents.view(2, 2, 8))
    assert torch.allclose(several.view(4, 8), mapping(latents), atol=1e-6)
    unit = latents / latents.square().mean(dim=1, keepdim=True).sqrt()
    for layer in mapping.layers:
        assert isinstance(layer, EqualLinear)
        unit = F.leaky_relu(unit @ (layer.weight * 0.01 / sqrt(8)).T + layer.bias * 0.01, 0.2) * sqrt(2)
    assert torch.allclose(mapping(latents), unit, atol=1e-5)


@pytest.mark.parametrize(("resolution_px", "num_ws"), [(8, 4), (16, 6), (32, 8), (64, 10)])
def test_shapes_range_and_layers(resolution_px: int, num_ws: int) -> None:
    generator = small(resolution_px)
    assert (generator.num_ws, generator.latent_dim) == (num_ws, 8)
    images = generator(torch.randn(3, 8))
    assert images.shape == (3, 3, resolution_px, resolution_px)
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.05
    assert StyleDiscriminator(resolution_px, 64, 6)(images).shape == (3,)


def test_the_published_generator_has_ten_layers_of_at_most_512_channels() -> None:
    """Parameters at 64 px from the definition: affine and kernels of nine convolutions and five 1x1 to RGB."""
    generator = StyleGenerator(512, 2, 64, 16384, 512)
    widths = [512, 512, 512, 512, 256]  # 4, 8, 16, 32, 64 px
    assert generator.num_ws == 10

    def layer(came: int, out: int) -> int:
        return 9 * came * out + 513 * came + out + 1

    expected = 2 * 513 * 512 + 512 * 16 + layer(512, 512)
    expected += sum(layer(came, out) + layer(out, out) for came, out in pairwise(widths))
    expected += sum(3 * width + 513 * width + 3 for width in widths)
    assert count_parameters(generator) == expected


def test_one_latent_for_all_layers_is_the_same_latent_in_each() -> None:
    generator, latents = small(), torch.randn(3, 8)
    assert torch.allclose(generator(latents), generator(latents[:, None].expand(-1, 6, -1)), atol=1e-6)


def test_every_layer_has_its_own_latent() -> None:
    generator, latents = small(), torch.randn(1, 6, 8)
    base = generator.synthesis(generator.mapping(latents))
    for layer in range(6):
        other = latents.clone()
        other[:, layer] = torch.randn(8)
        assert (generator.synthesis(generator.mapping(other)) - base).abs().max() > 1e-3, layer


def test_the_colour_of_a_resolution_shares_the_style_of_the_next_convolution() -> None:
    """The last of the styles is for colour alone: it changes the last addend and nothing in between."""
    generator, styles = small(8), torch.randn(1, 4, 8)
    hidden = generator.constant
    image = torch.zeros(1, 3, 2, 2)
    for i, layer in enumerate(generator.layers):
        assert isinstance(layer, StyledLayer)
        hidden = layer(hidden, styles[:, i], None)
        if i in (0, 2):
            colour = generator.to_rgb[i // 2](hidden, styles[:, i + 1]) + generator.rgb_bias[i // 2][:, None, None]
            image = doubled(image) + colour
    assert torch.allclose(generator.synthesis(styles), image, atol=1e-5)


def test_noise_is_fixed_unless_it_is_asked_for() -> None:
    generator, latents = small(), torch.randn(2, 8)
    with torch.no_grad():
        for layer in generator.layers:
            layer.noise_strength.fill_(0.5)  # type: ignore[operator]
    torch.manual_seed(7)
    first = generator(latents)
    torch.manual_seed(8)
    assert torch.equal(first, generator(latents))
    styles = generator.mapping(latents)[:, None].expand(-1, 6, -1)
    fixed, one, same, other = (
        generator.synthesis(styles, None if s is None else torch.Generator().manual_seed(s)) for s in (None, 1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.allclose(one, other) and not torch.allclose(one, fixed)


def test_an_image_does_not_depend_on_its_batch() -> None:
    generator, latents = small().train(), torch.randn(5, 8)
    assert torch.allclose(generator(latents)[2:3], generator(latents[2:3]), atol=1e-5)


def test_the_spread_of_a_group_is_its_mean_standard_deviation() -> None:
    features = torch.randn(8, 3, 2, 2)
    found = with_spread(features)
    assert torch.equal(found[:, :3], features)
    for i in range(8):
        group = features[i % 2 :: 2]
        assert torch.allclose(found[i, 3], group.std(dim=0, unbiased=False).mean().expand(2, 2), atol=1e-5)
    assert torch.allclose(with_spread(features[:1].repeat(4, 1, 1, 1))[:, 3], torch.tensor(1e-4), atol=1e-6)
    assert with_spread(features[:6]).shape == (6, 4, 2, 2) and with_spread(features[:1]).shape == (1, 4, 2, 2)


def test_nothing_is_shared_in_what_is_stored() -> None:
    state = small().state_dict()
    assert len({value.data_ptr() for value in state.values()}) == len(state)
    assert sum(key.endswith("noise") for key in state) == 5
