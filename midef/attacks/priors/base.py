"""Base of the priors: what an attacker trains before attacking, with or without asking the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from midef.attacks.access import AccessLevel
from midef.attacks.base import SmallBudget, no_small_budget
from midef.core.canonical import Plain, plain
from midef.core.choice import Choice
from midef.core.held import Held
from midef.core.recipe import Inputs, Recipe
from midef.core.registry import Registry
from midef.core.seeds import derive_seed
from midef.training.generative.loop import Report, TrainingRun
from midef.training.generative.speed import SpeedSettings

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Dataset, Splits
    from midef.nn.named_file import NamedFile

PRIORS: Registry[Prior] = Registry("prior", "midef.attacks.priors")

Networks = Mapping[str, "nn.Module"]


@dataclass(frozen=True, kw_only=True)
class FitContext:
    """Inputs, device and progress report of the training of a prior; nothing in here changes a result.

    Args:
        inputs: folders of the priors it starts from, by role.
        public: gives the public data set, for a prior that needs more of it than its images.
        report: called with the position of the training; None where nobody listens.
    """

    inputs: Inputs
    public: Callable[[], Dataset] | None = None
    device: str = "cpu"
    report: Report | None = None

    def run(self, seed: int, *network: str, speed: SpeedSettings | None = None) -> TrainingRun:
        """The training of a prior with this seed.

        Args:
            network: the name of one of several networks; its reports carry the name as `network`.
            speed: how it uses the device; None is plain float32.
        """
        report = self.report
        if report is not None and network:
            report = _named(report, *network)
        speed = speed or SpeedSettings()
        return TrainingRun(
            seed=derive_seed("prior", seed, *network),
            device=self.device,
            report=report,
            precision=speed.precision,
            captured=speed.captured,
        )


def _named(report: Report, network: str) -> Report:
    return lambda position: report({"network": network, **position})


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Common base of `PublicPrior` and `TargetedPrior`; a prior is one of these two.

    `asks` is the access it needs to the target while it is trained, None where it never asks. A prior also inherits the
    settings of its training, whose fields have no defaults, and gives them; so its training is handed the prior itself.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    kind: ClassVar[str] = "prior"
    asks: ClassVar[AccessLevel | None] = None
    knows_traits: ClassVar[bool] = False
    """True where the first coordinates of a latent are the traits of the identity that is drawn from it."""
    gflop_64px: ClassVar[float] = 0.016
    """Billion operations to draw an image of 64 px, about; only for estimates of how long work takes."""

    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        """Parameters in a small profile. Attacks hand them on in their own `small`.

        Raises:
            SpecError: unless a subclass says it.
        """
        raise no_small_budget(cls, "prior")

    @property
    def subject(self) -> str:
        """What its images show, such as `faces`, where others trained it; "" where it draws what public images show."""
        return ""

    def images_trained_on(self, public_images: int) -> int:
        """Images that its training passes through its networks, about; only for estimates of how long it takes.

        Here from fields of usual names: steps or iterations times `batch_size`, or `epochs` times the public images,
        for each of `count` networks.
        """
        passes = getattr(self, "steps", 0) or getattr(self, "iterations", 0)
        images = passes * getattr(self, "batch_size", 1) or getattr(self, "epochs", 0) * public_images
        return int(images) * int(getattr(self, "count", 1))

    def gflop(self, resolution_px: int) -> float:
        """Billion operations to draw an image of a setup at this resolution, about; only for estimates."""
        return self.gflop_64px * (resolution_px / 64) ** 2

    def drawn_px(self, resolution_px: int) -> int:
        """Pixels a side of what its generator draws itself, before that is resized to a setup of this resolution.

        Where it is more, its network `generator` also has `showing(px)`, the same network whose images have so many.
        """
        return resolution_px

    def learned_gflop(self, resolution_px: int) -> float:
        """Billion operations, forward, of all networks on an image that it learns; 0 where its training is like that of
        most, whose time goes by pixels. Only for estimates."""
        return 0.0

    def requires(self, *, public: Recipe, target: Recipe) -> Mapping[str, Recipe]:
        """Other priors it starts from, by role."""
        return {}

    def recipe(self, *, public: Recipe, target: Recipe) -> Recipe:
        """The recipe of this prior for this public set (and this target, if it depends on it)."""
        choice, params = self._described
        asked = {} if self.asks is None else {"target": target}
        inputs = {"public": public, **asked, **self.requires(public=public, target=target)}
        return Recipe(self.kind, choice.name, params, inputs, choice.version)

    @cached_property
    def _described(self) -> tuple[Choice, Plain]:
        """Its choice, and what its recipes for all targets share."""
        choice = PRIORS.describe(self)
        return choice, plain({"params": choice.params})

    def problems(self, resolution_px: int) -> list[str]:
        """Why it cannot draw images of this resolution. The networks of this family double from 4 px."""
        if resolution_px < 8 or resolution_px & (resolution_px - 1):
            name = PRIORS.describe(self).name
            return [f"{name} draws 8, 16, 32, 64, ... px, not {resolution_px}; choose such a resolution_px"]
        return []

    def problems_with(self, public: Dataset) -> list[str]:
        """Why it cannot be made from this public data set; each a sentence with what to do."""
        return []

    def lacking(self) -> list[str]:
        """Files it needs that are not on this machine, each a sentence that says where to get it."""
        return []

    def files(self) -> list[NamedFile]:
        """Published files in `weights_folder()` that it needs, whether they are there or not."""
        return []

    def given(self, recipe: Recipe, folder: Path) -> dict[str, Any] | None:
        """Write networks that somebody else trained, for `load`; None where it is trained here.

        Args:
            recipe: its own, which names what was published by digests, and no public images.

        Returns:
            Facts to store.
        """
        return None

    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        """Its networks by name, with fresh weights."""
        raise NotImplementedError

    def store(self, networks: Networks, folder: Path) -> None:
        """Write the trained networks for `load`: `<network>.safetensors` each."""
        from safetensors.torch import save_file

        for name, network in networks.items():
            state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
            save_file(state, folder / f"{name}.safetensors")

    def load(self, folder: Path, resolution_px: int, n_classes: int, device: str) -> dict[str, nn.Module]:
        """The trained networks, frozen and in eval mode."""
        from midef.nn.network import freeze_
        from midef.nn.weights import read_stored

        networks = self.networks(resolution_px, n_classes)
        for name, network in networks.items():
            network.load_state_dict(read_stored(folder / f"{name}.safetensors"))
            freeze_(network)
            network.to(device)
        return networks


@dataclass(frozen=True, kw_only=True)
class PublicPrior(Prior):
    """Base of priors that never ask the target: trained once for all targets."""

    draws_latents: ClassVar[bool] = False
    """True where its network `generator` makes images [B, 3, R, R] in [0, 1] of latents [B, latent_dim] alone, standard
    normal ones typical images. Attacks that search such latents take any of these priors."""
    latents_are_styles: ClassVar[bool] = False
    """True of a prior with `draws_latents` that attacks on the styles of a StyleGAN2 may search by its latents."""

    def fit(self, networks: Networks, public: Splits, context: FitContext) -> dict[str, Any]:
        """Train the networks in place.

        Returns:
            Facts to store, such as losses.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TargetedPrior(Prior):
    """Base of priors that ask the target: trained once for each target, their queries count as the attack's."""

    asks: ClassVar[AccessLevel]

    def queries(self, *, n_classes: int, public_images: int) -> int:
        """Images that `fit` shows the target: each public image once, unless a subclass says otherwise.

        Args:
            public_images: that the attacker has.
        """
        return public_images

    def fit(self, networks: Networks, public: Splits, handle: TargetHandle, context: FitContext) -> dict[str, Any]:
        """Train the networks in place.

        Args:
            handle: the target, with the access `asks`.

        Returns:
            Facts to store, such as losses.
        """
        raise NotImplementedError


