"""Planning answers at once: nothing that describes the work loads torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PLAN = """
import importlib, json, sys
for name in ("core", "storage", "datasets", "models", "defenses", "training", "attacks", "metrics", "stages"):
    importlib.import_module(f"midef.{name}")
from midef.attacks import ATTACKS, PRIORS
from midef.core import Choice, Protocol, Setup
from midef.datasets import DATASETS
from midef.defenses import DEFENSES
from midef.defenses.stack import choose_defense
from midef.metrics import METRICS
from midef.models import ARCHITECTURES
from midef.stages import recipes_for_cell
from midef.training import TrainingRecipe

registries = (ATTACKS, PRIORS, DATASETS, DEFENSES, METRICS, ARCHITECTURES)
names = {registry.kind: registry.names() for registry in registries}
for registry in (DEFENSES, ARCHITECTURES):
    for name in registry.names():
        registry.remake(registry.choose(name))
facts = [ARCHITECTURES.make(name).facts() for name in ARCHITECTURES.names()]
faces = DATASETS.choose("synthetic_faces")
setup = Setup(
    id="s", attack=ATTACKS.choose("gmi"), architecture=ARCHITECTURES.choose("vgg16"), private=faces, public=faces,
    evaluator=ARCHITECTURES.choose("resnet18"), resolution_px=64, protocol=Protocol(),
)
training = TrainingRecipe()
cell = recipes_for_cell(setup, choose_defense("midre+nls"), 0, training=training, evaluator_training=training)
heavy = [name for name in ("torch", "torchvision", "ray", "pandas", "plotly") if name in sys.modules]
print(json.dumps({"names": names, "heavy": heavy, "key": cell.scores.key.short}))
"""


@pytest.fixture(scope="module")
def planned() -> dict[str, object]:
    """What a fresh process says after it planned a cell."""
    done = subprocess.run([sys.executable, "-c", PLAN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_planning_a_cell_loads_nothing_heavy(planned: dict[str, object]) -> None:
    assert planned["heavy"] == []


def test_every_registry_lists_its_components_meanwhile(planned: dict[str, object]) -> None:
    names = planned["names"]
    assert isinstance(names, dict)
    assert {"none", "midre", "nls", "bido", "loft", "rounding"} <= set(names["defense"])
    assert all(len(found) >= 2 for found in names.values()), names


def test_the_lazy_module_is_torch_once_used() -> None:
    import torch as real

    from midef.core.lazy import F, nn, torch

    assert torch.Tensor is real.Tensor
    assert nn.Linear is real.nn.Linear and F.relu is real.nn.functional.relu
    with pytest.raises(AttributeError):
        _ = torch.no_such_function
