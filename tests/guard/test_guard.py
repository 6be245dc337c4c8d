"""A guard answers what a served target answers, the same to all who ask, and refuses what it cannot answer."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from midef.core.errors import DataError, MidefError, ShapeError, SpecError
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.defenses import DEFENSES, Defense, choose_defense, remake_defense
from midef.defenses.serving import Serving
from midef.guard import Guard
from midef.stages.substitute import DefendersImages, train
from midef.testing.own_classifier import CLASSES, IMAGES, PER_QUERY, PRIVATE, PUBLIC, PX, SMALL, Classifier
from midef.testing.trainings import written
from midef.training.generative.loop import TrainingRun

ANSWERING = [name for name in DEFENSES.names() if DEFENSES.get(name).answer is not Defense.answer]


@pytest.fixture(scope="module")
def poisoned() -> Guard:
    """A guard that takes second-order gradients."""
    return Guard(Classifier(), PER_QUERY, secret=5).prepare(public=PUBLIC, private=PRIVATE)


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ANSWERING)
def test_every_defense_of_answers_can_stand_before_a_module(name: str) -> None:
    defense = remake_defense(written(name))
    guard = Guard(Classifier(), defense).prepare(public=PUBLIC, private=PRIVATE)
    answers = guard(IMAGES)
    assert answers.shape == (len(IMAGES), CLASSES) and not answers.requires_grad and (answers >= 0).all()
    torch.testing.assert_close(answers.sum(dim=1), torch.ones(len(IMAGES)))
    if defense.keeps_labels:
        assert torch.equal(answers.argmax(dim=1), guard.model(IMAGES).argmax(dim=1))
    if defense.answer_budget is not None:
        moved = (answers - guard.model(IMAGES).softmax(dim=1)).norm(dim=1)
        assert 0 < float(moved.max()) <= defense.answer_budget + 1e-6


def test_answers_are_those_of_the_serving_that_sweeps_attack() -> None:
    for text in ("rounding", "noisy_scores", "noisy_scores+rounding"):
        model = Classifier().eval()
        with torch.no_grad():
            given = model(IMAGES).softmax(dim=1)
        expected = Serving(remake_defense(choose_defense(text)), CLASSES, secret=9)(IMAGES, given)
        assert torch.equal(Guard(model, text, secret=9)(IMAGES), expected)


def test_the_substitute_is_that_of_the_stage_for_the_same_answers(poisoned: Guard, tmp_path: Any) -> None:
    """Bit for bit, from an independent call of what the stage calls."""
    images = PUBLIC[torch.arange(len(PUBLIC)) % 10 != 0]
    held = PUBLIC[::10]
    model = Classifier().eval()

    def ask(asked: Tensor) -> Tensor:
        with torch.no_grad():
            return model(asked.float() / 255).softmax(dim=1)

    public = Recipe("split", "x", {"resolution_px": PX})
    (recipe,) = poisoned.defense.serving(Recipe("target", "x"), public).values()
    run = TrainingRun(seed=derive_seed("substitute", 0))
    own = DefendersImages(public=images, held=held, private=lambda: PRIVATE)
    train(recipe, own, ask, CLASSES, Inputs({}, lambda needed: tmp_path), run, tmp_path)
    (files,) = poisoned._files.values()
    assert set(files) == {"inverter.safetensors", "gradient.safetensors"}
    assert all((tmp_path / name).read_bytes() == data for name, data in files.items())


def test_an_image_has_one_answer_alone_in_a_batch_and_from_every_guard(poisoned: Guard) -> None:
    together = poisoned(IMAGES)
    again = Guard(Classifier(), PER_QUERY, secret=5).prepare(public=PUBLIC, private=PRIVATE)
    assert torch.equal(again(IMAGES), together)
    assert torch.equal(copy.deepcopy(poisoned)(IMAGES), together)
    alone = torch.stack([poisoned(image) for image in IMAGES])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-6)
    other = Guard(Classifier(), "noisy_scores")
    assert torch.equal(other(IMAGES), other(IMAGES))
    assert not torch.equal(Guard(Classifier(), "noisy_scores")(IMAGES), other(IMAGES)), "every guard draws a secret"


@pytest.mark.parametrize("text", [PER_QUERY, f"lpa_vae({SMALL}, epochs=1)"])
def test_threads_get_the_answers_that_are_given_one_after_the_other(text: str) -> None:
    guard = Guard(Classifier(), text, secret=5).prepare(public=PUBLIC, private=PRIVATE)
    serial = [guard(image) for image in IMAGES]
    fresh = copy.deepcopy(guard)  # whose first queries come at once
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            at_once = list(pool.map(fresh, list(IMAGES) * 2))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(found, expected) for found, expected in zip(at_once, serial * 2, strict=True))


def test_answers_are_the_same_in_inference_mode_and_under_autocast(poisoned: Guard) -> None:
    expected = poisoned(IMAGES)
    with torch.inference_mode():
        assert torch.equal(poisoned(IMAGES.clone()), expected)
    seen: list[torch.dtype] = []
    probabilities = poisoned._probabilities(IMAGES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen.append((IMAGES[0, 0] @ IMAGES[0, 0]).dtype)
        assert torch.equal(poisoned._answers(IMAGES, probabilities), expected)
    assert seen == [torch.bfloat16], "autocast is on"


def test_preparing_leaves_generators_and_modes_alone_and_reports() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    seen: list[dict[str, Any]] = []
    guard = Guard(Classifier(), f"lpa_vae({SMALL}, epochs=2)")
    torch.manual_seed(3)
    with torch.inference_mode():
        guard.prepare(public=PUBLIC, private=PRIVATE, report=seen.append)
    assert torch.equal(torch.get_rng_state(), before)
    assert {where["substitute"] for where in seen} == {"lpa_vae.vae", "lpa_vae.vae.inverter"}
    assert seen[-1] == {"substitute": "lpa_vae.vae", "epoch": 2, "epochs": 2}
    assert guard.facts["lpa_vae.vae.inverter"]["held_out_mse"] > 0


def test_a_stack_prepares_on_the_answers_of_the_parts_before() -> None:
    text = f"purification(hidden=4, epochs=1)+{PER_QUERY}"
    guard = Guard(Classifier(), text, secret=5).prepare(public=PUBLIC, private=PRIVATE)
    alone = Guard(Classifier(), PER_QUERY, secret=5).prepare(public=PUBLIC, private=PRIVATE)
    assert guard.needs == ("purification.purifier", "lpa.inverter")
    assert guard._files["lpa.inverter"] != alone._files["lpa.inverter"]
    assert guard(IMAGES).shape == (len(IMAGES), CLASSES)


def test_images_may_be_tensors_data_sets_or_photographs(poisoned: Guard) -> None:
    photographs = [(Image.fromarray(image.permute(1, 2, 0).numpy()), 0) for image in PUBLIC]
    for public in (PUBLIC.float() / 255, TensorDataset(PUBLIC, torch.zeros(24)), photographs):
        guard = Guard(Classifier(), PER_QUERY, secret=5).prepare(public=public, private=TensorDataset(PRIVATE))
        assert guard._files == poisoned._files


def test_what_changes_training_is_refused_with_all_that_is_wrong() -> None:
    with pytest.raises(SpecError) as caught:
        Guard(Classifier(), "midre+rounding+nls")
    assert len(caught.value.problems) == 2
    for name, problem in zip(("midre", "nls"), caught.value.problems, strict=True):
        assert problem.startswith(f"{name} changes how a network is trained") and "guard that network with" in problem
        assert "'rounding'" in problem
    with pytest.raises(SpecError, match="2 problems"):
        Guard(Classifier(), "lpaa+rounding(decimal=1)")
    with pytest.raises(SpecError, match=r"guard one with .*lpa"):
        Guard(Classifier(), "bido")
    with pytest.raises(SpecError, match="is not registered"):
        Guard(Classifier(), type("Mine", (Defense,), {})())


@pytest.mark.parametrize(("text", "advice"), [("lpa", "alignment=per_query"), ("lfp", "answers the queries")])
def test_joint_answers_are_said(text: str, advice: str) -> None:
    with pytest.warns(UserWarning, match=advice):
        guard = Guard(Classifier(), text)
    assert "answers depend on the other images of a call" in repr(guard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "depend" not in repr(Guard(Classifier(), f"{text}(radius=0.0)" if text == "lpa" else "rounding"))


def test_what_is_missing_to_prepare_is_said_at_once() -> None:
    guard = Guard(Classifier(), PER_QUERY)
    with pytest.raises(SpecError, match=r"lpa\.inverter, which this guard has not; call guard\.prepare\(public="):
        guard(IMAGES)
    with pytest.raises(SpecError) as caught:
        guard.prepare(public=PUBLIC[:3])
    assert [word in str(caught.value) for word in ("needs `private`", "at least 8")] == [True, True]
    with pytest.raises(SpecError, match="public images have 8 px and private ones 4"):
        guard.prepare(public=PUBLIC, private=PRIVATE[..., :4, :4])
    with pytest.raises(ShapeError, match="private: expected square images"):
        guard.prepare(public=PUBLIC, private=PRIVATE[..., :4])
    with pytest.raises(DataError, match=r"public: .* got str"):
        guard.prepare(public=["a.png"], private=PRIVATE)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((IMAGES * 255).to(torch.uint8), r"got torch.uint8; divide by 255"),
        (IMAGES * 255, r"values from .* to 255; divide by 255"),
        ((IMAGES - 0.5) / 0.2, "leave the normalisation to the module"),
        (IMAGES * torch.nan, "got values from nan"),
        (IMAGES[:, :1], r"expected images \[B, 3, H, W\].*repeat a grey"),
        (IMAGES[:0], "B >= 1"),
        (IMAGES[..., :4], "images of 8 x 8, got 8 x 4; resize"),
        (IMAGES.numpy(), "got ndarray"),
    ],
)
def test_wrong_images_are_refused(poisoned: Guard, images: Any, message: str) -> None:
    with pytest.raises(MidefError, match=message):
        poisoned(images)


class Answering(nn.Module):
    """Answers what it is told to."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: Tensor) -> Any:
        return self.output


