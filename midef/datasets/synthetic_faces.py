"""Procedural faces: identity is geometry, everything else is nuisance. The embedded default, no files needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.core.lazy import torch
from midef.core.seeds import derive_seed
from midef.datasets.base import DATASETS, Card, Dataset, Images, Splits

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# Each identity trait is uniform in its range. Units: half the image is 1; x right, y down, the head near the centre.
_IDENTITY: dict[str, tuple[float, float]] = {
    "face_width": (0.36, 0.62),
    "face_height": (0.48, 0.74),
    "jaw_taper": (0, 0.6),
    "face_power": (2, 2.4),
    "hair_volume": (0, 0.26),
    "hair_length": (-0.2, 0.85),
    "hairline": (-0.46, -0.14),
    "fringe_slope": (-0.45, 0.45),
    "fringe_bow": (-0.4, 0.9),
    "eye_spacing": (0.15, 0.31),
    "eye_height": (-0.16, 0.06),
    "eye_width": (0.06, 0.15),
    "eye_roundness": (0.6, 0.75),
    "eye_tilt": (-0.1, 0.1),
    "brow_gap": (0.14, 0.19),
    "brow_thickness": (0.012, 0.06),
    "brow_length": (0.11, 0.14),
    "brow_tilt": (-0.15, 0.15),
    "nose_length": (0.12, 0.34),
    "nose_width": (0.07, 0.1),
    "mouth_height": (0.26, 0.46),
    "mouth_width": (0.1, 0.29),
    "lip_thickness": (0.02, 0.08),
    "ear_size": (0.06, 0.1),
}
# Each image draws these anew; amplitudes are multiplied by `difficulty`. Colour is a nuisance too, on purpose: where
# skin and hair colour belonged to the identity, 99 % of the inversions succeeded whatever a defense erased.
_NUISANCE: dict[str, tuple[float, float]] = {
    "turn": (-0.12, 0.12),
    "scale": (-0.08, 0.08),
    "shift_x": (-0.08, 0.08),
    "shift_y": (-0.08, 0.08),
    "yaw": (-0.10, 0.10),
    "smile": (-0.9, 0.9),
    "mouth_open": (0.0, 0.05),
    "brow_raise": (-0.025, 0.025),
    "eye_open": (-0.30, 0.30),
    "light_angle": (-3.1416, 3.1416),
    "light": (0.0, 0.35),
    "exposure": (-0.15, 0.15),
}
_CHUNK = 512  # images rendered at once: 100 MB at 64 px
_MOST_IMAGES = 1_000_000  # 12 GB at 64 px
_SKINS = ((0.96, 0.84, 0.74), (0.87, 0.69, 0.55), (0.72, 0.53, 0.39), (0.45, 0.31, 0.22))
_HAIRS = ((0.12, 0.10, 0.09), (0.36, 0.23, 0.14), (0.62, 0.45, 0.24), (0.55, 0.54, 0.53))


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
    def load(self, resolution_px: int) -> Splits:
        counts = {"train": self.train_images, "select": self.select_images, "report": self.report_images}
        parts = {}
        for name, count in counts.items():
            labels = torch.arange(self.identities).repeat_interleave(count)
            images = self._draw(name, count, resolution_px)
            parts[name] = Images(images, labels if self.is_labelled else torch.full_like(labels, -1))
        names = tuple(f"person {i:04d}" for i in range(self.identities)) if self.is_labelled else ()
        return Splits(parts["train"], parts["select"], parts["report"], names)

    def traits(self) -> np.ndarray:
        """Identity traits [identities, 24], each in its range."""
        import numpy as np

        low, high = np.array(list(_IDENTITY.values())).T
        rng = np.random.default_rng(derive_seed("synthetic_faces", self.seed, self.population))
        drawn: np.ndarray = low + (high - low) * rng.random((self.identities, len(_IDENTITY)))
        return drawn

    def _draw(self, split: str, count: int, resolution_px: int) -> Tensor:
        """`count` images of every identity [identities * count, 3, R, R] uint8, identities in order."""
        import numpy as np

        traits = self.traits()
        together = max(1, _CHUNK // count)
        images = []
        for first in range(0, self.identities, together):
            people = range(first, min(first + together, self.identities))
            drawn = [self._nuisance(identity, split, count, resolution_px) for identity in people]
            named = {name: np.concatenate([d[name] for d in drawn]) for name in drawn[0]}
            named |= dict(zip(_IDENTITY, traits[people.start : people.stop].repeat(count, axis=0).T, strict=True))
            part = {k: torch.from_numpy(v.astype(np.float32)) for k, v in named.items()}
            noise = part.pop("noise")
            face = render(part, resolution_px) + 0.02 * self.difficulty * noise
            images.append((face.clamp(0, 1) * 255).round().to(torch.uint8))
        return torch.cat(images)

    def _nuisance(self, identity: int, split: str, count: int, resolution_px: int) -> dict[str, np.ndarray]:
        """Nuisances by name, each [count, ...], drawn from a seed of this identity and split alone."""
        import numpy as np

        rng = np.random.default_rng(derive_seed("synthetic_faces", self.seed, self.population, identity, split))
        low, high = np.array(list(_NUISANCE.values())).T
        drawn = (low + (high - low) * rng.random((count, len(_NUISANCE)))) * self.difficulty
        return dict(zip(_NUISANCE, drawn.T, strict=True)) | {
            "skin": _mixed(rng, _SKINS, count),
            "hair": _mixed(rng, _HAIRS, count),
            "background": 0.4 + 0.2 * rng.random((count, 3)),
            "clothes": 0.3 + 0.4 * rng.random((count, 3)),
            "lips": np.array([0.70, 0.28, 0.28]) + 0.15 * (rng.random((count, 3)) - 0.5),
            "iris": 0.05 + 0.30 * rng.random((count, 3)),
            "noise": rng.standard_normal((count, 3, resolution_px, resolution_px), dtype=np.float32),
        }

    @override
    def card(self) -> Card:
        per_identity = self.train_images + self.select_images + self.report_images
        return Card(
            title=f"Synthetic faces, {self.population} population",
            licence="Apache-2.0, as the code that draws them",
            consent="not needed: nobody is depicted",
            source="midef/datasets/synthetic_faces.py",
            counts={"identities": self.identities, "images": self.identities * per_identity},
        )


def _mixed(rng: np.random.Generator, palette: tuple[tuple[float, ...], ...], count: int) -> np.ndarray:
    """Random convex mixtures of the palette's colours [count, 3]."""
    import numpy as np

    weights = rng.dirichlet(np.full(len(palette), 0.7), size=count)
    mixed: np.ndarray = weights @ np.array(palette) + 0.06 * (rng.random((count, 3)) - 0.5)
    return mixed


