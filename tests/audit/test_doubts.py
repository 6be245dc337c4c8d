"""What an audit doubts before it attacks: number and order of classes, input, and who judges."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midef.audit import networks
from midef.audit.answers import AnswerStore
from midef.audit.checks import check_known, exchanged
from midef.audit.data import read_data
from midef.audit.function import Function
from midef.audit.given import Model, read_model, take_model
from midef.audit.input import read_input
from midef.audit.judge import choose_judge
from midef.audit.networks import Recognised
from midef.audit.reported import _remarks
from midef.audit.run import Audited
from midef.core.errors import SpecError
from midef.datasets import Images, Splits
from midef.sweep.cli.audit import exit_code
from midef.testing.own_classifier import CLASSES, PX, Classifier, drawn

INPUT = read_input(resolution_px=PX)
NAMES = ("ann", "bob", "cas", "dan")
NETWORK = Classifier().eval()


def answered(images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = NETWORK(images.float())
    return logits


@pytest.fixture(scope="module")
def splits() -> Splits:
    """Images of four classes, which the network knows by heart."""
    shown = drawn(60, 5)
    part = Images(shown, answered(shown / 255).argmax(dim=1))
    return Splits(part, part, part, NAMES)


def asked(function: Any, store: AnswerStore, answers: str, classes: int | None = None) -> Model:
    """An endpoint that is asked, as an audit takes it where the private images are of four classes."""
    made = Function(function, name="door", store=store, answers=cast(Any, answers), n_classes=classes)
    return take_model(made, INPUT, classes=CLASSES)


def test_labels_of_a_model_that_does_not_say_how_many_classes_it_has_are_kept_and_doubted(
    store: AnswerStore, splits: Splits
) -> None:
    model = asked(lambda images: answered(images).argmax(dim=1), store, "labels")
    known = check_known(model, splits, may_ask_more=False)
    assert known.report.value == 100
    assert "door does not say how many classes it has, which are taken to be the 4" in known.doubts[0]
    assert cast(Function, model.network).paid == cast(Function, model.network).stored > 0, "nothing is asked twice"
    assert store.classes(store.model("door", "python:labels", None)) is None, "what nobody said is not stored"
    said = asked(lambda images: answered(images).argmax(dim=1), store, "labels", CLASSES)
    assert check_known(said, splits, may_ask_more=False).doubts == ()


@pytest.mark.parametrize("answers", ["scores", "labels"])
def test_a_model_of_more_classes_than_the_private_images_is_not_attacked(
    store: AnswerStore, splits: Splits, answers: str
) -> None:
    def wider(images: Tensor) -> Tensor:
        scores = torch.nn.functional.pad(answered(images), (0, 2), value=-99.0).softmax(dim=1)
        return scores if answers == "scores" else scores.argmax(dim=1)

    model = asked(wider, store, answers, 6 if answers == "labels" else None)
    with pytest.raises(
        SpecError, match=r"(tells|has) 6 (classes|outputs)|6 classes apart, the private images are of 4"
    ):
        check_known(replace(model, given=replace(model.given, classes=CLASSES)), splits, may_ask_more=False)


def test_classes_that_are_exchanged_are_named_and_a_preferred_class_is_none() -> None:
    labels = np.repeat(np.arange(4), 10)
    assert exchanged(labels, labels, NAMES) == ""
    swapped = np.array([1, 0, 2, 3])[labels]
    assert "2 classes for those of another, in a circle: ann as bob, bob as ann" in exchanged(swapped, labels, NAMES)
    assert exchanged(np.zeros_like(labels), labels, NAMES) == "", "all are taken for the first, which keeps its own"
    assert exchanged(swapped[::5], labels[::5], NAMES) == "", "two images of each say nothing"


def test_an_order_that_is_wrong_in_part_is_doubted(splits: Splits) -> None:
    model = take_model(NETWORK, INPUT)
    order = [0, 1, 2, 3]
    common = torch.bincount(splits.train.labels, minlength=4).argsort(descending=True)[:2].tolist()
    order[common[0]], order[common[1]] = common[1], common[0]
    moved = model.in_order(order)
    part = splits.train
    rest = [row for row, label in enumerate(part.labels.tolist()) if label not in common]
    rows = [*rest * 9, *(row for row, label in enumerate(part.labels.tolist()) if label in common)]
    more = Images(part.images[rows], part.labels[rows])
    known = check_known(moved, Splits(more, more, more, NAMES))
    assert any("in a circle" in doubt for doubt in known.doubts)
    found = SimpleNamespace(stopped="", known=known, plan=SimpleNamespace(model=replace(model, remark="It is odd")))
    said = list(_remarks(cast(Audited, found)))
    assert said[0].startswith("In doubt: the model takes most images of 2 classes") and said[-1] == "It is odd."


@pytest.mark.parametrize(
    ("options", "says"), [({"written": "imagenet"}, "normalises for itself"), ({"channels": 1}, "RGB, grey ones too")]
)
def test_what_is_sent_images_as_files_has_no_input(store: AnswerStore, options: dict[str, Any], says: str) -> None:
    door = Function(answered, name="door", store=store)
    with pytest.raises(SpecError, match=says):
        take_model(door, read_input(resolution_px=PX, **options), classes=CLASSES)
    assert door.paid == 0


def test_a_network_that_takes_no_images_of_this_size_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    torch.save(nn.Linear(5, 2).state_dict(), path)
    monkeypatch.setattr(networks, "recognise", lambda *_, **__: Recognised("timm", "vit", 2, nn.Linear(5, 2)))
    with pytest.raises(SpecError, match=r"does not take images \[B, 3, 8, 8\]"):
        read_model(path, "vit", INPUT)


def test_a_judge_is_of_another_family_only_where_that_of_the_model_is_known() -> None:
    given = take_model(NETWORK, INPUT).given
    assert "whether the model is of its family is not known" in choose_judge(given, 28).text
    digits = choose_judge(replace(given, name="ResNet"), 28)
    assert digits.text == "vgg16_tiny at 32 px, of another family than the model, trained on the private train split"
    assert "of another family than the model" in choose_judge(replace(given, name="x", library="timm"), 64).text


def test_an_attack_that_was_asked_for_and_cannot_run_is_no_success() -> None:
    def code(*, refused: dict[str, str], reasons: str = "") -> int:
        plan = SimpleNamespace(refused=refused, reasons=reasons, cells=(1,))
        found = SimpleNamespace(plan=plan, stopped="", attack_accuracies={"gmi": 1})
        worst = SimpleNamespace(value=1.0)
        report = SimpleNamespace(worst=worst, threshold=None, fails=lambda: False)
        return exit_code(cast(Any, found), cast(Any, report))

    assert code(refused={}) == 0
    assert code(refused={"ppa": "no generator"}) == 1
    assert code(refused={"ppa": "no generator"}, reasons="1 attack to try") == 0


def test_one_folder_for_both_is_refused_by_its_name(tmp_path: Any) -> None:
    with pytest.raises(SpecError, match="private and public images are the same ones"):
        read_data(tmp_path, f"{tmp_path}/.")
