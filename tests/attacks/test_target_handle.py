"""Questions about many 8-bit images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.attacks import AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError
from midef.defenses import Defense
from midef.defenses.serving import Query
from midef.nn.network import TargetModel

PX, CLASSES = 4, 3


class Reversing(Defense):
    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return query.probabilities.flip(1)


def handle(access: AccessLevel = AccessLevel.WHITE_BOX) -> TargetHandle:
    torch.manual_seed(0)
    pixels = 3 * PX**2
    model = TargetModel([("pixels", nn.Flatten())], nn.Linear(pixels, CLASSES), feature_dim=pixels, n_classes=CLASSES)
    return TargetHandle(model, Reversing(), access)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (10, 3, PX, PX), generator=Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("question", ["scores", "labels"])
def test_answers_in_chunks_are_those_of_all_images_in_their_order(
    question: str, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midef.attacks.target_handle.CHUNK", 4)
    target = handle()
    ask: Callable[[Tensor], Tensor] = getattr(target, question)
    answers = list(target.in_chunks(ask, images))
    assert [len(answer) for answer in answers] == [4, 4, 2] and target.queries == 10
    assert torch.allclose(torch.cat(answers), ask(images.float() / 255))


def test_no_gradients_are_kept_and_the_callers_own_are_not_switched_off(images: Tensor) -> None:
    weight = torch.ones((), requires_grad=True)
    for answer in handle().in_chunks(lambda part: part * weight, images):
        assert not answer.requires_grad
        assert torch.is_grad_enabled()


def test_a_question_above_the_access_level_is_refused(images: Tensor) -> None:
    target = handle(AccessLevel.LABELS)
    with pytest.raises(AccessError, match="asked for 'scores'"):
        list(target.in_chunks(target.scores, images))
    assert target.queries == 0


class Asked:
    """A model of 3 classes that can only be asked."""

    name, n_classes = "somebody's model", CLASSES

    def __init__(self, access: AccessLevel) -> None:
        self.access = access

    def __call__(self, images: Tensor) -> Tensor:
        scores = images.flatten(1)[:, :CLASSES].softmax(dim=1)
        return scores if self.access == AccessLevel.SCORES else scores.argmax(dim=1)


def test_a_model_that_can_only_be_asked_answers_as_it_does_and_its_queries_are_counted(images: Tensor) -> None:
    model, asked = Asked(AccessLevel.SCORES), images.float() / 255
    target = TargetHandle(model, Defense(), AccessLevel.SCORES)
    assert torch.equal(target.scores(asked), model(asked)) and target.n_classes == CLASSES
    assert torch.equal(target.labels(asked), model(asked).argmax(dim=1))
    assert torch.equal(TargetHandle(model, Reversing(), AccessLevel.SCORES).scores(asked), model(asked).flip(1))
    assert target.queries == 2 * len(images)
    target.lay_out(torch.channels_last)  # means nothing to it


def test_a_model_that_answers_with_labels_gives_labels_only(images: Tensor) -> None:
    model, asked = Asked(AccessLevel.LABELS), images.float() / 255
    target = TargetHandle(model, Defense(), AccessLevel.SCORES)
    assert torch.equal(target.labels(asked), model(asked)) and target.access == AccessLevel.LABELS
    with pytest.raises(
        AccessError, match="somebody's model can only be asked, for labels only; the attack asked for 'sc"
    ):
        target.scores(asked)


@pytest.mark.parametrize("question", ["run", "run_in_train_mode"])
def test_nobody_looks_into_a_model_that_can_only_be_asked(question: str, images: Tensor) -> None:
    target = TargetHandle(Asked(AccessLevel.SCORES), Defense(), AccessLevel.WHITE_BOX)
    with pytest.raises(AccessError, match=f"can only be asked, for scores; the attack asked for '{question}'. Choose"):
        getattr(target, question)(images.float() / 255)
    assert target.queries == 0
