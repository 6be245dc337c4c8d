"""DP-SGD: clip the gradient of each image and add noise to their sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.errors import SpecError
from midef.core.lazy import nn
from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch.nn.modules.batchnorm import _BatchNorm

    from midef.core.recipe import Inputs
    from midef.defenses.training_state import TrainingFacts, TrainingState
    from midef.models.base import ModelFacts
    from midef.nn.network import TargetModel


@DEFENSES.add("dp_sgd")
@dataclass(frozen=True, kw_only=True)
class DpSgd(Defense):
    """Step with (sum_i g_i min(1, C / |g_i|) + N(0, (sigma C)^2)) / B, g_i the gradient of one image of the batch.

    Args:
        noise_multiplier: sigma, >= 0, larger hides more.
        max_grad_norm: C, > 0, length an image's gradient is cut to, smaller hides more; 0, with noise_multiplier 0,
            is off.
        delta: of the reported (epsilon, delta), 0 to below 1; 0 means 1 / number of training images.
        batch_norm: `refuse` networks with batch norm, whose images see each other, or make every one a `group` norm
            (scale and shift are kept, running statistics are lost).

    Batches are Poisson samples with B images on average, and no image is skipped or seen exactly once in an epoch. The
    recorded epsilon (Opacus' RDP accountant, add or remove one image) speaks of this training alone: a backbone or a
    phase one it starts from was trained without noise on whatever images it had. Noise comes from a seeded generator,
    so that runs repeat; who knows the seed can take it off again, and Opacus' secure mode is not used. The recipe's
    gradient clipping has no effect. Half precision is switched off, because it would round the norms that bound an
    image's influence, and so are compiled passes, which skip the hooks that take the gradient of each image. Memory
    grows by the size of the network for each image of the batch (no virtual steps): lower batch_size of the training if
    it does not fit.

    The MI literature publishes two accuracies and no strengths. Preset `mibench` is a third party's default.

    Source: Abadi et al., CCS 2016; Opacus (Yousefpour et al., 2021).
    We differ: MI code bases keep batch norm and average micro-batches, which has no guarantee at all. We account on
    real Poisson batches; an epsilon this large (the noise is tiny) still promises nothing. The default max_grad_norm is
    our choice. The last epoch is kept, because choosing the best would look at private images without noise.
    """

    paper: ClassVar[str] = "Abadi et al., CCS 2016 (arXiv 1607.00133)"
    acts_on: ClassVar[str] = "gradients"
    small: ClassVar[Mapping[str, Any]] = {"batch_norm": "group"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mibench": {"noise_multiplier": 0.01}}
    prepares_last: ClassVar[bool] = True
    training_work: ClassVar[float] = 4.0
    needs_unseen: ClassVar[str] = "phase one trains on the same images without noise, so that no epsilon would hold"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="noise_multiplier", low=0.001, high=0.1, scale="log")

    noise_multiplier: float = 0.01
    max_grad_norm: float = 1.0
    delta: float = 0.0
    batch_norm: Literal["refuse", "group"] = "refuse"

    def __post_init__(self) -> None:
        if self.noise_multiplier < 0 or self.max_grad_norm < 0 or not 0 <= self.delta < 1:
            given = f"{self.noise_multiplier}, {self.max_grad_norm}, {self.delta}"
            raise ValueError(f"needs noise_multiplier, max_grad_norm >= 0 and delta in [0, 1), got {given}")
        if self.noise_multiplier and not self.max_grad_norm:
            raise ValueError("max_grad_norm=0 leaves the noise without a scale; set it above 0, or both to 0 (off)")

    @property
    def _is_on(self) -> bool:
        return self.max_grad_norm > 0

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        return replace(facts, has_batch_norm=False) if self._is_on and self.batch_norm == "group" else facts

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        if not self._is_on:
            return []
        problems = []
        if facts.has_attention:
            problems.append(
                "dp_sgd needs the gradient of each image, and Opacus has none for the attention layers of this family "
                f"({facts.family}); use a convolutional architecture"
            )
        if facts.head_has_batch_norm:
            problems.append("dp_sgd meets the batch norm in the head another defense makes; set pre_bn=false there")
        if facts.has_batch_norm and self.batch_norm == "refuse":
            problems.append(
                "dp_sgd cannot bound what one image does where batch norm mixes the images of a batch; "
                "use dp_sgd(batch_norm=group) or an architecture without batch norm"
            )
        return problems

    @override
    def training_overrides(self, training: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"precision": "float32", "compiled": False, "checkpoint": "last"} if self._is_on else {}

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        if self._is_on and self.batch_norm == "group":
            group_norm_(model)
        return model

    @override
    def training_state(self, model: TargetModel, facts: TrainingFacts) -> TrainingState | None:
        if not self._is_on:
            return None
        from midef.defenses.families.dp import DPTrainingState

        return DPTrainingState(
            model,
            facts,
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.max_grad_norm,
            delta=self.delta,
        )

    @override
    def draws_in_layers(self) -> bool:
        return False

    @override
    def off(self) -> Self:
        return replace(self, noise_multiplier=0.0, max_grad_norm=0.0)

    @classmethod
    @override
    def clash_with(cls, other: type[Defense]) -> str | None:
        if other.couples_images:
            return "its loss of an image depends on the others of the batch, so that no image has a gradient to clip"
        if other.images_of_epoch is not Defense.images_of_epoch:
            return "one image decides which others an epoch sees, so that the epsilon would not hold"
        return super().clash_with(other)


def group_norm_(model: nn.Module) -> None:
    """Replace every batch norm in place by a group norm with the same scale and shift; frozen ones stay frozen.

    Source: Wu and He, ECCV 2018 (32 groups), which Opacus' fixer takes too.
    We differ: never a group of one channel, which would make a constant of a vector's entries. Opacus' fixer forgets
    scale and shift, leaves frozen layers and subclasses (`FixedZeroBias`) alone, and frees what was frozen.
    """
    from midef.nn.network import FixedZeroBias

    plain = (nn.BatchNorm1d, nn.BatchNorm2d, FixedZeroBias)
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                if type(norm) not in plain:
                    raise SpecError(f"no group norm is known for {type(norm).__name__}; use another architecture")
                setattr(parent, name, _as_group_norm(norm))


def _as_group_norm(norm: _BatchNorm) -> nn.GroupNorm:
    channels = norm.num_features
    groups = gcd(32, channels // 2) if channels % 2 == 0 else 1
    made = nn.GroupNorm(groups, channels, eps=norm.eps, affine=norm.affine)
    if norm.affine:
        made.load_state_dict({"weight": norm.weight, "bias": norm.bias})
        made.weight.requires_grad_(norm.weight.requires_grad)
        made.bias.requires_grad_(norm.bias.requires_grad)
    return made
