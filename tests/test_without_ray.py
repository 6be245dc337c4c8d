"""midef itself works on a machine that has no Ray."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
import sys

class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ImportError(f"{name} is not installed")
        return None

sys.meta_path.insert(0, NoRay())
try:
    import ray
except ImportError:
    pass
else:
    raise SystemExit("the test does not hide Ray")

import json
import pkgutil
from importlib import import_module

import midef
from midef.attacks import ATTACKS
from midef.core import Choice, Protocol, Setup
from midef.datasets import DATASETS
from midef.models import ARCHITECTURES
from midef.stages import BuildContext, ensure, recipes_for_cell
from midef.storage import Store
from midef.training import TrainingRecipe

for module in pkgutil.walk_packages(midef.__path__, "midef."):
    if not module.name.startswith("midef.sweep.execution."):  # the one room that runs on Ray
        import_module(module.name)

people = {"name": "synthetic_faces", "identities": 8, "train_images": 3, "select_images": 1, "report_images": 1}
gan = {"width": 4, "latent_dim": 4, "steps": 2, "batch_size": 4}
setup = Setup(
    id="no ray",
    attack=ATTACKS.choose({"name": "gmi", "iterations": 2, "prior": gan}),
    architecture=ARCHITECTURES.choose("vgg16_tiny"),
    private=DATASETS.choose(people),
    public=DATASETS.choose({**people, "population": "public"}),
    evaluator=ARCHITECTURES.choose("resnet18_tiny"),
    resolution_px=32,
    protocol=Protocol(identities=4, images_per_identity=1, evaluator_resolution_px=32),
)
training = TrainingRecipe(epochs=1, batch_size=8)
recipes = recipes_for_cell(
    setup, Choice("none"), 0, training=training, evaluator_training=training, regressor_images=64
)
folder = ensure(recipes.scores, BuildContext(store=Store.open(sys.argv[1])))
measured = json.loads((folder / "measurements.json").read_text())
assert "ray" not in sys.modules
print(" ".join(f"{entry['metric']}={entry['status']}" for entry in measured))
"""


@pytest.mark.slow
def test_a_target_is_trained_attacked_and_judged_without_ray(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=Path(__file__).parents[1],
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == [
        "attack_accuracy_at_1=ok",
        "attack_accuracy_at_5=ok",
        "centroid_distance=ok",
        "coverage=ok",
        "knn_distance=ok",
        "natural_accuracy=ok",
        "psnr=refused",  # of pairs, which this attack has not
        "queries=ok",
        "reconstruction_error=refused",
        "reconstruction_error_normalised=refused",
        "ssim=refused",
        "train_s=ok",
        "trait_accuracy=ok",
        "trait_accuracy_at_5=ok",
        "wall_s=ok",
    ]