GIVEN = torch.randn(len(IMAGES), CLASSES, generator=torch.Generator().manual_seed(1)).softmax(dim=1)


@pytest.mark.parametrize(
    ("output", "outputs", "message"),
    [
        (GIVEN * torch.nan, "logits", "answered with numbers that are not finite"),
        (GIVEN[:3], "logits", r"\[10, K\] with K >= 2 from the module, got \[3, 4\]"),
        ((GIVEN,), "logits", "expected a tensor .* got tuple"),
        (GIVEN.log(), "probabilities", "say outputs='logits'"),
        (2 * GIVEN, "probabilities", "rows must be at least 0 and sum to 1"),
    ],
)
def test_wrong_outputs_are_refused(output: Any, outputs: Any, message: str) -> None:
    with pytest.raises(MidefError, match=message):
        Guard(Answering(output), "rounding", outputs=outputs)(IMAGES)


def test_outputs_may_be_probabilities_or_hold_logits() -> None:
    expected = Guard(Answering(GIVEN.log()), "rounding(decimals=1)")(IMAGES)
    torch.testing.assert_close(
        Guard(Answering(GIVEN), "rounding(decimals=1)", outputs="probabilities")(IMAGES), expected
    )
    held = type("Output", (), {"logits": GIVEN.log()})()
    assert torch.equal(Guard(Answering(held), "rounding(decimals=1)")(IMAGES), expected)
    with pytest.warns(UserWarning, match="say outputs='probabilities'"):
        Guard(Answering(GIVEN), "rounding")(IMAGES)


