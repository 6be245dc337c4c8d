"""Shapes, sizes and layers of the conditional networks, against the order of operations of the papers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from midef.attacks.priors.networks.conditional import (
    AuxiliaryDiscriminator,
    ConditionalBatchNorm,
    ConditionalGenerator,
    DownBlock,
    ProjectionDiscriminator,
    UpBlock,
)
from midef.nn.network import count_parameters

MACS = Path(__file__).parents[3] / "models" / "macs.py"
count_macs: Callable[..., int] = run_path(str(MACS))["count_macs"]
CLASSES = 3


def scrambled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Other weights, class rows and running statistics than fresh ones."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if value.is_floating_point() and not name.endswith(("_u", "_v")):
                noise = torch.randn(value.shape, generator=rng)
                value.copy_(noise.abs() + 0.5 if "running_var" in name else value + 0.3 * noise)
    return network


def test_sizes_and_work_are_those_of_the_papers() -> None:
    """The papers' order of shortcut and resizing costs four times the shortcut's multiplications."""
    with torch.device("meta"):
        latents, labels, images = torch.randn(1, 128), torch.zeros(1, dtype=torch.long), torch.rand(1, 3, 64, 64)
        generator = ConditionalGenerator(128, 1000, 64, 64)
    judge = ProjectionDiscriminator(1000, 64, 64).to("meta")  # spectral norms take long to begin there
    rows = sum(p.numel() for name, p in generator.named_parameters() if name.endswith(("scale", "offset")))
    assert rows == 5_760_000 and count_parameters(generator) == 12_213_379 + rows == 17_973_379
    assert count_parameters(judge) == 11_165_441
    in_order = count_macs(generator, latents, labels) + 3 * sum(
        came * (came // 2) * px**2 for came, px in [(1024, 4), (512, 8), (256, 16), (128, 32)]
    )
    assert in_order == pytest.approx(1.95e9, rel=2e-3)
    in_order = 3 * sum(came * 2 * came * px**2 for came, px in [(64, 16), (128, 8), (256, 4), (512, 2)])
    assert count_macs(judge, images, labels) + in_order == pytest.approx(0.645e9, rel=2e-3)


@pytest.mark.parametrize("resolution_px", [8, 16, 32, 64])
def test_every_network_works_at_every_resolution(resolution_px: int) -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0, 2, 1, 2])
    images = ConditionalGenerator(5, CLASSES, resolution_px, 2)(torch.randn(4, 5), labels)
    assert images.shape == (4, 3, resolution_px, resolution_px)
    assert images.min() >= -1 and images.max() <= 1 and images.min() < 0
    judge = ProjectionDiscriminator(CLASSES, resolution_px, 2)
    assert judge(images, labels).shape == (4,)
    assert judge.trunk.blocks(images).shape[2:] == (2, 2)
    real, classes = AuxiliaryDiscriminator(CLASSES, resolution_px, 2)(images)
    assert real.shape == (4,) and classes.shape == (4, CLASSES)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_conditional_batch_norm_by_a_loop(training: bool) -> None:
    layer = scrambled(ConditionalBatchNorm(CLASSES, 4)).train(training)
    assert isinstance(layer, ConditionalBatchNorm)
    kept_mean, kept_var = layer.norm.running_mean.clone(), layer.norm.running_var.clone()  # type: ignore[union-attr]
    x, labels = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 2, 1, 0])
    found = layer(x, labels)
    for channel in range(4):
        values = x[:, channel]
        mean = values.mean() if training else kept_mean[channel]
        var = values.var(correction=0) if training else kept_var[channel]
        for one, label in enumerate(labels.tolist()):
            normed = (values[one] - mean) / (var + 1e-5).sqrt()
            expected = layer.scale[label, channel] * normed + layer.offset[label, channel]
            torch.testing.assert_close(found[one, channel], expected, atol=1e-5, rtol=1e-5)
        if training:
            moved = 0.9 * kept_mean[channel] + 0.1 * mean
            torch.testing.assert_close(layer.norm.running_mean[channel], moved)  # type: ignore[index]


def test_fresh_class_rows_scale_by_one_and_add_nothing() -> None:
    x = torch.randn(6, 4, 3, 3)
    layer = ConditionalBatchNorm(CLASSES, 4)
    torch.testing.assert_close(layer(x, torch.arange(6) % CLASSES), nn.BatchNorm2d(4, affine=False)(x))


def test_an_up_block_is_the_papers_order_of_operations() -> None:
    block = scrambled(UpBlock(CLASSES, 4, 2)).eval()
    assert isinstance(block, UpBlock)
    x, labels = torch.randn(3, 4, 5, 5), torch.tensor([2, 0, 1])
    kept = x.clone()

    def larger(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    main = block.conv1(larger(torch.relu(block.norm1(x, labels))))
    main = block.conv2(torch.relu(block.norm2(main, labels)))
    torch.testing.assert_close(block(x, labels), main + block.shortcut(larger(x)), atol=1e-5, rtol=1e-5)
    assert torch.equal(x, kept), "changed in place"


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_down_block_is_the_papers_order_of_operations(first: bool) -> None:
    block = scrambled(DownBlock(3, 6, first=first)).eval()
    x = torch.randn(2, 3, 8, 8)
    kept = x.clone()
    inside = block.conv1(x if first else torch.relu(x))  # type: ignore[operator]
    main = F.avg_pool2d(block.conv2(torch.relu(inside)), 2)  # type: ignore[operator]
    expected = main + F.avg_pool2d(block.shortcut(x), 2)  # type: ignore[operator]
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)
    assert inside.shape[1] == (6 if first else 3)
    assert torch.equal(x, kept), "changed in place"


def test_in_eval_mode_an_image_depends_on_its_own_latent_and_label_alone() -> None:
    generator = scrambled(ConditionalGenerator(5, CLASSES, 16, 2)).eval()
    latents, labels = torch.randn(4, 5), torch.tensor([0, 2, 1, 2])
    together = generator(latents, labels)
    torch.testing.assert_close(generator(latents[2:3], labels[2:3]), together[2:3], atol=1e-5, rtol=1e-5)
    changed = generator(latents, torch.tensor([0, 2, 0, 2]))
    apart = (changed - together).abs().amax(dim=(1, 2, 3))
    assert apart[2] > 1e-2 and apart[[0, 1, 3]].max() < 1e-5


@pytest.mark.parametrize("discriminator", [ProjectionDiscriminator, AuxiliaryDiscriminator])
def test_what_is_spectrally_normalised(discriminator: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = discriminator(CLASSES, 16, 4).train()
    images, labels = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    given = (images, labels) if discriminator is ProjectionDiscriminator else (images,)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
        for _ in range(30):
            network(*given)  # each pass in train mode is one more power iteration
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)}
    plain = {name for name, layer in layers.items() if not is_parametrized(layer)}
    assert plain == (set() if discriminator is ProjectionDiscriminator else {"real", "classes"})
    for name in set(layers) - plain:
        largest = torch.linalg.matrix_norm(layers[name].weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1.0, abs=0.03), name


def test_the_projection_score_is_a_linear_score_plus_the_product_with_the_classs_row() -> None:
    judge = scrambled(ProjectionDiscriminator(CLASSES, 16, 2)).eval()
    assert isinstance(judge, ProjectionDiscriminator)
    images, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 2, 1, 2])
    rows, line, bias = judge.rows.weight, judge.real.weight, judge.real.bias
    assert isinstance(rows, Tensor) and isinstance(line, Tensor) and isinstance(bias, Tensor)
    with torch.no_grad():
        maps = judge.trunk.blocks(images)
        for one, label in enumerate(labels.tolist()):
            h = torch.stack([maps[one, c].clamp(min=0).sum() for c in range(maps.shape[1])])
            expected = (h * line[0]).sum() + bias + (rows[label] * h).sum()
            torch.testing.assert_close(judge(images, labels)[one : one + 1], expected, atol=1e-4, rtol=1e-4)
