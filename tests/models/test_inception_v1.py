"""Inception-ResNet-v1: the tensors of the published file, the network they make, and its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from runpy import run_path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.core.errors import DataError, PreflightError
from midef.models import ARCHITECTURES, pretrained
from midef.nn.network import TargetModel, count_parameters

count_macs: Callable[..., int] = run_path(str(Path(__file__).with_name("macs.py")))["count_macs"]
State = dict[str, Tensor]
Conv = tuple[str, int, int, int | tuple[int, int]]
PEOPLE, CLASSES, PX = 8631, 5, 96
FILE = "20180402-114759-vggface2.pt"


def convolutions() -> Iterator[Conv]:
    """Name, channels before and after, kernel of every convolution with a norm, from the figures of the paper."""
    stem = [("1a", 3, 32, 3), ("2a", 32, 32, 3), ("2b", 32, 64, 3), ("3b", 64, 80, 1), ("4a", 80, 192, 3)]
    for name, came, went, kernel in [*stem, ("4b", 192, 256, 3)]:
        yield f"conv2d_{name}", came, went, kernel
    for i in range(5):
        at = f"repeat_1.{i}"
        yield f"{at}.branch0", 256, 32, 1
        yield f"{at}.branch1.0", 256, 32, 1
        yield f"{at}.branch1.1", 32, 32, 3
        yield f"{at}.branch2.0", 256, 32, 1
        yield f"{at}.branch2.1", 32, 32, 3
        yield f"{at}.branch2.2", 32, 32, 3
    yield "mixed_6a.branch0", 256, 384, 3
    yield "mixed_6a.branch1.0", 256, 192, 1
    yield "mixed_6a.branch1.1", 192, 192, 3
    yield "mixed_6a.branch1.2", 192, 256, 3
    for i in range(10):
        at = f"repeat_2.{i}"
        yield f"{at}.branch0", 896, 128, 1
        yield f"{at}.branch1.0", 896, 128, 1
        yield f"{at}.branch1.1", 128, 128, (1, 7)
        yield f"{at}.branch1.2", 128, 128, (7, 1)
    yield "mixed_7a.branch0.0", 896, 256, 1
    yield "mixed_7a.branch0.1", 256, 384, 3
    yield "mixed_7a.branch1.0", 896, 256, 1
    yield "mixed_7a.branch1.1", 256, 256, 3
    yield "mixed_7a.branch2.0", 896, 256, 1
    yield "mixed_7a.branch2.1", 256, 256, 3
    yield "mixed_7a.branch2.2", 256, 256, 3
    for at in (*(f"repeat_3.{i}" for i in range(5)), "block8"):
        yield f"{at}.branch0", 1792, 192, 1
        yield f"{at}.branch1.0", 1792, 192, 1
        yield f"{at}.branch1.1", 192, 192, (1, 3)
        yield f"{at}.branch1.2", 192, 192, (3, 1)


def published_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{leaf}", (width,)
        yield f"{name}.num_batches_tracked", ()

    for name, came, went, kernel in convolutions():
        yield f"{name}.conv.weight", (went, came, *((kernel, kernel) if isinstance(kernel, int) else kernel))
        yield from norm(f"{name}.bn", went)
    joins = [("repeat_1", 5, 96, 256), ("repeat_2", 10, 256, 896), ("repeat_3", 5, 384, 1792)]
    for row, depth, came, went in joins:
        for i in range(depth):
            yield f"{row}.{i}.conv2d.weight", (went, came, 1, 1)
            yield f"{row}.{i}.conv2d.bias", (went,)
    yield "block8.conv2d.weight", (1792, 384, 1, 1)
    yield "block8.conv2d.bias", (1792,)
    yield "last_linear.weight", (512, 1792)
    yield from norm("last_bn", 512)
    yield "logits.weight", (PEOPLE, 512)
    yield "logits.bias", (PEOPLE,)


@pytest.fixture(scope="module")
def published() -> State:
    """The tensors of the published file, at random: no two channels of a norm are alike."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}
    for name, shape in published_shapes():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif len(shape) > 1:
            fan_in = torch.Size(shape[1:]).numel()
            state[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            around = 1.0 if name.endswith(("running_var", "bn.weight")) else 0.0
            state[name] = around + 0.1 * torch.randn(shape, generator=generator)
    return state


@pytest.fixture(scope="module")
def path(published: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("weights") / FILE
    torch.save(published, where)
    return where


@pytest.fixture(scope="module")
def model(path: Path) -> TargetModel:
    made = on_paper()
    made.blocks.load_state_dict(pretrained.read_backbone("vggface2", "inception_v1", path, made), assign=True)
    made.head = nn.Linear(512, CLASSES)
    return made.eval()


def on_paper() -> TargetModel:
    with torch.device("meta"):
        return ARCHITECTURES.make("inception_v1").build(CLASSES, PX)


def features(x: Tensor, state: State) -> Tensor:
    """Features before the head, step by step as the paper draws the network, of normalised images."""

    def bn(x: Tensor, name: str) -> Tensor:
        leaves = (state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *leaves, eps=0.001)

    def conv(x: Tensor, name: str, stride: int = 1, *, is_padded: bool = True) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        padding = tuple(side // 2 for side in weight.shape[2:]) if is_padded else 0
        return F.relu(bn(F.conv2d(x, weight, stride=stride, padding=padding), f"{name}.bn"))

    def halved(x: Tensor, name: str) -> Tensor:
        return conv(x, name, 2, is_padded=False)

    def joined(x: Tensor, branches: list[Tensor], at: str, scale: float) -> Tensor:
        found = F.conv2d(torch.cat(branches, 1), state[f"{at}.conv2d.weight"], state[f"{at}.conv2d.bias"])
        return x + scale * found

    def two(x: Tensor, at: str) -> list[Tensor]:
        wide = conv(conv(conv(x, f"{at}.branch1.0"), f"{at}.branch1.1"), f"{at}.branch1.2")
        return [conv(x, f"{at}.branch0"), wide]

    x = conv(halved(x, "conv2d_1a"), "conv2d_2a", is_padded=False)
    x = F.max_pool2d(conv(x, "conv2d_2b"), 3, 2)
    x = halved(conv(conv(x, "conv2d_3b"), "conv2d_4a", is_padded=False), "conv2d_4b")
    for i in range(5):
        at = f"repeat_1.{i}"
        second = conv(conv(x, f"{at}.branch1.0"), f"{at}.branch1.1")
        third = conv(conv(conv(x, f"{at}.branch2.0"), f"{at}.branch2.1"), f"{at}.branch2.2")
        x = F.relu(joined(x, [conv(x, f"{at}.branch0"), second, third], at, 0.17))
    at = "mixed_6a"
    deep = halved(conv(conv(x, f"{at}.branch1.0"), f"{at}.branch1.1"), f"{at}.branch1.2")
    x = torch.cat([halved(x, f"{at}.branch0"), deep, F.max_pool2d(x, 3, 2)], 1)
    for i in range(10):
        at = f"repeat_2.{i}"
        x = F.relu(joined(x, two(x, at), at, 0.10))
    at = "mixed_7a"
    first, second = (halved(conv(x, f"{at}.branch{i}.0"), f"{at}.branch{i}.1") for i in range(2))
    deep = halved(conv(conv(x, f"{at}.branch2.0"), f"{at}.branch2.1"), f"{at}.branch2.2")
    x = torch.cat([first, second, deep, F.max_pool2d(x, 3, 2)], 1)
    for i in range(5):
        at = f"repeat_3.{i}"
        x = F.relu(joined(x, two(x, at), at, 0.20))
    x = joined(x, two(x, "block8"), "block8", 1.0)
    return bn(F.linear(x.mean((2, 3)), state["last_linear.weight"]), "last_bn")


def test_computes_what_the_published_network_computes(model: TargetModel, published: State) -> None:
    images = torch.rand(2, 3, PX, PX, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = features((255 * images - 127.5) / 128, published)
        found = model(images).features
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert (expected[0] - expected[1]).norm() > 1e-2


def test_the_file_has_the_published_size_and_every_tensor_its_place(model: TargetModel, path: Path) -> None:
    """The file has 107 MB: its 27.9 million weights and the statistics of its norms, as 32-bit numbers."""
    assert round(path.stat().st_size / 2**20) == 107
    named = InceptionV1Names(model).there()
    assert named == {name for name, _ in published_shapes() if not name.startswith("logits.")}
    assert count_parameters(model) == sum(
        torch.Size(shape).numel()
        for name, shape in published_shapes()
        if not name.startswith("logits.") and "running" not in name and "tracked" not in name
    ) + CLASSES * (512 + 1)


class InceptionV1Names:
    """Names that the tensors of a network have in the published file."""

    def __init__(self, model: TargetModel) -> None:
        self.ours = list(model.blocks.state_dict())

    def there(self) -> set[str]:
        file = ARCHITECTURES.get("inception_v1").published
        assert file is not None
        return {file.named(name) for name in self.ours}


def test_has_the_weights_and_the_work_of_its_layers() -> None:
    """Multiply-accumulates layer by layer: side of the map that a layer writes, from the strides of the paper."""
    sides = {"1a": 79, "2a": 77, "2b": 77, "3b": 38, "4a": 36, "4b": 17}
    by_block = {"repeat_1": 17, "repeat_2": 8, "repeat_3": 3, "block8": 3}
    halving = {"mixed_6a.branch0", "mixed_6a.branch1.2", "mixed_7a.branch0.1", "mixed_7a.branch1.1"}
    total = 512 * 1792 + 512 * 1000
    for name, came, went, kernel in convolutions():
        block = name.partition(".")[0]
        if name.startswith("conv2d"):
            side = sides[name.removeprefix("conv2d_")]
        elif block in by_block:
            side = by_block[block]
        else:
            before, after = {"mixed_6a": (17, 8), "mixed_7a": (8, 3)}[block]
            side = after if name in halving | {"mixed_7a.branch2.2"} else before
        taps = kernel**2 if isinstance(kernel, int) else kernel[0] * kernel[1]
        total += side**2 * came * went * taps
    total += 5 * 17**2 * 96 * 256 + 10 * 8**2 * 256 * 896 + 6 * 3**2 * 384 * 1792
    with torch.device("meta"):
        network = ARCHITECTURES.make("inception_v1").build(1000, 160)
        assert count_macs(network, torch.zeros(1, 3, 160, 160)) == total
    assert ARCHITECTURES.make("inception_v1").gflop(160) == pytest.approx(2e-9 * total, rel=0.01)
    assert count_parameters(network) == 23_995_624


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_file_as_people_have_it_is_read(ending: str, published: State, model: TargetModel, tmp_path: Path) -> None:
    """Half precision, every name behind that of a wrapper, a head of other people or none."""
    kept = {f"module.{k}": t.half() if t.is_floating_point() else t for k, t in published.items() if "logits" not in k}
    kept["module.logits.weight"] = torch.zeros(7, 512, dtype=torch.half)
    where = tmp_path / f"kept{ending}"
    (save_file if ending == ".safetensors" else torch.save)(kept, where)
    found = pretrained.read_backbone("vggface2", "inception_v1", where, on_paper())
    expected = model.blocks.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k].float(), tensor.half().float()) for k, tensor in expected.items() if tensor.ndim)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"last_linear.weight": None}, "misses last_linear.weight, our pool.last_linear.weight"),
        (
            {"last_linear.weight": torch.zeros(128, 1792)},
            "has last_linear.weight with 128x1792, our pool.last_linear.weight has 512x1792",
        ),
        ({"embedding.weight": torch.zeros(9)}, "has embedding.weight, which this network has not"),
    ],
    ids=["missing", "shape", "extra"],
)
def test_what_does_not_fit_is_listed(change: dict[str, Tensor | None], said: str, published: State) -> None:
    changed = {k: t for k, t in {**published, **change}.items() if t is not None}
    assert pretrained.matched("inception_v1", changed, on_paper())[1] == [said]


