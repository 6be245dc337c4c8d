"""An audit from the file to the rows: a tiny network of midef, trained here, audited as if it came from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import midef
from midef.attacks import ATTACKS, AccessLevel
from midef.attacks.base import small_budget
from midef.audit import run
from midef.audit.answers import AnswerStore
from midef.audit.data import read_data
from midef.audit.function import Function
from midef.audit.given import take_model
from midef.audit.input import read_input
from midef.audit.judge import choose_judge
from midef.audit.plan import make_plan
from midef.audit.report import AuditReport
from midef.audit.reported import report_of
from midef.audit.run import Audited, budget_s
from midef.core import Protocol, Setup
from midef.core.errors import BudgetReached, SpecError
from midef.core.registry import merged
from midef.datasets import DATASETS
from midef.models import ARCHITECTURES
from midef.stages import BuildContext, ensure, recipes_for_cell
from midef.stages.recipes import NO_DEFENSE
from midef.storage import Store
from midef.sweep.cli.audit import exit_code
from midef.sweep.spec.profiles import profile_named
from midef.training import TrainingRecipe

PX, PEOPLE = 32, 5
PRIVATE = {"name": "synthetic_faces", "identities": PEOPLE, "difficulty": 0.0, "train_images": 12, "report_images": 4}
PUBLIC = {"name": "synthetic_faces", "population": "public", "identities": 8, "train_images": 2}
ATTACK = {"name": "gmi", "iterations": 3, "prior": {"steps": 2, "width": 4, "latent_dim": 4, "batch_size": 4}}
OTHER = {**ATTACK, "iterations": 2}
BUDGET = {"profile": "smoke", "identities": 3, "images_per_identity": 1, "resolution_px": PX}
TRAINING = TrainingRecipe(epochs=40, optimizer="adamw", learning_rate=3e-3, batch_size=16)


@dataclass(frozen=True)
class Inside:
    """A target that midef trained, its reconstructions, and where it lies."""

    store: Store
    weights: Path
    images: np.ndarray


def quick_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the judge of an audit learn as the target does."""
    from midef.audit import plan

    budget = dict(vars(TRAINING))
    monkeypatch.setattr(plan, "profile_named", lambda name: replace(profile_named(name), evaluator_training=budget))


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Inside:
    store = Store.open(tmp_path_factory.mktemp("inside"))
    profile = profile_named("smoke")
    assert profile.small is not None
    small = {"name": "gmi", **small_budget("gmi", {}, profile.small)}
    setup = Setup(
        id="inside",
        attack=ATTACKS.choose(merged(small, ATTACK)),
        architecture=ARCHITECTURES.choose("vgg16_tiny"),
        private=DATASETS.choose(PRIVATE),
        public=DATASETS.choose(PUBLIC),
        evaluator=ARCHITECTURES.choose("resnet18_tiny"),
        resolution_px=PX,
        protocol=Protocol(identities=3, images_per_identity=1, evaluator_resolution_px=PX),
    )
    cell = recipes_for_cell(setup, NO_DEFENSE, 0, training=TRAINING, evaluator_training=TRAINING)
    made = ensure(cell.reconstructions, BuildContext(store=store))
    with np.load(made / "images.npz") as arrays:
        images = arrays["images"]
    return Inside(store, store.artifacts.fetch(cell.target.key) / "model.safetensors", images)


@pytest.fixture
def call(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Audited]:
    quick_judge(monkeypatch)

    def audit(model: Any = inside.weights, **options: Any) -> Audited:
        asked: Mapping[str, Any] = {"attacks": [ATTACK], "arch": "midef/vgg16_tiny", **BUDGET, **options}
        return run.audit(model, private=PRIVATE, public=PUBLIC, store=inside.store, **asked)

    return audit


def reconstructions(found: Audited) -> np.ndarray:
    made = found.store.artifacts.fetch(found.plan.cells[0].recipes.reconstructions.key)
    with np.load(made / "images.npz") as arrays:
        images: np.ndarray = arrays["images"]
    return images


