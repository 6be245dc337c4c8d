"""Pairs of an attack that reconstructs observed images: each reconstruction and the image behind it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from midef.stages import ensure
from midef.stages.split import load as load_splits

PAIRS = ("psnr", "reconstruction_error")


def test_each_reconstruction_is_compared_with_the_image_it_is_made_from(own_cell: Any, plan_measured: Any) -> None:
    """The restart-th image of the identity in the report split, from the first again where there are fewer."""
    recipes = plan_measured("inversion_model", metrics=PAIRS)
    measured = {
        entry["metric"]: entry
        for entry in json.loads((ensure(recipes.scores, own_cell.context) / "measurements.json").read_text())
    }
    report = load_splits(own_cell.folder("private")).report
    folder = own_cell.context.store.artifacts.fetch(recipes.reconstructions.key)
    with np.load(folder / "images.npz", allow_pickle=False) as stored:
        made = {name: stored[name] for name in ("images", "labels", "restarts")}
    errors = []
    for image, label, restart in zip(made["images"], made["labels"], made["restarts"], strict=True):
        own = report.images[report.labels == int(label)].numpy()
        assert len(own) == 2 and 0 <= restart < 3
        difference = (image.astype(float) - own[restart % 2]) / 255
        errors.append(float((difference**2).mean()))
    assert measured["reconstruction_error"]["value"] == pytest.approx(sum(errors) / 18, rel=1e-9)
    ratios = [-10 * math.log10(error) for error in errors]
    assert measured["psnr"]["value"] == pytest.approx(sum(ratios) / 18, rel=1e-9)
    assert measured["psnr"]["n"] == 18 and measured["psnr"]["low"] < measured["psnr"]["value"]
