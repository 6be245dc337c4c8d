"""A small network and small faces, and one call that trains one on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from midef.datasets import DATASETS, Splits
from midef.defenses import DEFENSES, Defense
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.training import TrainingRecipe
from midef.training.classifier.fit import FitReport, fit_classifier

Fit = Callable[..., tuple[TargetModel, FitReport]]


@pytest.fixture(scope="session")
def faces() -> Splits:
    torch.set_num_threads(1)
    return DATASETS.make("synthetic_faces", {"identities": 8, "train_images": 8}).load(32)


@pytest.fixture
def network() -> Callable[[int], TargetModel]:
    """A network with fresh weights from a seed."""

    def make(seed: int = 0) -> TargetModel:
        torch.manual_seed(seed)
        return ARCHITECTURES.make("vgg16_tiny").build(8, 32)

    return make


@pytest.fixture
def fit(faces: Splits, network: Callable[[int], TargetModel]) -> Fit:
    """Train a fresh network (or the given one); keyword arguments go into the recipe."""

    def fitted(
        model: TargetModel | None = None,
        defense: Defense | None = None,
        splits: Splits = faces,
        report: Callable[[dict[str, Any]], None] | None = None,
        checkpoint_folder: Any = None,
        **recipe: Any,
    ) -> tuple[TargetModel, FitReport]:
        model = network(0) if model is None else model
        done = fit_classifier(
            model,
            splits.train,
            splits.select,
            facts=ARCHITECTURES.make("vgg16_tiny").facts(),
            recipe=TrainingRecipe(**{"epochs": 2, "batch_size": 16, **recipe}),
            defense=DEFENSES.make("none") if defense is None else defense,
            seed=5,
            report=report,
            checkpoint_folder=checkpoint_folder,
        )
        return model, done

    return fitted
