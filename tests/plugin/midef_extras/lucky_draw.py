"""Lucky draw: draw images until the target gives one the label that is attacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.priors.wgan_gp import WganGp
from midef.core.lazy import torch
from midef.core.position import steps
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe


@ATTACKS.add("lucky_draw")
@dataclass(frozen=True, kw_only=True)
class LuckyDraw(Attack):
    """Show the target random images of a generator and keep the first one with the label; the first of all if none has.

    Args:
        tries: images drawn for each reconstruction, >= 1.
        prior: the generator.

    Source: ours, 2026, as an illustration.
    """

    paper: ClassVar[str] = "illustration, 2026"
    access: ClassVar[AccessLevel] = AccessLevel.LABELS

    tries: int = 1000
    prior: WganGp = field(default_factory=WganGp, metadata={"shown": False})

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"needs tries >= 1, got {self.tries}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"tries": budget.search, "prior": WganGp.small(budget)}

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return self.prior.problems(resolution_px)

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {"prior": self.prior.recipe(public=public, target=target)}

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return self.tries * reconstructions

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        networks = self.prior.load(inputs.path("prior"), task.resolution_px, handle.n_classes, task.device)
        images, hits = [], []
        for label, restart in steps(list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))):
            rng = torch.Generator().manual_seed(derive_seed("lucky_draw", task.seed, label, restart))
            latents = torch.randn(self.tries, self.prior.latent_dim, generator=rng)
            with torch.no_grad():
                drawn = networks["generator"](latents.to(task.device)).clamp(0, 1)
            is_hit = handle.labels(drawn) == label
            images.append(drawn[int(is_hit.int().argmax())].cpu())
            hits.append(bool(is_hit.any()))
        return Reconstructions(torch.stack(images), task.labels, task.restarts, torch.tensor(hits))
