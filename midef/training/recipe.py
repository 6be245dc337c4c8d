"""Training recipe of a classifier, as data; published recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from midef.core.canonical import ADDED_LATER
from midef.core.conversion import exponent_hint, misread, shown
from midef.core.errors import Problem, SpecError, did_you_mean
from midef.training.numerics import Precision

MOST_EPOCHS = 100_000
LARGEST_BATCH = 1_000_000


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """Everything about a training that changes its result, apart from data, architecture, defense and seed.

    Defaults are the CelebA-64 VGG16 recipe of the TL-DMI paper (no schedule), except that the last epoch is kept. Other
    published recipes are `RECIPES`; as plain data, `preset` names one of them and the other fields change it. Images
    are cropped, colour-jittered, flipped and shifted in this order.

    Args:
        optimizer: `sgd` with momentum (Nesterov's if `nesterov`), `adam` or `adamw`.
        betas: of Adam and AdamW.
        schedule: `constant`; `multistep`, learning rate times `gamma` at each milestone; `cosine` to 0 after a linear
            warm-up.
        milestones: fractions of training.
        warmup: fraction of training.
        clip_norm: largest norm of the gradient; 0 does not clip.
        crop_scale: range of the area share of a random square crop that is resized to full size; None crops nothing.
        color_jitter: largest change of brightness, contrast, saturation and hue.
        flip: probability of a horizontal flip.
        jitter_px: largest random shift in pixels.
        checkpoint: `last` epoch, or `best_select`, the epoch with the best accuracy on the select split (never the
            reported one; many published works pick by test accuracy).
        precision: `bfloat16` is autocast, on GPUs; `tf32` rounds the factors of matrix products to 10 bits, on GPUs.
        compiled: the network's passes are compiled (`torch.compile`; on GPUs replayed as CUDA graphs) and optimizers on
            GPUs fused, which rounds otherwise. Needs a C++ compiler on the machine that trains, and one process.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.02
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    epochs: int = 200
    batch_size: int = 64
    schedule: Literal["constant", "multistep", "cosine"] = "constant"
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    warmup: float = 0.0
    clip_norm: float = 0.0
    crop_scale: tuple[float, float] | None = None
    color_jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    flip: float = 0.5
    jitter_px: int = 0
    checkpoint: Literal["last", "best_select"] = "last"
    precision: Precision = "float32"
    compiled: bool = field(default=False, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError(f"needs epochs >= 1 and batch_size >= 2, got {self.epochs} and {self.batch_size}")
        if self.epochs > MOST_EPOCHS or self.batch_size > LARGEST_BATCH:
            raise ValueError(
                f"needs epochs of at most {MOST_EPOCHS:,} and batch_size of at most {LARGEST_BATCH:,}, "
                f"got {self.epochs} and {self.batch_size}"
            )
        if self.learning_rate <= 0:
            raise ValueError(f"needs learning_rate > 0, got {self.learning_rate}")
        if not 0 <= self.momentum < 1 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"needs momentum and betas in [0, 1), got {self.momentum} and {self.betas}")
        if self.nesterov and self.optimizer == "sgd" and not self.momentum:
            raise ValueError("nesterov needs momentum > 0, got 0")
        if self.weight_decay < 0 or self.gamma <= 0:
            raise ValueError(f"needs weight_decay >= 0 and gamma > 0, got {self.weight_decay} and {self.gamma}")
        if self.clip_norm < 0:
            raise ValueError(f"needs clip_norm >= 0 (0 does not clip), got {self.clip_norm}")
        if any(not 0 < m < 1 for m in self.milestones) or not 0 <= self.warmup < 1:
            raise ValueError("milestones and warmup are fractions of training, between 0 and 1")
        if not 0 <= self.flip <= 1 or self.jitter_px < 0:
            raise ValueError(f"needs flip in [0, 1] and jitter_px >= 0, got {self.flip} and {self.jitter_px}")
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"needs 0 < low <= high <= 1 in crop_scale, got {self.crop_scale}")
        if any(not 0 <= v <= 1 for v in self.color_jitter) or self.color_jitter[3] > 0.5:
            raise ValueError(f"needs color_jitter in [0, 1], hue at most 0.5, got {self.color_jitter}")

    def rate_at(self, progress: float) -> float:
        """Learning rate at a fraction of training."""
        from math import cos, pi

        if self.warmup and progress < self.warmup:
            return self.learning_rate * (progress / self.warmup * 0.95 + 0.05)
        if self.schedule == "multistep":
            return float(self.learning_rate * self.gamma ** sum(progress >= m for m in self.milestones))
        if self.schedule == "cosine":
            return 0.5 * self.learning_rate * (1 + cos(pi * (progress - self.warmup) / (1 - self.warmup)))
        return self.learning_rate

    @classmethod
    def make(cls, params: Mapping[str, Any]) -> TrainingRecipe:
        """From plain data, values converted to their declared types.

        Raises:
            SpecError: every wrong or unknown field.
        """
        known = {f.name for f in fields(cls)}
        params = dict(params)
        preset = params.pop("preset", None)
        if preset is not None and (not isinstance(preset, str) or preset not in RECIPES):
            raise SpecError(f"training has no preset {preset!r}; {did_you_mean(str(preset), RECIPES)}")
        params = {**({} if preset is None else RECIPES[preset]), **params}
        problems = [
            Problem(f"training has no field {w!r}; {did_you_mean(str(w), known)}", at=(w,))
            for w in sorted(set(params) - known, key=str)
        ]
        given = {k: v for k, v in params.items() if k in known}
        try:
            made: TrainingRecipe = _ADAPTER.validate_python(given)
            problems += [Problem(f"training.{p.at[0]}: {p}", at=p.at) for p in misread(given, made)]
        except ValidationError as error:
            problems += [
                Problem(
                    f"training{'.' + '.'.join(map(str, e['loc'])) if e['loc'] else ''}: "
                    f"{e['msg'].removeprefix('Value error, ')}"
                    f"{', got ' + shown(e['input']) + exponent_hint(e['input']) if e['loc'] else ''}",
                    at=e["loc"],
                )
                for e in error.errors()
            ]
        if problems:
            raise SpecError(problems)
        return made