def render(face: dict[str, Tensor], resolution_px: int) -> Tensor:
    """Faces [B, 3, R, R] in about [0, 1] from traits and nuisances [B] each and colours [B, 3] each, by name.

    Shapes are level sets with edges one pixel soft, painted back to front.
    """
    axis = (torch.arange(resolution_px, dtype=torch.float32) + 0.5) * (2 / resolution_px) - 1
    p = {name: value.view(-1, 1, 1) for name, value in face.items() if value.ndim == 1}
    soft = 2.0 / resolution_px

    def inside(distance: Tensor) -> Tensor:
        """1 inside (distance < 0), 0 outside, a ramp over about a pixel."""
        return torch.sigmoid(-3 * distance / soft)

    def ellipse(x: Tensor, y: Tensor, cx: Tensor | float, cy: Tensor | float, rx: Tensor, ry: Tensor) -> Tensor:
        """Approximate signed distance to an ellipse."""
        dx, dy = (x - cx) / rx, (y - cy) / ry
        return ((dx * dx + dy * dy + 1e-9).sqrt() - 1) * torch.minimum(rx, ry)

    def bar(x: Tensor, y: Tensor, cx: Tensor, cy: Tensor, half: Tensor, thick: Tensor, tilt: Tensor) -> Tensor:
        """Approximate signed distance to a tilted bar with round ends."""
        along = (x - cx) * tilt.cos() + (y - cy) * tilt.sin()
        across = -(x - cx) * tilt.sin() + (y - cy) * tilt.cos()
        return (((along.abs() - half).clamp(min=0)) ** 2 + across**2 + 1e-9).sqrt() - thick

    # image coordinates -> coordinates of the head
    size = 1 + p["scale"]
    gx, gy = (axis[None, None, :] - p["shift_x"]) / size, (axis[None, :, None] - p["shift_y"]) / size
    x = gx * p["turn"].cos() + gy * p["turn"].sin()
    y = -gx * p["turn"].sin() + gy * p["turn"].cos()
    inner = x - p["yaw"]  # features slide over the head when it turns aside

    width, height = p["face_width"], p["face_height"]
    canvas = face["background"].view(-1, 3, 1, 1) * (1 - 0.15 * gy.unsqueeze(1))

    def paint(mask: Tensor, colour: Tensor) -> None:
        nonlocal canvas
        mask = mask.unsqueeze(1)
        canvas = canvas + mask * (colour.view(-1, 3, 1, 1) - canvas)

    skin, hair, lips = face["skin"], face["hair"], face["lips"]
    volume = p["hair_volume"]
    back = ellipse(x, y, 0.0, -0.12, width + volume, height + volume - 0.05)
    curtain = torch.maximum(x.abs() - (width + 0.8 * volume), (y - p["hair_length"]).abs() - 0.35)
    curtain = torch.maximum(curtain, y - p["hair_length"])
    paint(inside(torch.minimum(back, torch.maximum(curtain, -0.1 - y))), hair)
    paint(inside(ellipse(x, y, 0.0, 1.15, width + 0.35, 0.42 * torch.ones_like(width))), face["clothes"])
    paint(inside(torch.maximum(x.abs() - 0.45 * width, (y - 0.7).abs() - 0.25)), 0.85 * skin)
    for side in (-1.0, 1.0):
        paint(inside(ellipse(x, y, side * width, 0.02, p["ear_size"], 1.5 * p["ear_size"])), 0.92 * skin)
    taper = (1 - p["jaw_taper"] * (y / height).clamp(min=0) ** 1.5).clamp(min=0.05)
    power = p["face_power"]
    radius = ((x.abs() / (width * taper) + 1e-6) ** power + ((y.abs() / height) + 1e-6) ** power) ** (1 / power)
    outline = (radius - 1) * width
    paint(inside(outline), skin)
    fringe = y - (p["hairline"] + p["fringe_slope"] * x + p["fringe_bow"] * x * x)
    paint(inside(torch.maximum(torch.minimum(outline, back), fringe)), hair)

    opening = p["eye_roundness"] * (1 + p["eye_open"])
    for side in (-1.0, 1.0):
        cx, cy = side * p["eye_spacing"], p["eye_height"]
        tilt = side * p["eye_tilt"]
        ex = (inner - cx) * tilt.cos() + (y - cy) * tilt.sin()
        ey = -(inner - cx) * tilt.sin() + (y - cy) * tilt.cos()
        eye = ellipse(ex, ey, 0.0, 0.0, p["eye_width"], p["eye_width"] * opening)
        paint(inside(eye - 0.012), 0.35 * skin)
        paint(inside(eye), torch.full_like(skin, 0.95))
        iris = 0.6 * p["eye_width"]
        paint(inside(torch.maximum(eye, ellipse(ex, ey, 0.0, 0.0, iris, iris))), face["iris"])
        brow = bar(
            inner,
            y,
            cx,
            cy - p["brow_gap"] - p["brow_raise"],
            p["brow_length"],
            p["brow_thickness"],
            side * p["brow_tilt"],
        )
        paint(inside(brow), 0.8 * hair)

    top, tip = p["eye_height"] + 0.03, p["eye_height"] + 0.03 + p["nose_length"]
    along = ((y - top) / p["nose_length"]).clamp(0, 1)
    ridge = torch.maximum((inner - 0.3 * p["yaw"]).abs() - along * p["nose_width"], (y - tip).clamp(min=0) + (top - y))
    paint(0.35 * inside(ridge), 0.75 * skin)
    for side in (-1.0, 1.0):
        nostril = ellipse(inner, y, side * 0.6 * p["nose_width"], tip, 0.4 * p["nose_width"], 0.3 * p["nose_width"])
        paint(0.8 * inside(nostril), 0.35 * skin)

    across = inner / p["mouth_width"]
    middle = p["mouth_height"] - 0.06 * p["smile"] * (across * across - 0.5)
    lip = p["lip_thickness"] * (1 - across * across).clamp(min=0).sqrt() + p["mouth_open"]
    mouth = torch.maximum((y - middle).abs() - lip, inner.abs() - p["mouth_width"])
    paint(inside(mouth), lips)
    gap = torch.maximum((y - middle).abs() - p["mouth_open"], inner.abs() - 0.8 * p["mouth_width"])
    paint(inside(gap + 0.01), 0.3 * lips)

    light = 1 + p["exposure"] + p["light"] * (x * p["light_angle"].cos() + y * p["light_angle"].sin())
    return canvas * light.unsqueeze(1)
