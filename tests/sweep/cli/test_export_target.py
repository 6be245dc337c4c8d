"""`midef export-target`: what is written loads back, here and in plain torch, to the answers of the stored target."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from midef.analysis.stored.load import target_of
from midef.core.errors import DataError
from midef.stages import BuildContext, ensure
from midef.stages.exported import load_exported
from midef.storage import Store
from midef.sweep.execution.prepare import prepare
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep

Midef = Callable[..., tuple[int, str, str]]

PLAIN = """
import sys, torch
assert not any(name.partition(".")[0] == "midef" for name in sys.modules)
images = torch.load("images.pt", weights_only=True)
torch.save(torch.export.load("out/model.pt2").module()(images), "plain.pt")
assert not any(name.partition(".")[0] == "midef" for name in sys.modules)
"""


@pytest.fixture
def trained(sweep_of: Callable[..., Sweep], store: Store) -> PlannedCell:
    """A sweep whose targets were trained for an epoch; nothing was attacked yet."""
    sweep = sweep_of(defenses=["midre"], training={"epochs": 1})
    prepare(sweep, store)
    (planned,) = sweep.cells
    ensure(planned.recipes.target, BuildContext(store=store))
    return planned


def test_it_loads_back_to_equal_outputs(midef: Midef, trained: PlannedCell, store: Store) -> None:
    code, out, err = midef("export-target", "defense=midre", "seed=0", "out", "--store", "store")
    assert (code, err) == (0, "")
    assert [line.partition("out/")[2] for line in out.splitlines()] == [
        "README.md",
        "model.pt2",
        "model.safetensors",
        "target.json",
    ]
    recipe = trained.recipes.target
    facts = store.artifacts.meta(recipe.key)["facts"]
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = target_of(recipe, store, facts["classes"])(images).logits
        assert torch.equal(load_exported("out")(images).logits, expected)
    torch.save(images, "images.pt")
    subprocess.run([sys.executable, "-c", PLAIN], check=True)
    torch.testing.assert_close(torch.load("plain.pt", weights_only=True), expected, atol=1e-4, rtol=1e-4)
    card = Path("out/README.md").read_text()
    assert f"| {facts['report_accuracy']:.2f} %" in card.replace(
        "| report split (not used in training or selection) ", ""
    )
    for said in (str(recipe.key), "midre with", "area_high", "synthetic", "licence of the data", "load_exported"):
        assert said in card, said
    assert "unknown here" not in card
    assert all(tensor.isfinite().all() for tensor in load_file("out/model.safetensors").values())


@pytest.mark.parametrize(
    ("defense", "architecture"),
    [
        ("loft", "resnet18_tiny"),
        ("mid", "vgg16_tiny"),
        ("bido", "vgg16_tiny"),
        ("tts+midre", "resnet18_tiny"),
        ("rounding", "vgg16_tiny"),
        ("purification", "vgg16_tiny"),
    ],
)
def test_targets_of_defenses_that_change_the_network_or_its_answers(
    midef: Midef, sweep_of: Callable[..., Sweep], store: Store, defense: str, architecture: str
) -> None:
    """Layers that a defense adds or factorises load back; what it does to answers is no part of the files."""
    evaluator = "vgg16_tiny" if architecture.startswith("resnet") else "resnet18_tiny"
    sweep = sweep_of({"architecture": architecture, "evaluator": evaluator}, defenses=[defense], training={"epochs": 1})
    prepare(sweep, store)
    (planned,) = sweep.cells
    recipe = planned.recipes.target
    ensure(recipe, BuildContext(store=store))
    code, out, err = midef("export-target", f"defense={defense}", "out", "--store", "store")
    assert (code, err) == (0, ""), out
    facts = store.artifacts.meta(recipe.key)["facts"]
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = recipe.inputs.get("trained", recipe)

    def logits(answer: Callable[[torch.Tensor], Any]) -> torch.Tensor:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)  # layers of MID draw
            found = answer(images)
            return found if isinstance(found, torch.Tensor) else found.logits

    expected = logits(target_of(network, store, facts["classes"]))
    assert torch.equal(logits(load_exported("out")), expected)
    if "model.pt2" in out:
        plain = logits(torch.export.load("out/model.pt2").module())
        torch.testing.assert_close(plain, expected, atol=1e-4, rtol=1e-4)
    card = Path("out/README.md").read_text()
    assert ("draws random numbers" in card) == (defense == "mid")
    for part in defense.split("+"):
        assert part in card
    assert ("There is no program for plain torch" in card) == ("model.pt2" not in out)
    assert f"{facts['report_accuracy']:.2f} %" in card


def test_what_is_refused(midef: Midef, trained: PlannedCell, store: Store) -> None:
    Path("full").mkdir()
    Path("full/a").touch()
    code, _, err = midef("export-target", trained.cell.digest[:8], "full", "--store", "store")
    assert code == 2 and "full is not empty" in err
    code, _, err = midef("export-target", "defense=midr", "out", "--store", "store")
    assert code == 2 and "did you mean 'midre'" in err
    store.artifacts.set_aside(trained.recipes.target.key, "for this test")
    code, _, err = midef("export-target", trained.cell.digest[:8], "out", "--store", "store")
    assert code == 2 and "is not stored; `midef run` builds it" in err and not Path("out").exists()
    with pytest.raises(DataError, match="holds no exported target"):
        load_exported("full")
