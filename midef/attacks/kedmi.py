"""KedMI: knowledge-enriched distributional model inversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget
from midef.attacks.latent_search.template import LatentSearch, Networks, Rows
from midef.attacks.priors.kedmi_gan import KedmiGan
from midef.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.priors import Prior
    from midef.nn.network import Forward


_RELEASED: Mapping[str, Any] = {"steps": 120 * 468, "label_mode": "train"}


@ATTACKS.add("kedmi")
@dataclass(frozen=True, kw_only=True)
class Kedmi(LatentSearch):
    """Search a Gaussian of latents for each identity: minimise -log P(real) + identity_weight * CE(T(G(z)), y).

    One Gaussian (mean and log variance, searched by Adam) per identity, whatever the number of restarts; each step
    draws one latent from it, and each restart is one latent drawn from the last one.

    Args:
        iterations: of the search, >= 1.
        learning_rate: of Adam, > 0.
        identity_weight: of the cross entropy, >= 0.
        logvar0: log variance at the start, 1 or 0 in the papers, larger begins with more varied images.
        clamp_before_generator: latents are clamped to [-1, 1] before they are drawn, in the search and at the end.

    Presets: `kedmi` is the released recovery script, `orig` the default of its search function and PLG-MI's baseline,
    `bido` BiDO's script, `lomma` and `tldmi` these papers' baselines. All released GANs were labelled in train mode, so
    the presets' are. KedMI's and BiDO's codes clamp a copy of the latent that nobody uses; LOMMA's and TL-DMI's clamp.

    Source: Chen et al., ICCV 2021, released code; LOMMA's, BiDO's and TL-DMI's copies of it.
    We differ: losses are sums over identities, which Adam does not notice; the discriminator judges each image alone,
    see `MinibatchDiscriminator`, so that results do not depend on the batch.
    """

    paper: ClassVar[str] = "Chen et al., ICCV 2021 (arXiv 2010.04092)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 3
    per_identity: ClassVar[bool] = True
    records: ClassVar[str] = "loss, confidence, gradient norm (of mean and log-variance), for each identity"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "orig": {"iterations": 1500, "logvar0": 1.0, "prior": _RELEASED},
        "kedmi": {"iterations": 2400, "logvar0": 1.0, "prior": _RELEASED},
        "lomma": {"iterations": 2400, "logvar0": 1.0, "clamp_before_generator": True, "prior": _RELEASED},
        "bido": {"iterations": 5000, "logvar0": 0.0, "prior": {**_RELEASED, "steps": 100 * 468}},
        "tldmi": {"iterations": 3000, "logvar0": 0.0, "clamp_before_generator": True, "prior": _RELEASED},
    }

    iterations: int = 2400
    learning_rate: float = 0.02
    identity_weight: float = 100.0
    logvar0: float = 1.0
    clamp_before_generator: bool = False
    prior: KedmiGan = field(default_factory=KedmiGan, metadata={"shown": False})

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0 or self.identity_weight < 0:
            raise ValueError(
                f"needs learning_rate > 0 and identity_weight >= 0, got {self.learning_rate}, {self.identity_weight}"
            )

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"iterations": budget.search, "prior": KedmiGan.small(budget)}

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        return {"prior": self.prior}

    @override
    def start(self, networks: Networks, rows: Rows) -> list[Tensor]:
        mean = torch.zeros(len(rows.labels), self.prior.latent_dim, device=rows.labels.device)
        return [mean, torch.full_like(mean, self.logvar0)]

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(searched, lr=self.learning_rate)

    @override
    def latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        """A fresh latent of each row's Gaussian."""
        mean, logvar = searched
        drawn = mean + (logvar / 2).exp() * rows.noise.normal(mean.shape[1])
        return drawn.clamp(-1, 1) if self.clamp_before_generator else drawn

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        return self.identity_weight * F.cross_entropy(seen[0].logits, labels, reduction="none")

    @override
    def images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        from midef.nn.sized import with_drawn

        return super().images(with_drawn(networks), searched, rows)

    @override
    def prior_loss(self, networks: Networks, images: Tensor) -> Tensor:
        from midef.training.generative.kedmi import reality_loss

        _, logits = networks["discriminator"](images)
        return reality_loss(logits)

    @override
    def final_latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        return self.latents(searched, rows)
