"""The work of the networks, in multiply-accumulates of one image, is what the literature and torchvision state.

Another test file takes the counter in the same way: `run_path(str(path of macs.py))["count_macs"]`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import pytest
import torch
import torchvision
from torch import nn

from midef.models import ARCHITECTURES

count_macs: Callable[..., int] = run_path(str(Path(__file__).with_name("macs.py")))["count_macs"]

# Derived from the published descriptions of the networks: GMAC of one image with 1,000 classes, as precise as written.
LITERATURE = [("vgg16", 64, "1.255"), ("ir152", 64, "4.02"), ("facenet64", 64, "2.06"), ("facenet112", 112, "6.30")]
TORCHVISION = ["resnet18", "resnet50", "densenet121", "densenet161"]


def gmac_of(name: str, resolution_px: int) -> float:
    with torch.device("meta"):
        model = ARCHITECTURES.make(name).build(1000, resolution_px)
        return count_macs(model, torch.zeros(1, 3, resolution_px, resolution_px)) / 1e9


@pytest.mark.parametrize(("name", "resolution_px", "gmac"), LITERATURE, ids=[row[0] for row in LITERATURE])
def test_networks_of_the_literature(name: str, resolution_px: int, gmac: str) -> None:
    decimals = len(gmac.partition(".")[2])
    assert f"{gmac_of(name, resolution_px):.{decimals}f}" == gmac


@pytest.mark.parametrize("name", TORCHVISION)
def test_networks_of_torchvision(name: str) -> None:
    """Its documentation calls them GFLOPS and counts multiply-accumulates of one image of 224 px."""
    meta = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].meta
    assert gmac_of(name, 224) == pytest.approx(meta["_ops"], abs=0.0006)


@pytest.mark.parametrize(
    ("layer", "came", "macs"),
    [
        (nn.Linear(5, 7), (2, 5), 2 * 5 * 7),
        (nn.Linear(5, 7), (2, 3, 5), 2 * 3 * 5 * 7),
        (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 8, 8), 2 * 8 * 8 * 6 * 4 * 9),
        (nn.Conv2d(4, 6, 5, stride=2, padding=2), (1, 4, 8, 8), 4 * 4 * 6 * 4 * 25),
        (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 8, 8), 6 * 6 * 6 * 2 * 9),
        (nn.ConvTranspose2d(4, 6, 5, 2, 2, 1), (1, 4, 8, 8), 8 * 8 * 4 * 6 * 25),
        (nn.ConvTranspose2d(4, 6, 2, 2, groups=2), (1, 4, 8, 8), 8 * 8 * 4 * 3 * 4),
        (nn.BatchNorm2d(4), (1, 4, 8, 8), 0),
    ],
    ids=["linear", "tokens", "conv", "strided", "grouped", "transposed", "grouped-transposed", "norm"],
)
def test_a_layer_by_hand(layer: nn.Module, came: tuple[int, ...], macs: int) -> None:
    assert count_macs(layer, torch.zeros(came)) == macs


def test_a_layer_used_twice_counts_twice_and_the_module_is_left_as_it_was() -> None:
    layer = nn.Linear(5, 5)
    twice = nn.Sequential(layer, nn.BatchNorm1d(5), layer).train()
    assert count_macs(twice, torch.zeros(1, 5)) == 50
    assert twice.training and not layer._forward_hooks
