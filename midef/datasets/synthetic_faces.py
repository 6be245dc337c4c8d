"""Procedural faces: identity is geometry, everything else is nuisance. The embedded default, no files needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.core.lazy import torch
from midef.core.position import steps
from midef.core.seeds import derive_seed
from midef.datasets.base import DATASETS, Card, Dataset, Images, Splits
from midef.datasets.faces.drawing import render
from midef.datasets.faces.formation import FaceFormation
from midef.datasets.faces.ranges import COLOURS, CONCENTRATION, IDENTITY, JITTER, NUISANCE, PALETTES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_CHUNK = 256  # images rendered at once: 50 MB at 64 px
_MOST_IMAGES = 1_000_000  # 12 GB at 64 px


@DATASETS.add("synthetic_faces")
@dataclass(frozen=True, kw_only=True)
class SyntheticFaces(Dataset):
    """Faces drawn from a seed, any number of identities, any resolution, private and public identities disjoint.

    Args:
        population: `private` has labels, `public` has none and other identities.
        identities: how many; the first n are the same whatever the number.
        train_images, select_images, report_images: per identity.
        difficulty: >= 0, amplitude of pose, expression, light, exposure and noise; 0 leaves only colour to vary, 1 is
            the default.
        seed: another seed gives other people.
    """

    paper: ClassVar[str] = "midef's own"
    is_generated: ClassVar[bool] = True

    population: Literal["private", "public"] = "private"
    identities: int = 200
    train_images: int = 20
    select_images: int = 2
    report_images: int = 5
    difficulty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.identities < 2:
            raise ValueError(f"needs at least 2 identities, got {self.identities}")
        if min(self.train_images, self.select_images, self.report_images) < 1:
            raise ValueError("needs at least 1 image per identity in each of train, select and report")
        images = self.identities * (self.train_images + self.select_images + self.report_images)
        if images > _MOST_IMAGES:
            raise ValueError(f"needs at most {_MOST_IMAGES:,} images, identities times images of each; got {images:,}")
        if self.difficulty < 0:
            raise ValueError(f"needs difficulty >= 0, got {self.difficulty}")

    @property
    @override
    def is_labelled(self) -> bool:
        return self.population == "private"

    @override
    def n_identities(self) -> int:
        return self.identities if self.is_labelled else 0

    @override
    def members(self) -> frozenset[str]:
        """Identities that are shown: private and public data must not share people."""
        return frozenset(f"person {i} of {self.population}, seed {self.seed}" for i in range(self.identities))

    @override
    def sizes(self) -> dict[str, int]:
        return {split: count * self.identities for split, count in self._per_identity.items()}

    @property
    def _per_identity(self) -> dict[str, int]:
        return {"train": self.train_images, "select": self.select_images, "report": self.report_images}

    @override
    def load(self, resolution_px: int) -> Splits:
        counts = self._per_identity
        parts = {}
        for name, count in steps(counts.items(), weights=[*counts.values()]):
            labels = torch.arange(self.identities).repeat_interleave(count)
            images = self._draw(name, count, resolution_px)
            parts[name] = Images(images, labels if self.is_labelled else torch.full_like(labels, -1))
        names = tuple(f"person {i:04d}" for i in range(self.identities)) if self.is_labelled else ()
        return Splits(parts["train"], parts["select"], parts["report"], names)

    def traits(self) -> np.ndarray:
        """Identity traits [identities, 24], each in its range."""
        import numpy as np

        low, high = np.array(list(IDENTITY.values())).T
        drawn: np.ndarray = low + (high - low) * self._identity_units()
        return drawn

    @override
    def formation(self) -> FaceFormation:
        return FaceFormation(difficulty=self.difficulty)

    @override
    def identity_latents(self) -> np.ndarray:
        from scipy.special import ndtri

        latents: np.ndarray = ndtri(self._identity_units().clip(2**-54, 1 - 2**-53))  # a drawn 0 is no number there
        return latents

    def _identity_units(self) -> np.ndarray:
        """Position of each identity trait in its range [identities, 24], uniform in [0, 1)."""
        import numpy as np

        rng = np.random.default_rng(derive_seed("synthetic_faces", self.seed, self.population))
        return rng.random((self.identities, len(IDENTITY)))

    def _draw(self, split: str, count: int, resolution_px: int) -> Tensor:
        """`count` images of every identity [identities * count, 3, R, R] uint8, identities in order."""
        import numpy as np

        traits = self.traits()
        together = max(1, _CHUNK // count)
        images = []
        for first in steps(range(0, self.identities, together)):
            people = range(first, min(first + together, self.identities))
            drawn = [self._nuisance(identity, split, count, resolution_px) for identity in people]
            named = {name: np.concatenate([d[name] for d in drawn]) for name in drawn[0]}
            named |= dict(zip(IDENTITY, traits[people.start : people.stop].repeat(count, axis=0).T, strict=True))
            part = {k: torch.from_numpy(v.astype(np.float32)) for k, v in named.items()}
            noise = part.pop("noise")
            face = render(part, resolution_px) + 0.02 * self.difficulty * noise
            images.append((face.clamp(0, 1) * 255).round().to(torch.uint8))
        return torch.cat(images)

    def _nuisance(self, identity: int, split: str, count: int, resolution_px: int) -> dict[str, np.ndarray]:
        """Nuisances by name, each [count, ...], drawn from a seed of this identity and split alone."""
        import numpy as np

        rng = np.random.default_rng(derive_seed("synthetic_faces", self.seed, self.population, identity, split))
        low, high = np.array(list(NUISANCE.values())).T
        drawn = (low + (high - low) * rng.random((count, len(NUISANCE)))) * self.difficulty
        named = dict(zip(NUISANCE, drawn.T, strict=True))
        for name, palette in PALETTES.items():
            named[f"{name}_mixture"], named[name] = _mixed(rng, palette, count)
        for name, (base, width, offset) in COLOURS.items():
            named[name] = np.array(base) + width * (rng.random((count, 3)) - offset)
        named["noise"] = rng.standard_normal((count, 3, resolution_px, resolution_px), dtype=np.float32)
        return named

    @override
    def card(self) -> Card:
        per_identity = self.train_images + self.select_images + self.report_images
        return Card(
            title=f"Synthetic faces, {self.population} population",
            licence="Apache-2.0, as the code that draws them",
            consent="not needed: nobody is depicted",
            source="midef/datasets/synthetic_faces.py and midef/datasets/faces",
            counts={"identities": self.identities, "images": self.identities * per_identity},
        )


def _mixed(
    rng: np.random.Generator, palette: tuple[tuple[float, ...], ...], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the palette's colours in random convex mixtures [count, 4], and the mixtures, jittered [count, 3]."""
    import numpy as np

    weights = rng.dirichlet(np.full(len(palette), CONCENTRATION), size=count)
    return weights, weights @ np.array(palette) + JITTER * (rng.random((count, 3)) - 0.5)
