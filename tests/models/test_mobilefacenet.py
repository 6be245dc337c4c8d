"""MobileFaceNet: the published tensors, the network they make, and its features."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midef.models import ARCHITECTURES, pretrained
from midef.nn.network import TargetModel, count_parameters

State = dict[str, Tensor]
STAGES = [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]
PX, CLASSES = 112, 5


def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{leaf}", (width,)
    yield f"{name}.num_batches_tracked", ()


def published_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the published file, written from the description of the network."""
    yield "conv1.0.weight", (64, 3, 3, 3)
    yield from norm("conv1.1", 64)
    yield "dw_conv.depthwise.weight", (64, 1, 3, 3)
    yield "dw_conv.pointwise.weight", (64, 64, 1, 1)
    yield from norm("dw_conv.bn1", 64)
    yield from norm("dw_conv.bn2", 64)
    for i, (came, inside, out, _) in enumerate(units()):
        yield f"features.{i}.conv.0.0.weight", (inside, came, 1, 1)
        yield from norm(f"features.{i}.conv.0.1", inside)
        yield f"features.{i}.conv.1.0.weight", (inside, 1, 3, 3)
        yield from norm(f"features.{i}.conv.1.1", inside)
        yield f"features.{i}.conv.2.weight", (out, inside, 1, 1)
        yield from norm(f"features.{i}.conv.3", out)
    yield "conv2.0.weight", (512, 128, 1, 1)
    yield from norm("conv2.1", 512)
    yield "gdconv.depthwise.weight", (512, 1, 7, 7)
    yield from norm("gdconv.bn", 512)
    yield "conv3.weight", (128, 512, 1, 1)
    yield "conv3.bias", (128,)
    yield from norm("bn", 128)


def units() -> Iterator[tuple[int, int, int, int]]:
    """Width that comes, width inside, width that goes, stride."""
    came = 64
    for expansion, width, number, stride in STAGES:
        for i in range(number):
            yield came, came * expansion, width, stride if i == 0 else 1
            came = width


@pytest.fixture(scope="module")
def published() -> State:
    generator = torch.Generator().manual_seed(0)
    state: State = {}
    for name, shape in published_shapes():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif len(shape) > 1:
            fan_in = shape[1] * shape[2] * shape[3]
            state[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            around = 1.0 if name.endswith(("running_var", ".weight")) else 0.0
            state[name] = around + 0.1 * torch.randn(shape, generator=generator)
    return state


@pytest.fixture(scope="module")
def model(published: State) -> TargetModel:
    made = fresh()
    taken, problems = pretrained.matched("mobilefacenet", published, made)
    assert problems == []
    made.blocks.load_state_dict(taken)
    return made.eval()


def fresh() -> TargetModel:
    return ARCHITECTURES.make("mobilefacenet").build(CLASSES, PX)


def images(n: int = 2) -> Tensor:
    return torch.rand(n, 3, PX, PX, generator=torch.Generator().manual_seed(1))


def embedding(x: Tensor, state: State) -> Tensor:
    """The published network, from its description, for normalised images."""

    def bn(x: Tensor, name: str) -> Tensor:
        leaves = (state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *leaves)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)

    x = F.relu6(bn(conv(x, "conv1.0", 2), "conv1.1"))
    x = F.relu(bn(conv(x, "dw_conv.depthwise"), "dw_conv.bn1"))
    x = F.relu(bn(conv(x, "dw_conv.pointwise"), "dw_conv.bn2"))
    for i, (came, _, out, stride) in enumerate(units()):
        at = f"features.{i}.conv"
        y = F.relu6(bn(conv(x, f"{at}.0.0"), f"{at}.0.1"))
        y = F.relu6(bn(conv(y, f"{at}.1.0", stride), f"{at}.1.1"))
        y = bn(conv(y, f"{at}.2"), f"{at}.3")
        x = x + y if stride == 1 and came == out else y
    x = F.relu6(bn(conv(x, "conv2.0"), "conv2.1"))
    x = bn(F.conv2d(x, state["gdconv.depthwise.weight"], groups=512), "gdconv.bn")
    return bn(F.conv2d(x, state["conv3.weight"], state["conv3.bias"]), "bn").flatten(1)


def test_every_tensor_of_the_published_file_has_its_place(published: State, model: TargetModel) -> None:
    assert len(published) == 307
    assert sum(t.numel() for k, t in published.items() if "running" not in k and "num" not in k) == 999_936
    ours = model.blocks.state_dict()
    assert len(ours) == len(published)
    assert count_parameters(model) == 999_936 + 128 * CLASSES + CLASSES


def test_features_are_the_sum_over_image_and_mirror_divided_by_its_length(published: State, model: TargetModel) -> None:
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        found = model(images()).features
        x = (images() - mean) / std
        total = embedding(x, published) + embedding(x.flip(-1), published)
    torch.testing.assert_close(found, total / total.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)
    assert (found[0] - found[1]).norm() > 1e-3


def test_features_have_length_one_and_the_mirror_has_the_same(model: TargetModel) -> None:
    with torch.no_grad():
        found, mirrored = model(images()).features, model(images().flip(-1)).features
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(found, mirrored, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bn.weight": None}, "misses bn.weight, our output.bn.weight"),
        ({"bn.weight": torch.zeros(64)}, "has bn.weight with 64, our output.bn.weight has 128"),
        ({"margin.weight": torch.zeros(9)}, "has margin.weight, which this network has not"),
    ],
    ids=["missing", "shape", "extra"],
)  # fmt: skip
def test_another_file_is_refused(published: State, change: dict[str, Tensor | None], said: str) -> None:
    changed = {name: tensor for name, tensor in {**published, **change}.items() if tensor is not None}
    _, problems = pretrained.matched("mobilefacenet", changed, fresh())
    assert problems == [said]


@pytest.mark.parametrize("resolution_px", [64, 96, 113, 224])
def test_other_resolutions_are_refused_with_what_to_set(resolution_px: int) -> None:
    (problem,) = ARCHITECTURES.make("mobilefacenet").problems(resolution_px)
    assert problem.endswith(f"got {resolution_px}; set protocol.evaluator_resolution_px: 112")
    assert ARCHITECTURES.make("mobilefacenet").problems(112) == []
