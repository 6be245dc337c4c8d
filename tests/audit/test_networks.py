"""Networks by name: the tensors of a checkpoint become one, or the message says whose they are."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torchvision
from torch import Tensor

from midef.audit.networks import recognise
from midef.core.errors import DataError, SpecError
from midef.models import ARCHITECTURES
from midef.stages.given import Given
from midef.stages.given_networks import build_network, libraries_of, without_weights

PX = 32


@pytest.fixture(scope="module")
def tensors() -> Mapping[str, Tensor]:
    """Of a small network of torchvision that tells 5 classes apart."""
    torch.manual_seed(0)
    return dict(torchvision.models.shufflenet_v2_x0_5(num_classes=5).state_dict())


@pytest.mark.parametrize("begin", ["", "module.", "module._orig_mod.", "backbone.net."])
def test_what_a_wrapper_put_before_all_names_does_not_matter(tensors: Mapping[str, Tensor], begin: str) -> None:
    named = {begin + name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    found = recognise(named, "shufflenet_v2_x0_5", PX)
    assert (found.library, found.name, found.classes) == ("torchvision", "shufflenet_v2_x0_5", 5)
    assert not found.network.training
    assert torch.equal(found.network.state_dict()["fc.weight"], tensors["fc.weight"])


def test_another_architecture_is_named_where_it_fits(tensors: Mapping[str, Tensor]) -> None:
    with pytest.raises(DataError) as refused:
        recognise(tensors, "shufflenet_v2_x1_0", PX)
    said = str(refused.value)
    assert "these are the tensors of shufflenet_v2_x0_5: say `--arch shufflenet_v2_x0_5`" in said
    assert "has conv1.0.weight" not in said  # of equal shape in both
    assert "of this kind" in said, "few of many"
    assert len(said) < 1500


def test_tensors_of_no_network_say_what_lacks_differs_and_is_left_over(tensors: Mapping[str, Tensor]) -> None:
    changed = {name: tensor for name, tensor in tensors.items() if name != "conv5.0.weight"}
    changed |= {"fc.weight": torch.zeros(5, 7), "extra.weight": torch.zeros(2, 2)}
    with pytest.raises(DataError) as refused:
        recognise(changed, "shufflenet_v2_x0_5", PX)
    said = str(refused.value)
    assert "misses conv5.0.weight" in said
    assert "has fc.weight with 5x7, 5x1024 is expected" in said
    assert "has extra.weight, which this network has not" in said


def test_a_name_without_a_network_gets_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'resnet18'.*hand over the module"):
        recognise({}, "torchvision/resnt18", PX)
    with pytest.raises(SpecError, match="no library 'torchvison'"):
        recognise({}, "torchvison/resnet18", PX)


def test_networks_of_midef_and_of_timm_are_found_too() -> None:
    torch.manual_seed(0)
    ours = ARCHITECTURES.make("vgg16_tiny").build(6, PX)
    found = recognise(ours.state_dict(), "vgg16_tiny", PX)
    assert (found.library, found.classes) == ("midef", 6)
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=4)
    found = recognise(theirs.state_dict(), "mobilenetv3_small_050", PX)
    assert (found.library, found.classes) == ("timm", 4)


def test_parameters_of_an_architecture_of_midef_are_read() -> None:
    torch.manual_seed(0)
    written = "midef/resnet18(stem=imagenet)"
    (library, name), *others = libraries_of(written)
    assert (library, name, others) == ("midef", "resnet18(stem=imagenet)", [])
    assert libraries_of("resnet18( stem=imagenet )") == [(library, name)], "one way to write it, for the key"
    ours = build_network(library, name, 6, PX)
    found = recognise(ours.state_dict(), written, PX)
    assert (found.library, found.name, found.classes) == (library, name, 6)
    given = Given(library=library, name=name, classes=6, sha256="ab")
    assert given.facts().family == "resnet" and given.build(6, PX).feature_dim > 0
    with pytest.raises(SpecError, match="has no parameter 'stam'"):
        recognise({}, "midef/resnet18(stam=imagenet)", PX)
    with pytest.raises(SpecError, match=r"no network 'resnet18\(stem=imagenet\)' in torchvision"):
        recognise({}, "torchvision/resnet18(stem=imagenet)", PX)


def test_a_grey_network_is_recognised_by_its_channels() -> None:
    grey = build_network("torchvision", "shufflenet_v2_x0_5", 10, PX, channels=1)
    assert recognise(grey.state_dict(), "shufflenet_v2_x0_5", PX, channels=1).classes == 10
    with pytest.raises(DataError, match="24x1x3x3, 24x3x3x3 is expected"):
        recognise(grey.state_dict(), "shufflenet_v2_x0_5", PX)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "googlenet"])
def test_a_network_without_weights_has_the_names_and_shapes_of_one_with(name: str) -> None:
    empty = without_weights("torchvision", name, 7, PX)
    assert empty is not None
    full = build_network("torchvision", name, 7, PX)
    assert {n: t.shape for n, t in empty.state_dict().items()} == {n: t.shape for n, t in full.state_dict().items()}
