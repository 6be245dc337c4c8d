"""LOKT: a label-only target is learned first, then attacked through the networks that learned it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, SmallBudget
from midef.attacks.latent_search.conditional import ConditionalSearch
from midef.attacks.latent_search.template import Networks, Rows
from midef.attacks.priors.lokt_surrogates import LoktSurrogates

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.nn.network import Forward


@ATTACKS.add("lokt")
@dataclass(frozen=True, kw_only=True)
class Lokt(ConditionalSearch):
    """PLG-MI's search with surrogates in the target's place: Adam over z of G(z, y), two views, the max-margin loss.

    The search asks the target nothing; all questions are those of its priors, the GAN and the surrogates.

    Args:
        iterations: steps of the search, >= 1.
        learning_rate: of Adam, > 0.
        surrogate: who looks, `ensemble` averages the loss over all surrogates, `discriminator` is the class head of
            the GAN's discriminator alone, which needs no further training and no further questions.
        surrogates: the prior that trains them, and holds the GAN.

    Source: Nguyen et al., NeurIPS 2023 (LOKT), released code at b7514172, with PLG-MI as its white-box attack. All
    restarts are kept. We differ: images are clamped to [0, 1] before anybody sees them.
    """

    paper: ClassVar[str] = "Nguyen et al., NeurIPS 2023 (LOKT, arXiv 2310.19342)"
    access: ClassVar[AccessLevel] = AccessLevel.LABELS
    strength: ClassVar[int] = 4
    records: ClassVar[str] = "loss, mean confidence of who looks in the target's place, gradient norm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"orig": {}, "discriminator": {"surrogate": "discriminator"}}

    surrogate: Literal["ensemble", "discriminator"] = "ensemble"
    surrogates: LoktSurrogates = field(default_factory=LoktSurrogates, metadata={"shown": False})

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"iterations": budget.search, "surrogates": LoktSurrogates.small(budget)}

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        gan: dict[str, Prior] = {"prior": self.surrogates.gan}
        return gan if self.surrogate == "discriminator" else {**gan, "surrogates": self.surrogates}

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return 0

    @override
    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        asked = self.surrogates.count if self.surrogate == "ensemble" else 1
        return 2 * asked * self.iterations * reconstructions  # each of them is gone through back, too

    @override
    def images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        if self.surrogate == "ensemble":
            return super().images(networks, searched, rows)
        from midef.nn.sized import with_drawn

        return super().images(with_drawn(networks), searched, rows)

    @override
    def looked_at(self, networks: Networks, images: Tensor) -> Tensor:
        """The discriminator takes images as its generator draws them."""
        return images if self.surrogate == "discriminator" else super().looked_at(networks, images)

    @override
    def ask(self, handle: TargetHandle, networks: Networks, view: Tensor) -> list[Forward]:
        from midef.nn.network import Forward

        if self.surrogate == "discriminator":
            answers = [networks["discriminator"](view)[1]]
        else:
            answers = [network(view) for name, network in networks.items() if name.startswith("surrogate")]
        return [Forward(logits, logits.new_empty(len(logits), 0), {}) for logits in answers]

    @override
    def judges(self, seen: list[Forward]) -> list[Forward]:
        return seen
