"""CALoR: confidence adaptation on top of a low-rank head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.lazy import F, torch
from midef.defenses.base import DEFENSES, PHASE_ONE, Batch, Defense, defended_as
from midef.defenses.loft import LoFt
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.models.base import ModelFacts
    from midef.nn.network import Forward


@DEFENSES.add("calor")
@dataclass(frozen=True, kw_only=True)
class Calor(Defense):
    """Fine-tune a trained low-rank target for a few epochs with the loss alpha p^gamma ln p, p of the true class.

    Args:
        gamma: > 0; the loss is smallest at p = exp(-1 / gamma), so training stops short of full confidence (0.7788
            for 4, 0.8825 for 8) and an attacker who maximises p moves past the private images; smaller hides more.
        alpha: > 0, scale of the loss and its gradient.
        rank, activation, init, pre_bn, from_scratch: the head and its training, phase one, as in `loft`; rank 0 is
            off.
        epochs, learning_rate, batch_size: of the fine-tuning (SGD with momentum 0.9, rate times 0.1 after 60 % and
            80 %, flips only, last epoch kept), whatever the setup's training is.

    The loss has almost no gradient where p is small, so it never trains from fresh weights.

    Presets are the released runs (FaceScrub at 224 px): rank 50 on a pre-trained backbone, 40 without; `-fast` is the
    second tag, with a hundred times the rate (that it had the pre-trained backbone is our guess).

    Source: the CALoR release (arXiv 2410.05814, versions 1 and 2): its loss, its fine-tuning script and its head.
    We differ: weight decay is not stated; ours is 0, as in the training of phase one at 224 px. Its optional smoothing
    term, off there by default, is left out. Phase one is stored and shared with the same `loft` target.
    """

    paper: ClassVar[str] = "CALoR, confidence adaptation and low-rank compression (arXiv 2410.05814v1)"
    acts_on: ClassVar[str] = "classification head, then loss"
    small: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.01}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "facescrub-resnet152-pretrained": {"rank": 50, "init": "random", "pre_bn": True, "from_scratch": True},
        "facescrub-resnet152-pretrained-fast": {
            "rank": 50,
            "init": "random",
            "pre_bn": True,
            "from_scratch": True,
            "learning_rate": 2e-3,
        },
        "facescrub-resnet152": {"rank": 40, "init": "random", "pre_bn": True},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="gamma", low=1.0, high=16.0, larger_hides=False, scale="log")
    has_phase_one: ClassVar[bool] = True

    gamma: float = 8.0
    alpha: float = 0.25
    rank: int = 50
    activation: Literal["tanh", "relu", "sigmoid", "identity"] = "tanh"
    init: Literal["svd", "random"] = "svd"
    pre_bn: bool = False
    from_scratch: bool = False
    epochs: int = 5
    learning_rate: float = 2e-5
    batch_size: int = 96

    def __post_init__(self) -> None:
        if self.gamma <= 0 or self.alpha <= 0:
            raise ValueError(f"needs gamma, alpha > 0, got {self.gamma}, {self.alpha}")
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0:
            given = f"{self.epochs}, {self.batch_size}, {self.learning_rate}"
            raise ValueError(f"needs epochs >= 1, batch_size >= 2, learning_rate > 0, got {given}")
        self.phase_one()  # refuses what `loft` refuses

    def phase_one(self) -> LoFt:
        """The defense whose trained target is fine-tuned."""
        return LoFt(
            rank=self.rank,
            activation=self.activation,
            init=self.init,
            pre_bn=self.pre_bn,
            from_scratch=self.from_scratch,
        )

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        return self.phase_one().facts_after(facts)

    @override
    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        return {PHASE_ONE: defended_as(undefended, self.phase_one())} if self.rank else {}

    @override
    def training_overrides(self, training: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.rank:
            return {}
        return {
            "optimizer": "sgd",
            "learning_rate": self.learning_rate,
            "momentum": 0.9,
            "nesterov": False,
            "weight_decay": 0.0,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "schedule": "multistep",
            "milestones": (0.6, 0.8),
            "gamma": 0.1,
            "warmup": 0.0,
            "clip_norm": 0.0,
            "crop_scale": None,
            "color_jitter": (0.0, 0.0, 0.0, 0.0),
            "flip": 0.5,
            "jitter_px": 0,
            "checkpoint": "last",
        }

    @override
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        if not self.rank:
            return None
        return confidence_adaptation(forward.logits.float(), batch.labels, gamma=self.gamma, alpha=self.alpha)

    @override
    def off(self) -> Self:
        return replace(self, rank=0)

    @classmethod
    @override
    def owned_slots(cls) -> frozenset[str]:
        return super().owned_slots() | {"prepare_head"}  # phase one has already replaced the head


def confidence_adaptation(logits: Tensor, labels: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Mean over the batch of alpha p^gamma ln p, at most 0; -alpha / (e gamma) where every p is exp(-1 / gamma).

    Args:
        logits: [B, K]; labels: [B].
    """
    log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
    return torch.mean(alpha * torch.exp(gamma * log_p) * log_p)
