"""LPIPS features against torchmetrics' own network, with the same weights in both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision

from midef.core.errors import DataError
from midef.nn.lpips import LpipsFeatures, Trunk, learned_heads, perceptual_distance, trunk_file


def reference(trunk: Trunk) -> Any:
    """Torchmetrics' network around a random trunk; its trunk's tensors under the names of torchvision's file."""
    from torchmetrics.functional.image.lpips import _LPIPS, ScalingLayer

    with torch.device("meta"):  # of VGG-16, nine tenths of the weights are not compared
        network = _LPIPS(pretrained=False, net=trunk, pnet_rand=True)
    network.to_empty(device="cpu")
    draws = torch.Generator().manual_seed(0)
    for tensor in network.net.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=draws) * (2 / max(1, tensor[0].numel())) ** 0.5)
    for number, head in enumerate(learned_heads(trunk)):
        network.lins[number].model[1].weight.copy_(head[None, :, None, None])
    network.scaling_layer = ScalingLayer()
    tensors = {
        f"features.{name.split('.', 1)[1]}": tensor
        for name, tensor in network.net.state_dict().items()
        if name.startswith("slice")
    }
    return network, tensors


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_the_squared_distance_of_features_is_torchmetrics_lpips(trunk: Trunk) -> None:
    network, tensors = reference(trunk)
    one, two = torch.rand(2, 3, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    features = LpipsFeatures(trunk, {**tensors, "classifier.1.weight": torch.zeros(2)})
    found = perceptual_distance(features(one), features(two))
    expected = network(2 * one - 1, 2 * two - 1).flatten()
    assert expected.min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    assert perceptual_distance(features(one), features(one)).tolist() == [0, 0, 0]


def test_gradients_reach_the_images_and_no_weight() -> None:
    _, tensors = reference("alex")
    features = LpipsFeatures("alex", tensors).train()
    images = torch.rand(1, 3, 40, 40, requires_grad=True)
    perceptual_distance(features(images), features(torch.rand(1, 3, 40, 40))).sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert all(not parameter.requires_grad for parameter in features.parameters())


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_no_learned_weight_is_negative(trunk: Trunk) -> None:
    """Else the distance would be no squared distance of features."""
    heads = learned_heads(trunk)
    assert len(heads) == 5 and all(bool((head >= 0).all()) for head in heads)


def test_a_file_of_another_network_is_refused() -> None:
    with pytest.raises(DataError, match="these are no weights of vgg16: the file misses"):
        LpipsFeatures("vgg", reference("alex")[1])


def test_the_files_are_named_with_their_digest() -> None:
    assert (trunk_file("alex").name, trunk_file("alex").sha256) == ("alexnet-owt-7be5be79.pth", "7be5be79")
    assert trunk_file("vgg").source == "https://download.pytorch.org/models/vgg16-397923af.pth"


@pytest.mark.parametrize(("trunk", "theirs"), [("alex", "alexnet"), ("vgg", "vgg16")])
def test_the_file_has_the_size_that_torchvision_states(trunk: Trunk, theirs: str) -> None:
    stated = torchvision.models.get_model_weights(theirs)["IMAGENET1K_V1"]
    assert (trunk_file(trunk).source, trunk_file(trunk).size_mib) == (stated.url, stated.meta["_file_size"])
