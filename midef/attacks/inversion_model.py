"""Training-based inversion: a network that turns the target's answer back into an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.priors.tcnn import Tcnn
from midef.core.lazy import torch
from midef.core.position import steps

if TYPE_CHECKING:
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe


@ATTACKS.add("inversion_model")
@dataclass(frozen=True, kw_only=True)
class InversionModel(Attack):
    """Feed answers the attacker observed for private images to the inversion network of this target.

    Restart r of an identity is its r-th private image of the split that `Protocol.victims` names, from the first again
    where it has fewer (the images then repeat): `report`, images the target was not trained on, or `train`, those it
    learned. The attacker sees their served score vectors only. The network never saw a private image.

    The prior's `answers` makes it the attacker who expects a defense of the answers.

    Source: Yang et al., CCS 2019. We differ: they invert the whole private set, which is victims: train.
    """

    paper: ClassVar[str] = "Yang et al., CCS 2019 (arXiv 1902.08552)"
    access: ClassVar[AccessLevel] = AccessLevel.SCORES
    strength: ClassVar[int] = 2
    needs_observed_scores: ClassVar[bool] = True
    draws: ClassVar[bool] = False

    prior: Tcnn = field(default_factory=Tcnn, metadata={"shown": False})

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"prior": Tcnn.small(budget)}

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return self.prior.problems(resolution_px)

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {"inverter": self.prior.recipe(public=public, target=target)}

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return 0

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        features = self.prior.features(self.prior.observed(task)).to(task.device)
        networks = self.prior.load(inputs.path("inverter"), task.resolution_px, handle.n_classes, task.device)
        with torch.no_grad():
            images = torch.cat([networks["inverter"](part).cpu() for part in steps(features.split(256))])
        return Reconstructions(images, task.labels, task.restarts, torch.ones_like(task.labels).bool())
