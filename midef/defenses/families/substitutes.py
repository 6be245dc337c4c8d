"""Recipes of what the defender of answers trains on his own data, and how they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from typing_extensions import override

from midef.core.errors import SpecError
from midef.core.recipe import Recipe
from midef.datasets.base import Half
from midef.defenses.base import Defense
from midef.defenses.families.alignment import Substitute
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.defenses.serving import Query, Served

# Bumped when the maths of their training changes.
SUBSTITUTE_VERSION = 1
INVERTER = "inverter"
"""Component of a substitute: the defender's inversion network, with the gradient that answers shall teach."""
VAE, PURIFIER = "vae", "purifier"
"""Components of substitutes that answer themselves."""


@dataclass(frozen=True, kw_only=True)
class AnswerDefense(Defense):
    """Base of the defenses that move answers away from what the network says."""

    acts_on: ClassVar[str] = "answers"

    @property
    def is_off(self) -> bool:
        """Whether it changes nothing, so that it needs nothing."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Labelled(AnswerDefense):
    """Base of those that keep the label of an answer unless they are told not to.

    Args:
        labels: `strict` keeps the predicted class of every answer, exactly; `free` does not see to it.
    """

    labels: Literal["strict", "free"] = "strict"

    @property
    @override
    def keeps_labels(self) -> bool:
        return self.labels == "strict" or self.is_off

    @override
    def tuned_by(self) -> Tuning | NotTuned:
        return NotTuned("it keeps every label, at any strength") if self.labels == "strict" else type(self).tuning

    def labelled(self, query: Query, answers: Tensor) -> Tensor:
        """Answers [B, K] as they are served."""
        from midef.defenses.families.answers import keeping_labels

        return keeping_labels(query.probabilities, answers) if self.labels == "strict" else answers


@dataclass(frozen=True, kw_only=True)
class Aided(AnswerDefense):
    """Base of the defenses that answer with the help of a substitute for the attacker's inversion network.

    Args:
        inverter_width, inverter_blocks: of the network, see `TransposedCnn`.
        inverter_epochs, inverter_batch, inverter_rate: of its training, Adam as in Yang et al., CCS 2019.
        inverter_loss: of its training and of the gradients: `mse` or `psnr`.
        half: of the public images that it is trained on: `first` and `second` are disjoint, every other one.
    """

    takes_gradients: ClassVar[bool] = True
    small: ClassVar[Mapping[str, Any]] = {"inverter_width": 4, "inverter_epochs": 2, "inverter_rate": 2e-3}

    inverter_width: int = 128
    inverter_blocks: int | None = None
    inverter_epochs: int = 100
    inverter_batch: int = 128
    inverter_rate: float = 2e-4
    inverter_loss: Literal["mse", "psnr"] = "mse"
    half: Half = "all"

    def __post_init__(self) -> None:
        if min(self.inverter_width, self.inverter_epochs) < 1 or self.inverter_batch < 2 or self.inverter_rate <= 0:
            raise ValueError("needs inverter_width and inverter_epochs >= 1, inverter_batch >= 2, inverter_rate > 0")
        if self.inverter_blocks not in (None, 4, 5, 6):
            raise ValueError(f"needs inverter_blocks 4, 5 or 6, or none given, got {self.inverter_blocks}")

    @override
    def serving(self, behind: Recipe, public: Recipe | None) -> Mapping[str, Recipe]:
        return {} if self.is_off else {INVERTER: self.inverter(behind, public)}

    def inverter(self, behind: Recipe, public: Recipe | None) -> Recipe:
        """The recipe of the substitute. Defenses with equal settings share it.

        Raises:
            SpecError: without public images.
        """
        fields = ("width", "blocks", "epochs", "batch", "rate", "loss")
        params = {name: getattr(self, f"inverter_{name}") for name in fields}
        inputs = {"public": own_images(self, public), "target": behind}
        return Recipe("substitute", INVERTER, {**params, "half": self.half}, inputs, SUBSTITUTE_VERSION)

    @override
    def answer_state(self, served: Served) -> Any:
        return None if self.is_off else self.load(served)

    def load(self, served: Served) -> Substitute:
        """The trained substitute on the server's device."""
        from midef.nn.doubling import drawn_for
        from midef.nn.inversion import TransposedCnn
        from midef.nn.weights import read_stored

        width, blocks = self.inverter_width, self.inverter_blocks
        own_px = drawn_for(served.resolution_px)
        network = TransposedCnn(served.n_classes, own_px, width, blocks, shown_px=served.resolution_px)
        stored = read_stored(served.path(INVERTER) / "gradient.safetensors")
        gradient = {name: tensor.to(served.device) for name, tensor in stored.items()}
        return Substitute(loaded(network, INVERTER, served), self.inverter_loss, gradient)


N = TypeVar("N", bound="nn.Module")


def loaded(network: N, component: str, served: Served) -> N:
    """The network with the weights of a substitute, frozen, in eval mode, on the server's device."""
    from midef.nn.network import freeze_
    from midef.nn.weights import read_stored

    network.load_state_dict(read_stored(served.path(component) / f"{component}.safetensors"))
    freeze_(network)
    return network.to(served.device)


def own_images(defense: Defense, public: Recipe | None) -> Recipe:
    """The public images that a defender takes his own from.

    Raises:
        SpecError: if none are known.
    """
    if public is None:
        name = cast(Any, type(defense)).registered_name
        raise SpecError(f"{name} prepares its answers on public images; name them as `public` of the target's recipe")
    return public
