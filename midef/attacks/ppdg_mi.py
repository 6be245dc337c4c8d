"""PPDG-MI: the generator is taught, identity by identity, what the attack found, and the attack begins anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Reconstructions, SmallBudget, Task
from midef.attacks.latent_search.style_search import AT_224
from midef.attacks.latent_search.template import Networks
from midef.attacks.ppa import Ppa
from midef.attacks.priors.base import layered_generator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core.lazy import F, torch
from midef.core.position import share, steps
from midef.core.seeds import derive_seed
from midef.core.traces import Traces
from midef.training.generative.pseudo_private import Features, TuningSettings, discriminator_features, tuned

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.target_handle import TargetHandle
    from midef.nn.named_file import NamedFile

FEATURE_PX = 256
"""Larger images are averaged down to this before their features are taken."""

_LPIPS_TRUNK: Literal["vgg"] = "vgg"


@ATTACKS.add("ppdg_mi")
@dataclass(frozen=True, kw_only=True)
class PpdgMi(Ppa, TuningSettings):
    """PPA in rounds: after each but the last, the identity's best images are what its own generator is tuned to draw.

    Every identity begins with the prior's generator and ends with one of its own, which is thrown away. A round is a
    PPA with a pool of its own, whose candidates are ranked by the target's mean confidence over mirrorings. The best of
    them stand for private images: each is inverted, then the synthesis is tuned until the set of images drawn from
    these w is close to the set itself. The last round is what counts. `TuningSettings`, `Ppa`, `PoincareSearch` and
    `StyleSearch` explain the rest.

    Args:
        rounds: >= 1; one is PPA.
        pseudo_private: images that a generator is tuned to, 2 to candidates.
        features: what the distance compares. `lpips`, features of VGG16, as published: its weight file is needed.
            `discriminator`, what the blocks of the prior's discriminator give.

    Presets: `ppdg` is the published config (CelebA with FFHQ, maximum mean discrepancy), `ppdg-ct` and `ppdg-pw` its
    other distances, with their steps and images. `loft` names the variant that LoFt used, `ppdg`.

    Source: Peng et al., 2024, and released code for high resolution (config of CelebA with FFHQ); see `tuned`.
    We differ: images of each round come from the generator of that round, where released metrics draw those of all
    identities by the last identity's generator. LPIPS is that of torchmetrics, not NVIDIA's file. Small profiles
    compare features of the discriminator, which no paper does.
    """

    paper: ClassVar[str] = "Peng et al., 2024 (PPDG-MI)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 5
    records: ClassVar[str] = "loss, confidence, gradient norm, of the candidates that are kept, in the last round"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ppdg": AT_224,
        "ppdg-ct": {**AT_224, "distance": "ct", "inversion_steps": 150, "tuning_steps": 25},
        "ppdg-pw": {**AT_224, "distance": "pw", "inversion_steps": 300, "pseudo_private": 5},
        "loft": AT_224,
    }

    pool: int = 500
    candidates: int = 100
    iterations: int = 70
    rounds: int = 2
    pseudo_private: int = 10
    distance: Literal["mmd", "ct", "pw"] = "mmd"
    features: Literal["lpips", "discriminator"] = "lpips"
    inversion_steps: int = 100
    inversion_rate: float = 0.01
    realness: float = 0.1
    tuning_steps: int = 150
    tuning_rate: float = 3e-4
    prior: StyleGan2 = field(
        default_factory=StyleGan2,
        metadata=layered_generator(StyleGan2, "the attack tunes a StyleGAN2, and this prior has nothing to tune"),
    )

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rounds", "inversion_steps", "tuning_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"needs {name} >= 1, got {getattr(self, name)}")
        if not 2 <= self.pseudo_private <= self.candidates:
            given = f"{self.pseudo_private}, {self.candidates}"
            raise ValueError(f"needs 2 <= pseudo_private <= candidates, got {given}")
        if min(self.inversion_rate, self.tuning_rate) <= 0 or self.realness < 0:
            given = f"{self.inversion_rate}, {self.tuning_rate}, {self.realness}"
            raise ValueError(f"needs inversion_rate > 0, tuning_rate > 0 and realness >= 0, got {given}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        ppa = super().small(budget)
        return {
            **ppa,
            "pool": max(ppa["candidates"], budget.search),
            "iterations": min(50, max(1, budget.search // 2)),
            "pseudo_private": 4,
            "features": "discriminator",
            "inversion_steps": max(1, budget.search // 10),
            "tuning_steps": max(1, budget.search // 10),
        }

    @override
    def lacking(self) -> list[str]:
        from midef.models.pretrained import weights_folder

        folder = weights_folder()
        about = "its distance compares features of VGG16"
        lacking = [file for file in self.files() if not file.inside(folder)]
        return [f"{about}: {file.advice(folder)}; or set features to discriminator" for file in lacking]

    @override
    def files(self) -> list[NamedFile]:
        from midef.nn.lpips import trunk_file

        return [] if self.rounds == 1 or self.features == "discriminator" else [trunk_file(_LPIPS_TRUNK)]

    # ------------------------------------------------------------ what it costs

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return self.rounds * identities * super().queries(reconstructions=reconstructions, identities=1)

    @override
    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        tuning = (self.rounds - 1) * self.pseudo_private * (self.inversion_steps + self.tuning_steps)
        return identities * (self.rounds * super().images_drawn(reconstructions=reconstructions, identities=1) + tuning)

    @override
    def keep_queries(self, count: int) -> int:
        return self.selection_rounds * self.candidates

    # ------------------------------------------------------------ rounds

    @override
    def search(self, handle: TargetHandle, networks: Networks, task: Task) -> Reconstructions:
        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
        features = self._features(networks, task) if self.rounds > 1 else None
        images: dict[tuple[int, int], Tensor] = {}
        traces = []
        for label in steps(list(dict.fromkeys(label for label, _ in pairs))):
            restarts = [restart for of, restart in pairs if of == label]
            found = self._identity(handle, networks, features, label, restarts, task)
            images |= {(label, restart): image for restart, image in zip(restarts, found.images, strict=True)}
            traces.append(found.traces)
        return Reconstructions(
            torch.stack([images[pair] for pair in pairs]),
            task.labels,
            task.restarts,
            torch.ones_like(task.labels).bool(),
            traces=Traces.joined(traces),
        )

    def _identity(
        self,
        handle: TargetHandle,
        networks: Networks,
        features: Features | None,
        label: int,
        restarts: list[int],
        task: Task,
    ) -> Reconstructions:
        """All rounds of an identity, whose generator is its own; what the last one found."""
        for number in steps(range(self.rounds)):
            is_last = number + 1 == self.rounds
            kept = torch.tensor(restarts if is_last else range(self.pseudo_private))
            seed = derive_seed("round", task.seed, label, number)
            px = task.kept_px if is_last else None
            labels = torch.full_like(kept, label)
            own = replace(task, labels=labels, restarts=kept, seed=seed, observed=None, kept_px=px)
            with share(0.0, 1.0 if is_last else 0.6):
                found = super().search(handle, networks, own)
            if not is_last:
                assert features is not None
                with share(0.6, 1.0):
                    networks = {**networks, "generator": self._tuned(networks, found, features, seed, task)}
        return found

    def _tuned(
        self, networks: Networks, found: Reconstructions, features: Features, seed: int, task: Task
    ) -> nn.Module:
        """The generator of the next round."""
        generator: Any = networks["generator"]
        assert found.latents is not None, "a search of styles says which it found"
        with torch.no_grad():
            images = generator.synthesis(self.rows_of(generator, found.latents.to(task.device)))
        rng = torch.Generator().manual_seed(derive_seed("tuning", seed))
        return tuned(generator, networks["discriminator"], images, features, self, rng)

    def _features(self, networks: Networks, task: Task) -> Features:
        if self.features == "discriminator":
            return discriminator_features(networks["discriminator"])
        from midef.models.pretrained import weights_folder
        from midef.nn.lpips import LpipsFeatures, trunk_file
        from midef.nn.weights import read_tensors

        file = trunk_file(_LPIPS_TRUNK)
        path = file.find(weights_folder())
        file.digest(path)
        trunk = LpipsFeatures(_LPIPS_TRUNK, read_tensors(path)).to(task.device)

        def features(images: Tensor) -> Tensor:
            if images.shape[-1] > FEATURE_PX:
                images = F.interpolate(images, size=(FEATURE_PX, FEATURE_PX), mode="area")
            vectors: Tensor = trunk(images / 2 + 0.5)
            return vectors

        return features

    @override
    def keep(
        self, handle: TargetHandle, networks: Networks, label: int, images: Tensor, count: int, task: Task
    ) -> Sequence[int]:
        """All are ranked, the kept ones too, by what the target says of them and of their mirror images."""
        return self.ranked(handle, networks, label, images, task, crop=False)[:count]
