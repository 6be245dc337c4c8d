"""What a target's own network says of private images and of changed ones, for metrics of robustness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from midef.core.position import steps
from midef.core.seeds import derive_seed
from midef.datasets import Images
from midef.metrics.base import NetworkAnswers, asks_network, changes_of
from midef.metrics.robustness.changes import changed
from midef.nn.network import TargetModel

if TYPE_CHECKING:
    from torch import Tensor

    from midef.stages.scores import ScoresSpec

MOST_IMAGES = 1000
AT_ONCE = 64
BEHIND_ANSWERS = "of the network: what its defense does to answers takes no part"


def network_answers(spec: ScoresSpec, model: TargetModel, report: Images, device: str) -> NetworkAnswers | None:
    """Logits on the report split and labels of its changed and triggered images; None where no metric asks.

    Of more than `MOST_IMAGES` images as many are drawn, the same for every target.

    Args:
        spec: of the scores.
        model: network of the target, in eval mode.
        report: private report split.
        device: of the network.
    """
    if not asks_network(spec.metrics):
        return None
    if len(report.labels) > MOST_IMAGES:
        rng = torch.Generator().manual_seed(derive_seed("robustness", "images"))
        positions = torch.randperm(len(report.labels), generator=rng)[:MOST_IMAGES].sort().values
        report = Images(report.images[positions], report.labels[positions])
    torch.manual_seed(derive_seed("robustness", "head"))  # for a head that samples

    def logits_of(images: Tensor) -> Tensor:
        logits: Tensor = model(images).logits
        return logits

    logits: list[Tensor] = []
    triggered: list[Tensor] = []
    planted = spec.target.defense.planted_label
    labels_of: dict[str, list[Tensor]] = {name: [] for name in changes_of(spec.metrics)}
    parts = list(zip(report.images.split(AT_ONCE), report.labels.split(AT_ONCE), strict=True))
    for part, (pixels, labels) in enumerate(steps(parts)):
        images, true = pixels.to(device).float() / 255, labels.to(device)
        with torch.no_grad():
            logits.append(logits_of(images).float().cpu())
            if planted is not None:
                triggered.append(logits_of(spec.target.defense.triggered(images)).argmax(dim=1).cpu())
        for name, found in labels_of.items():
            other = changed(name, logits_of, images, true, n_classes=model.n_classes, part=part)
            with torch.no_grad():
                found.append(logits_of(other).argmax(dim=1).cpu())
    none = torch.empty(0, dtype=torch.int64)
    return NetworkAnswers(
        labels=report.labels.numpy(),
        logits=torch.cat(logits).numpy() if logits else np.empty((0, model.n_classes), dtype=np.float32),
        changed={name: torch.cat(found or [none]).numpy() for name, found in labels_of.items()},
        triggered=None if planted is None else torch.cat(triggered or [none]).numpy(),
        planted_label=planted,
        remark=BEHIND_ANSWERS if spec.target.defense.changes_answers else "",
    )