def test_a_network_of_midef_is_attacked_alike_when_it_comes_from_a_file(
    inside: Inside, call: Callable[..., Audited]
) -> None:
    said: list[str] = []
    found = call(say=said.append)
    assert np.array_equal(reconstructions(found), inside.images)
    assert found.known.train is not None and found.known.train.value > 60, found.known
    row = found.attack_accuracies[next(iter(found.attack_accuracies))]
    assert row.evaluator_accuracy == pytest.approx(found.judge.value)
    assert row.architecture == "vgg16_tiny (given)" and row.defense == "none" and row.chance == 20
    assert not [r for r in found.rows if r.metric == "train_s"], "the training was elsewhere"
    text = "\n".join(said)
    assert "32 px, images in [0, 1]" in text and "sorted names" in text and "trained elsewhere" in text
    codes = [exit_code(found, report_of(found, threshold=threshold)) for threshold in (None, 0.0, 100.0)]
    assert codes == [0, 5, 0]

    again = call(say=said.append)
    assert said[-1].endswith("stored, not repeated")
    assert list(again.rows) == list(found.rows)
    report: AuditReport = midef.audit(  # type: ignore[operator]
        inside.weights,
        private=PRIVATE,
        public=PUBLIC,
        store=inside.store,
        attacks=[ATTACK],
        arch="vgg16_tiny",
        **BUDGET,
    )
    assert report.worst.value == row.number and report.subject.digest == found.plan.model.given.sha256
    with pytest.raises(SpecError, match="no public images"):
        run.audit(inside.weights, private=PRIVATE, store=inside.store, attacks=[ATTACK], arch="vgg16_tiny", **BUDGET)


def test_a_module_is_attacked_like_its_file_and_a_time_that_is_up_loses_nothing(
    inside: Inside, call: Callable[..., Audited]
) -> None:
    network = ARCHITECTURES.make("vgg16_tiny").build(PEOPLE, PX)
    network.load_state_dict(load_file(inside.weights))

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images).logits
            return logits

    none = call(Mine().train(), attacks=[ATTACK, OTHER], budget=0)
    assert not none.rows and none.stopped == "budget reached" and exit_code(none, report_of(none)) == 4
    found = call(Mine().train(), attacks=[ATTACK, OTHER], budget="20m")
    assert np.array_equal(reconstructions(found), inside.images)
    assert len(found.attack_accuracies) == 2 and not found.skipped


def test_a_model_at_chance_is_not_attacked_and_the_message_says_what_would_help(
    inside: Inside, call: Callable[..., Audited], tmp_path: Path
) -> None:
    tensors = load_file(inside.weights)
    moved = [1, 2, 3, 4, 0]
    for name in ("head.weight", "head.bias"):
        tensors[name] = tensors[name][moved]
    path = tmp_path / "moved.safetensors"
    save_file(tensors, path)
    with pytest.raises(SpecError, match="Order of classes or normalisation") as stopped:
        call(path)
    assert "in another order" in str(stopped.value)
    names = [DATASETS.make(PRIVATE["name"], {k: v for k, v in PRIVATE.items() if k != "name"}).load(PX).class_names[i]
             for i in moved]  # fmt: skip
    found = call(path, classes=names, attacks=[ATTACK])
    assert np.array_equal(reconstructions(found), inside.images), "the order puts the outputs back"

    with pytest.raises(SpecError, match="Order of classes or normalisation") as stopped:
        call(mean=[2.0], std=[0.01])
    assert "`--input own`" in str(stopped.value) and "% of" in str(stopped.value)


def test_attacks_beyond_the_access_of_a_function_are_refused_by_name(
    inside: Inside, call: Callable[..., Audited]
) -> None:
    network = ARCHITECTURES.make("vgg16_tiny").build(PEOPLE, PX).eval()
    network.load_state_dict(load_file(inside.weights))

    def served(images: Tensor) -> Tensor:
        with torch.no_grad():
            answers: Tensor = network(images).logits.softmax(dim=1)
        return answers

    with pytest.raises(SpecError, match="needs white box, my-api answers with scores"):
        call(served, name="my-api", outputs="probabilities")


