"""Small networks from an answer to another answer: a variational autoencoder of perturbations, and a purifier."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.answers import score_features


class Drawn(NamedTuple):
    """What the autoencoder of perturbations makes of an answer.

    Args:
        direction: [B, K] of length 1.
        mean, log_variance: [B, Z] of the code.
    """

    direction: Tensor
    mean: Tensor
    log_variance: Tensor


class PerturbationVae(nn.Module):
    """Answers [B, K] and noise [B, Z] -> the direction to move each answer in, by a code of Z numbers.

    It reads log scores, as inversion networks do, divided by 50.
    """

    def __init__(self, n_classes: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(n_classes, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decode = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))

    @override
    def forward(self, answers: Tensor, noise: Tensor) -> Drawn:
        mean, log_variance = self.encode(score_features(answers) / 50).chunk(2, dim=1)
        raw = self.decode(mean + noise * (log_variance.clamp(max=10) / 2).exp())
        centred = raw - raw.mean(dim=1, keepdim=True)
        return Drawn(nn.functional.normalize(centred, dim=1), mean, log_variance)


class Purifier(nn.Module):
    """Answers [B, K] -> answers [B, K] through a narrow layer."""

    def __init__(self, n_classes: int, hidden: int, narrow: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(n_classes, hidden), nn.ReLU(), nn.Linear(hidden, narrow), nn.ReLU())
        self.decode = nn.Sequential(nn.Linear(narrow, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))

    @override
    def forward(self, answers: Tensor) -> Tensor:
        return torch.softmax(self.decode(self.encode(answers)), dim=1)
