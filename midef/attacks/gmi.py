"""GMI: generative model inversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget
from midef.attacks.latent_search.template import LatentSearch, Networks, Rows
from midef.attacks.priors.base import PublicPrior, any_generator
from midef.attacks.priors.wgan_gp import WganGp
from midef.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.priors import Prior
    from midef.nn.network import Forward


@ATTACKS.add("gmi")
@dataclass(frozen=True, kw_only=True)
class Gmi(LatentSearch):
    """Minimise -D(G(z)) + identity_weight * CE(T(G(z)), y) over z by Nesterov's gradient, z clamped to [-1, 1].

    Args:
        iterations: of the search.
        learning_rate, momentum: of the optimiser.
        identity_weight: of the cross entropy.
        clamp: bound on each latent coordinate after a step (the first forward sees the unclamped start).
        batch_equivalent: the papers average both terms over a batch of 60, which divides each latent's gradient by
            60. We divide by this constant whatever the batch, so results do not depend on it.
        prior: with another prior than the WGAN-GP, which has a critic D, the term -D(G(z)) is left out.

    Source: Zhang et al., CVPR 2020; released code and KedMI's, LOMMA's and BiDO's copies of it. All restarts are kept
    (the original keeps the best of 5 by target score, `protocol.counted: best_by_target`; every later paper averages).
    """

    paper: ClassVar[str] = "Zhang et al., CVPR 2020 (arXiv 1911.07135)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 2
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "orig": {"iterations": 1500, "batch_equivalent": 100, "prior": {"steps": 280 * 468}},
        "kedmi": {"iterations": 2400},
        "lomma": {"iterations": 2400},
        "bido": {"iterations": 2000},
        "tldmi": {"iterations": 3000},
    }

    iterations: int = 2400
    learning_rate: float = 0.02
    momentum: float = 0.9
    identity_weight: float = 100.0
    clamp: float = 1.0
    batch_equivalent: int = 60
    prior: PublicPrior = field(default_factory=WganGp, metadata=any_generator(WganGp))

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_equivalent < 1 or self.clamp <= 0:
            raise ValueError(f"needs batch_equivalent >= 1 and clamp > 0, got {self.batch_equivalent}, {self.clamp}")
        if self.learning_rate <= 0 or self.identity_weight < 0 or not 0 < self.momentum < 1:
            given = f"{self.learning_rate}, {self.identity_weight}, {self.momentum}"
            raise ValueError(f"needs learning_rate > 0, identity_weight >= 0 and 0 < momentum < 1, got {given}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"iterations": budget.search, "prior": WganGp.small(budget)}

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        return {"prior": self.prior}

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        each = F.cross_entropy(seen[0].logits, labels, reduction="none")
        return self.identity_weight / self.batch_equivalent * each

    @override
    def images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        from midef.nn.sized import with_drawn

        return super().images(with_drawn(networks), searched, rows)

    @override
    def prior_loss(self, networks: Networks, images: Tensor) -> Tensor | None:
        if "critic" not in networks:
            return None
        scores: Tensor = networks["critic"](images)
        return -scores / self.batch_equivalent

    @override
    def constrain_(self, searched: list[Tensor], rows: Rows) -> None:
        with torch.no_grad():
            searched[0].clamp_(-self.clamp, self.clamp)

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD(searched, lr=self.learning_rate, momentum=self.momentum, nesterov=True)