def test_a_model_that_is_only_asked_is_audited_to_its_report_and_asked_once(
    inside: Inside, call: Callable[..., Audited], tmp_path: Path
) -> None:
    network = ARCHITECTURES.make("vgg16_tiny").build(PEOPLE, PX).eval()
    network.load_state_dict(load_file(inside.weights))
    shown: list[Tensor] = []

    def served(images: Tensor) -> Tensor:
        shown.append(images)
        answers: Tensor = network(images).logits.softmax(dim=1)
        return answers

    door = Function(served, name="door-v1", store=AnswerStore(tmp_path / "answers.sqlite"))
    prior = {"steps": 2, "width": 4, "latent_dim": 4, "batch_size": 4}
    attack = {"name": "brep_mi", "patience": 1, "pool_batches": 1, "prior": prior}
    found = call(door, attacks=[attack])
    assert [row.number is not None for row in found.attack_accuracies.values()] == [True]
    report = report_of(found)
    assert exit_code(found, report) == 0 and "cannot be checked" in " ".join(report.limits)
    assert report.subject.access == "scores" and door.paid == door.stored == sum(map(len, shown))
    before = door.paid
    again = call(door, attacks=[attack])
    assert list(again.rows) == list(found.rows) and door.paid == before


def test_a_budget_is_a_time() -> None:
    assert budget_s("1h30m") == 5400
    for wrong in ("20", "soon", "20m!", -1, float("nan")):
        with pytest.raises(SpecError, match="a budget is"):
            budget_s(wrong)


class Told:
    """A model that answers with labels alone."""

    name, access, n_classes = "labels-v1", AccessLevel.LABELS, PEOPLE

    def __call__(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), dtype=torch.int64)


def test_without_named_attacks_those_are_chosen_that_the_model_allows() -> None:
    data = read_data(PRIVATE, PUBLIC)
    model = take_model(Told(), read_input(resolution_px=PX))
    judge = choose_judge(model.given, PX)
    plan = make_plan(model, data, judge, [], profile="smoke", identities=2)
    levels = {ATTACKS.get(c.cell.setup.attack.name).access for c in plan.cells}
    assert levels == {AccessLevel.LABELS}
    assert plan.refused["gmi"] == "needs the weights, and the model gives labels alone" and "- gmi" in plan.reasons
    assert not set(plan.refused) & {c.cell.setup.attack.label for c in plan.cells}
    assert plan.evaluator.key in {recipe.key for recipe in plan.cells[0].recipes.scores.inputs.values()}
    assert plan.target.key == plan.cells[0].recipes.target.key


def test_two_attacks_of_one_name_are_told_apart_and_one_written_twice_is_one() -> None:
    data = read_data(PRIVATE, PUBLIC)
    model = take_model(nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, PEOPLE)), read_input(resolution_px=PX))
    shorter = "gmi(prior={steps: 7})"
    plan = make_plan(model, data, choose_judge(model.given, PX), ["gmi", shorter, "gmi"], profile="smoke", identities=2)
    assert [c.cell.setup.attack.label for c in plan.cells] == ["gmi", "gmi (2)"]
    assert len({c.cell.digest for c in plan.cells}) == len({c.cell.setup.id for c in plan.cells}) == 2


def test_a_query_budget_that_is_up_stops_and_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_data(PRIVATE, PUBLIC)
    model = take_model(Told(), read_input(resolution_px=PX))
    plan = make_plan(model, data, choose_judge(model.given, PX), [], profile="smoke", identities=2)
    assert len(plan.cells) > 1
    asked: list[str] = []

    def reach(recipe: Any, context: Any) -> None:
        asked.append(recipe.kind)
        raise BudgetReached("labels-v1: the query budget of 5 is reached")

    monkeypatch.setattr(run, "ensure", reach)
    store = Store.open(tmp_path)
    context = BuildContext(store=store, locations=plan.locations)
    left_out, stopped = run.run_cells(plan, context, until=None, say=lambda _: None)
    assert stopped == "budget reached" and len(asked) == 1
    assert set(left_out) == {c.cell.setup.attack.label for c in plan.cells}
    assert not store.results.cells(), "nothing is stored as failed"
