"""A model that is handed over: its input, its classes, and what it is as a target."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from midef.attacks import AccessLevel
from midef.audit.checks import best_order_accuracy, better_input
from midef.audit.given import output_order, read_classes, take_model
from midef.audit.input import read_input
from midef.core.errors import PreflightError, ShapeError, SpecError
from midef.datasets import Images, Splits
from midef.stages.given import Given, GivenNetwork
from midef.testing.own_classifier import CLASSES, IMAGES, PX, Classifier, drawn

INPUT = read_input(resolution_px=PX)


def test_an_input_is_read_by_name_by_numbers_and_from_weights_of_torchvision() -> None:
    assert read_input("half", resolution_px=64).text == "64 px, images in [-1, 1]"
    by_hand = read_input(resolution_px=64, mean=[0.5, 0.4, 0.3], std=[0.2])
    assert by_hand.text == "64 px, mean 0.5, 0.4, 0.3, standard deviation 0.2"
    weights = read_input("ResNet18_Weights.IMAGENET1K_V1")
    assert (weights.resolution_px, weights.mean) == (224, (0.485, 0.456, 0.406))
    assert read_input("ResNet18_Weights.IMAGENET1K_V1", resolution_px=64).resolution_px == 64


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "say the size"),
        ({"written": "imagnet", "resolution_px": 8}, "did you mean 'imagenet'"),
        ({"written": "ResNet18_Weights.NONE", "resolution_px": 8}, "no weights of a classifier"),
        ({"mean": [0.5], "resolution_px": 8}, "both mean and std"),
        ({"mean": [127.5], "std": [127.5], "resolution_px": 8}, "divide it and std by 255"),
        ({"mean": [0.5, 0.5], "std": [0.5, 0.5], "resolution_px": 8}, "one for each colour"),
        ({"mean": [0.5], "std": [0.0], "resolution_px": 8}, "above 0"),
    ],
)
def test_a_wrong_input_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        read_input(**options)


def test_a_given_network_answers_as_it_does_outside_after_its_normalisation() -> None:
    own = Classifier().eval()
    expects = read_input(resolution_px=PX, mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
    model = take_model(own, expects)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    expected = own((IMAGES - mean[:, None, None]) / std[:, None, None])
    forward = GivenNetwork(model.network, model.given, PX)(IMAGES)
    assert torch.equal(forward.logits, expected)
    last = own.body[-1]
    assert isinstance(last, nn.Linear)
    assert torch.allclose(last(forward.features), expected)
    assert (model.given.name, model.given.classes, model.access) == ("Classifier", CLASSES, AccessLevel.WHITE_BOX)


def test_penultimate_features_are_found_under_log_softmax_and_are_the_logits_elsewhere() -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, 6), nn.ReLU(), nn.Linear(6, 4))
    for network, size in (
        (body, 6),
        (nn.Sequential(body, nn.LogSoftmax(dim=1)), 6),
        (nn.Sequential(body, nn.Softmax(dim=1)), 4),  # what it gives is not linear in the features
        (nn.Sequential(nn.Conv2d(3, 4, PX), nn.Flatten()), 4),
    ):
        model = take_model(network, INPUT)
        assert GivenNetwork(model.network, model.given, PX)(IMAGES).features.shape == (len(IMAGES), size)


def test_the_callers_module_stays_as_it_is() -> None:
    own = Classifier().train()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    model = take_model(own, INPUT)
    GivenNetwork(model.network, model.given, PX)(IMAGES)
    assert own.training
    assert all(torch.equal(before[name], tensor) for name, tensor in own.state_dict().items())
    assert all(parameter.requires_grad for parameter in own.parameters())


def test_a_module_is_keyed_by_its_tensors_its_class_its_input_and_its_order() -> None:
    def key(seed: int = 0, name: str = "", order: list[int] | None = None, **options: Any) -> str:
        expects = read_input(resolution_px=PX, **options)
        return take_model(Classifier(seed), expects, name=name).in_order(order).given.digest

    assert key() == key()
    assert key(order=[0, 1, 2, 3]) == key()
    others = [key(1), key(name="other"), key(written="half"), key(order=[1, 0, 2, 3])]
    assert len({key(), *others}) == 5
    wrapped = nn.DataParallel(Classifier())
    assert take_model(wrapped, INPUT).given.digest == key()
    given = take_model(Classifier(), INPUT).in_order([1, 0, 2, 3]).given
    assert Given.of(given.choice) == given


def test_outputs_are_put_in_the_order_of_the_classes() -> None:
    model = take_model(Classifier(), INPUT)
    plain = GivenNetwork(model.network, model.given, PX)(IMAGES).logits
    order = output_order(["d", "b", "a", "c"], ["a", "b", "c", "d"], CLASSES)
    assert order == [2, 1, 3, 0]
    moved = model.in_order(order)
    assert torch.equal(GivenNetwork(moved.network, moved.given, PX)(IMAGES).logits, plain[:, order])


def test_classes_must_be_those_of_the_folders(tmp_path: Any) -> None:
    (tmp_path / "names.txt").write_text("b\n\na\n")
    assert read_classes(tmp_path / "names.txt") == ["b", "a"]
    assert output_order(None, ["a", "b"], 2) is None
    with pytest.raises(SpecError, match="has 3 outputs, the private images are of 2 people"):
        output_order(None, ["a", "b"], 3)
    with pytest.raises(SpecError, match="2 names of classes were given, the model has 3 outputs"):
        output_order(["a", "b"], ["a", "b"], 3)
    with pytest.raises(SpecError, match="differ: b, c"):
        output_order(["a", "c"], ["a", "b"], 2)
    with pytest.raises(SpecError, match="twice: a"):
        read_classes(["a", "a"])


def test_a_function_needs_a_name_and_its_access_is_what_it_lets_through() -> None:
    own = Classifier().eval()
    with pytest.raises(SpecError, match="give it a name"):
        take_model(lambda images: own(images), INPUT)
    held = take_model(lambda images: own(images), INPUT, name="v3")
    assert held.access is AccessLevel.WHITE_BOX
    assert "cannot be checked" in held.remark
    asked = take_model(lambda images: own(images).detach().softmax(1), INPUT, name="v3", outputs="probabilities")
    assert asked.access is AccessLevel.SCORES
    told = take_model(lambda images: own(images).argmax(1), INPUT, name="v3", outputs="labels", classes=CLASSES)
    assert told.access is AccessLevel.LABELS
    expected = own(IMAGES).softmax(dim=1)
    for model in (held, asked):
        answers = GivenNetwork(model.network, model.given, PX)(IMAGES).logits.softmax(dim=1)
        assert torch.allclose(answers, expected, atol=1e-6)
    labels = GivenNetwork(told.network, told.given, PX)(IMAGES).logits
    assert torch.equal(labels.argmax(1), expected.argmax(1))


def test_a_module_that_lets_no_gradients_through_is_only_asked() -> None:
    class Served(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Classifier()

        @torch.no_grad()
        def forward(self, images: Tensor) -> Tensor:
            answers: Tensor = self.inner(images)
            return answers

    model = take_model(Served(), INPUT)
    assert model.access is AccessLevel.SCORES and model.given.sha256
    assert "no gradients" in model.remark


def test_what_does_not_answer_images_is_refused_with_what_came() -> None:
    with pytest.raises(SpecError, match=r"does not take images \[B, 3, 8, 8\].*RuntimeError"):
        take_model(nn.Linear(5, 2), INPUT)
    with pytest.raises(SpecError, match=r"expected logits \[2, K\]"):
        take_model(nn.Conv2d(3, 4, 3), INPUT)
    model = take_model(Classifier(), INPUT)

    def lies(images: Tensor) -> Tensor:
        return torch.zeros(len(images), 7)

    with pytest.raises(ShapeError, match=r"expected logits \[10, 4\] from Classifier, got \[10, 7\]"):
        GivenNetwork(lies, model.given, PX)(IMAGES)


def test_a_module_of_another_process_is_asked_for_again() -> None:
    given = take_model(Classifier(), INPUT).given
    with pytest.raises(PreflightError, match="a module that was handed over in another process"):
        given.network({}, PX)


def test_a_wrong_input_that_still_knows_some_images_is_spoken_of() -> None:
    shown = drawn(40, 5)
    network = Classifier(mean=0.0).eval()
    with torch.no_grad():
        labels = network(shown.float() / 255).argmax(dim=1)
    part = Images(shown, labels)
    splits = Splits(part, part, part, ("a", "b", "c", "d"))
    right = take_model(network, INPUT)
    assert better_input(right, splits, "cpu") == ""
    wrong = take_model(network, read_input("imagenet", resolution_px=PX))
    said = better_input(wrong, splits, "cpu")
    assert said.startswith("with `--input own` (images in [0, 1]") and "knows 100.0 % of 40 private images" in said


def test_the_best_order_of_outputs_is_found() -> None:
    import numpy as np

    labels = np.array([0, 0, 1, 1, 2, 2])
    assert best_order_accuracy(np.array([2, 2, 0, 0, 1, 1]), labels, 3) == 1.0
    assert best_order_accuracy(np.array([0, 0, 0, 0, 0, 0]), labels, 3) == pytest.approx(1 / 3)
