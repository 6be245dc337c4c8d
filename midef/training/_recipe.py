"""How a classifier is trained, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from midef.core.errors import SpecError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """Everything about a training that changes its result, apart from data, architecture, defense and seed.

    optimizer: `sgd` (momentum, Nesterov if asked), `adam` or `adamw`. schedule: `constant`; `multistep`, learning rate
    times `gamma` at each milestone; `cosine` to 0 after a linear warm-up. milestones, warmup: fractions of training.
    flip: probability of a horizontal flip; jitter_px: largest random shift in pixels.
    checkpoint: `last` epoch, or `best_select`, the epoch with the best accuracy on the select split (never the reported
    one; many published works pick by test accuracy). precision: `bfloat16` is autocast, on GPUs.

    Defaults are the CelebA-64 VGG16 recipe of the TL-DMI paper (no schedule).
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
    flip: float = 0.5
    jitter_px: int = 0
    checkpoint: Literal["last", "best_select"] = "last"
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError(f"needs epochs >= 1 and batch_size >= 2, got {self.epochs} and {self.batch_size}")
        if self.learning_rate <= 0:
            raise ValueError(f"needs learning_rate > 0, got {self.learning_rate}")
        if self.clip_norm < 0:
            raise ValueError(f"needs clip_norm >= 0 (0 does not clip), got {self.clip_norm}")
        if any(not 0 < m < 1 for m in self.milestones) or not 0 <= self.warmup < 1:
            raise ValueError("milestones and warmup are fractions of training, between 0 and 1")
        if not 0 <= self.flip <= 1 or self.jitter_px < 0:
            raise ValueError(f"needs flip in [0, 1] and jitter_px >= 0, got {self.flip} and {self.jitter_px}")

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
        problems = [f"training has no field {w!r}; {did_you_mean(w, known)}" for w in sorted(set(params) - known)]
        try:
            made: TrainingRecipe = _ADAPTER.validate_python({k: v for k, v in params.items() if k in known})
        except ValidationError as error:
            problems += [
                f"training{'.' + '.'.join(map(str, e['loc'])) if e['loc'] else ''}: "
                f"{e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            ]
        if problems:
            raise SpecError(problems)
        return made


_ADAPTER = TypeAdapter(TrainingRecipe)