_ADAPTER = TypeAdapter(TrainingRecipe)

_HIGH_RESOLUTION: dict[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "epochs": 100,
    "batch_size": 128,
    "schedule": "multistep",
    "milestones": (0.75, 0.9),
    "gamma": 0.1,
    "crop_scale": (0.85, 1.0),
    "color_jitter": (0.2, 0.2, 0.1, 0.1),
}

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "tl-dmi-vgg16": {"learning_rate": 0.02, "epochs": 200, "checkpoint": "best_select"},
    "tl-dmi-ir152": {"learning_rate": 0.01, "epochs": 100, "checkpoint": "best_select"},
    "tl-dmi-facenet64": {"learning_rate": 0.008, "epochs": 200, "batch_size": 8, "checkpoint": "best_select"},
    "vmi-resnet34": {
        "learning_rate": 0.1,
        "epochs": 200,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "multistep",
        "milestones": (0.3, 0.6, 0.8),
        "gamma": 0.2,
        "checkpoint": "best_select",
    },
    "bido-vgg16": {
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "epochs": 50,
        "checkpoint": "best_select",
    },
    "bido-vmi-resnet34": {
        "learning_rate": 0.1,
        "epochs": 100,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "multistep",
        "milestones": (0.6, 0.8),
        "gamma": 0.2,
        "checkpoint": "best_select",
    },
    "bido-nodef-vgg16": {"learning_rate": 0.01, "epochs": 50, "nesterov": True, "checkpoint": "best_select"},
    "mid-vgg16": {"learning_rate": 0.01, "epochs": 50, "checkpoint": "best_select"},
    "trap-mid-vgg16": {"learning_rate": 0.01, "epochs": 50, "checkpoint": "best_select"},
    "trap-mid-mnist": {"learning_rate": 0.01, "epochs": 10, "checkpoint": "best_select"},
    "trap-mid-ir152": {"learning_rate": 0.01, "epochs": 40, "checkpoint": "best_select"},
    "facescrub-224": _HIGH_RESOLUTION,
    "facescrub-224-batch64": {**_HIGH_RESOLUTION, "batch_size": 64},
    "tl-dmi-resnet50": {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "epochs": 100,
        "batch_size": 1024,
    },
    "loft-64": {
        "learning_rate": 0.01,
        "epochs": 100,
        "batch_size": 128,
        "schedule": "multistep",
        "milestones": (0.75, 0.9),
    },
    "loft-pretraining-224": {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "epochs": 5,
        "batch_size": 256,
        "schedule": "multistep",
        "milestones": (0.6, 0.8),
    },
    "loft-224": {**_HIGH_RESOLUTION, "batch_size": 96},
    "kes-ppa": {"learning_rate": 0.1, "epochs": 75, "batch_size": 32, "schedule": "cosine", "crop_scale": (0.8, 1.0)},
    "kes-loft": {**_HIGH_RESOLUTION, "batch_size": 50},
}
"""Published recipes, by line of work and target.

tl-dmi-*, vmi-resnet34: CelebA at 64 px (the released json of TL-DMI says 0.08 for VGG16, the paper 0.02); bido-*,
mid-*, trap-mid-*: the defenses' own. The released code of all these keeps the best epoch by test accuracy: here by the
select split. bido-vmi-resnet34: its learning rate is not published, we take NoDef's; tl-dmi-resnet50: which epoch is
kept is not published; loft-pretraining-224: on MS-Celeb-1M; facescrub-224: the PPA line (batch 64 for MaxViT and the
DenseNets, which train from fresh weights); loft-224: LoFt and CALoR; loft-64: LoFt lowers the rate at two milestones
(its appendix C.2), and that these and the factor are those of loft-224 is inferred; kes-ppa, kes-loft: the students of
the knowledge extraction score (the schedule of the former ends at 1e-4, ours at 0). Milestones are fractions of
training: 60, 120 and 160 of 200 epochs; 75 and 90 of 100.
"""
