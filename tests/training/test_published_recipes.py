"""Training recipes against what is published, field by field.

Provenance: TL-DMI (CVPR 2024), supplement, table of architectures, epochs, batch sizes, rates, optimizers, weight
decays and momenta; the released code of BiDO, MID, Trap-MID, PPA's line and LoFt for the others (defenses'
specification, sections 0 to 1.3, 2, 3 and 11; evidence P and C). Values that no source states are not checked here: the
rate of `bido-vmi-resnet34`, the milestones of `loft-64`, the kept epoch of `tl-dmi-resnet50` and of LoFt's.
"""

from __future__ import annotations

from typing import Any

import pytest

from midef.training import TrainingRecipe
from midef.training.recipe import RECIPES

_SGD = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4, "nesterov": False, "clip_norm": 0.0}
_ADAM = {"optimizer": "adam", "betas": (0.9, 0.999), "weight_decay": 0.0, "clip_norm": 0.0}
_CONSTANT = {"schedule": "constant", "warmup": 0.0}
# Celeba at 64 px: a horizontal flip with probability one half and nothing else.
_FLIP = {"flip": 0.5, "crop_scale": None, "color_jitter": (0.0, 0.0, 0.0, 0.0), "jitter_px": 0}
_BEST = {"checkpoint": "best_select"}
_LOW = {**_SGD, **_CONSTANT, **_FLIP, **_BEST}
_HIGH = {
    **{**_ADAM, "learning_rate": 1e-3, "epochs": 100, "checkpoint": "last"},
    **{"flip": 0.5, "crop_scale": (0.85, 1.0), "color_jitter": (0.2, 0.2, 0.1, 0.1), "jitter_px": 0},
}
_SLOW_NESTEROV = {**_LOW, "nesterov": True, "weight_decay": 5e-4, "schedule": "multistep"}
PUBLISHED: dict[str, dict[str, Any]] = {
    "tl-dmi-vgg16": {**_LOW, "learning_rate": 0.02, "epochs": 200, "batch_size": 64},
    "tl-dmi-ir152": {**_LOW, "learning_rate": 0.01, "epochs": 100, "batch_size": 64},
    "tl-dmi-facenet64": {**_LOW, "learning_rate": 0.008, "epochs": 200, "batch_size": 8},
    "vmi-resnet34": {**_SLOW_NESTEROV, "learning_rate": 0.1, "epochs": 200, "batch_size": 64},
    "tl-dmi-resnet50": {**_ADAM, "learning_rate": 1e-3, "epochs": 100, "batch_size": 1024},
    "bido-vgg16": {**_ADAM, **_CONSTANT, **_FLIP, **_BEST, "learning_rate": 1e-4, "epochs": 50, "batch_size": 64},
    "bido-vmi-resnet34": {**_SLOW_NESTEROV, "epochs": 100},
    "bido-nodef-vgg16": {**_LOW, "nesterov": True, "learning_rate": 0.01, "epochs": 50, "batch_size": 64},
    "mid-vgg16": {**_LOW, "learning_rate": 0.01, "epochs": 50, "batch_size": 64},
    "trap-mid-vgg16": {**_LOW, "learning_rate": 0.01, "epochs": 50, "batch_size": 64},
    "trap-mid-ir152": {**_LOW, "learning_rate": 0.01, "epochs": 40, "batch_size": 64},
    "trap-mid-mnist": {"optimizer": "sgd", "learning_rate": 0.01, "epochs": 10},
    "facescrub-224": {**_HIGH, "batch_size": 128},
    "facescrub-224-batch64": {**_HIGH, "batch_size": 64},
    "loft-224": {**_HIGH, "batch_size": 96},
    "loft-64": {**_SGD, **_FLIP, "learning_rate": 0.01, "epochs": 100, "batch_size": 128},
    "loft-pretraining-224": {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 5, "batch_size": 256},
    "kes-ppa": {
        **{"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "epochs": 75},
        **{"batch_size": 32, "schedule": "cosine", "crop_scale": (0.8, 1.0), "flip": 0.5},
    },
    "kes-loft": {**_HIGH, "batch_size": 50},
}
RATES: dict[str, list[tuple[int, float]]] = {
    "vmi-resnet34": [(0, 1), (59, 1), (60, 0.2), (119, 0.2), (120, 0.04), (159, 0.04), (160, 0.008), (199, 0.008)],
    "bido-vmi-resnet34": [(0, 1), (59, 1), (60, 0.2), (79, 0.2), (80, 0.04), (99, 0.04)],
    "facescrub-224": [(0, 1), (74, 1), (75, 0.1), (89, 0.1), (90, 0.01), (99, 0.01)],
    "loft-224": [(0, 1), (74, 1), (75, 0.1), (89, 0.1), (90, 0.01), (99, 0.01)],
    "loft-pretraining-224": [(0, 1), (2, 1), (3, 0.1), (4, 0.01)],
}
"""Epoch, 0-based, and its rate as a share of the first; of recipes with published milestones."""


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, values in PUBLISHED.items() for field in values], ids="{}".format
)
def test_field(name: str, field: str) -> None:
    assert getattr(TrainingRecipe.make({"preset": name}), field) == PUBLISHED[name][field]


def test_no_recipe_is_without_a_source() -> None:
    assert sorted(PUBLISHED) == sorted(RECIPES)


@pytest.mark.parametrize("name", RATES)
def test_rate_of_an_epoch(name: str) -> None:
    recipe = TrainingRecipe.make({"preset": name})
    shares = [(epoch, recipe.rate_at(epoch / recipe.epochs) / recipe.learning_rate) for epoch, _ in RATES[name]]
    assert shares == [(epoch, pytest.approx(share)) for epoch, share in RATES[name]]


def test_loft_lowers_its_rate_at_two_milestones_at_both_resolutions() -> None:
    """LoFt, appendix C.2: "in both scenarios" two milestones. Where they lie at 64 px is inferred from 224 px."""
    low, high = (TrainingRecipe.make({"preset": f"loft-{px}"}) for px in (64, 224))
    assert (low.schedule, low.milestones, low.gamma) == (high.schedule, high.milestones, high.gamma)
    assert len({low.rate_at(epoch / 100) for epoch in range(100)}) == 3
