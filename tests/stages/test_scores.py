"""How reconstructions reach the evaluator, and what is kept of its judgement."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from midef.core import Inputs
from midef.core.errors import TrainingDiverged
from midef.core.outcomes import digest_of, read
from midef.defenses.stack import choose_defense
from midef.metrics import Evidence
from midef.nn.network import TargetModel
from midef.stages import ensure, scores
from midef.stages.resize import low_to_high
from midef.stages.restarts import best_restarts
from midef.stages.scores import build, evaluate_images, measure
from midef.stages.split import load as load_splits
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target


@pytest.mark.parametrize("px", [12, 40, 112], ids=["smaller", "larger", "as in the papers"])
def test_low_to_high_is_pillows_bilinear_on_eight_bits(px: int) -> None:
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = low_to_high(images, px)
    assert found.dtype == torch.uint8 and found.shape == (3, 3, px, px)
    for mine, image in zip(found, images, strict=True):
        for channel in range(3):  # one grey image per channel: another way through Pillow
            expected = Image.fromarray(image[channel].numpy()).resize((px, px), Image.Resampling.BILINEAR)
            assert np.array_equal(mine[channel].numpy(), np.asarray(expected))


def test_low_to_high_leaves_images_of_the_right_size_alone() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(low_to_high(images, 16), images)


def evaluator_of(cell: Any) -> Any:
    return load_target(TargetSpec.of(cell.recipes.evaluator), cell.folder("evaluator"), cell.context, 8)


def test_the_evaluators_accuracy_is_stored(cell: Any) -> None:
    report = load_splits(cell.folder("evaluator").parents[1] / "split" / judged_digest(cell)).report
    logits, _ = evaluate_images(evaluator_of(cell), report.images, "cpu")
    expected = 100 * float((logits.argmax(1) == report.labels.numpy()).mean())
    assert cell.facts("scores")["evaluator_accuracy"] == pytest.approx(expected)
    assert cell.facts("evaluator")["report_accuracy"] == pytest.approx(expected)
    low, high = (cell.facts("scores")[f"evaluator_{end}"] for end in ("low", "high"))
    assert 0 <= low < expected < high <= 100


def test_which_images_succeeded_is_kept_and_makes_the_accuracies(cell: Any) -> None:
    """The report split with its labels names the images; the same split in another order would be another digest."""
    report = load_splits(cell.folder("private")).report
    with np.load(cell.folder("scores") / "per_image.npz", allow_pickle=False) as stored:
        kept = dict(stored)
    assert kept["report_labels"].tolist() == report.labels.tolist()
    model = load_target(TargetSpec.of(cell.recipes.target), cell.folder("target"), cell.context, 8)
    with torch.no_grad():
        answers = model(report.images.float() / 255).logits.argmax(1)
    assert kept["report_predictions"].tolist() == answers.tolist()
    entries = {e["metric"]: e for e in json.loads((cell.folder("scores") / "measurements.json").read_text())}
    natural, attack = (read(entries[name]["outcomes"]) for name in ("natural_accuracy", "attack_accuracy_at_1"))
    assert natural is not None and attack is not None
    assert natural.images == digest_of(report.images.numpy(), report.labels.numpy())
    order = np.argsort(kept["report_labels"], kind="stable")
    assert natural.identities.tolist() == kept["report_labels"][order].tolist()
    assert natural.hits.tolist() == (kept["report_predictions"] == kept["report_labels"])[order].tolist()
    order = np.lexsort((kept["restarts"], kept["labels"]))
    assert attack.identities.tolist() == kept["labels"][order].tolist()
    assert attack.hits.tolist() == kept["hit_at_1"][order].tolist()


def judged_digest(cell: Any) -> str:
    digest: str = cell.recipes.scores.inputs["judged"].key.digest
    return digest


def test_the_evaluator_sees_its_own_resolution(cell: Any) -> None:
    assert cell.recipes.evaluator.inputs["private"].params["resolution_px"] == 40
    assert cell.recipes.target.inputs["private"].params["resolution_px"] == 32


def test_hits_are_stored_per_image_and_add_up(cell: Any) -> None:
    with np.load(cell.folder("scores") / "per_image.npz", allow_pickle=False) as stored:
        hits = dict(stored)
    measured = {
        entry["metric"]: entry for entry in json.loads((cell.folder("scores") / "measurements.json").read_text())
    }
    for k in (1, 5):
        assert measured[f"attack_accuracy_at_{k}"]["value"] == pytest.approx(100 * hits[f"hit_at_{k}"].mean())
        assert measured[f"attack_accuracy_at_{k}"]["n"] == 18
    with np.load(cell.folder("reconstructions") / "images.npz", allow_pickle=False) as stored:
        seen = low_to_high(torch.from_numpy(stored["images"]), 40)
    logits, _ = evaluate_images(evaluator_of(cell), seen, "cpu")
    assert (logits.argmax(1) == hits["labels"]).tolist() == hits["hit_at_1"].tolist()
    assert hits["best_5"].shape == (18, 5) and hits["best_5"][:, 0].tolist() == logits.argmax(1).tolist()
    rows = zip(hits["best_5"].tolist(), hits["labels"].tolist(), strict=True)
    assert [label in best for best, label in rows] == hits["hit_at_5"].tolist()
    assert hits["nearest_distance"].mean() == pytest.approx(measured["knn_distance"]["value"], rel=1e-5)


def test_two_defenses_of_a_setup_are_asked_about_the_same_images(own_cell: Any, plan: Callable[..., Any]) -> None:
    other = ensure(plan(defense=choose_defense("nls")).scores, own_cell.context)
    texts = [
        {
            e["metric"]: e["outcomes"]
            for e in json.loads((folder / "measurements.json").read_text())
            if e.get("outcomes")
        }
        for folder in (own_cell.folder("scores"), other)
    ]
    judged = ("attack_accuracy_at_1", "attack_accuracy_at_5", "trait_accuracy", "trait_accuracy_at_5")
    for metric in ("natural_accuracy", *judged):
        one, two = (read(of_cell.pop(metric)) for of_cell in texts)
        assert one is not None and two is not None and one.is_paired_with(two)
    assert texts == [{}, {}]


def test_natural_accuracy_and_costs_are_those_of_the_stages(cell: Any) -> None:
    measured = {
        entry["metric"]: entry["value"]
        for entry in json.loads((cell.folder("scores") / "measurements.json").read_text())
    }
    assert measured["natural_accuracy"] == pytest.approx(cell.facts("target")["report_accuracy"])
    assert measured["queries"] == cell.facts("reconstructions")["queries"]
    assert measured["wall_s"] == cell.facts("reconstructions")["attack_s"]
    assert measured["train_s"] == cell.facts("target")["train_s"]


def test_one_exemplar_of_each_attacked_identity_is_kept(cell: Any) -> None:
    with np.load(cell.folder("scores") / "exemplars.npz", allow_pickle=False) as stored:
        images, labels = stored["images"], stored["labels"]
    train = load_splits(cell.folder("private")).train
    assert labels.tolist() == list(range(6))
    for image, label in zip(images, labels, strict=True):
        own = train.images[train.labels == int(label)].numpy()
        assert any(np.array_equal(image, one) for one in own)


def test_the_best_restart_is_picked_by_the_targets_score_alone() -> None:
    labels = np.array([3, 1, 3, 1, 3])
    scores = np.array([0.2, 0.9, 0.8, 0.1, 0.5])
    assert best_restarts(labels, scores).tolist() == [1, 2]


def test_best_of_several_is_another_number_than_the_mean_and_says_so(cell: Any, tmp_path: Path) -> None:
    """One image per identity is judged, and never under the name of the mean over all."""
    scores = cell.recipes.scores
    params = {**scores.params, "protocol": {**scores.params["protocol"], "counted": "best_by_target"}}
    best = replace(scores, params=params)
    assert best.key != scores.key
    inputs = Inputs(best.inputs, lambda needed: cell.context.store.artifacts.fetch(needed.key))
    build(best, inputs, cell.context, tmp_path)
    measured = {entry["metric"]: entry for entry in json.loads((tmp_path / "measurements.json").read_text())}
    assert measured["attack_accuracy_at_1"]["n"] == measured["attack_accuracy_at_1"]["groups"] == 6
    assert measured["attack_accuracy_at_1"]["spread"] is None
    with np.load(cell.folder("reconstructions") / "images.npz", allow_pickle=False) as stored:
        images, labels, restarts = stored["images"], stored["labels"], stored["restarts"]
    target = load_target(TargetSpec.of(cell.recipes.target), cell.folder("target"), cell.context, 8)
    with torch.no_grad():
        own = target(torch.from_numpy(images).float() / 255).logits.softmax(1).numpy()[np.arange(18), labels]
    with np.load(tmp_path / "per_image.npz", allow_pickle=False) as stored:
        kept = dict(zip(stored["labels"].tolist(), stored["restarts"].tolist(), strict=True))
    for label in range(6):
        mine = labels == label
        assert kept[label] == restarts[mine][own[mine].argmax()]


def test_float_resize_is_another_path_than_pillows() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = low_to_high(images, 28, resize="float")
    by_torch = torch.nn.functional.interpolate(images.float(), size=(28, 28), mode="bilinear", align_corners=False)
    assert (found.float() - by_torch).abs().max() <= 0.5
    assert found.shape == (2, 3, 28, 28) and not torch.equal(found, low_to_high(images, 28))


def test_a_metric_that_cannot_apply_is_refused_and_one_that_fails_failed(cell: Any) -> None:
    measured = json.loads((cell.folder("scores") / "measurements.json").read_text())
    without_pairs = {entry["metric"] for entry in measured if entry["status"] == "refused"}
    assert without_pairs == {"psnr", "ssim", "reconstruction_error", "reconstruction_error_normalised"}
    assert {entry["status"] for entry in measured if entry["metric"] not in without_pairs} == {"ok"}
    few = measure(["attack_accuracy_at_5"], small_evidence(classes=5))
    none = measure(["attack_accuracy_at_5"], small_evidence(classes=8, n=0))
    assert few[0]["status"] == "refused" and "needs more than 5 classes, got 5" in few[0]["reason"]
    assert none[0]["status"] == "failed" and few[0]["value"] is None and none[0]["value"] is None


def small_evidence(*, classes: int, n: int = 4) -> Evidence:
    rows = np.arange(n) % classes
    return Evidence(
        n_classes=classes,
        report_labels=rows,
        report_predictions=rows,
        labels=rows,
        restarts=np.zeros(n, int),
        found=np.ones(n, bool),
        evaluator_logits=np.eye(classes)[rows],
        features=np.zeros((n, 2)),
        private_features=np.zeros((classes, 2)),
        private_labels=np.arange(classes),
        queries=0,
        attack_s=0.0,
        train_s=0.0,
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_evaluator_without_numbers_judges_nothing(value: float) -> None:
    """No number is above NaN, so that it would have the first rank everywhere."""
    head = torch.nn.Linear(12, 4)
    head.bias.data[2] = value
    evaluator = TargetModel([("flat", torch.nn.Flatten())], head, feature_dim=12, n_classes=4)
    with pytest.raises(TrainingDiverged, match="3 of 3 answers of the evaluator are not finite; lower learning_rate"):
        evaluate_images(evaluator, torch.zeros(3, 3, 2, 2, dtype=torch.uint8), "cpu")


def test_a_process_evaluates_private_images_once(
    own_cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "_ANSWERS", {})
    evaluated: list[int] = []

    def watched(evaluator: Any, images: torch.Tensor, device: str, **given: Any) -> Any:
        evaluated.append(len(images))
        return evaluate_images(evaluator, images, device, **given)

    monkeypatch.setattr(scores, "evaluate_images", watched)
    recipe, context = own_cell.recipes.scores, own_cell.context
    texts = []
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
        build(recipe, Inputs(recipe.inputs, lambda needed: ensure(needed, context)), context, tmp_path / name)
        texts.append((tmp_path / name / "measurements.json").read_text())
    reconstructions, private, report = 18, 30, 16
    assert evaluated == [reconstructions, private, report, reconstructions]
    assert texts[0] == texts[1]


def test_an_evaluator_that_was_built_anew_is_asked_again(own_cell: Any, tmp_path: Path) -> None:
    """It has the recipe and the folder of the one before, and on a GPU other weights."""
    recipe, context = own_cell.recipes.scores, own_cell.context
    evaluator = recipe.inputs["evaluator"]

    def knn_distance(name: str) -> float:
        (tmp_path / name).mkdir()
        inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, context))
        build(recipe, inputs, context, tmp_path / name)
        entries = json.loads((tmp_path / name / "measurements.json").read_text())
        return next(float(entry["value"]) for entry in entries if entry["metric"] == "knn_distance")

    before = knn_distance("first")
    weights = load_file(ensure(evaluator, context) / "model.safetensors")
    constant = {n: torch.zeros_like(t) if n.endswith(("weight", "bias")) else t for n, t in weights.items()}
    context.store.artifacts.set_aside(evaluator.key, "damaged")
    with context.store.artifacts.workspace() as folder:
        save_file(constant, folder / "model.safetensors")
        context.store.artifacts.publish(evaluator, folder, wall_s=1.0)
    assert before > 0 == knn_distance("again"), "to it all images are alike"


def test_no_metric_changes_what_the_next_cell_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_ANSWERS", {})
    for _ in range(2):
        _, features = scores.remembered(("key",), lambda: (np.ones((2, 3)), np.ones((2, 2))))
        assert (features == 1).all()
        features /= 4


def test_few_bytes_of_answers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those about 50,000 images of 500 people take 200 MB, for as long as the process lives."""
    kept: dict[tuple[str, ...], Any] = {}
    monkeypatch.setattr(scores, "_ANSWERS", kept)
    monkeypatch.setattr(scores, "_MOST_BYTES", 100)
    for name, size in (("a", 5), ("b", 5), ("c", 5), ("large", 60), ("d", 5)):
        scores.remembered((name,), lambda size=size: (np.zeros((size, 1)), np.zeros((0, 1))))  # type: ignore[misc]
        assert sum(array.nbytes for answers in kept.values() for array in answers) <= 100
        assert ("large",) not in kept
    assert list(kept) == [("d",)]
