"""The ideal prior: the public data set's own image formation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import override

from midef.attacks.priors.base import PRIORS, FitContext, Networks, PublicPrior
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.datasets import DATASETS, Dataset

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from midef.attacks.base import SmallBudget
    from midef.attacks.priors.networks.rendered import Rendered
    from midef.datasets import Splits

_FILE = "formation.json"


@PRIORS.add("renderer")
@dataclass(frozen=True, kw_only=True)
class Renderer(PublicPrior):
    """A generator that is how the public images were made; nothing is trained and the target is never asked.

    An upper bound on what a generator trained on public images could offer: but for pixel noise and rounding, every
    image of the public population has a latent, standard normal latents follow that population, and gradients are
    exact. It knows no private identity. The bound is that of the generator: an attack that keeps latents in a box, as
    gmi, brep_mi and rlb_mi do by default, reaches only the middle of each range. An attack that searches it knows the
    traits of each image it makes, so they can be compared with the true ones.
    Only for data sets that say how their images are made (`Dataset.formation`); photographs do not.

    Source: midef's own. Priors of papers are generators trained on public photographs.
    """

    paper: ClassVar[str] = "midef's own: an ideal generator"
    gflop_64px: ClassVar[float] = 0.12
    draws_latents: ClassVar[bool] = True
    latents_are_styles: ClassVar[bool] = True
    knows_traits: ClassVar[bool] = True

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {}

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return []

    @override
    def problems_with(self, public: Dataset) -> list[str]:
        if public.formation() is not None:
            return []
        name = DATASETS.describe(public).name
        drawn = ", ".join(cls.registered_name for cls in DATASETS if cls.formation is not Dataset.formation)  # type: ignore[attr-defined]
        return [
            f"the prior renderer draws as the public images were made, and nothing says how those of {name} were; "
            f"choose the public data set {drawn}, or another prior"
        ]

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.rendered import Rendered

        return {"generator": Rendered(resolution_px)}

    @override
    def fit(self, networks: Networks, public: Splits, context: FitContext) -> dict[str, Any]:
        if context.public is None:
            raise SpecError("the prior renderer needs the public data set itself; give FitContext its `public`")
        self._draw_as(networks["generator"], context.public())
        return {}

    @override
    def store(self, networks: Networks, folder: Path) -> None:
        """Write name and parameters of the public data set, which give the formation again."""
        choice = DATASETS.describe(cast("Rendered", networks["generator"]).data_set)
        (folder / _FILE).write_text(json.dumps(choice.keyed))

    @override
    def load(self, folder: Path, resolution_px: int, n_classes: int, device: str) -> dict[str, nn.Module]:
        networks = self.networks(resolution_px, n_classes)
        stored = Choice.from_plain(json.loads((folder / _FILE).read_text()))
        self._draw_as(networks["generator"], DATASETS.remake(stored))
        return {name: network.eval() for name, network in networks.items()}

    def _draw_as(self, generator: nn.Module, data_set: Dataset) -> None:
        if problems := self.problems_with(data_set):
            raise SpecError(problems)
        cast("Rendered", generator).draw_as(data_set)
