"""A few lines of Python are enough, with a store and without one."""

from __future__ import annotations

import json
from pathlib import Path

from midef.attacks import ATTACKS
from midef.core import Protocol, Setup
from midef.datasets import DATASETS
from midef.defenses import DEFENSES
from midef.models import ARCHITECTURES
from midef.stages import BuildContext, ensure, recipes_for_cell
from midef.storage import Store
from midef.training import TrainingRecipe
from midef.training.classifier.evaluate import accuracy
from midef.training.classifier.fit import fit_classifier

PEOPLE = "synthetic_faces(identities=8,train_images=6,select_images=1,report_images=2)"


def test_a_cell_in_ten_lines(tmp_path: Path) -> None:
    gan = {"width": 4, "latent_dim": 4, "steps": 2, "batch_size": 4}
    setup = Setup(
        id="mine",
        attack=ATTACKS.choose({"name": "gmi", "iterations": 2, "prior": gan}),
        architecture=ARCHITECTURES.choose("vgg16_tiny"),
        private=DATASETS.choose(PEOPLE),
        public=DATASETS.choose(PEOPLE.replace("(", "(population=public,")),
        evaluator=ARCHITECTURES.choose("resnet18_tiny"),
        resolution_px=32,
        protocol=Protocol(identities=4, images_per_identity=2, evaluator_resolution_px=32),
    )
    training = TrainingRecipe(epochs=1, batch_size=16)
    cell = recipes_for_cell(
        setup, DEFENSES.choose("nls"), 0, training=training, evaluator_training=training, regressor_images=64
    )
    folder = ensure(cell.scores, BuildContext(store=Store.open(tmp_path / "store")))
    measured = {entry["metric"]: entry for entry in json.loads((folder / "measurements.json").read_text())}
    assert measured["attack_accuracy_at_1"]["n"] == 8 and measured["queries"]["value"] == 16


def test_a_defended_target_without_a_store() -> None:
    splits = DATASETS.remake(DATASETS.choose(PEOPLE)).load(32)
    architecture = ARCHITECTURES.make("resnet18_tiny")
    model = architecture.build(len(splits.class_names), 32)
    recipe = TrainingRecipe(epochs=12, batch_size=16, optimizer="adam", learning_rate=3e-3, flip=0.0)
    defense = DEFENSES.make("nls")
    before = accuracy(model, splits.train, device="cpu")
    fit_classifier(
        model, splits.train, splits.select, facts=architecture.facts(), recipe=recipe, defense=defense, seed=0
    )
    assert accuracy(model, splits.train, device="cpu") > before + 20
