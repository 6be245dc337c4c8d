"""A judge: a published trunk that stays as it is, and a head fitted on private training images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import ATTACKS
from midef.core import Choice, DataError, Protocol, SpecError
from midef.core.errors import MissingArtifact, TrainingDiverged
from midef.datasets import DATASETS
from midef.models import ARCHITECTURES, Judge, ModelFacts, PublishedFile, pretrained
from midef.nn.named_file import sha256_of
from midef.nn.network import TargetModel
from midef.stages import BuildContext, build, ensure, place_weights, problems_of_attack, published_recipe
from midef.stages.evaluator import EvaluatorSpec, evaluate_images, load
from midef.stages.recipes import NO_DEFENSE, evaluator_recipe, split_recipe, target_recipe
from midef.stages.split import load as load_splits
from midef.storage import Store
from midef.testing import ArchitectureContract
from midef.testing.positions import positions, rises_to_the_end
from midef.training import TrainingRecipe

PlanCell = Callable[..., Any]
JUDGE = ARCHITECTURES.choose("mobilefacenet")
HEADS = ("centre", "linear")
CLASSES = 3
PEOPLE = {"name": "synthetic_faces", "identities": CLASSES, "train_images": 2, "select_images": 1, "report_images": 1}
AT_112 = Protocol(identities=CLASSES, images_per_identity=1, evaluator_resolution_px=112)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published file with random weights."""
    torch.manual_seed(0)
    blocks, names = ARCHITECTURES.make("mobilefacenet").build(2, 112).blocks, names_there()
    folder = tmp_path_factory.mktemp("weights")
    torch.save({names[ours]: tensor for ours, tensor in blocks.state_dict().items()}, folder / "mobilefacenet.pt")
    return folder


@pytest.fixture(autouse=True)
def _known_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ARCHITECTURES.get("mobilefacenet")
    assert judge.published is not None
    digest = sha256_of(folder / "mobilefacenet.pt")
    monkeypatch.setattr(judge, "published", replace(judge.published, sha256=digest))


def planned(folder: Path, plan: PlanCell, head: str = "centre", **given: Any) -> Any:
    judge = ARCHITECTURES.choose({"name": "mobilefacenet", "head": head})
    weights, _ = place_weights("ms1m", judge, folder)
    about = {"private": DATASETS.choose(PEOPLE), "protocol": AT_112, **given}
    return plan(evaluator=judge, evaluator_weights=weights, **about)


@pytest.fixture(scope="module")
def context(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildContext:
    locations = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "verify", lambda weights, architecture, path: sha256_of(path))
        for head in HEADS:
            judge = ARCHITECTURES.choose({"name": "mobilefacenet", "head": head})
            weights, where = place_weights("ms1m", judge, folder)
            locations[published_recipe(weights, judge, 112).key.digest] = where
    return BuildContext(store=Store.open(tmp_path_factory.mktemp("judge") / "store"), locations=locations)


@pytest.mark.parametrize("head", HEADS)
def test_the_trunk_stays_as_published_and_the_head_fits_the_training_images(
    head: str, folder: Path, context: BuildContext, plan: PlanCell
) -> None:
    recipes = planned(folder, plan, head)
    stored = load_file(ensure(recipes.evaluator, context) / "model.safetensors")
    published = torch.load(folder / "mobilefacenet.pt", weights_only=True)
    names = {f"blocks.{k}": v for k, v in names_there().items()}
    assert set(stored) == {*names, "head.weight", "head.bias"}
    assert all(torch.equal(stored[ours], published[theirs]) for ours, theirs in names.items())

    splits = load_splits(ensure(recipes.evaluator.inputs["private"], context))
    spec = EvaluatorSpec.of(recipes.evaluator)
    model = load(spec, ensure(recipes.evaluator, context), context, len(splits.class_names))
    features = torch.from_numpy(evaluate_images(model, splits.train.images, "cpu", at_once=spec.at_once)[1]).double()
    if head == "centre":
        assert torch.equal(stored["head.bias"], torch.zeros(CLASSES))
        torch.testing.assert_close(stored["head.weight"].double(), centres(features, splits.train.labels, CLASSES))
    else:
        slopes = slopes_of(stored["head.weight"].double(), stored["head.bias"].double(), features, splits.train.labels)
        assert max(slope.abs().max() for slope in slopes) < 1e-6


def names_there() -> dict[str, str]:
    judge = ARCHITECTURES.make("mobilefacenet")
    assert judge.published is not None
    return {ours: judge.published.named(ours) for ours in judge.build(2, 112).blocks.state_dict()}