def test_other_classes_than_prepared_for_are_refused(poisoned: Guard) -> None:
    guard = copy.deepcopy(poisoned)
    guard.model = Classifier(classes=6).eval()
    with pytest.raises(ShapeError, match="for 4 classes and the module answered with 6"):
        guard(IMAGES)


def test_a_guard_stays_in_eval_mode_and_notices_a_model_that_does_not() -> None:
    model = Classifier().train()
    guard = Guard(model, "rounding")
    assert not any(module.training for module in guard.modules())
    nn.Sequential(guard).train()
    assert not model.training
    model.body[4].train()
    with pytest.raises(SpecError, match=r"train mode \(body.4\).*guard.eval\(\)"):
        guard(IMAGES)
    assert guard.eval()(IMAGES).shape == (10, CLASSES)


def test_a_guard_holds_the_weights_of_the_model_and_nothing_that_learns() -> None:
    model = Classifier()
    guard = Guard(model, "noisy_scores", secret=1)
    assert {id(p) for p in guard.parameters()} == {id(p) for p in model.parameters()}
    assert guard.state_dict().keys() == {f"model.{name}" for name in model.state_dict()}
    assert "secret" not in repr(guard)
    images = IMAGES.clone().requires_grad_()
    assert not guard(images).requires_grad
