"""The sweep of both families of attacks at both resolutions: its plan, and GAN attacks of it built by their stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from midef.stages.build import BuildContext, ensure
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.result_rows import measured_rows
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import resolve

SWEEP = Path(__file__).resolve().parents[2] / "benchmarks" / "both_resolutions" / "sweep.yaml"


def test_generators_of_256_px_serve_targets_of_224_112_and_64() -> None:
    planned = {cell.cell.setup.id: cell.recipes for cell in resolve(read_spec(SWEEP)).cells}
    seen = {
        name: (
            recipes.private.params["resolution_px"],
            recipes.reconstructions.inputs["prior"].inputs["public"].params["resolution_px"],
            recipes.reconstructions.params.get("kept_px"),
        )
        for name, recipes in planned.items()
    }
    assert seen == {
        "gmi-224": (224, 256, None),
        "plg-mi-224": (224, 256, None),
        "ppa-64": (64, 256, 112),
        "if-gmi-64": (64, 256, 112),
        "gmi-112": (112, 256, 160),
    }
    gan, other = (planned[name].reconstructions.inputs["prior"] for name in ("gmi-224", "gmi-112"))
    assert gan == other, "a prior that asks no target serves targets of both resolutions"


@pytest.mark.parametrize("name", ["plg-mi-224", "gmi-112"])
def test_a_gan_attack_on_a_target_between_two_powers_of_two_is_built_by_its_stages(name: str, tmp_path: Path) -> None:
    """40 px in place of 224, where networks draw 64; the evaluator of the second takes 48."""
    data = yaml.safe_load(SWEEP.read_text())
    (setup,) = [one for one in data["setups"] if one["id"] == name]
    judged_px = 48 if name == "gmi-112" else 40
    setup |= {"resolution_px": 40, "architecture": "resnet18_tiny", "evaluator": "vgg16_tiny"}
    setup["protocol"] = {**setup["protocol"], "evaluator_resolution_px": judged_px}
    sweep = resolve(parse_spec({**data, "setups": [setup]}))
    (planned,) = sweep.cells
    store = Store.open(tmp_path / "store")
    context = BuildContext(store=store, locations=sweep.locations)
    ensure(planned.recipes.scores, context)
    images = np.load(ensure(planned.recipes.reconstructions, context) / "images.npz")["images"]
    assert images.shape == (6, 3, judged_px, judged_px)
    rows = {row.metric: row for row in measured_rows(sweep.name, planned, store)}
    assert rows["attack_accuracy_at_1"].value is not None and rows["knn_distance"].value is not None
