"""PPA: plug and play attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget, Task
from midef.attacks.latent_search.memory import images_at_once
from midef.attacks.latent_search.style_search import AT_224, AT_224_DOGS, SMALL_RATE, PoincareSearch
from midef.attacks.latent_search.template import Networks
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.target_handle import TargetHandle

_MIDRE: Mapping[str, Any] = {"candidates": 16}


@ATTACKS.add("ppa")
@dataclass(frozen=True, kw_only=True)
class Ppa(PoincareSearch):
    """Minimise the Poincare loss over styles w from the best of a pool, then keep the candidates that last in crops.

    The candidates of an identity are ranked by the target's mean confidence over random crops (50 to 90 % of the area)
    and mirrorings, and the best are kept. Where all are kept, the target is not asked again. `PoincareSearch` and
    `StyleSearch` explain the rest.

    Args:
        selection_rounds: views of each candidate in the final selection, >= 1.

    Presets: `ppa` is the paper's FaceScrub with FFHQ, `ppa-celeba` its CelebA or MetFaces, 70 steps from a pool of
    5,000; both search 200 for each identity and keep 50. `midre` is the released config of MIDRE, 16 of which 8 are
    kept, `midre-dogs` the same for Stanford Dogs (100 steps, 0.01, from 75 % of the area: the paper's for AFHQ).
    `tldmi` is TL-DMI's table, which clips; its candidates are not stated, PPA's are taken. How many are kept is
    `protocol.images_per_identity`.

    Source: Struppek et al., ICML 2022, released code and configs; the configs of MIDRE, TMLR 2025.
    We differ: views of the final selection are the same for all candidates of an identity, drawn for it alone; a pool
    comes from the seed of the attack, where released configs fix 42; small profiles have ten times the learning rate,
    for styles of small generators lie farther apart. `PoincareSearch` has more.
    """

    paper: ClassVar[str] = "Struppek et al., ICML 2022 (arXiv 2201.12179)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 4
    records: ClassVar[str] = "loss, confidence, gradient norm, of the candidates that are kept"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ppa": AT_224,
        "ppa-celeba": {**AT_224, "pool": 5000, "iterations": 70},
        "midre": {**AT_224, **_MIDRE, "rate_drops": (0.6, 0.8)},
        "midre-dogs": {**AT_224_DOGS, **_MIDRE},
        "tldmi": {**AT_224, "clip_in_loop": True},
    }

    selection_rounds: int = 100

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selection_rounds < 1:
            raise ValueError(f"needs selection_rounds >= 1, got {self.selection_rounds}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            **super().small(budget),
            "learning_rate": SMALL_RATE,
            "selection_rounds": max(1, budget.search // 5),
        }

    @override
    def keep_queries(self, count: int) -> int:
        return self.selection_rounds * self.candidates if count < self.candidates else 0

    @override
    def keep(
        self, handle: TargetHandle, networks: Networks, label: int, images: Tensor, count: int, task: Task
    ) -> Sequence[int]:
        return range(count) if count == len(images) else self.ranked(handle, networks, label, images, task)[:count]

    def ranked(
        self, handle: TargetHandle, networks: Networks, label: int, images: Tensor, task: Task, *, crop: bool = True
    ) -> list[int]:
        """Numbers of an identity's candidates [N, 3, H, W], the one first that the target is surest of.

        Args:
            crop: whether it sees crops of them; False only mirrors.
        """
        from midef.attacks.latent_search.selection import best_first, mean_confidence

        def confidence(views: Tensor) -> Tensor:
            return self.ask(handle, networks, views)[0].logits.double().softmax(dim=1)[:, label]

        with self.autocast(task):
            surest = mean_confidence(
                handle,
                confidence,
                images,
                rounds=self.selection_rounds,
                seed=derive_seed("selection", task.seed, label),
                at_once=images_at_once(task.device),
                crop=crop,
            )
        return best_first(surest, len(images))
