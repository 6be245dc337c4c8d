"""VMI: variational model inversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget
from midef.attacks.latent_search.template import LatentSearch, Networks, Rows
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.priors.wgan_gp import WganGp
from midef.core.lazy import F, torch
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.latent_search.flows import Family
    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.nn.network import Forward


@ATTACKS.add("vmi")
@dataclass(frozen=True, kw_only=True)
class Vmi(LatentSearch):
    """Fit a distribution of latents to each identity: minimise E[CE(T(G(s)), y)] + kl_weight * KL(q || N(0, I)) over q.

    A reconstruction is a sample of its identity's distribution. With StyleGAN2, each of its layers (10 at 64 px) has a
    latent and a distribution of its own, and KL is their mean; with WGAN-GP there is one.

    Args:
        prior: `StyleGan2`, or `WganGp` in place of the paper's DCGAN; given as a mapping, it is the one that has
            all the fields named, StyleGAN2 if both have.
        family: `flow`, Glow on vectors; `gauss`, a Gaussian with full covariance, far cheaper ("VMI-Gauss": not the
            published attack).
        levels, flow_steps, hidden: of the flow, see `Flow`; larger is more flexible and slower.
        kl_weight: >= 0, larger stays closer to what the prior knows.
        batch: samples of each identity in a step, over which both expectations are taken.
        learning_rate, momentum: of plain SGD.

    Source: Wang et al., NeurIPS 2021, and released code; `orig` is 20 epochs of 157 steps, `bido` and `tldmi` are 32 of
    10, without their early stopping on the evaluation model, which an attacker does not have. We differ: all identities
    run in one batch, none with effect on another; permutations of the flow are the same for all of them.
    """

    paper: ClassVar[str] = "Wang et al., NeurIPS 2021 (arXiv 2201.10787)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 2
    per_identity: ClassVar[bool] = True
    records: ClassVar[str] = "loss, confidence (mean of the samples), gradient norm (of the family), for each identity"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "orig": {"iterations": 20 * 157, "batch": 64},
        "bido": {"iterations": 32 * 10, "batch": 32},
        "tldmi": {"iterations": 32 * 10, "batch": 32},
    }

    iterations: int = 32 * 10
    batch: int = 32
    learning_rate: float = 1e-4
    momentum: float = 0.9
    kl_weight: float = 1e-3
    family: Literal["flow", "gauss"] = "flow"
    levels: int = 3
    flow_steps: int = 10
    hidden: int = 100
    prior: StyleGan2 | WganGp = field(default_factory=StyleGan2, metadata={"shown": False})

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch", "levels", "flow_steps", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"needs {name} >= 1, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.kl_weight < 0 or not 0 <= self.momentum < 1:
            given = f"{self.learning_rate}, {self.kl_weight}, {self.momentum}"
            raise ValueError(f"needs learning_rate > 0, kl_weight >= 0 and 0 <= momentum < 1, got {given}")
        if self.levels > 16:  # 2**16 latent dimensions; a power of anything would have to be computed first
            raise ValueError(f"needs levels <= 16, got {self.levels}")
        if self.family == "flow" and self.prior.latent_dim <= 2 ** (self.levels - 1):
            needed = f"more than {2 ** (self.levels - 1)} latent dimensions for {self.levels} levels"
            raise ValueError(f"a flow needs {needed}, the prior has {self.prior.latent_dim}; lower levels")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "iterations": budget.search // 2,
            "batch": budget.batch_size // 4,
            "learning_rate": 1e-3,
            "levels": 2,
            "flow_steps": 4,
            "prior": WganGp.small(budget),
        }

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        return {"prior": self.prior}

    @property
    @override
    def images_per_row(self) -> int:
        return self.batch

    @property
    def distributions(self) -> Family:
        """The family that is fitted, over the latents of one layer."""
        from midef.attacks.latent_search.flows import Flow, Gauss

        if self.family == "gauss":
            return Gauss(self.prior.latent_dim)
        return Flow(self.prior.latent_dim, self.levels, self.flow_steps, self.hidden)

    @override
    def start(self, networks: Networks, rows: Rows) -> list[Tensor]:
        seeds = [derive_seed("family", seed) for seed in rows.seeds]
        layers = networks["generator"].num_ws if isinstance(self.prior, StyleGan2) else 1
        return self.distributions.start(seeds, int(layers), str(rows.labels.device))  # type: ignore[arg-type]

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD(searched, lr=self.learning_rate, momentum=self.momentum)

    @override
    def step_loss(self, handle: TargetHandle, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        latents, divergence = self.sample(searched, rows, self.batch)
        images = self.draw(networks, latents, rows)
        return self._loss(handle, networks, images, rows) + self.kl_weight * divergence

    @override
    def final_latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        return self.sample(searched, rows, 1)[0]

    def sample(self, searched: list[Tensor], rows: Rows, count: int) -> tuple[Tensor, Tensor]:
        """`count` samples of each row [N * count, L, Z], those of a row together, and estimates of the KL [N]."""
        layers = searched[0].shape[1]
        # one by one: streams draw ahead, and blocks of whole batches would take gigabytes
        noise = torch.stack([rows.noise.normal(layers, self.prior.latent_dim) for _ in range(count)], dim=2)
        samples, log_ratios = self.distributions.sample(searched, noise.double())
        return samples.float().transpose(1, 2).flatten(0, 1), log_ratios.mean(dim=(1, 2)).float()

    @override
    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        return super().draw(networks, latents if isinstance(self.prior, StyleGan2) else latents[:, 0], rows)

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        logits = seen[0].logits
        each = F.cross_entropy(logits, labels.repeat_interleave(self.batch), reduction="none")
        return each.view(-1, self.batch).mean(dim=1)