def centres(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """One class at a time, from the formula."""
    rows = []
    for label in range(classes):
        mean = features[labels == label].mean(dim=0)
        rows.append(mean / mean.square().sum().sqrt())
    return torch.stack(rows)


def slopes_of(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of the loss, by hand: mean over classes of the mean cross entropy of its images, and half 1e-4 the squares."""
    answers = (features @ weight.T + bias).softmax(dim=1)
    of_weight, of_bias = 1e-4 * weight, 1e-4 * bias
    for label in range(len(weight)):
        images = labels == label
        wrong = answers[images].clone()
        wrong[:, label] -= 1
        of_weight = of_weight + wrong.T @ features[images] / (images.sum() * len(weight))
        of_bias = of_bias + wrong.sum(dim=0) / (images.sum() * len(weight))
    return of_weight, of_bias


def test_the_key_holds_file_and_head_and_nothing_of_a_training(folder: Path) -> None:
    private = split_recipe(Choice("synthetic_faces"), 112)
    weights, _ = place_weights("ms1m", JUDGE, folder)
    published = published_recipe(weights, JUDGE, 112)
    short, long = (evaluator_recipe(private, JUDGE, TrainingRecipe(epochs=n), published=published) for n in (1, 90))
    assert short.key == long.key
    linear = ARCHITECTURES.choose("mobilefacenet(head=linear)")
    assert evaluator_recipe(private, linear, TrainingRecipe(), published=published).key != short.key
    other = published_recipe(Choice("ms1m", {"sha256": "0" * 64}), JUDGE, 112)
    assert evaluator_recipe(private, JUDGE, TrainingRecipe(), published=other).key != short.key


def test_a_judge_is_no_target() -> None:
    private = split_recipe(Choice("synthetic_faces"), 112)
    with pytest.raises(SpecError, match=r"mobilefacenet only judges.*write evaluator: mobilefacenet"):
        target_recipe(private, JUDGE, NO_DEFENSE, TrainingRecipe(), seed=0)


@pytest.mark.parametrize(
    "written", ["mobilefacenet", " mobilefacenet(head=linear)", {"name": "mobilefacenet"}], ids=str
)
def test_an_attack_that_names_a_judge_is_planned_by_nobody(written: Any, plan: PlanCell) -> None:
    about = ATTACKS.choose("gmi")
    advised = replace(about, params={**about.params, "prior": {"students": ["vgg16", written]}})
    assert problems_of_attack(about) == []
    with pytest.raises(SpecError, match="gmi names mobilefacenet, which only judges; choose another network"):
        plan(attack=advised)


def test_a_judge_without_its_weights_says_what_to_give() -> None:
    private = split_recipe(Choice("synthetic_faces"), 112)
    with pytest.raises(SpecError, match=r"published weights \(ms1m\), got none; give the setup evaluator_weights"):
        evaluator_recipe(private, JUDGE, TrainingRecipe())


def test_no_processes_train_a_judge_together(
    folder: Path, plan: PlanCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(build, "build_recipe", lambda recipe, context: done.append(f"{recipe.kind} built"))
    context = BuildContext(
        store=Store.open(tmp_path), fit=lambda recipe, context: done.append(f"{recipe.kind} trained")
    )
    with pytest.raises(MissingArtifact):  # nothing is really built
        ensure(planned(folder, plan).evaluator, context)
    assert done == ["evaluator built"]


def test_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mobilefacenet.pt").write_bytes((folder / "mobilefacenet.pt").read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"mobilefacenet\.pt is damaged or another file: its sha256 begins with"):
        place_weights("ms1m", JUDGE, tmp_path)


@dataclass(frozen=True, kw_only=True)
class Averages(Judge):
    """Mean colours of the quarters of an image, from a package of others."""

    paper: ClassVar[str] = "illustration"
    family: ClassVar[str] = "averages"
    is_small: ClassVar[bool] = True
    registered_name: ClassVar[str] = "averages"

    @override
    def facts(self) -> ModelFacts:
        return ModelFacts(self.family, ("scaled",), ("scaled",), has_batch_norm=True)

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        scaled = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.BatchNorm1d(12))
        model = TargetModel([("scaled", scaled)], nn.Linear(12, n_classes), feature_dim=12, n_classes=n_classes)
        return self.frozen(model)


def test_a_judge_of_another_package_is_fitted_and_asked_the_same(
    tmp_path: Path, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES._classes, "averages", Averages)
    state = Averages().build(2, 40).blocks.state_dict()
    state["scaled.2.running_mean"] += 0.5
    torch.save(state, tmp_path / "averages.pt")
    digest = sha256_of(tmp_path / "averages.pt")
    file = PublishedFile(weights="colours", name="averages.pt", sha256=digest, source="somewhere")
    monkeypatch.setattr(Averages, "published", file)
    suite = ArchitectureContract()
    suite.test_a_judge_says_which_file_has_its_weights("averages")
    suite.test_nothing_trains_a_judge("averages")
    suite.test_a_judge_is_no_target_and_no_network_of_an_attack("averages")

    judge = ARCHITECTURES.choose("averages")
    weights, where = place_weights("colours", judge, tmp_path)
    evaluator = plan(evaluator=judge, evaluator_weights=weights).evaluator
    store = Store.open(tmp_path / "store")
    context = BuildContext(store=store, locations={evaluator.inputs["backbone"].key.digest: where})
    for needed in evaluator.inputs.values():
        ensure(needed, context)
    with positions() as told:
        stored = load_file(ensure(evaluator, context) / "model.safetensors")
    rises_to_the_end(told)
    assert all(torch.equal(stored[f"blocks.{name}"], tensor) for name, tensor in state.items())
    assert store.artifacts.meta(evaluator.key)["facts"]["train_accuracy"] > 12.5
    assert pretrained.weight_file("colours", "averages", tmp_path).name == "averages.pt"


def test_a_judge_without_numbers_is_not_advised_to_train(
    tmp_path: Path, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are finite, what it makes of an image is not."""
    monkeypatch.setitem(ARCHITECTURES._classes, "averages", Averages)
    state = Averages().build(2, 40).blocks.state_dict()
    torch.save({**state, "scaled.2.running_var": -torch.ones(12)}, tmp_path / "averages.pt")
    digest = sha256_of(tmp_path / "averages.pt")
    file = PublishedFile(weights="colours", name="averages.pt", sha256=digest, source="somewhere")
    monkeypatch.setattr(Averages, "published", file)
    judge = ARCHITECTURES.choose("averages")
    weights, where = place_weights("colours", judge, tmp_path)
    evaluator = plan(evaluator=judge, evaluator_weights=weights).evaluator
    locations = {evaluator.inputs["backbone"].key.digest: where}
    with pytest.raises(TrainingDiverged, match="answers of the evaluator are not finite; choose another evaluator"):
        ensure(evaluator, BuildContext(store=Store.open(tmp_path / "store"), locations=locations))
