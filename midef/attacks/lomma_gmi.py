"""LOMMA on GMI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS
from midef.attacks.gmi import Gmi
from midef.attacks.latent_search.lomma import PRESETS, Lomma


@ATTACKS.add("lomma_gmi")
@dataclass(frozen=True, kw_only=True)
class LommaGmi(Lomma, Gmi):
    """GMI's search with LOMMA's identity loss in place of the cross entropy.

    Args:
        iterations, learning_rate, momentum, identity_weight, clamp, prior: as in `Gmi`.
        batch_equivalent: as in `Gmi`; both terms of LOMMA's loss are divided by the batch, too.
        logit_loss, ensemble, feature_weight, students: as in `Lomma`.

    Source: Nguyen et al., CVPR 2023 (LOMMA), released code at ed4b6b89. It writes that it draws the features to stay
    near to from a Gaussian, and then overwrites them by the mean: we follow what it computes.
    """

    paper: ClassVar[str] = "Nguyen et al., CVPR 2023 (arXiv 2304.01669)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 3
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    @property
    @override
    def identity_scale(self) -> float:
        return self.identity_weight / self.batch_equivalent
