"""The published judge on photographs: a few people of LFW, where the files are."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from midef.models import ARCHITECTURES, Judge, pretrained
from midef.stages.evaluator import evaluate_images
from midef.stages.resize import low_to_high

ROOT = Path(__file__).resolve().parents[2]
DATA = next((p for p in (ROOT.parent / "shared" / "data", ROOT.parents[1] / "shared" / "data") if p.is_dir()), ROOT)
WEIGHTS, LFW = DATA / "weights" / "mobilefacenet.pt", DATA / "lfw"
PEOPLE, LEARNED, JUDGED = 12, 2, 2

pytestmark = pytest.mark.skipif(
    not (WEIGHTS.is_file() and (LFW / "lfw_private.zip").is_file()), reason="needs mobilefacenet.pt and the packed LFW"
)


def photographs(split: str, each: int) -> tuple[Tensor, Tensor]:
    """The first images of every eighth person [N, 3, 112, 112] uint8, and their labels."""
    lines = [line.split() for line in (LFW / f"lfw_private_{split}.txt").read_text().splitlines()]
    images, labels = [], []
    with zipfile.ZipFile(LFW / "lfw_private.zip") as archive:
        for label in range(PEOPLE):
            for path, _ in [line for line in lines if int(line[1]) == 8 * label][:each]:
                images.append(np.asarray(Image.open(io.BytesIO(archive.read(path))).convert("RGB")))
                labels.append(label)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def test_the_nearest_class_centre_names_the_person_on_other_photographs_also_at_64_px() -> None:
    judge = ARCHITECTURES.make("mobilefacenet")
    assert isinstance(judge, Judge)
    model = judge.build(PEOPLE, 112)
    model.blocks.load_state_dict(pretrained.read_backbone("ms1m", "mobilefacenet", WEIGHTS, model))
    model = model.eval()
    learned, labels = photographs("train", LEARNED)
    features = torch.from_numpy(evaluate_images(model, learned, "cpu", at_once=16)[1])
    weight, bias = judge.fitted_head(features.double(), labels, PEOPLE)
    model.head.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    judged, whom = photographs("test", JUDGED)
    for seen in (judged, low_to_high(low_to_high(judged, 64), 112)):
        logits, _ = evaluate_images(model, seen, "cpu", at_once=16)
        hits = logits.argmax(axis=1) == whom.numpy()
        assert hits.mean() >= 0.97, f"{hits.sum()} of {len(hits)}"
        cosine = logits[np.arange(len(whom)), whom]
        assert cosine.max() <= 1.0001 and cosine.mean() > 0.5
