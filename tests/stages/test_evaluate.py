"""How reconstructions reach the evaluator, and what is kept of its judgement."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from midef.stages.evaluate import judge_images, low_to_high
from midef.stages.load_split import load as load_splits
from midef.stages.train_target import load as load_target


@pytest.mark.parametrize("px", [12, 40, 112], ids=["smaller", "larger", "as in the papers"])
def test_low_to_high_is_pillows_bilinear_on_eight_bits(px: int) -> None:
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = low_to_high(images, px)
    assert found.dtype == torch.uint8 and found.shape == (3, 3, px, px)
    for mine, image in zip(found, images, strict=True):
        for channel in range(3):  # one grey image per channel: another way through Pillow
            expected = Image.fromarray(image[channel].numpy()).resize((px, px), Image.Resampling.BILINEAR)
            assert np.array_equal(mine[channel].numpy(), np.asarray(expected))


def test_low_to_high_leaves_images_of_the_right_size_alone() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(low_to_high(images, 16), images)


def evaluator_of(cell: Any) -> Any:
    return load_target(cell.recipes.evaluator, cell.folder("evaluator"), cell.context, 8)


def test_the_evaluators_accuracy_is_stored(cell: Any) -> None:
    report = load_splits(cell.folder("evaluator").parents[1] / "split" / judged_digest(cell)).report
    logits, _ = judge_images(evaluator_of(cell), report.images, "cpu")
    expected = 100 * float((logits.argmax(1) == report.labels.numpy()).mean())
    assert cell.facts("scores")["evaluator_accuracy"] == pytest.approx(expected)
    assert cell.facts("evaluator")["report_accuracy"] == pytest.approx(expected)


def judged_digest(cell: Any) -> str:
    digest: str = cell.recipes.scores.inputs["judged"].key.digest
    return digest


def test_the_evaluator_sees_its_own_resolution(cell: Any) -> None:
    assert cell.recipes.evaluator.inputs["private"].params["resolution_px"] == 40
    assert cell.recipes.target.inputs["private"].params["resolution_px"] == 32


def test_hits_are_stored_per_image_and_add_up(cell: Any) -> None:
    with np.load(cell.folder("scores") / "per_image.npz", allow_pickle=False) as stored:
        hits = dict(stored)
    measured = {
        entry["metric"]: entry for entry in json.loads((cell.folder("scores") / "measurements.json").read_text())
    }
    for k in (1, 5):
        assert measured[f"attack_accuracy_at_{k}"]["value"] == pytest.approx(100 * hits[f"hit_at_{k}"].mean())
        assert measured[f"attack_accuracy_at_{k}"]["n"] == 18
    with np.load(cell.folder("reconstructions") / "images.npz", allow_pickle=False) as stored:
        seen = low_to_high(torch.from_numpy(stored["images"]), 40)
    logits, _ = judge_images(evaluator_of(cell), seen, "cpu")
    assert (logits.argmax(1) == hits["labels"]).tolist() == hits["hit_at_1"].tolist()


def test_natural_accuracy_and_costs_are_those_of_the_stages(cell: Any) -> None:
    measured = {
        entry["metric"]: entry["value"]
        for entry in json.loads((cell.folder("scores") / "measurements.json").read_text())
    }
    assert measured["natural_accuracy"] == pytest.approx(cell.facts("target")["report_accuracy"])
    assert measured["queries"] == cell.facts("reconstructions")["queries"]
    assert measured["wall_s"] == cell.facts("reconstructions")["attack_s"]
    assert measured["train_s"] == cell.facts("target")["train_s"]


def test_one_exemplar_of_each_attacked_identity_is_kept(cell: Any) -> None:
    with np.load(cell.folder("scores") / "exemplars.npz", allow_pickle=False) as stored:
        images, labels = stored["images"], stored["labels"]
    train = load_splits(cell.folder("private")).train
    assert labels.tolist() == list(range(6))
    for image, label in zip(images, labels, strict=True):
        own = train.images[train.labels == int(label)].numpy()
        assert any(np.array_equal(image, one) for one in own)
