"""A latent search that starts from the best of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget, Task
from midef.attacks.latent_search.conditional import max_margin
from midef.attacks.latent_search.memory import images_at_once, in_parts
from midef.attacks.latent_search.template import LatentSearch, Networks, Rows
from midef.attacks.priors.base import PublicPrior, any_generator
from midef.attacks.priors.wgan_gp import WganGp
from midef.core.canonical import ADDED_LATER
from midef.core.lazy import torch
from midef.core.position import share
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.nn.network import Forward


@ATTACKS.add("pool_search")
@dataclass(frozen=True, kw_only=True)
class PoolSearch(LatentSearch):
    """Adam on the max-margin loss from the latents of a pool that the target is surest of.

    One pool of standard normal latents serves all identities; restart r of an identity starts from the latent with the
    r-th highest confidence. The loss of a step is the margin of one view, moved and mirrored at random, plus
    prior_weight * |z|^2 / 2, the negative logarithm of the latents' distribution.

    Args:
        pool: latents, >= 1; as many queries. With more restarts than that it is gone through again.
        iterations: steps of the search.
        learning_rate: of Adam, > 0.
        prior_weight: >= 0.
        shift: a view is moved by whole pixels, up to this share of its size in both directions, 0 to 1.
        flip: whether half the views are mirrored.
        prior: any generator of single latents. `renderer` is an ideal one where a program made the data, and gives the
            exact traits of each reconstruction.
        activation: of a head of low rank; `skipped` takes the margin of the logits that the code gives before it, where
            no activation has flattened their gradient. The pool is still chosen by what the target answers, and the
            recorded confidence is the target's. It changes nothing on other heads.

    Source: of Struppek et al., ICML 2022 (PPA), the start from the best of a pool and random changes of what the target
    sees; the loss of Yuan et al., AAAI 2023 (PLG-MI).
    We differ: PPA samples styles of a StyleGAN2, asks the target about centre crops, minimises the Poincare distance
    and lastly chooses among many candidates by the confidence in changed views; PLG-MI searches a conditional
    generator from random starts. All restarts are kept.
    """

    paper: ClassVar[str] = "midef's own, after Struppek et al., ICML 2022, and Yuan et al., AAAI 2023"
    version: ClassVar[int] = 2  # views between pixels before
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 3

    pool: int = 1500
    iterations: int = 100
    learning_rate: float = 0.05
    prior_weight: float = 0.01
    shift: float = 0.06
    flip: bool = True
    prior: PublicPrior = field(default_factory=WganGp, metadata=any_generator(WganGp))
    activation: Literal["kept", "skipped"] = field(default="kept", metadata=ADDED_LATER)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool < 1 or self.learning_rate <= 0:
            raise ValueError(f"needs pool >= 1 and learning_rate > 0, got {self.pool}, {self.learning_rate}")
        if self.prior_weight < 0 or not 0 <= self.shift <= 1:
            raise ValueError(f"needs prior_weight >= 0 and 0 <= shift <= 1, got {self.prior_weight}, {self.shift}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"pool": 15 * budget.search, "iterations": budget.search, "prior": WganGp.small(budget)}

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        return {"prior": self.prior}

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return self.pool + self.iterations * self.n_views * reconstructions

    @override
    def choosing_share(self, rows: int) -> float:
        return self.pool / (self.pool + 3 * self.iterations * self.n_views * rows)  # a step also goes back

    @override
    def choose(self, handle: TargetHandle, networks: Networks, task: Task) -> Mapping[tuple[int, int], Tensor]:
        rng = torch.Generator().manual_seed(derive_seed("pool", task.seed))
        latent_dim = int(networks["generator"].latent_dim)  # type: ignore[arg-type]
        pool = torch.randn(self.pool, latent_dim, generator=rng).to(task.device)

        def answers(begin: int, end: int) -> Tensor:
            with share(begin / self.pool, end / self.pool):
                logits = self.ask(handle, networks, networks["generator"](pool[begin:end]))[0].logits
            return logits.double().log_softmax(dim=1)

        with torch.no_grad(), self.autocast(task):
            answered = in_parts(self.pool, images_at_once(task.device, networks["generator"]), handle, answers)
        surest = torch.cat(answered).sort(dim=0, descending=True, stable=True).indices.cpu()
        pairs = zip(task.labels.tolist(), task.restarts.tolist(), strict=True)
        return {(label, restart): pool[surest[restart % self.pool, label]] for label, restart in pairs}

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(searched, lr=self.learning_rate)

    @override
    def views(self, images: Tensor, rows: Rows) -> list[Tensor]:
        from midef.attacks.latent_search.views import moved_and_mirrored

        return [moved_and_mirrored(images, rows.noise, share=self.shift, mirror=self.flip)]

    @override
    def ask(self, handle: TargetHandle, networks: Networks, view: Tensor) -> list[Forward]:
        return [handle.run(view)] if self.activation == "kept" else list(handle.run_and_skip_activation(view))

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        return max_margin(seen[-1].logits.float(), labels)

    @override
    def step_loss(self, handle: TargetHandle, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        length = searched[0].square().sum(dim=1)
        return super().step_loss(handle, networks, searched, rows) + self.prior_weight / 2 * length