def any_generator(usual: type[PublicPrior]) -> Mapping[str, Any]:
    """Metadata of an attack's field for a prior with `draws_latents`: the usual one, or another one written by name."""

    def fits(cls: type) -> str:
        if issubclass(cls, PublicPrior) and cls.draws_latents:
            return ""
        able = [other.registered_name for other in PRIORS if issubclass(other, PublicPrior) and other.draws_latents]  # type: ignore[attr-defined]
        return f"the attack searches single latents of a generator; give one of {', '.join(able)}"

    return Held(PRIORS, usual, fits).metadata


def style_generator(usual: type[PublicPrior]) -> Mapping[str, Any]:
    """Metadata of an attack's field for a StyleGAN2: the usual one, or a prior with `latents_are_styles` by name."""

    def fits(cls: type) -> str:
        if cls is usual or _stands_for_styles(cls):
            return ""
        able = [other.registered_name for other in PRIORS if other is usual or _stands_for_styles(other)]  # type: ignore[attr-defined]
        return f"the attack searches the styles of a StyleGAN2; give one of {', '.join(able)}"

    return Held(PRIORS, usual, fits).metadata


def layered_generator(usual: type[PublicPrior], why: str) -> Mapping[str, Any]:
    """Metadata of an attack's field for a StyleGAN2 and nothing in its place.

    Args:
        why: the attack needs it, a clause.
    """

    def fits(cls: type) -> str:
        return "" if issubclass(cls, usual) else f"{why}; give {usual.registered_name}"  # type: ignore[attr-defined]

    return Held(PRIORS, usual, fits).metadata


def _stands_for_styles(cls: type) -> bool:
    return issubclass(cls, PublicPrior) and cls.latents_are_styles
