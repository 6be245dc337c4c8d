"""Base of the attacks: access level, required recipes, reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from midef.attacks.access import AccessLevel
from midef.core.errors import SpecError
from midef.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe
    from midef.core.setup import Protocol
    from midef.core.traces import Traces
    from midef.nn.named_file import NamedFile

ATTACKS: Registry[Attack] = Registry("attack", "midef.attacks", beside=("target_handle",))


@dataclass(frozen=True, kw_only=True)
class SmallBudget:
    """Work of one attack in a small profile. Attacks and priors turn it into their parameters by `small`.

    Args:
        search: steps of a latent search, or rounds that ask the target about as often.
        steps: training steps of a generator that depends on the target.
        epochs: passes over the public images of a network that learns to invert answers.
        inverter_width: channels of such a network.
        latent_dim: of every generator.
        public_steps: training steps of a generator that never asks the target.
        width: channels of generators and their critics.
        batch_size: images in a training step of a generator.
    """

    search: int
    steps: int
    epochs: int
    inverter_width: int
    latent_dim: int
    public_steps: int = 3000
    width: int = 16
    batch_size: int = 32


def no_small_budget(cls: type, kind: str) -> SpecError:
    """The refusal of a small profile for a component that does not say what it runs with there."""
    name = getattr(cls, "registered_name", cls.__name__)
    return SpecError(
        f"{kind} {name!r} does not say what it runs with in a small profile, and would run at its paper's budget; "
        f"give {cls.__name__} a classmethod `small`, or choose a preset or profile: paper"
    )


@dataclass(frozen=True)
class Reconstructions:
    """Result of an attack.

    Args:
        images: [N, 3, H, W] in [0, 1], as the target takes them, or of `kept_px` of the task.
        labels: [N] identities attacked.
        restarts: [N] 0-based.
        found: [N] bool, False where the attack gave up (the image is then its best guess, evaluated like any other).
        traits: [N, n_traits], standard normal coordinates of the identity of each image, where the attack knows them
            exactly: it searched the latents of an image formation (`midef.datasets.ImageFormation`).
        traces: the course of the search; None of an attack that takes no steps.
        latents: [N, ...] that a latent search drew the images from; they are not stored. None where they alone do not
            give the images.
    """

    images: Tensor
    labels: Tensor
    restarts: Tensor
    found: Tensor
    traits: Tensor | None = None
    traces: Traces | None = None
    latents: Tensor | None = None


@dataclass(frozen=True)
class Task:
    """Images that an attack has to reconstruct.

    Args:
        labels, restarts: [N], one image for each pair.
        observed: [N, K] answers the attacker saw for private images of these identities, where the attack needs
            them (`needs_observed_scores`).
        resolution_px: of the images that the target takes.
        seed: of this attack run.
        kept_px: of the images that the attack gives, see `Attack.drawn_px`; None gives what the target takes.
    """

    labels: Tensor
    restarts: Tensor
    resolution_px: int
    seed: int
    device: str
    observed: Tensor | None = None
    kept_px: int | None = None


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Base of all attacks: a frozen dataclass that reconstructs identities through a `TargetHandle`.

    Networks are frozen and in eval mode. Each reconstruction has its own random stream, from (seed, identity, restart),
    so results do not depend on how identities are batched; unless the target draws noise to answer (MID).

    Args:
        draws: whether, with the same priors, another seed gives other images.
        strength: how much it finds in undefended models of published tables, about: 5 above 90 %, 4 above 80, 3 above
            50, 2 above 10, 1 less; 0 where nothing is known. Only the order in which an audit tries attacks depends on
            it.
        records: what its traces hold of each step, in words; "" of an attack that takes no steps.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    access: ClassVar[AccessLevel]
    needs_observed_scores: ClassVar[bool] = False
    draws: ClassVar[bool] = True
    strength: ClassVar[int] = 0
    records: ClassVar[str] = ""

    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        """Parameters in a small profile, below what the user writes; {} where it costs nothing to run.

        Raises:
            SpecError: unless a subclass says it.
        """
        raise no_small_budget(cls, "attack")

    def problems(self, resolution_px: int) -> list[str]:
        """Why it cannot work at this resolution; each a sentence with what to do."""
        return []

    def problems_with(self, protocol: Protocol) -> list[str]:
        """Why it cannot make the reconstructions of this protocol; each a sentence with what to do."""
        return []

    def lacking(self) -> list[str]:
        """Files it needs beside its priors that are not on this machine, each a sentence that says where to get it."""
        return []

    def files(self) -> list[NamedFile]:
        """Published files in `weights_folder()` that it needs beside its priors, whether they are there or not."""
        return []

    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        """Recipes of what it starts from, by role. What depends on the target has `target` among its inputs."""
        raise NotImplementedError

    @property
    def knows_traits(self) -> bool:
        """True if its reconstructions carry the traits of each image: it searches a prior that knows those of what it
        draws. No network has to read them from the images then."""
        return any(getattr(getattr(self, f.name), "knows_traits", False) for f in fields(self))

    def drawn_px(self, resolution_px: int) -> int:
        """Pixels a side of the largest images it can draw, for targets that take this many.

        Where it is more, and the evaluator takes more than the target, a task asks for reconstructions of the
        evaluator's size (`kept_px`): they are drawn for it, and not enlarged from what the target saw. Only an attack
        that gives them then may say more.
        """
        return resolution_px

    def queries(self, *, reconstructions: int, identities: int) -> int | None:
        """Images that `reconstruct` shows the target for so many; None where only the search itself can tell."""
        return None

    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        """Images that `reconstruct` draws for so many, about; only for estimates of how long it takes."""
        asked = self.queries(reconstructions=reconstructions, identities=identities)
        return asked or int(getattr(self, "iterations", 1)) * reconstructions

    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        """One image for each (label, restart) of the task."""
        raise NotImplementedError


def small_budget(name: str, params: Mapping[str, Any], budget: SmallBudget) -> dict[str, Any]:
    """What an attack runs with in a small profile, a prior that stands in the place of its usual one with its own.

    Args:
        params: of the attack, as `ATTACKS.parse` gives what the user wrote.

    Raises:
        SpecError: unless attack and prior say it.
    """
    small = dict(ATTACKS.get(name).small(budget))
    for word, held in ATTACKS.exchangeable(name).items():
        written = params.get(word)
        if isinstance(written, Mapping) and "name" in written:
            small[word] = {"name": written["name"], **held.registry.get(written["name"]).small(budget)}
    return small
