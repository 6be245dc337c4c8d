"""Our chain of named blocks is timm's network."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from midef.core.errors import DataError, PreflightError
from midef.models import ARCHITECTURES, pretrained
from midef.nn.network import TargetModel, count_parameters
from midef.nn.resnest import SplitAttentionBottleneck

# ours, timm's name, parameters with 1,000 classes as timm 1.0.31 builds it
NETWORKS = [("resnest50", "resnest50d", 27_483_240), ("resnest101", "resnest101e", 48_275_016)]


def timm_name(ours: str) -> str:
    """The name of the same tensor there."""
    block, _, rest = ours.removeprefix("blocks.").partition(".")
    if block == "head":
        return f"fc.{rest}"
    if block == "stem":
        index, _, leaf = rest.partition(".")
        return f"bn1.{leaf}" if index == "7" else f"conv1.{rest}"
    return f"{block.replace('_', '.')}.{rest}"


def disturb_(model: nn.Module) -> None:
    """Batch norms that do something, each something else."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize(("name", "theirs", "parameters"), NETWORKS)
def test_has_the_tensors_of_timm(name: str, theirs: str, parameters: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make(name).build(1000, 224)
        other = timm.create_model(theirs, pretrained=False)
    assert count_parameters(model) == parameters
    ours = {timm_name(key): tuple(value.shape) for key, value in model.state_dict().items()}
    assert ours == {key: tuple(value.shape) for key, value in other.state_dict().items()}


def test_answers_as_timm_does_with_its_weights() -> None:
    torch.manual_seed(0)
    # With their zeroed last batch norms every block would be its shortcut, and the attention would go untested.
    other = timm.create_model("resnest50d", pretrained=False, num_classes=5, zero_init_last=False).eval()
    disturb_(other)
    with torch.device("meta"):
        model = ARCHITECTURES.make("resnest50", {"stem": "imagenet"}).build(5, 72).eval()
    theirs = other.state_dict()
    model.load_state_dict({key: theirs[timm_name(key)] for key in model.state_dict()}, assign=True)
    images = torch.rand(2, 3, 72, 72)  # sides 18, 9, 5, 3: halved even and odd
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, other((images - 0.5) / 0.5), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "theirs"), [row[:2] for row in NETWORKS])
def test_every_tensor_of_the_published_file_has_a_place(name: str, theirs: str) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make(name).build(530, 224)
        published = timm.create_model(theirs, pretrained=False).state_dict()
    taken, problems = pretrained.matched(name, published, model)
    assert problems == [] and taken.keys() == model.blocks.state_dict().keys()
    del published["layer4.2.conv2.fc2.bias"]
    assert pretrained.matched(name, {**published, "layer5.bias": torch.zeros(1)}, model)[1] == [
        "misses layer4.2.conv2.fc2.bias, our layer4_2.conv2.fc2.bias",
        "has layer5.bias, which this network has not",
    ]


def test_the_file_is_known_by_its_two_names(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"no file resnest101-22405ba7\.pth or resnest101e\.in1k\.safetensors in"):
        pretrained.weight_file("imagenet", "resnest101", tmp_path)
    (tmp_path / "resnest101e.in1k.safetensors").write_bytes(b"weights")
    path = pretrained.weight_file("imagenet", "resnest101", tmp_path)
    assert len(pretrained.verify("imagenet", "resnest101", path)) == 64, "no digest of this file is published"
    path = path.rename(tmp_path / "resnest101-22405ba7.pth")
    with pytest.raises(DataError, match=r"damaged or another file: .* 22405ba7 is expected"):
        pretrained.verify("imagenet", "resnest101", path)


@pytest.mark.parametrize(
    ("stem", "resolution_px", "side_px"),
    [("auto", 64, 64), ("auto", 224, 56), ("imagenet", 64, 16), ("small", 224, 224), ("strided", 64, 32)],
)
def test_the_stem_suits_the_resolution(stem: str, resolution_px: int, side_px: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("resnest50", {"stem": stem}).build(5, resolution_px)
        images = torch.zeros(1, 3, resolution_px, resolution_px)
        assert model.eval()(images, ("stem",)).taps["stem"].shape[2:] == (side_px, side_px)


def trainable_after(model: TargetModel, units: tuple[str, ...], last_frozen: str) -> int:
    frozen = units[: units.index(last_frozen) + 1]
    held = sum(count_parameters(module) for unit in frozen for module in model.unit(unit))
    return count_parameters(model) - held


def test_tl_dmis_cut_of_resnest101() -> None:
    """The paper reports 27.9 M: the last 8 of the 23 blocks of the third stage, the fourth and the head."""
    architecture = ARCHITECTURES.make("resnest101")
    facts = architecture.facts()
    assert len(facts.skip_stages[2][15:]) == 8 and facts.skip_stages[2][15] == "layer3_15"
    with torch.device("meta"):
        model = architecture.build(1000, 224)
    assert trainable_after(model, facts.units, "layer3_14") == 27_937_000


def test_ends_of_stages_are_tapped() -> None:
    facts = ARCHITECTURES.make("resnest101").facts()
    assert facts.taps == ("stem", "layer1_2", "layer2_3", "layer3_22", "pool")


@pytest.mark.parametrize(("came", "stride"), [(16, 1), (16, 2), (12, 1)], ids=["identity", "halving", "widening"])
def test_a_block_adds_k_times_its_shortcut(came: int, stride: int) -> None:
    torch.manual_seed(0)
    block = SplitAttentionBottleneck(came, 4, stride).eval()
    disturb_(block)
    block.act3 = nn.Identity()  # what the block adds, before it rectifies
    x = torch.rand(2, came, 6, 6)
    with torch.no_grad():
        whole = block(x)
        shortcut = x if block.downsample is None else block.downsample(x)
        block.scale_skip(0.25)
        quarter = block(x)
        block.scale_skip(0.0)
        torch.testing.assert_close(block(x), whole - shortcut)
    torch.testing.assert_close(quarter, whole - 0.75 * shortcut)
    assert not any(key.startswith("downsample") for key in block.state_dict())


def test_a_fresh_block_without_its_shortcut_still_learns() -> None:
    torch.manual_seed(0)
    model = ARCHITECTURES.make("resnest101_tiny").build(5, 32)
    model.scale_skips(("layer4_0", "layer4_1"), 0.0)
    model(torch.rand(4, 3, 32, 32)).logits.square().sum().backward()
    slope = model.blocks.get_parameter("layer4_0.conv1.weight").grad
    assert slope is not None and slope.abs().sum() > 0
