"""LOMMA on KedMI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS
from midef.attacks.kedmi import Kedmi
from midef.attacks.latent_search.lomma import PRESETS, Lomma


@ATTACKS.add("lomma_kedmi")
@dataclass(frozen=True, kw_only=True)
class LommaKedmi(Lomma, Kedmi):
    """KedMI's search with LOMMA's identity loss in place of the cross entropy, of latents clamped to [-1, 1].

    Args:
        iterations, learning_rate, identity_weight, logvar0, prior: as in `Kedmi`.
        clamp_before_generator: as in `Kedmi`, here the default.
        logit_loss, ensemble, feature_weight, students: as in `Lomma`.

    Source: Nguyen et al., CVPR 2023 (LOMMA), released code at ed4b6b89, whose `clipz` is set for every attack on KedMI.
    """

    paper: ClassVar[str] = "Nguyen et al., CVPR 2023 (arXiv 2304.01669)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 4
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {**PRESETS, "tldmi": {"logvar0": 0.0}}

    clamp_before_generator: bool = True

    @property
    @override
    def identity_scale(self) -> float:
        return self.identity_weight
