"""Two phases: what the second starts from, what it loses, how long it lasts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from midef.core import Inputs, Recipe, SpecError
from midef.defenses import DEFENSES
from midef.defenses.tts import Tts
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.stages.recipes import target_recipe
from midef.training import TrainingRecipe

CLASSES, RESOLUTION_PX = 6, 32
NOTHING = Inputs({}, lambda recipe: None)  # type: ignore[arg-type, return-value]
UNDEFENDED = Recipe("target", "classifier", {"seed": 0})
PLANNED = {"epochs": 50, "learning_rate": 0.02, "batch_size": 64}


def network(architecture: str = "resnet18_tiny") -> TargetModel:
    torch.manual_seed(0)
    return ARCHITECTURES.make(architecture).build(CLASSES, RESOLUTION_PX)


def test_starts_from_the_undefended_target_of_the_same_seed() -> None:
    assert Tts().requires(UNDEFENDED) == {"phase_one": UNDEFENDED}
    assert Tts(k=0.5).requires(UNDEFENDED) == {"phase_one": UNDEFENDED}
    private, architecture = Recipe("split", "faces", {"resolution_px": 32}), ARCHITECTURES.choose("resnet18_tiny")
    found = {
        name: target_recipe(private, architecture, DEFENSES.choose(name), TrainingRecipe(), seed=3)
        for name in ("none", "tts")
    }
    assert found["tts"].inputs["phase_one"].key == found["none"].key, "phase one is the NoDef target, not another one"


@pytest.mark.parametrize(
    ("params", "epochs", "learning_rate"),
    [
        ({}, 50, 0.002),
        ({"epochs_share": 0.5}, 25, 0.002),
        ({"epochs_share": 0.001}, 1, 0.002),
        ({"epochs_share": 2.0, "learning_rate_factor": 1.0}, 100, 0.02),
    ],
    ids=["defaults", "half as long", "at least one epoch", "longer, same rate"],
)
def test_length_and_rate_of_phase_two(params: dict[str, float], epochs: int, learning_rate: float) -> None:
    changed = Tts(**params).training_overrides(PLANNED)
    assert changed == {"epochs": epochs, "learning_rate": pytest.approx(learning_rate)}
    TrainingRecipe.make({**PLANNED, **changed})


@pytest.mark.parametrize("k", [0.0, 0.3])
def test_phase_two_keeps_the_weights_and_scales_the_last_stage(k: float) -> None:
    phase_one = network()
    weights = {name: value.clone() for name, value in phase_one.state_dict().items()}
    model = Tts(k=k).prepare_model(phase_one, NOTHING)
    kept = model.state_dict()
    gone = {name for name in weights if name not in kept}
    projection = {name for name in weights if name.startswith("blocks.layer4_0.downsample")}
    assert gone == (projection if k == 0 else set())
    assert all(torch.equal(value, weights[name]) for name, value in kept.items())
    scales = {name: getattr(block, "skip_scale", 1.0) for name, block in model.blocks.named_children()}
    assert {name for name, scale in scales.items() if scale == k} == {"layer4_0", "layer4_1"}
    assert {scale for name, scale in scales.items() if not name.startswith("layer4")} == {1.0}


def test_facts_tell_whether_skips_are_left() -> None:
    facts = ARCHITECTURES.make("resnet18").facts()
    assert Tts().facts_after(facts).skip_stages == (*facts.skip_stages[:3], ())
    assert Tts(k=0.1).facts_after(facts) == facts


def test_off_is_one_undefended_training() -> None:
    off = Tts(epochs_share=0.5).off()
    assert off.requires(UNDEFENDED) == {} and off.training_overrides(PLANNED) == {}
    facts = ARCHITECTURES.make("vgg16").facts()
    assert off.problems(facts) == [] and off.facts_after(facts) == facts
    model = off.prepare_model(network("vgg16_tiny"), NOTHING)
    assert all(torch.equal(w, v) for w, v in zip(model.parameters(), network("vgg16_tiny").parameters(), strict=True))


def test_a_network_without_skips_is_refused() -> None:
    (problem,) = Tts().problems(ARCHITECTURES.make("vgg16").facts())
    assert problem == "TTS needs skip connections, vgg has none; take another architecture or defense"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"k": -0.1}, "needs 0 <= k <= 1, got -0.1"),
        ({"k": 1.1}, "needs 0 <= k <= 1, got 1.1"),
        ({"epochs_share": 0.0}, "needs epochs_share and learning_rate_factor > 0, got 0.0 and 0.1"),
        ({"learning_rate_factor": -1.0}, "needs epochs_share and learning_rate_factor > 0, got 1.0 and -1.0"),
    ],
    ids=["below 0", "above 1", "no epochs", "negative rate"],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("tts", params)
