"""A function behaves as an endpoint does: 8 bits, store, budget, checks."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from midef.attacks import AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.audit.answers import AnswerStore
from midef.audit.budget import Asked, Rate
from midef.audit.function import Function
from midef.core import AccessError, DataError, ShapeError, SpecError
from midef.core.errors import BudgetReached, EndpointError
from midef.core.failure import kind_of
from midef.defenses import Defense
from tests.audit.conftest import CLASSES, Clock


class Model:
    """Scores, logits or labels of the sum of the red pixels; writes down what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def logits(self, images: Tensor) -> Tensor:
        self.shown.append(images)
        red = images[:, 0].flatten(1).sum(dim=1, keepdim=True)
        return torch.sin(red * torch.arange(1, CLASSES + 1))

    def scores(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(dim=1)

    def labels(self, images: Tensor) -> Tensor:
        return self.logits(images).argmax(dim=1)

    @property
    def count(self) -> int:
        return sum(map(len, self.shown))


@pytest.fixture
def model() -> Model:
    return Model()


def test_images_are_shown_in_8_bits_and_each_once(model: Model, store: AnswerStore, images: Tensor) -> None:
    box = Function(model.scores, name="m", store=store, batch_size=4)
    off_grid = torch.cat([images + 0.0017, images[:3] - 0.0012]).clamp(0, 1)  # equal images, after rounding
    answers = box(off_grid)
    assert [len(part) for part in model.shown] == [4, 4, 2]
    shown = torch.cat(model.shown)
    assert torch.equal(shown, (off_grid[:10] * 255).round() / 255)
    assert torch.equal(answers[10:], answers[:3])
    assert torch.allclose(answers[:10], Model().scores(shown), atol=1e-6) and answers.dtype == torch.float32
    assert torch.equal(box(images), answers[:10]) and model.count == 10
    assert (box.asked, box.paid, box.stored, box.n_classes) == (23, 10, 10, CLASSES)
    again = Function(model.scores, name="m", store=AnswerStore(store.path))
    assert again.known(images) == 10 and again.known(images.flip(3)) == 0 and again.n_classes == CLASSES
    assert torch.equal(again(images), answers[:10]) and model.count == 10 and (again.asked, again.paid) == (10, 10)


def test_scores_are_softmaxed_logits_and_labels_their_highest(model: Model, store: AnswerStore, images: Tensor) -> None:
    scores = Function(model.scores, name="a", store=store)(images)
    logits = Function(model.logits, name="b", store=store, answers="logits")
    labels = Function(model.labels, name="c", store=store, answers="labels", n_classes=CLASSES)
    assert torch.equal(logits(images), scores) and logits.access == AccessLevel.SCORES
    assert torch.equal(labels(images), scores.argmax(dim=1)) and labels.access == AccessLevel.LABELS
    assert labels(images[:0]).shape == (0,) and logits(images[:0]).shape == (0, CLASSES)
    as_arrays = Function(lambda x: model.scores(x).numpy().astype(np.float16), name="d", store=store)
    assert torch.allclose(as_arrays(images), scores, atol=1e-3)


def test_attacks_see_it_as_a_target(model: Model, store: AnswerStore, images: Tensor) -> None:
    box = Function(model.labels, name="m", store=store, answers="labels", n_classes=CLASSES)
    handle = TargetHandle(box, Defense(), AccessLevel.LABELS)
    assert torch.equal(handle.labels(images), Model().labels(images)) and handle.queries == 10
    with pytest.raises(AccessError, match="m can only be asked, for labels only; the attack asked for 'run'"):
        TargetHandle(box, Defense(), AccessLevel.WHITE_BOX).run(images)


def test_a_call_that_the_budget_does_not_hold_costs_nothing(model: Model, store: AnswerStore, images: Tensor) -> None:
    box = Function(model.scores, name="m", store=store, budget=7, batch_size=2)
    box(images[:4])
    with pytest.raises(BudgetReached) as raised:
        box(images)
    assert str(raised.value) == (
        "m: the query budget of 7 is reached: 4 were sent, and the next step needs 6 more. 4 answers are stored in "
        f"{store.path} and are not asked for again; raise the query budget to go on"
    )
    assert (raised.value.exit_code, raised.value.failure) == (4, "refused") and model.count == 4 and box.left == 3
    assert torch.equal(Function(model.scores, name="m", store=store, budget=10)(images), Model().scores(images))
    assert model.count == 10
    with pytest.raises(BudgetReached):
        Function(model.scores, name="m", store=store, budget=10)(images.flip(3)[:1])
    assert Function(model.scores, name="m", store=store, budget=10)(images).shape == (10, CLASSES)  # stored


def test_the_rate_limit_is_waited_for(model: Model, store: AnswerStore, images: Tensor, clock: Clock) -> None:
    box = Function(model.scores, name="m", store=store, rate=Rate(per_second=4), clock=clock, sleep=clock.sleep)
    box(images)
    assert [len(part) for part in model.shown] == [4, 4, 2]
    assert clock.slept == pytest.approx([1.0, 1.0], abs=0.01)


def test_costs_follow_what_requests_took_so_far(store: AnswerStore, images: Tensor, clock: Clock) -> None:
    model = Model()

    def slow(shown: Tensor) -> Tensor:
        clock.sleep(2.0)
        return model.scores(shown)

    options = {"batch_size": 5, "budget": 100, "price_per_1000": 3.0, "clock": clock, "sleep": clock.sleep}
    box = Function(slow, name="m", store=store, **options)
    assert box.request_s is None and box.cost({"a": Asked(50)}).seconds is None
    box(images)
    cost = box.cost({"a": Asked(50), "b": Asked(45)})
    assert (box.request_s, cost.seconds, cost.money, cost.paid) == (2.0, 38.0, pytest.approx(0.285), 10)
    assert not cost.is_within and box.cost({"a": Asked(90)}).is_within
    assert box.cost({"a": Asked(1000)}, price_per_1000=1.0).money == 1.0


def test_an_answer_that_cannot_be_true_is_not_stored_and_the_others_are(
    model: Model, store: AnswerStore, images: Tensor
) -> None:
    def lies(shown: Tensor) -> Tensor:
        scores = model.scores(shown)
        scores[1] = torch.nan
        return scores

    box = Function(lies, name="m", store=store, batch_size=5)
    with pytest.raises(EndpointError) as raised:
        box(images)
    assert str(raised.value) == (
        "m (a Python function): 1 of 5 answers cannot be used: image 1: a score is no finite number. 4 answers are "
        f"stored in {store.path} and are not asked for again"
    )
    assert raised.value.failure == "diverged" and raised.value.exit_code == 3
    honest = Model()
    assert torch.equal(Function(honest.scores, name="m", store=store)(images), Model().scores(images))
    assert honest.count == 6
    with pytest.raises(EndpointError, match="a score is no finite number"):
        Function(lambda x: model.logits(x) / 0, name="n", store=store, answers="logits")(images)


@pytest.mark.parametrize(
    ("function", "message", "kind"),
    [
        (lambda x: {}[0], r"m \(a Python function\): the function raised KeyError: 0\. 0 answers", "bug"),
        (lambda x: "cat", "expected the function to give a tensor or an array, got str", "data"),
        (lambda x: torch.ones(len(x) - 1, 2) / 2, "expected 10 answers, one for each image, got 9", "data"),
        (lambda x: torch.ones(len(x)), r"expected scores \[images, classes\], got an array \[10\] of float64", "data"),
        (lambda x: x[:, 0, 0] * 0 - 1, r"10 of 10 answers cannot be used: image 0: a score is negative \(-1\)", "data"),
    ],
    ids=["raises", "text", "too few", "no scores", "logits"],
)
def test_a_function_that_does_something_else(
    function: Callable[[Tensor], Any], message: str, kind: str, store: AnswerStore, images: Tensor
) -> None:
    with pytest.raises(EndpointError, match=message) as raised:
        Function(function, name="m", store=store)(images)
    assert raised.value.failure == kind and Function(function, name="m", store=store).stored == 0


def test_memory_that_runs_out_keeps_its_kind(store: AnswerStore, images: Tensor) -> None:
    def full(images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(EndpointError) as raised:
        Function(full, name="m", store=store)(images)
    assert kind_of(raised.value) == "oom"


def test_another_number_of_classes_is_another_model(model: Model, store: AnswerStore, images: Tensor) -> None:
    box = Function(model.scores, name="m", store=store)
    with pytest.raises(SpecError, match="nobody knows yet how many classes m has"):
        _ = box.n_classes
    box(images[:2])
    fewer = Function(lambda x: model.scores(x)[:, :3].softmax(dim=1), name="m", store=store)
    with pytest.raises(EndpointError, match="expected 4 scores for each image, got 3: the model has another number"):
        fewer(images)
    with pytest.raises(SpecError, match="another model answers under this name"):
        Function(model.scores, name="m", store=store, n_classes=5)


def test_what_is_wrong_is_said_at_once(model: Model, store: AnswerStore, images: Tensor) -> None:
    with pytest.raises(SpecError, match=r"(?s)5 problems:.*a name of 1.*got 'top'.*n_classes.*budget.*batch_size"):
        Function(model.scores, name="", store=store, answers="top", n_classes=1, budget=-1, batch_size=0)  # type: ignore[arg-type]
    box = Function(model.scores, name="m", store=store)
    with pytest.raises(ShapeError, match=r"expected images \[B, 3, H, W\], got \[3, 6, 6\]"):
        box(images[0])
    with pytest.raises(DataError, match="values that are not finite"):
        box(images / 0)
    with pytest.raises(DataError, match=r"expected images in \[0, 1\], got values from -.*give it no mean and no std"):
        box((images - 0.5) / 0.2)
    assert torch.equal(box(images + (images == 1) * 1e-3), Model().scores(images))


def test_what_another_process_asks_about_is_waited_for(store: AnswerStore, images: Tensor) -> None:
    model, is_asked, may_answer = Model(), Event(), Event()

    def slow(shown: Tensor) -> Tensor:
        is_asked.set()
        assert may_answer.wait(10)
        return model.scores(shown)

    def other() -> None:
        Function(slow, name="m", store=store)(images[:6])

    thread = Thread(target=other)
    thread.start()
    assert is_asked.wait(10)
    mine = Model()

    def wait(seconds: float) -> None:
        assert mine.count == 4  # asks what is free first
        may_answer.set()
        thread.join()

    answers = Function(mine.scores, name="m", store=store, sleep=wait)(images)
    assert torch.equal(answers, Model().scores(images)) and (mine.count, model.count) == (4, 6)


def test_who_fails_gives_up_what_it_wanted_to_ask(model: Model, store: AnswerStore, images: Tensor) -> None:
    def broken(shown: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Function(broken, name="m", store=store)(images)
    box = Function(model.scores, name="m", store=store, sleep=lambda s: pytest.fail("waits for nobody"))
    assert len(box(images)) == 10 and box.paid == 20  # what was sent before the interrupt is counted
