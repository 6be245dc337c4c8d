"""Losses of attacks for one row, written from their formulas; `hot_loops_search.py` goes down them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from midef.attacks.latent_search.rows import Rows
from midef.attacks.latent_search.styles import shown
from midef.attacks.latent_search.views import (
    CROP_DRAWS,
    VIEW_DRAWS,
    moved_and_mirrored,
    randomly_cropped,
    slightly_changed,
)
from midef.nn.network import TargetModel


@dataclass(frozen=True)
class Row:
    """One row of a naive search in one step.

    Args:
        values: that are searched, [1, ...] each.
        rows: its label and its random numbers, the same that midef draws for it.
    """

    attack: Any
    networks: dict[str, Any]
    target: TargetModel
    values: list[Tensor]
    rows: Rows

    @property
    def label(self) -> Tensor:
        return self.rows.labels

    def cross_entropy(self, image: Tensor) -> Tensor:
        return F.cross_entropy(self.target(image).logits, self.label)

    def margin(self, logits: Tensor) -> Tensor:
        """The largest other logit minus that of the label."""
        of_label = logits[0, self.label[0]]
        others = torch.cat([logits[0, : self.label[0]], logits[0, self.label[0] + 1 :]])
        return others.max() - of_label


def _gmi(row: Row) -> Tensor:
    image = row.networks["generator"](row.values[0])
    loss = -row.networks["critic"](image).mean() + row.attack.identity_weight * row.cross_entropy(image)
    return loss / row.attack.batch_equivalent


def _reality(row: Row, image: Tensor) -> Tensor:
    """-log P(real), P(real) = Z / (Z + 1), Z the sum of exp(logits)."""
    _, logits = row.networks["discriminator"](image)
    total = logits.exp().sum(dim=1)
    return -(total / (total + 1)).log().mean()


def _drawn(row: Row) -> Tensor:
    mean, logvar = row.values
    latent = mean + (logvar / 2).exp() * row.rows.noise.normal(mean.shape[1])
    return row.networks["generator"](latent.clamp(-1, 1) if row.attack.clamp_before_generator else latent)


def _kedmi(row: Row) -> Tensor:
    image = _drawn(row)
    return _reality(row, image) + row.attack.identity_weight * row.cross_entropy(image)


def _lomma(row: Row, image: Tensor) -> Tensor:
    """-logit_y, the mean over target and students, plus the distance of the target's features from the public mean."""
    seen = row.target(image)
    students = [network(image) for name, network in row.networks.items() if name.startswith("student")]
    logits = torch.stack([seen.logits, *students])[:, 0, row.label[0]]
    apart = (seen.features - row.networks["statistics"].mean).square().mean()
    return -logits.mean() + row.attack.feature_weight * apart


def _lomma_gmi(row: Row) -> Tensor:
    image = row.networks["generator"](row.values[0])
    loss = -row.networks["critic"](image).mean() + row.attack.identity_weight * _lomma(row, image)
    return loss / row.attack.batch_equivalent


def _lomma_kedmi(row: Row) -> Tensor:
    image = _drawn(row)
    return _reality(row, image) + row.attack.identity_weight * _lomma(row, image)


def _two_views(row: Row, look: Callable[[Tensor], list[Tensor]]) -> Tensor:
    """Max-margin of two changed views of G(z, y), each the mean over those who look."""
    image = row.networks["generator"](row.values[0], row.label).clamp(0, 1)
    loss = torch.zeros(())
    for _ in range(2):
        view = slightly_changed(image, row.rows.noise.uniform(VIEW_DRAWS), jitter_p=1.0)
        loss = loss + torch.stack([row.margin(logits) for logits in look(view)]).mean()
    return loss


def _plg_mi(row: Row) -> Tensor:
    return _two_views(row, lambda view: [row.target(view).logits])


def _lokt(row: Row) -> Tensor:
    surrogates = [network for name, network in row.networks.items() if name.startswith("surrogate")]
    return _two_views(row, lambda view: [network(view) for network in surrogates])


def _pool_search(row: Row) -> Tensor:
    latent, attack = row.values[0], row.attack
    image = row.networks["generator"](latent)
    view = moved_and_mirrored(image, row.rows.noise, share=attack.shift, mirror=attack.flip)
    return row.margin(row.target(view).logits) + attack.prior_weight / 2 * latent.square().sum()


def _ppa(row: Row) -> Tensor:
    """Poincare distance of the logits, divided by the sum of their sizes, from the point of the label."""
    generator = row.networks["generator"]
    image = shown(generator, generator.synthesis(generator.styles(row.values[0])))
    view = randomly_cropped(image, row.rows.noise.uniform(CROP_DRAWS), scale=(row.attack.crop_low, 1.0))
    logits = row.target(view).logits.double()[0]
    point, goal = logits / logits.abs().sum(), torch.zeros_like(logits)
    goal[row.label[0]] = 1 - 1e-4
    room = (1 - point.square().sum()) * (1 - goal.square().sum())
    return torch.acosh(1 + 2 * (point - goal).square().sum() / room)


def _mirror(row: Row) -> Tensor:
    generator, attack = row.networks["generator"], row.attack
    image = shown(generator, generator.synthesis(generator.styles(row.values[0], attack.psi, attack.cutoff)))
    view = image.flip(3) if row.rows.noise.uniform(1)[0, 0] < 0.5 else image
    return attack.identity_weight * row.cross_entropy(view)


LOSSES: dict[str, Callable[[Row], Tensor]] = {
    "gmi": _gmi,
    "kedmi": _kedmi,
    "lokt": _lokt,
    "lomma_gmi": _lomma_gmi,
    "lomma_kedmi": _lomma_kedmi,
    "mirror": _mirror,
    "plg_mi": _plg_mi,
    "pool_search": _pool_search,
    "ppa": _ppa,
}
"""Losses that are written here; a search without one keeps its own, in the naive loop."""
