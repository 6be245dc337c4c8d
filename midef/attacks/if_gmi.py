"""IF-GMI: a generator is opened layer by layer, and what enters a layer is searched with the style."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget, Task
from midef.attacks.latent_search.style_search import AT_224, AT_224_DOGS, PoincareSearch
from midef.attacks.latent_search.template import Networks, Rows
from midef.attacks.priors.base import layered_generator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core.errors import SpecError
from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.target_handle import TargetHandle
    from midef.core.setup import Protocol

RADII = (1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0, 8000.0)
"""Of the L1 balls, by stage; the last one from there on."""

_CELEBA: Mapping[str, Any] = {"pool": 5000, "iterations": 70, "layer_iterations": 25}


@ATTACKS.add("if_gmi")
@dataclass(frozen=True, kw_only=True)
class IfGmi(PoincareSearch):
    """PPA's search of a style w, then stage by stage of w and of what enters a block of the synthesis.

    Stage k searches w and the feature h_k that enters block k, from where the stage before ended; the image begins at
    block k, so earlier blocks add no colour. After each step both are brought back into an L1 ball around their values
    at the start of the stage. Every stage has an optimiser of its own. The last stage is what counts; the course of all
    of them is in the traces. `PoincareSearch` and `StyleSearch` explain the rest.

    Args:
        iterations: steps of the first stage, which searches w alone.
        layers: further stages, one for each block from the second on, 0 to the number of blocks - 1.
        layer_iterations: steps of each of them, >= 1.
        ball: False searches without L1 balls. Their radii are the published ones, for features of a generator of 512
            channels: a ball of 2000 cannot be left in 10 steps of 0.005, and those of small generators never bind.
        candidates: the most that `protocol.images_per_identity` may ask for. Nothing is selected: as many as are asked
            for are searched, from the first of the pool's order.

    Presets: `if-gmi` is the released example, three layers, 50 and 10 steps, from a pool of 5,000;
    `if-gmi-facescrub` (2,000), `if-gmi-celeba` (70 and 25 steps) and `if-gmi-dogs` (100 and 10 steps, 0.01, crops from
    75 % of the area) are its configs, with three layers, too. `loft` is that of LoFt: 70 and 25 steps, no ball, five
    images, a pool judged by what the search starts from.

    Source: Qiu et al., ECCV 2024, and released code; LoFt's scripts.
    We differ: released configs search up to eight layers and report the stage whose images the evaluator knows best,
    which an attacker does not have; here the number is fixed and the last one is reported. An image is drawn after the
    last step of its stage, there before it. `PoincareSearch` has more.
    """

    paper: ClassVar[str] = "Qiu et al., ECCV 2024 (arXiv 2407.13863)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 5
    remembers_start: ClassVar[bool] = True
    records: ClassVar[str] = "loss, confidence, gradient norm (of w and the feature), through all stages"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "if-gmi": {**AT_224, "pool": 5000},
        "if-gmi-facescrub": AT_224,
        "if-gmi-celeba": {**AT_224, **_CELEBA},
        "if-gmi-dogs": AT_224_DOGS,
        "loft": {**AT_224, **_CELEBA, "ball": False, "candidates": 5, "score_with_single_w": True},
    }

    candidates: int = 50
    layers: int = 3
    layer_iterations: int = 10
    ball: bool = True
    prior: StyleGan2 = field(
        default_factory=StyleGan2,
        metadata=layered_generator(StyleGan2, "the attack opens the layers of a StyleGAN2, and this prior has none"),
    )

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 0 or self.layer_iterations < 1:
            raise ValueError(f"needs layers >= 0 and layer_iterations >= 1, got {self.layers}, {self.layer_iterations}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            **super().small(budget),
            "candidates": 5 * budget.search,
            "layer_iterations": max(1, min(10, budget.search // 5)),
        }

    @override
    def problems(self, resolution_px: int) -> list[str]:
        found = super().problems(resolution_px)
        if not found and self.layers >= (blocks := self.prior.n_blocks(resolution_px)):
            found.append(
                f"it opens {self.layers} layers, and a generator of {blocks} blocks has {blocks - 1} to open; set "
                f"layers to {blocks - 1} or less"
            )
        return found

    @property
    @override
    def stage_steps(self) -> tuple[int, ...]:
        return (self.iterations, *[self.layer_iterations] * self.layers)

    @property
    @override
    def latents_give_images(self) -> bool:
        return self.layers == 0  # else a feature was searched with w

    # nothing is selected: a row is a reconstruction, and candidates only bound how many there may be

    @property
    @override
    def candidates_per_identity(self) -> int:
        return 0

    @override
    def problems_with(self, protocol: Protocol) -> list[str]:
        return self._too_many(protocol.images_per_identity)

    def _too_many(self, asked: int) -> list[str]:
        if asked <= self.candidates:
            return []
        return [
            f"it searches at most {self.candidates} candidates and cannot give {asked} images of an identity; raise "
            f"candidates to {asked} or more, or lower protocol.images_per_identity"
        ]

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return self.pool * (1 + self.judges_mirrored) + sum(self.stage_steps) * self.n_views * reconstructions

    @override
    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        return self.pool + sum(self.stage_steps) * reconstructions

    # ------------------------------------------------------------ the open steps

    @override
    def choose(self, handle: TargetHandle, networks: Networks, task: Task) -> Mapping[tuple[int, int], Tensor]:
        if problems := self._too_many(1 + max(task.restarts.tolist(), default=0)):
            raise SpecError(problems)
        return super().choose(handle, networks, task)

    @override
    def next_start(self, networks: Networks, searched: list[Tensor], rows: Rows) -> list[Tensor]:
        generator: Any = networks["generator"]
        ws = self.rows_of(generator, searched[0])
        begin, hidden = (rows.stage - 1, searched[1]) if rows.stage > 1 else (0, None)
        feature: Tensor = generator.features(ws, rows.stage, begin, hidden)
        return [searched[0], feature.float()]

    @override
    def images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        if not rows.stage:
            return super().images(networks, searched, rows)
        from midef.attacks.latent_search.styles import shown

        generator: Any = networks["generator"]
        ws = self.rows_of(generator, searched[0])
        drawn = generator.synthesis(ws, begin=rows.stage, hidden=searched[1])
        return shown(generator, drawn, clip=self.clip_in_loop)

    @override
    def final_images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> tuple[Tensor, Tensor]:
        return searched[0], self.images(networks, searched, rows)

    @override
    def constrain_(self, searched: list[Tensor], rows: Rows) -> None:
        if not self.ball:
            return
        from midef.attacks.latent_search.l1_ball import nearest_in_l1_ball

        radius = RADII[min(rows.stage, len(RADII) - 1)]
        with torch.no_grad():
            for values, start in zip(searched, rows.begun, strict=True):
                values.copy_(nearest_in_l1_ball(values, start, radius=radius))
