"""Pairs of an attack that reconstructs observed images: each reconstruction and the image behind it."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import numpy as np
import pytest

from midef.core import Protocol
from midef.stages import ensure
from midef.stages.split import load as load_splits

PAIRS = ("psnr", "reconstruction_error", "reconstruction_error_normalised")


@pytest.mark.parametrize("split", ["report", "train"])
def test_each_reconstruction_is_compared_with_the_image_it_is_made_from(
    split: Literal["report", "train"], own_cell: Any, plan: Any
) -> None:
    """The restart-th image of the identity in the victims' split, from the first again where there are fewer."""
    protocol = Protocol(identities=6, images_per_identity=3, evaluator_resolution_px=40, victims=split)
    recipes = plan("inversion_model", protocol=protocol, measured={"metrics": PAIRS})
    measured = {
        entry["metric"]: entry
        for entry in json.loads((ensure(recipes.scores, own_cell.context) / "measurements.json").read_text())
    }
    splits = load_splits(own_cell.folder("private"))
    private = splits.parts[split]
    folder = own_cell.context.store.artifacts.fetch(recipes.reconstructions.key)
    with np.load(folder / "images.npz", allow_pickle=False) as stored:
        made = {name: stored[name] for name in ("images", "labels", "restarts")}
    errors = []
    for image, label, restart in zip(made["images"], made["labels"], made["restarts"], strict=True):
        own = private.images[private.labels == int(label)].numpy()
        assert len(own) == {"report": 2, "train": 4}[split] and 0 <= restart < 3
        difference = (image.astype(float) - own[restart % len(own)]) / 255
        errors.append(float((difference**2).mean()))
    assert measured["reconstruction_error"]["value"] == pytest.approx(sum(errors) / 18, rel=1e-9)
    with np.load(ensure(recipes.scores, own_cell.context) / "per_image.npz", allow_pickle=False) as per_image:
        assert per_image["reconstruction_errors"] == pytest.approx(errors, rel=1e-9)
    learned = [part.images[part.labels < 6].numpy() for part in (splits.train, splits.select)]
    pixels = np.concatenate(learned).astype(float) / 255  # of the attacked identities, whoever the victims are
    variances = [pixels[:, channel].var() for channel in range(3)]
    normalised = []
    for image, label, restart in zip(made["images"], made["labels"], made["restarts"], strict=True):
        own = private.images[private.labels == int(label)].numpy()
        squares = ((image.astype(float) - own[restart % len(own)]) / 255) ** 2
        normalised.append(sum(squares[channel].mean() / variances[channel] for channel in range(3)) / 3)
    assert measured["reconstruction_error_normalised"]["value"] == pytest.approx(sum(normalised) / 18, rel=1e-9)
    ratios = [-10 * math.log10(error) for error in errors]
    assert measured["psnr"]["value"] == pytest.approx(sum(ratios) / 18, rel=1e-9)
    said = {"report": "6 of 18 observed images are repeats: identities have fewer than were asked for", "train": ""}
    assert {entry["remark"] for name, entry in measured.items() if name in PAIRS} == {said[split]}
    assert measured["psnr"]["n"] == 18 and measured["psnr"]["low"] < measured["psnr"]["value"]
