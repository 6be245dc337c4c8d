"""Changes by name, as metrics ask for them: `fgsm`, `fgsm targeted`, `noise`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.errors import did_you_mean
from midef.core.lazy import torch
from midef.core.seeds import derive_seed
from midef.metrics.robustness.corruptions import CORRUPTIONS
from midef.metrics.robustness.gradient import bim, fgsm, pgd
from midef.metrics.robustness.one_pixel import one_pixel

if TYPE_CHECKING:
    from torch import Tensor

    from midef.metrics.robustness.gradient import Logits

FIXED = {attack.__name__: attack for attack in (fgsm, bim)}
"""Attacks that draw nothing, by name."""
DRAWN = {attack.__name__: attack for attack in (pgd, one_pixel)}
"""Attacks that draw random numbers, by name."""
ADVERSARIAL = (*FIXED, *DRAWN)
TARGETED = " targeted"


def changed(name: str, logits_of: Logits, images: Tensor, labels: Tensor, *, n_classes: int, part: int = 0) -> Tensor:
    """Images under a change; its random numbers depend on name and part alone, so all targets see the same ones.

    Args:
        name: of a corruption, of an attack, or of an attack with ` targeted`: it then wants the next class.
        logits_of: of the network that is attacked.
        images: [B, 3, H, W] in [0, 1].
        labels: [B], true ones.
        n_classes: K; after the last class comes the first.
        part: which part of the images this is.

    Raises:
        ValueError: if there is no such change.
    """
    rng = torch.Generator().manual_seed(derive_seed("robustness", name, part))
    if name in CORRUPTIONS:
        return CORRUPTIONS[name](images, rng)
    attack, targeted = name.removesuffix(TARGETED), name.endswith(TARGETED)
    aimed = next_class(labels, n_classes) if targeted else labels
    if attack in FIXED:
        return FIXED[attack](logits_of, images, aimed, targeted=targeted)
    if attack in DRAWN:
        return DRAWN[attack](logits_of, images, aimed, targeted=targeted, rng=rng)
    raise ValueError(f"no change of images is called {name!r}; {did_you_mean(attack, [*CORRUPTIONS, *ADVERSARIAL])}")


def next_class(labels: Tensor, n_classes: int) -> Tensor:
    """The class a targeted attack wants, [B]: the true one plus 1; after the last the first."""
    return (labels + 1) % n_classes
