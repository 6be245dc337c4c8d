"""Inception-v3 is torchvision's network on images in [-1, 1], and its second head learns as much as the last one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.inception import Inception3

from midef.core.errors import PreflightError
from midef.defenses import Batch
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES, pretrained
from midef.nn.inception import InceptionNetwork
from midef.nn.network import Forward, TargetModel, count_parameters
from midef.training.classifier.descent import loss_of

count_macs: Callable[..., int] = run_path(str(Path(__file__).with_name("macs.py")))["count_macs"]
META = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1.meta
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def make_theirs(**changes: Any) -> Inception3:
    return Inception3(**{"init_weights": False, "aux_logits": True, **changes})


@pytest.fixture(scope="module")
def theirs() -> Inception3:
    """torchvision's network, whose answers depend on the image; no two channels of a norm are alike."""
    torch.manual_seed(0)
    other = make_theirs().eval()
    for name, tensor in other.state_dict().items():
        if name.endswith("running_var") or name.endswith("bn.weight"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(0, 0.1)
        elif name.endswith("conv.weight"):
            nn.init.kaiming_normal_(tensor)
    return other


@pytest.fixture(scope="module")
def ours(theirs: Inception3) -> TargetModel:
    """Our network with its trunk, as a published file brings it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = ARCHITECTURES.make("inception_v3").build(5, 96)
    taken, problems = pretrained.matched("inception_v3", theirs.state_dict(), model)
    assert problems == []
    model.blocks.load_state_dict(taken)  # strict: the trunk is complete
    return model.eval()


def test_has_the_weights_and_the_work_that_torchvision_states() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make("inception_v3").build(1000, 299)
        macs = count_macs(model, torch.zeros(1, 3, 299, 299)) / 1e9
        assert isinstance(model, InceptionNetwork)
    assert count_parameters(model) == META["num_params"] == 27_161_264
    assert count_parameters(model.side) == 3_326_696
    assert macs == pytest.approx(META["_ops"], abs=0.0006)
    assert ARCHITECTURES.make("inception_v3").gflop(299) == pytest.approx(2 * macs, rel=0.02)


def test_answers_as_torchvision_does_on_images_from_minus_one_to_one(ours: TargetModel, theirs: Inception3) -> None:
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = _features(theirs, (images - 0.5) / 0.5)
        torch.testing.assert_close(ours(images).features, expected, atol=1e-4, rtol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 0.1


def test_takes_images_as_the_published_weights_do(ours: TargetModel, theirs: Inception3) -> None:
    """torchvision gives its own users ImageNet's normalisation, and undoes it inside where `transform_input` is on."""
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(IMAGENET[name]).view(3, 1, 1) for name in ("mean", "std"))
    as_users_do = (images - mean) / std
    with torch.no_grad():
        theirs.transform_input = True
        expected = _features(theirs, as_users_do)
        theirs.transform_input = False
        torch.testing.assert_close(ours(images).features, expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(ours(images).features, _features(theirs, as_users_do), atol=0.1)


def _features(network: Inception3, x: Tensor) -> Tensor:
    head, network.fc = network.fc, nn.Identity()  # type: ignore[assignment]
    try:
        found: Tensor = network(x)
    finally:
        network.fc = head
    return found


@pytest.mark.parametrize("name", ["inception_v3", "inception_v3_tiny"])
def test_weights_start_with_torchvisions_deviations_whatever_the_width(name: str) -> None:
    """Norms undo the scale of a convolution; larger weights only make an optimizer's steps smaller beside them."""
    torch.manual_seed(0)
    model = ARCHITECTURES.make(name).build(40, 96)
    assert isinstance(model, InceptionNetwork)
    drawn = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 2000]
    assert len(drawn) > 20 and all(abs(float(weight.std()) - 0.1) < 0.01 for weight in drawn)
    assert abs(float(model.head.get_parameter("weight").std()) - 0.1) < 0.01
    assert abs(float(model.side.fc.weight.std()) - 0.001) < 0.0001


def test_the_second_head_is_torchvisions() -> None:
    torch.manual_seed(0)
    other = torchvision.models.inception.InceptionAux(768, 7).eval()
    with torch.device("meta"):
        model = ARCHITECTURES.make("inception_v3").build(7, 299)
    assert isinstance(model, InceptionNetwork)
    side = model.side.to_empty(device="cpu").eval()
    side.load_state_dict(other.state_dict())
    seen = torch.rand(2, 768, 17, 17)
    with torch.no_grad():
        torch.testing.assert_close(side(seen), other(seen))


def test_the_second_head_answers_while_training_alone() -> None:
    torch.manual_seed(0)
    model = ARCHITECTURES.make("inception_v3_tiny").build(5, 32)
    images = torch.rand(4, 3, 32, 32)
    forward = model.train()(images, ("stem",))
    assert [tuple(logits.shape) for logits in forward.side_logits] == [(4, 5)]
    assert tuple(forward.taps) == ("stem",)
    batch = Batch(images, torch.tensor([0, 1, 2, 4]), torch.arange(4))
    loss_of(remake_defense(choose_defense("none")), forward, batch, 0.5).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(images).side_logits == ()


@pytest.mark.parametrize("defense", ["none", "ls(alpha=0.2)"])
def test_its_loss_counts_as_much_as_that_of_the_last(defense: str) -> None:
    chosen = remake_defense(choose_defense(defense))
    rng = torch.Generator().manual_seed(0)
    last, side = torch.randn(4, 5, generator=rng), torch.randn(4, 5, generator=rng)
    batch = Batch(torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 2, 4]), torch.arange(4))

    def loss(logits: Tensor, *sides: Tensor) -> Tensor:
        return loss_of(chosen, Forward(logits, torch.zeros(4, 2), {}, sides), batch, 1.0)

    torch.testing.assert_close(loss(last, side), loss(last) + loss(side))
    if defense == "none":
        torch.testing.assert_close(loss(side), F.cross_entropy(side, batch.labels))


def test_says_which_file_and_which_size_it_needs(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"no file inception_v3_google-0cc3c7bd\.pth in"):
        pretrained.weight_file("imagenet", "inception_v3", tmp_path)
    network = ARCHITECTURES.make("inception_v3")
    assert network.problems(75) == [] and network.problems(299) == []
    assert network.problems(74) == ["five halvings without padding need 75 px, got 74; raise resolution_px"]
