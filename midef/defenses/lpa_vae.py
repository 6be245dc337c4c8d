"""LPA-VAE: the perturbation of an answer by one pass of a network instead of a descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.recipe import Recipe
from midef.defenses.base import DEFENSES
from midef.defenses.families.answers import moved
from midef.defenses.families.poisoning import Poisoning
from midef.defenses.families.substitutes import INVERTER, SUBSTITUTE_VERSION, VAE, Aided, Labelled, loaded, own_images
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.serving import Query, Served
    from midef.nn.answer_networks import PerturbationVae


@DEFENSES.add("lpa_vae")
@dataclass(frozen=True, kw_only=True)
class LpaVae(Labelled, Aided):
    """Move each answer to `radius` in the direction that a variational autoencoder gives for it.

    The autoencoder learns, pair by pair of the public images and their answers, directions that make the gradient of a
    substitute inversion network's loss the opposite of what it is on the clean answer. The code's noise is the image's
    own.

    Args:
        radius: L2 distance of an answer from the network's, before entries below 0 are raised to it, so also the
            largest; 0 changes nothing, larger hides more.
        hidden, latent: units of the autoencoder and numbers of its code.
        kl_weight: of the Kullback-Leibler divergence of the code from a standard normal one, beside the misalignment.
        epochs, batch, rate: of its training by Adam.
        labels: see `Labelled`.
        inverter_width, inverter_blocks, inverter_epochs, inverter_batch, inverter_rate, inverter_loss, half: see
            `Aided`; `half` also holds for the autoencoder.

    Source: LPA data-poisoning paper, which gives none of the sizes, the weight and the training: they are ours. The
    radius is its distortion on MNIST.
    """

    paper: ClassVar[str] = Poisoning.paper
    acts_on: ClassVar[str] = "answers"
    takes_gradients: ClassVar[bool] = False
    published_ms: ClassVar[Mapping[str, float]] = {"MNIST": 0.34}
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="radius", low=1e-4, high=1.0, scale="log")
    small: ClassVar[Mapping[str, Any]] = {**Aided.small, "hidden": 8, "epochs": 1}

    radius: float = 0.002
    hidden: int = 64
    latent: int = 8
    kl_weight: float = 1e-3
    epochs: int = 20
    batch: int = 64
    rate: float = 1e-3

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.hidden, self.latent, self.epochs, self.batch) < 1 or self.rate <= 0:
            raise ValueError("needs hidden, latent, epochs and batch >= 1 and rate > 0")
        if min(self.radius, self.kl_weight) < 0:
            raise ValueError(f"needs radius and kl_weight >= 0, got {self.radius} and {self.kl_weight}")

    @property
    @override
    def is_off(self) -> bool:
        return self.radius == 0

    @property
    @override
    def answer_budget(self) -> float | None:
        return self.radius

    @override
    def off(self) -> Self:
        return replace(self, radius=0.0)

    @override
    def serving(self, behind: Recipe, public: Recipe | None) -> Mapping[str, Recipe]:
        if self.is_off:
            return {}
        names = ("radius", "hidden", "latent", "kl_weight", "epochs", "batch", "rate", "half")
        params = {name: getattr(self, name) for name in names}
        inputs = {
            "public": own_images(self, public),
            "target": behind,
            INVERTER: self.inverter(behind, public),
        }
        return {VAE: Recipe("substitute", VAE, params, inputs, SUBSTITUTE_VERSION)}

    @override
    def answer_state(self, served: Served) -> PerturbationVae | None:
        if self.is_off:
            return None
        from midef.nn.answer_networks import PerturbationVae

        return loaded(PerturbationVae(served.n_classes, self.hidden, self.latent), VAE, served)

    @override
    def answer(self, query: Query, state: PerturbationVae | None) -> Tensor:
        if state is None:
            return query.probabilities
        direction = state(query.probabilities, query.normal(self.latent)).direction
        return self.labelled(query, moved(query.probabilities, self.radius * direction, self.radius))
