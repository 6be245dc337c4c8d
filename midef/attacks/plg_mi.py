"""PLG-MI: inversion with a generator that was taught the target's classes by pseudo labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget
from midef.attacks.latent_search.conditional import ConditionalSearch
from midef.attacks.latent_search.template import Networks, Rows
from midef.attacks.priors.plg_gan import PlgGan

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.priors import Prior


@ATTACKS.add("plg_mi")
@dataclass(frozen=True, kw_only=True)
class PlgMi(ConditionalSearch):
    """Minimise the max-margin loss of two augmented views of G(z, y) over z by Adam.

    Args:
        prior: its GAN; `prior.range` is also what the search shows the target. `ConditionalSearch` explains the
            rest.

    Source: Yuan et al., AAAI 2023, and released code; 5 restarts, all of them counted.
    We differ: their scripts stretch each image from its least to its largest value before it is judged; we clip to
    [0, 1], so distances and FID are not theirs.
    """

    paper: ClassVar[str] = "Yuan et al., AAAI 2023 (arXiv 2302.09814)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 5
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "orig": {"iterations": 600, "learning_rate": 0.1, "prior": {"range": "raw"}}
    }

    prior: PlgGan = field(default_factory=PlgGan, metadata={"shown": False})

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"iterations": budget.search, "prior": PlgGan.small(budget)}

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        return {"prior": self.prior}

    @override
    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        images: Tensor = networks["generator"](latents, rows.labels)
        return self.prior.shown(images)