def test_says_which_file_and_which_size_it_needs(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"vggface2 weights of inception_v1: no file 20180402-114759-vggface2\.pt"):
        pretrained.weight_file("vggface2", "inception_v1", tmp_path)
    network = ARCHITECTURES.make("inception_v1")
    assert network.problems(75) == [] and network.problems(160) == []
    assert network.problems(74) == ["five halvings without padding need 75 px, got 74; raise resolution_px"]
    assert not pretrained.known("vggface2", "inception_v1_tiny")


def test_the_smallest_images_leave_one_pixel() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("inception_v1").build(CLASSES, 75).eval()
        assert model(torch.zeros(1, 3, 75, 75), ("block8",)).taps["block8"].shape == (1, 1792, 1, 1)


def test_a_unit_adds_k_times_what_came() -> None:
    torch.manual_seed(0)
    model = ARCHITECTURES.make("inception_v1_tiny").build(CLASSES, 32).eval()
    block = model.blocks.get_submodule("block8")
    x = torch.rand(2, 224, 3, 3)
    with torch.no_grad():
        whole = block(x)
        assert (whole < 0).any(), "the last unit ends without ReLU"
        block.scale_skip(0.25)  # type: ignore[operator]
        torch.testing.assert_close(block(x), whole - 0.75 * x)
        block.scale_skip(0.0)  # type: ignore[operator]
        torch.testing.assert_close(block(x), whole - x)
    first = model.blocks.get_submodule("repeat_1_0")
    assert isinstance(first.relu, nn.ReLU)


def test_a_damaged_file_is_named(path: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"cannot be read as weights: .*; fetch it again"):
        pretrained.read_backbone("vggface2", "inception_v1", tmp_path / FILE, on_paper())
