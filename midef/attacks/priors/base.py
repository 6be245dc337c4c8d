"""What every prior answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from midef.attacks.access import AccessLevel
from midef.attacks.base import SmallBudget, no_small_budget
from midef.core.recipe import Inputs, Recipe
from midef.core.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Splits

PRIORS: Registry[Prior] = Registry("prior", "midef.attacks.priors")


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Base of what an attacker trains on public data before attacking.

    asks: the access it needs to the target while it is trained. None never asks: trained once for all targets; the
    others have the target among their inputs, and their queries count as the attack's.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    kind: ClassVar[str] = "prior"
    asks: ClassVar[AccessLevel | None] = None

    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        """Parameters in a small profile. Attacks hand them on in their own `small`.

        Raises:
            SpecError: unless a subclass says it.
        """
        raise no_small_budget(cls, "prior")

    def requires(self, *, public: Recipe, target: Recipe) -> Mapping[str, Recipe]:
        """Other priors it starts from, by role."""
        return {}

    def recipe(self, *, public: Recipe, target: Recipe) -> Recipe:
        """The recipe of this prior for this public set (and this target, if it depends on it)."""
        choice = PRIORS.describe(self)
        asked = {} if self.asks is None else {"target": target}
        inputs = {"public": public, **asked, **self.requires(public=public, target=target)}
        return Recipe(self.kind, choice.name, {"params": choice.params}, inputs, choice.version)

    def problems(self, resolution_px: int) -> list[str]:
        """Why it cannot draw images of this resolution. The networks of this family double from 4 px."""
        if resolution_px < 8 or resolution_px & (resolution_px - 1):
            name = PRIORS.describe(self).name
            return [f"{name} draws 8, 16, 32, 64, ... px, not {resolution_px}; choose such a resolution_px"]
        return []

    def lacking(self) -> list[str]:
        """Files it needs that are not on this machine, each a sentence that says where to get it."""
        return []

    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        """Its networks by name, with fresh weights."""
        raise NotImplementedError

    def fit(
        self,
        networks: dict[str, nn.Module],
        public: Splits,
        handle: TargetHandle | None,
        *,
        inputs: Inputs,
        device: str,
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Train the networks in place; returns facts to store (losses, steps).

        handle: the target with the access `asks` names, None where that is None; inputs: folders of what it requires.
        """
        raise NotImplementedError

    def load(self, folder: Path, resolution_px: int, n_classes: int, device: str) -> dict[str, nn.Module]:
        """The trained networks, frozen and in eval mode."""
        from safetensors.torch import load_file

        from midef.nn.network import freeze_

        networks = self.networks(resolution_px, n_classes)
        for name, network in networks.items():
            network.load_state_dict(load_file(folder / f"{name}.safetensors"))
            freeze_(network)
            network.to(device)
        return networks
