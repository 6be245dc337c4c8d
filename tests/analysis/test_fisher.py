from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midef.analysis.fisher import class_centroids, cross_entropy, distance, fisher_by_unit, squared_gradients
from midef.core import SpecError
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel

CLASSES = 4


@pytest.fixture(scope="module")
def model() -> TargetModel:
    torch.manual_seed(0)
    network = ARCHITECTURES.make("vgg16_tiny").build(CLASSES, 32)
    for _ in range(2):
        network(faces(16, 9))  # moves the running statistics
    return network.eval()


def faces(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_is_the_mean_of_squared_gradients_one_image_at_a_time(model: TargetModel) -> None:
    images, labels = faces(5, 1), torch.tensor([0, 1, 2, 3, 0])
    found = squared_gradients(model, images, labels, loss=cross_entropy, chunk=2)
    model.requires_grad_(True)  # the bias that is held at 0, too
    for name, weight in model.named_parameters():
        slow = torch.zeros_like(weight)
        for image, label in zip(images, labels, strict=True):
            loss = F.cross_entropy(model(image[None]).logits, label[None])
            (slope,) = torch.autograd.grad(loss, [weight], allow_unused=True)
            slow += slope**2
        torch.testing.assert_close(found[name], slow / 5, rtol=1e-3, atol=1e-10)


def test_the_inversion_loss_is_the_distance_to_the_centroid(model: TargetModel) -> None:
    image, goal = faces(1, 2), torch.zeros(model.feature_dim)
    assert distance(model(image), goal).item() == pytest.approx(model(image).features.norm().item())
    centroids = class_centroids(model, faces(6, 3), torch.tensor([0, 0, 1, 1, 1, 3]))
    assert sorted(centroids) == [0, 1, 3]
    torch.testing.assert_close(centroids[0], model(faces(6, 3)[:2]).features.mean(dim=0))


def test_every_unit_with_weights_is_measured_and_the_chunk_changes_nothing(model: TargetModel) -> None:
    units = ARCHITECTURES.make("vgg16_tiny").facts().units
    labels = torch.arange(4)
    found = fisher_by_unit(
        model,
        units,
        images=faces(4, 1),
        labels=labels,
        reconstructions=faces(4, 2),
        reconstructed=labels,
        private=faces(8, 3),
        private_labels=labels.repeat(2),
    )
    assert [f.unit for f in found] == list(units)
    assert sum(f.parameters for f in found) == sum(p.numel() for p in model.blocks.parameters())
    assert all(f.classifying > 0 and f.inverting > 0 for f in found)
    first = squared_gradients(model, faces(4, 1), labels, loss=cross_entropy, chunk=1)
    second = squared_gradients(model, faces(4, 1), labels, loss=cross_entropy, chunk=4)
    assert all(torch.allclose(first[k], second[k], rtol=1e-3, atol=1e-12) for k in first)
    assert not any(p.grad is not None for p in model.parameters())


def test_refuses_a_class_without_private_images(model: TargetModel) -> None:
    one = torch.zeros(1, dtype=torch.long)
    given = {"images": faces(1, 1), "labels": one, "reconstructions": faces(1, 2), "private": faces(1, 3)}
    with pytest.raises(SpecError, match=r"no private image of the reconstructed classes \[0\]"):
        fisher_by_unit(model, (), **given, reconstructed=one, private_labels=one + 1)
    with pytest.raises(SpecError, match="one of them is empty"):
        fisher_by_unit(model, (), **{**given, "images": faces(0, 1)}, reconstructed=one, private_labels=one)
