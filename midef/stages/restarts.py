"""Which restart of an identity the target itself prefers."""

from __future__ import annotations

import numpy as np
import torch

from midef.attacks.access import AccessLevel
from midef.attacks.target_handle import TargetHandle


def target_scores(handle: TargetHandle, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probability, as the attacker sees it, that the target gives each image [N, 3, H, W] uint8 for its identity [N].

    Raises:
        AccessError: with label-only access.
    """
    scores = []
    for part, identities in zip(torch.from_numpy(images).split(256), torch.from_numpy(labels).split(256), strict=True):
        given = part.to(handle.device).float() / 255
        if handle.access >= AccessLevel.WHITE_BOX:  # holds the weights: what is served is not what it sees
            with torch.no_grad():
                answers = handle.run(given).logits.float().softmax(dim=1)
        else:
            answers = handle.scores(given)
        scores.append(answers.gather(1, identities.to(answers.device)[:, None])[:, 0].cpu())
    return torch.cat(scores).numpy()


def best_restarts(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Positions [I] of the reconstruction with the highest score of each identity, identities ascending."""
    order = np.lexsort((-scores, labels))
    _, first = np.unique(labels[order], return_index=True)
    best: np.ndarray = order[first]
    return best
