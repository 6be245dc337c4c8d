from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midef.analysis.information.by_unit import class_centroids, fisher_by_unit, squared_gradients
from midef.analysis.information.losses import Distance, cross_entropy, inversion_loss
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


@pytest.mark.parametrize(("name", "order"), [("l2", 2), ("l1", 1)])
def test_the_inversion_loss_is_the_distance_to_the_centroid(model: TargetModel, name: Distance, order: int) -> None:
    image, goal, loss = faces(1, 2), torch.zeros(model.feature_dim), inversion_loss(name, model)
    assert loss(model(image), goal).item() == pytest.approx(model(image).features.norm(p=order).item())
    centroids = class_centroids(model, faces(6, 3), torch.tensor([0, 0, 1, 1, 1, 3]), loss=loss)
    assert sorted(centroids) == [0, 1, 3]
    torch.testing.assert_close(centroids[0], model(faces(6, 3)[:2]).features.mean(dim=0))


def test_lpips_is_the_sum_over_blocks_of_the_mean_over_places(model: TargetModel) -> None:
    """Of the squared difference of channel vectors of length 1, place by place."""
    loss = inversion_loss("lpips", model)
    one, other = (model(faces(1, seed), model.block_names) for seed in (1, 2))
    expected = 0.0
    for name in model.block_names:
        first, second = (seen.taps[name][0].reshape(seen.taps[name].shape[1], -1).double() for seen in (one, other))
        places = [
            torch.nn.functional.normalize(first[:, i], dim=0, eps=1e-9)
            - torch.nn.functional.normalize(second[:, i], dim=0, eps=1e-9)
            for i in range(first.shape[1])
        ]
        expected += torch.stack([(gap**2).sum() for gap in places]).mean().item()
    assert expected > 0.01
    assert loss(one, loss.view(other)[0]).item() == pytest.approx(expected, rel=1e-3)
    assert loss(one, loss.view(one)[0]).item() == 0.0


# --- a linear network, whose information is known ---------------------------------------------------------------------

PIXELS = 12  # of an image of 2 x 2


def linear() -> TargetModel:
    """Logits and features W x: one linear block and a head that changes nothing."""
    torch.manual_seed(3)
    head = torch.nn.Linear(CLASSES, CLASSES, bias=False)
    head.weight.data = torch.eye(CLASSES)
    block = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(PIXELS, CLASSES, bias=False))
    return TargetModel([("linear", block)], head, feature_dim=CLASSES, n_classes=CLASSES)


def information(distance: Distance) -> tuple[float, float, Tensor, Tensor, Tensor]:
    """Information of the linear block, for classifying and for inverting; W, the images x and their centroids."""
    network = linear()
    images, private = (torch.rand(n, 3, 2, 2, generator=torch.Generator().manual_seed(n)) for n in (5, 8))
    labels, private_labels = torch.tensor([0, 1, 2, 3, 1]), torch.arange(4).repeat(2)
    (found,) = fisher_by_unit(
        network,
        ("linear",),
        images=images,
        labels=labels,
        reconstructions=images,
        reconstructed=labels,
        private=private,
        private_labels=private_labels,
        distance=distance,
    )
    assert found.parameters == CLASSES * PIXELS
    weight = network.blocks.get_submodule("linear")[1].weight.detach().double()  # type: ignore[index]
    seen = private.flatten(1).double() @ weight.T
    if distance == "lpips":
        seen = seen / seen.norm(dim=1, keepdim=True)
    goals = torch.stack([(seen[k] + seen[k + 4]) / 2 for k in labels.tolist()])
    return found.classifying, found.inverting, weight, images.flatten(1).double(), goals


def test_information_of_a_linear_softmax_in_closed_form() -> None:
    """dL/dW = (p - y) x', so the mean over the weights is E |p - y|^2 |x|^2 / (K D)."""
    found, _, weight, x, _ = information("l2")
    logits = x @ weight.T
    error = logits.exp() / logits.exp().sum(dim=1, keepdim=True) - torch.eye(CLASSES)[[0, 1, 2, 3, 1]]
    expected = (error.square().sum(dim=1) * x.square().sum(dim=1)).mean() / (CLASSES * PIXELS)
    assert found == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("distance", ["l2", "l1", "lpips"])
def test_information_of_inverting_a_linear_network_in_closed_form(distance: Distance) -> None:
    """dL/dW = u x': u of length 1 for l2, of K ones for l1, and 2 (I - yy') (y - g) / |z| for z = W x, y = z / |z|."""
    _, found, weight, x, goals = information(distance)
    z = x @ weight.T
    length = z.norm(dim=1, keepdim=True)
    y = z / length
    gap = 2 * (y - goals)
    u = (gap - (gap * y).sum(dim=1, keepdim=True) * y) / length
    squared = {"l2": torch.ones(len(x)), "l1": torch.full((len(x),), float(CLASSES)), "lpips": u.square().sum(dim=1)}
    expected = (squared[distance] * x.square().sum(dim=1)).mean() / (CLASSES * PIXELS)
    assert found == pytest.approx(float(expected), rel=1e-4)


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
