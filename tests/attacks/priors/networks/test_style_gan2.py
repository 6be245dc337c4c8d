"""StyleGAN2's networks against their definitions, written the slow way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midef.attacks.priors.networks.style_gan2 import Mapping, StyleGenerator
from midef.attacks.priors.networks.style_gan2_discriminator import StyleDiscriminator, with_spread
from midef.attacks.priors.networks.style_gan2_layers import (
    EqualConv,
    EqualLinear,
    StyledLayer,
    ToRgb,
    doubled,
    filtered,
    leaky,
    modulated,
    modulated_kernels,
)
from midef.nn.network import count_parameters

Convolve = Callable[..., Tensor]


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


@pytest.mark.parametrize("convolve", [modulated, modulated_kernels])
@pytest.mark.parametrize("demodulate", [True, False], ids=["demodulated", "plain"])
def test_a_modulated_convolution_scales_each_image_s_kernels(convolve: Convolve, demodulate: bool) -> None:
    weight, images, scale = torch.randn(5, 4, 3, 3), torch.randn(3, 4, 6, 6), torch.randn(3, 4)
    added = torch.randn(3, 1, 6, 6)
    made = convolve(images, weight, scale, added, gain=3.0, demodulate=demodulate)
    for i in range(3):
        kernels = weight * scale[i][None, :, None, None]
        if demodulate:
            kernels = kernels / kernels.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        expected = 3 * F.conv2d(images[i : i + 1], kernels, padding=1) + added[i]
        assert torch.allclose(made[i : i + 1], expected, atol=1e-5)


@pytest.mark.parametrize("convolve", [modulated, modulated_kernels])
def test_a_doubling_convolution_is_zeros_convolution_filter(convolve: Convolve) -> None:
    weight, images, scale = torch.randn(5, 4, 3, 3), torch.randn(2, 4, 6, 6), torch.randn(2, 4)
    made = convolve(images, weight, scale, torch.zeros(()), up=True)
    assert made.shape == (2, 5, 12, 12)
    for i in range(2):
        kernels = weight * scale[i][None, :, None, None]
        kernels = kernels / kernels.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        # a transposed convolution is one with mirrored kernels over zero-inserted images, 2H + 1 rows of it
        dense = F.conv2d(F.pad(zero_inserted(images[i : i + 1]), (2, 1, 2, 1)), kernels.flip(2, 3))
        assert dense.shape[2:] == (13, 13)
        expected = by_loops(dense, before=1, after=1, gain=4)
        assert torch.allclose(made[i : i + 1], expected, atol=1e-4)


def test_a_style_starts_at_one_and_demodulation_undoes_its_size() -> None:
    layer = StyledLayer(4, 5, 7, 6)
    assert torch.allclose(layer.affine(torch.zeros(1, 7)), torch.ones(1, 4))
    images, zero = torch.randn(1, 4, 6, 6), torch.zeros(1, 7)
    before = layer(images, zero, None)
    with torch.no_grad():
        layer.affine.bias.mul_(10)
    assert torch.allclose(layer(images, zero, None), before, atol=1e-4)


def leaky_relu(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 0.2 * values) * sqrt(2)


def test_a_styled_layer_is_convolution_noise_bias_and_relu_in_this_order() -> None:
    layer, images, style = StyledLayer(4, 5, 7, 6), torch.randn(2, 4, 6, 6), torch.randn(2, 7)
    with torch.no_grad():
        layer.bias.normal_()
        layer.noise_strength.fill_(0.7)
        layer.affine.bias.normal_()
    for rng in (None, torch.Generator().manual_seed(3)):
        made = layer(images, style, rng)
        drawn = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(3))
        for i in range(2):
            scale = style[i] @ layer.affine.weight.T / sqrt(7) + layer.affine.bias
            kernels = layer.weight * scale[None, :, None, None]
            kernels = kernels / (kernels.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
            noise = layer.noise_const if rng is None else drawn[i]
            plain = F.conv2d(images[i : i + 1], kernels, padding=1) + 0.7 * noise + layer.bias[:, None, None]
            assert torch.allclose(made[i : i + 1], leaky_relu(plain), atol=1e-5)


def test_colours_are_a_scaled_1x1_convolution() -> None:
    layer, images, style = ToRgb(4, 7), torch.randn(2, 4, 6, 6), torch.randn(2, 7)
    with torch.no_grad():
        layer.bias.normal_()
    scale = layer.affine(style) / 2  # sqrt(4 channels)
    expected = torch.einsum("oi,bi,bihw->bohw", layer.weight[:, :, 0, 0], scale, images) + layer.bias[:, None, None]
    assert torch.allclose(layer(images, style), expected, atol=1e-5)


def test_a_discriminator_is_that_of_the_formula() -> None:
    judge, images = StyleDiscriminator(8, 64, 6, group=2), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        for name, parameter in judge.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    given = judge.state_dict()

    def conv(values: Tensor, name: str, **how: int) -> Tensor:
        weight = given[f"{name}.weight"]
        return F.conv2d(values, weight / sqrt(weight[0].numel()), given.get(f"{name}.bias"), **how)

    seen = leaky_relu(conv(images, "b8.fromrgb"))
    main = leaky_relu(conv(seen, "b8.conv0", padding=1))
    main = leaky_relu(conv(by_loops(main, before=2, after=2, gain=1), "b8.conv1", stride=2))
    beside = conv(by_loops(seen, before=1, after=1, gain=1)[:, :, ::2, ::2], "b8.skip")
    values = leaky_relu(conv(with_spread((main + beside) / sqrt(2), 2), "b4.conv", padding=1)).flatten(1)
    values = leaky_relu(values @ given["b4.fc.weight"].T / sqrt(values.shape[1]) + given["b4.fc.bias"])
    scores = values @ given["b4.out.weight"].T / sqrt(values.shape[1]) + given["b4.out.bias"]
    assert torch.allclose(judge(images), scores.flatten(), atol=1e-5)


def test_the_slope_of_a_discriminator_has_a_slope() -> None:
    """The penalty on slopes is descended on; layers that work in place could lose it."""
    judge = StyleDiscriminator(8, 16, 3).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(judge, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(judge, images, fast_mode=True)


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
    for layer in mapping.children():
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


def test_the_colour_of_a_resolution_shares_the_row_of_the_next_convolution() -> None:
    """At 16 px: rows 0 | 1 2 | 3 4 are of convolutions; colour takes 1, 3 and 5."""
    generator, ws = small(16), torch.randn(2, 6, 8)
    synthesis = generator.synthesis
    hidden, image = synthesis.block(0).const.expand(2, -1, -1, -1), torch.zeros(2, 3, 2, 2)
    for size, convolutions, colour in ((4, (0,), 1), (8, (1, 2), 3), (16, (3, 4), 5)):
        block = synthesis.get_submodule(f"b{size}")
        for name, row in zip(("conv0", "conv1")[-len(convolutions) :], convolutions, strict=True):
            hidden = block.get_submodule(name)(hidden, ws[:, row], None)
        image = doubled(image) + block.get_submodule("torgb")(hidden, ws[:, colour])
    assert torch.allclose(synthesis(ws), image, atol=1e-5)


def test_noise_is_fixed_unless_it_is_asked_for() -> None:
    generator, latents = small(), torch.randn(2, 8)
    with torch.no_grad():
        for name, strength in generator.named_parameters():
            if name.endswith("noise_strength"):
                strength.fill_(0.5)
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
    assert sum(key.endswith("noise_const") for key in state) == 5


def test_kernels_of_each_image_give_the_same_pictures() -> None:
    plain = StyleGenerator(16, 2, 32, 256, 32, conv_clamp=256.0)
    fused = StyleGenerator(16, 2, 32, 256, 32, conv_clamp=256.0, fused=True)
    fused.load_state_dict(plain.state_dict())
    ws = plain.styles(plain.mapping(torch.randn(3, 16)))
    expected = plain.synthesis(ws)
    assert (fused.synthesis(ws) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert any(layer.fused for layer in fused.modules() if isinstance(layer, StyledLayer))


def test_gradients_are_those_of_finite_differences() -> None:
    generator = StyleGenerator(4, 1, 8, 32, 3).double()
    ws = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    conv0 = generator.synthesis.block(1).conv0
    assert torch.autograd.gradcheck(lambda rows: generator.synthesis(rows), ws, fast_mode=True)
    assert torch.autograd.gradcheck(lambda rows, h: generator.synthesis(rows, None, 1, h), (ws, hidden), fast_mode=True)
    parts = [generator.synthesis.block(0).const, conv0.weight, conv0.affine.weight, conv0.bias, conv0.noise_strength]
    slopes = torch.autograd.grad(generator.synthesis(ws).sin().sum(), parts)
    for part, slope in zip(parts, slopes, strict=True):
        step = torch.randn_like(part) * 1e-6
        with torch.no_grad():
            moved = []
            for sign in (1, -2):
                part += sign * step
                moved.append(generator.synthesis(ws).sin().sum())
            part += step
        assert (moved[0] - moved[1]).item() / 2 == pytest.approx((slope * step).sum().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("resolution_px", "channel_base", "expected", "num_ws"),
    [
        (256, 16384, 24_767_458, 14),
        (256, 32768, 30_034_338, 14),
        (512, 32768, 30_276_583, 16),
        (1024, 32768, 30_370_060, 18),
    ],
)
def test_published_sizes_have_the_published_number_of_weights(
    resolution_px: int, channel_base: int, expected: int, num_ws: int
) -> None:
    with torch.device("meta"):
        generator = StyleGenerator(512, 8, resolution_px, channel_base, 512, conv_clamp=256.0)
    assert count_parameters(generator) == expected and generator.num_ws == num_ws
    assert generator.n_blocks == num_ws // 2


@pytest.mark.parametrize("resolution_px", [256, 1024])
def test_tensors_are_named_as_in_nvidia_s_files(resolution_px: int) -> None:
    with torch.device("meta"):
        generator = StyleGenerator(512, 8, resolution_px, 32768, 512)
        discriminator = StyleDiscriminator(resolution_px, 32768, 512)
    sizes = [4 << i for i in range(generator.n_blocks)]
    expected = {"mapping.w_avg", "synthesis.b4.const"}
    expected |= {f"mapping.fc{i}.{part}" for i in range(8) for part in ("weight", "bias")}
    affine = ("affine.weight", "affine.bias")
    for size in sizes:
        for conv in ("conv0", "conv1")[size == 4 :]:
            parts = ("weight", "bias", "noise_const", "noise_strength", *affine)
            expected |= {f"synthesis.b{size}.{conv}.{part}" for part in parts}
        expected |= {f"synthesis.b{size}.torgb.{part}" for part in ("weight", "bias", *affine)}
    state = generator.state_dict()
    assert set(state) == expected
    last = f"synthesis.b{resolution_px}"
    out, before = 32768 // resolution_px, min(512, 65536 // resolution_px)
    assert state["synthesis.b4.const"].shape == (512, 4, 4) and state["mapping.w_avg"].shape == (512,)
    assert state[f"{last}.conv0.weight"].shape == (out, before, 3, 3)
    assert state[f"{last}.conv0.affine.weight"].shape == (before, 512)
    assert state[f"{last}.conv1.noise_const"].shape == (resolution_px, resolution_px)
    assert state[f"{last}.conv1.noise_strength"].shape == ()
    assert state[f"{last}.torgb.weight"].shape == (3, out, 1, 1)

    judged = {f"b{resolution_px}.fromrgb.weight", f"b{resolution_px}.fromrgb.bias"}
    for size in sizes[1:]:
        judged |= {f"b{size}.{name}" for name in ("conv0.weight", "conv0.bias", "conv1.weight", "conv1.bias")}
        judged.add(f"b{size}.skip.weight")
    judged |= {f"b4.{layer}.{part}" for layer in ("conv", "fc", "out") for part in ("weight", "bias")}
    state = discriminator.state_dict()
    assert set(state) == judged
    assert state["b4.conv.weight"].shape == (512, 513, 3, 3) and state["b4.fc.weight"].shape == (512, 8192)


def test_truncation_pulls_the_first_rows_towards_the_mean() -> None:
    generator, w = small(), torch.randn(3, 8)
    generator.mapping.w_avg.copy_(torch.randn(8))
    mean = generator.mapping.w_avg
    rows = generator.styles(w, 0.25, 4)
    assert rows.shape == (3, 6, 8)
    for row in range(6):
        expected = mean + 0.25 * (w - mean) if row < 4 else w
        assert torch.allclose(rows[:, row], expected, atol=1e-6)
    each = torch.randn(3, 6, 8)
    pulled = generator.styles(each, 0.25, 4)
    for row in range(6):
        expected = mean + 0.25 * (each[:, row] - mean) if row < 4 else each[:, row]
        assert torch.allclose(pulled[:, row], expected, atol=1e-6), "a w for each layer"
    assert generator.styles(each) is each
    assert torch.allclose(generator.styles(w, 0.0), mean.expand(3, 6, 8))
    assert torch.equal(generator.styles(w), w[:, None].expand(-1, 6, -1))


@pytest.mark.parametrize("block", [1, 2, 3])
def test_a_synthesis_that_begins_inside_lacks_only_the_colour_of_earlier_blocks(block: int) -> None:
    generator, ws = small(32), torch.randn(2, 8, 8)
    hidden = generator.features(ws, block)
    assert hidden.shape[2:] == (2 << block, 2 << block)
    late = generator.synthesis(ws, None, block, hidden)
    # the skip is a sum, so the colour of the first blocks, doubled as often as they were passed, is what is missing
    early = StyleGenerator(8, 2, 2 << block, 64, 6) if block > 1 else None
    colour = generator.synthesis.block(0).torgb(generator.features(ws, 1), ws[:, 1])
    if early is not None:
        kept = {name: value for name, value in generator.state_dict().items() if name in early.state_dict()}
        early.load_state_dict(kept)
        colour = early.synthesis(ws[:, : early.num_ws])
    for _ in range(generator.n_blocks - block):
        colour = doubled(colour)
    assert torch.allclose(late + colour, generator.synthesis(ws), atol=1e-5)
    if block > 1:
        again = generator.features(ws, block, 1, generator.features(ws, 1))
        assert torch.equal(again, hidden)


@pytest.mark.parametrize(("resolution_px", "channel_base"), [(32, 512), (64, 1024)])
def test_it_says_how_much_memory_a_searched_image_takes(resolution_px: int, channel_base: int) -> None:
    """What is really kept for the way back is a fifth less to a quarter more."""
    generator = StyleGenerator(8, 2, resolution_px, channel_base, 64, conv_clamp=256.0).requires_grad_(False)
    weights = {parameter.data_ptr() for parameter in generator.parameters()}
    w, kept = torch.randn(2, 8).requires_grad_(True), dict[int, int]()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        images = generator.synthesis(generator.styles(w))
    assert images.requires_grad
    assert 0.8 < sum(kept.values()) / 2 / generator.bytes_per_image < 1.25


def test_it_stays_in_float32_where_networks_around_it_do_not() -> None:
    """Half precision changes its pictures: published searches force float32, and so do its modules."""
    generator, latents = small(), torch.randn(2, 8)
    generator.mapping.w_avg.copy_(torch.randn(8))
    judge = StyleDiscriminator(16, 64, 6)

    def made() -> list[Tensor]:
        ws = generator.styles(generator.mapping(latents), 0.5, 4)
        images = generator.synthesis(ws)
        return [ws, images, generator.features(ws, 2), judge(images), generator(latents)]

    expected = made()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_refuses_to_begin_where_it_cannot() -> None:
    generator, ws = small(), torch.randn(2, 6, 8)
    hidden = generator.features(ws, 1)
    with pytest.raises(ValueError, match="begin from 0 to 2, with features from 1 on, got begin=1 and none"):
        generator.synthesis(ws, None, 1)
    with pytest.raises(ValueError, match=r"got begin=0 and features \[2, 6, 4, 4\]"):
        generator.synthesis(ws, None, 0, hidden)
    with pytest.raises(ValueError, match="a block from 2 to 2, got 1"):
        generator.features(ws, 1, 2, generator.features(ws, 2))
    with pytest.raises(ValueError, match=r"rows of w \[B, 6, Z\], got \[2, 8\]"):
        generator.synthesis(ws[:, 0])


def test_clamping_bounds_every_convolution_and_every_colour() -> None:
    bounded = StyleGenerator(8, 2, 16, 64, 6, conv_clamp=0.1)
    free = small()
    bounded.load_state_dict(free.state_dict())
    ws = torch.randn(2, 6, 8)
    assert bounded.features(ws, 2).abs().max() <= 0.1 < free.features(ws, 2).abs().max()
    assert bounded.synthesis(ws, None, 2, 1e3 * bounded.features(ws, 2)).abs().max() <= 0.1
    judge = StyleDiscriminator(16, 64, 6, conv_clamp=0.1)
    with torch.no_grad():
        judge.get_parameter("b16.conv1.bias").fill_(5)
    seen: list[Tensor] = []
    judge.get_submodule("b8").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = 100 * torch.randn(2, 3, 16, 16)
    judge(images)
    plain = (judge.get_submodule("b16.skip")(leaky(sqrt(2) * judge.get_submodule("b16.fromrgb")(images), 0.1))) * sqrt(
        0.5
    )
    assert (seen[0] - plain).abs().max() <= 0.1 * sqrt(0.5) + 1e-6


def test_checkpoints_change_nothing_but_memory() -> None:
    generator = small()
    ws = torch.randn(2, 6, 8, requires_grad=True)
    (plain,) = torch.autograd.grad(generator.synthesis(ws).square().sum(), ws)
    generator.synthesis.checkpointed = True
    (again,) = torch.autograd.grad(generator.synthesis(ws).square().sum(), ws)
    assert torch.equal(plain, again)


def test_a_view_is_the_centre_resized_and_never_clipped() -> None:
    generator = StyleGenerator(8, 2, 32, 64, 6, crop=24 / 32)
    images = 3 * torch.randn(2, 3, 32, 32)
    centre = images[:, :, 4:28, 4:28]
    assert torch.equal(generator.view(images, 24), centre)
    # 24 to 12 px: triangles of width 4 around the middle of each pair of pixels, (1, 3, 3, 1) / 8
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    small_one = generator.view(images, 12)
    patch = centre[:, :, 1:5, 3:7]
    assert torch.allclose(small_one[:, :, 1, 2], (patch * taps * taps[:, None]).sum(dim=(2, 3)), atol=1e-5)
    assert small(32).view(images, 32) is images
    shown = StyleGenerator(8, 2, 32, 64, 6, shown_px=24)
    drawn = shown(torch.randn(2, 8))
    assert drawn.shape == (2, 3, 24, 24) and drawn.min() >= 0 and drawn.max() <= 1
