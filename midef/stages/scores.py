"""Stage: judge the reconstructions of one cell and measure everything about it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from midef.attacks import ATTACKS, AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core.errors import MidefError, NotApplicable
from midef.core.failure import Failure
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.metrics import METRICS, Evidence
from midef.metrics.attack_accuracy import top_k_hits
from midef.nn.network import TargetModel
from midef.stages.build import BuildContext
from midef.stages.split import load as load_splits
from midef.stages.target import defense_of, resolution_of
from midef.stages.target import load as load_target


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `measurements.json`, `per_image.npz` and `exemplars.npz`.

    A metric that fails is a measurement with status `failed` and the reason, one that cannot apply here `refused`.
    """
    target, evaluator = recipe.inputs["target"], recipe.inputs["evaluator"]
    splits = load_splits(inputs.path("private"))
    judged = load_splits(inputs.path("judged"))
    n_classes = len(splits.class_names)
    with np.load(inputs.path("reconstructions") / "images.npz", allow_pickle=False) as stored:
        found = {name: stored[name] for name in ("images", "labels", "restarts", "found")}
    protocol = recipe.params["protocol"]
    torch.manual_seed(derive_seed("served", recipe.inputs["reconstructions"].params["seed"]))  # for a head that samples
    attack = ATTACKS.get(recipe.inputs["reconstructions"].component)
    handle = TargetHandle(
        load_target(target, inputs.path("target"), context, n_classes),
        defense_of(target),
        attack.access,
        device=context.device,
    )
    served = [handle.labels(part.to(context.device).float() / 255).cpu() for part in splits.report.images.split(512)]
    if protocol["counted"] == "best_by_target":
        kept = best_restarts(found["labels"], own_scores(handle, found["images"], found["labels"]))
        found = {name: values[kept] for name, values in found.items()}
    judge = load_target(evaluator, inputs.path("evaluator"), context, n_classes)
    seen = low_to_high(torch.from_numpy(found["images"]), resolution_of(evaluator), resize=protocol["resize"])
    logits, features = judge_images(judge, seen, context.device)
    attacked = np.unique(found["labels"])
    known = [splits.train, splits.select, *([splits.report] if protocol["knn_reference"] == "train+report" else [])]
    private_labels = torch.cat([part.labels for part in known]).numpy()
    private = np.isin(private_labels, attacked)
    private_images = torch.cat([part.images for part in known])[torch.from_numpy(private)]
    # seen as the reconstructions are: at the target's resolution, then enlarged
    nearest = low_to_high(private_images, resolution_of(evaluator), resize=protocol["resize"])
    _, private_features = judge_images(judge, nearest, context.device)
    report_logits, _ = judge_images(judge, judged.report.images, context.device)
    evaluator_accuracy = 100.0 * float((report_logits.argmax(axis=1) == judged.report.labels.numpy()).mean())
    facts = {
        role: context.store.artifacts.meta(recipe.inputs[role].key)["facts"] for role in ("reconstructions", "target")
    }
    evidence = Evidence(
        n_classes=n_classes,
        report_labels=splits.report.labels.numpy(),
        report_predictions=torch.cat(served).numpy(),
        labels=found["labels"],
        restarts=found["restarts"],
        found=found["found"],
        evaluator_logits=logits,
        features=features,
        private_features=private_features,
        private_labels=private_labels[private],
        queries=facts["reconstructions"]["queries"],
        attack_s=facts["reconstructions"]["attack_s"],
        train_s=facts["target"]["train_s"],
        group_size=protocol["group_size"],
        spread=protocol["spread"],
    )
    (folder / "measurements.json").write_text(json.dumps(measure(list(recipe.params["metrics"]), evidence), indent=1))
    np.savez_compressed(
        folder / "per_image.npz",
        labels=found["labels"],
        restarts=found["restarts"],
        hit_at_1=top_k_hits(logits, found["labels"], 1),
        hit_at_5=top_k_hits(logits, found["labels"], 5),
    )
    firsts = [int(np.flatnonzero(splits.train.labels.numpy() == label)[0]) for label in attacked]
    np.savez_compressed(folder / "exemplars.npz", images=splits.train.images[firsts].numpy(), labels=attacked)
    return {"evaluator_accuracy": evaluator_accuracy}


def measure(names: list[str], evidence: Evidence) -> list[dict[str, Any]]:
    """One entry per metric, `ok`, or `failed` or `refused` with the reason."""
    entries: list[dict[str, Any]] = []
    for name in names:
        metric = METRICS.make(name)
        entry: dict[str, Any] = {"metric": name, "unit": metric.unit, "larger_is": metric.larger_is}
        try:
            measured = metric.measure(evidence)
            if not math.isfinite(measured.value):
                no_number = f"{name} came out as {measured.value}; the evaluator's answers are no numbers"
                raise MidefError(no_number, failure="diverged")
            entry |= {"status": "ok", "reason": "", **vars(measured)}
        except MidefError as error:
            status = "refused" if isinstance(error, NotApplicable) else "failed"
            failure = Failure.of(error)
            entry |= {"status": status, "reason": failure.message, "failure": failure.kind, "value": None}
        entries.append(entry)
    return entries


def own_scores(handle: TargetHandle, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the attacker sees the target give each image [N, 3, H, W] uint8 for its identity [N].

    Raises:
        AccessError: with label-only access.
    """
    scores = []
    for part, own in zip(torch.from_numpy(images).split(256), torch.from_numpy(labels).split(256), strict=True):
        given = part.to(handle.device).float() / 255
        if handle.access >= AccessLevel.WHITE_BOX:  # holds the weights: what is served is not what it sees
            with torch.no_grad():
                answers = handle.run(given).logits.float().softmax(dim=1)
        else:
            answers = handle.scores(given)
        scores.append(answers.gather(1, own.to(answers.device)[:, None])[:, 0].cpu())
    return torch.cat(scores).numpy()


def best_restarts(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Positions [I] of the reconstruction with the highest score of each identity, identities ascending."""
    order = np.lexsort((-scores, labels))
    _, first = np.unique(labels[order], return_index=True)
    kept: np.ndarray = order[first]
    return kept


def low_to_high(images: Tensor, resolution_px: int, *, resize: str = "pil_uint8") -> Tensor:
    """Images [N, 3, H, W] uint8 at the evaluator's resolution.

    resize: `pil_uint8`, Pillow's bilinear resize of 8-bit images; `float`, torch's bilinear interpolation with
    antialiasing off, as PLG-MI's code does it, rounded back to 8 bits.
    """
    from PIL import Image

    if images.shape[-1] == resolution_px:
        return images
    if resize == "float":
        size = (resolution_px, resolution_px)
        larger = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)
        return larger.round().clamp(0, 255).to(torch.uint8)
    resized = [
        np.asarray(
            Image.fromarray(image).resize((resolution_px, resolution_px), Image.Resampling.BILINEAR), dtype=np.uint8
        )
        for image in images.permute(0, 2, 3, 1).contiguous().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def judge_images(judge: TargetModel, images: Tensor, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, K] and penultimate features [N, D] of images [N, 3, H, W] uint8."""
    logits, features = [], []
    for part in images.split(256):
        forward = judge(part.to(device).float() / 255)
        logits.append(forward.logits.float().cpu())
        features.append(forward.features.float().cpu())
    return torch.cat(logits).numpy(), torch.cat(features).numpy()
