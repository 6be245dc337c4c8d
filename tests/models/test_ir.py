"""The networks have the published sizes and compute what their description says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.models import ARCHITECTURES
from midef.nn.ir import IRUnit
from midef.nn.network import TargetModel, count_parameters

# Derived from the published description of the networks, name -> resolution and size; papers print 62.6 M and 35.4 M.
PARAMETERS = {"ir152": (64, 62_599_848), "facenet64": (64, 35_437_224), "facenet112": (112, 44_087_976)}


def on_paper(name: str, resolution_px: int = 64) -> TargetModel:
    with torch.device("meta"):
        return ARCHITECTURES.make(name).build(1000, resolution_px)


def disturb_(model: nn.Module) -> None:
    """Batch norms and PReLUs that do something, each something else."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0, 0.5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_has_the_parameters_of_the_literature(name: str) -> None:
    resolution_px, size = PARAMETERS[name]
    model = on_paper(name, resolution_px)
    assert count_parameters(model) == size
    assert model.feature_dim == 512
    assert (model.mean, model.std) == (0.0, 1.0), "images are not normalised in this line"


@pytest.mark.parametrize(
    ("name", "last_unit", "block", "trainable"),
    [("ir152", 46, "layer3_35", 17_825_256), ("facenet64", 5, "layer2_2", 34_391_912)],
)
def test_tl_dmis_cuts(name: str, last_unit: int, block: str, trainable: int) -> None:
    """The paper reports 17.8 M and 34.4 M; its code forgets to freeze the stem, 1,920 parameters more."""
    model, facts = on_paper(name), ARCHITECTURES.make(name).facts()
    body = [unit for unit in facts.units if unit.startswith("layer")]
    assert body[last_unit] == block
    frozen = facts.units[: facts.units.index(block) + 1]
    held = {unit: sum(count_parameters(module) for module in model.unit(unit)) for unit in frozen}
    assert count_parameters(model) - sum(held.values()) == trainable
    assert held["stem"] == 1_920


def norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, for each channel."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var, weight, bias = (
        state[f"{name}.{leaf}"].view(shape) for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def prelu(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x.clamp(min=0) + state[f"{name}.weight"].view(1, -1, 1, 1) * x.clamp(max=0)


def unit_by_hand(state: dict[str, Tensor], name: str, x: Tensor, stride: int) -> Tensor:
    out = F.conv2d(norm(state, f"{name}.residual.0", x), state[f"{name}.residual.1.weight"], padding=1)
    out = prelu(state, f"{name}.residual.2", out)
    out = norm(state, f"{name}.residual.4", F.conv2d(out, state[f"{name}.residual.3.weight"], None, stride, 1))
    picked = x[:, :, ::stride, ::stride]
    if x.shape[1] == out.shape[1]:
        return out + picked
    return out + norm(state, f"{name}.shortcut.1", F.conv2d(picked, state[f"{name}.shortcut.0.weight"]))


@pytest.mark.parametrize("resolution_px", [32, 64])
def test_computes_what_the_description_says(resolution_px: int) -> None:
    torch.manual_seed(0)
    model = ARCHITECTURES.make("ir152_tiny").build(5, resolution_px).eval()
    disturb_(model)
    state = dict(model.state_dict())
    images = torch.rand(2, 3, resolution_px, resolution_px)
    x = F.conv2d(images, state["blocks.stem.0.weight"], padding=1)
    x = prelu(state, "blocks.stem.2", norm(state, "blocks.stem.1", x))
    for name in ("layer1_0", "layer2_0", "layer2_1", "layer3_0", "layer3_1", "layer3_2", "layer4_0"):
        x = unit_by_hand(state, f"blocks.{name}", x, stride=2 if name.endswith("_0") else 1)
    x = norm(state, "blocks.output.0", x).flatten(1)
    x = x @ state["blocks.output.3.weight"].T + state["blocks.output.3.bias"]
    features = norm(state, "blocks.output.4", x)
    with torch.no_grad():
        forward = model(images)
    torch.testing.assert_close(forward.features, features, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(forward.logits, features @ state["head.weight"].T + state["head.bias"])


def test_half_of_the_last_pixels_are_dropped_while_training() -> None:
    torch.manual_seed(0)
    output = ARCHITECTURES.make("facenet64_tiny").build(5, 64).blocks.get_submodule("output")
    assert isinstance(output, nn.Sequential)
    output[0] = nn.Identity()
    kept = output[:3](torch.ones(8, 128, 4, 4))
    assert kept.unique().tolist() == [0.0, 2.0]
    assert abs(kept.mean().item() - 1) < 0.05


@pytest.mark.parametrize("resolution_px", [16, 32, 64, 112])
def test_the_output_suits_the_resolution(resolution_px: int) -> None:
    model = on_paper("facenet64", resolution_px)
    taps = model(torch.zeros(2, 3, resolution_px, resolution_px, device="meta"), ("layer4_2", "output")).taps
    assert tuple(taps["layer4_2"].shape) == (2, 512, resolution_px // 16, resolution_px // 16)
    assert tuple(taps["output"].shape) == (2, 512)


@pytest.mark.parametrize("resolution_px", [0, 8, 40, 100])
def test_a_size_that_four_halvings_do_not_divide_is_refused(resolution_px: int) -> None:
    assert ARCHITECTURES.make("ir152").problems(64) == []
    (problem,) = ARCHITECTURES.make("ir152").problems(resolution_px)
    assert f"a multiple of 16 px, got {resolution_px}" in problem


def test_the_evaluator_is_facenet64_for_larger_images() -> None:
    evaluator, target = on_paper("facenet112", 112), on_paper("facenet64", 112)
    shapes = [{name: tuple(t.shape) for name, t in model.state_dict().items()} for model in (evaluator, target)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("resolution_px", [64, 96])
def test_the_evaluator_refuses_images_that_were_not_enlarged(resolution_px: int) -> None:
    evaluator = ARCHITECTURES.make("facenet112")
    assert evaluator.problems(112) == []
    assert "a multiple of 16 px" in evaluator.problems(120)[0]
    assert evaluator.problems(resolution_px) == [
        f"judges images of 112 px, got {resolution_px}; raise resolution_px to 112"
    ]


def test_ends_of_stages_are_tapped() -> None:
    facts = ARCHITECTURES.make("ir152").facts()
    assert facts.taps == ("stem", "layer1_2", "layer2_7", "layer3_35", "layer4_2", "output")


@pytest.mark.parametrize(
    ("came", "stride"), [(8, 1), (8, 2), (4, 1), (4, 2)], ids=["identity", "halving", "widening", "both"]
)
def test_a_unit_adds_k_times_its_shortcut(came: int, stride: int) -> None:
    torch.manual_seed(0)
    unit = IRUnit(came, 8, stride).eval()
    disturb_(unit)
    x = torch.randn(2, came, 6, 6)
    with torch.no_grad():
        whole, shortcut = unit(x), unit.shortcut(x)
        unit.scale_skip(0.25)
        quarter = unit(x)
        unit.scale_skip(0.0)
        torch.testing.assert_close(unit(x), whole - shortcut)
    torch.testing.assert_close(quarter, whole - 0.75 * shortcut)
    assert not any(key.startswith("shortcut") for key in unit.state_dict())
