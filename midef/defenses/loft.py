"""LoFt: low-rank feature filtering, a narrow head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.canonical import ADDED_LATER
from midef.core.lazy import nn
from midef.defenses.base import DEFENSES, PHASE_ONE, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.models.base import ModelFacts


@DEFENSES.add("loft")
@dataclass(frozen=True, kw_only=True)
class LoFt(Defense):
    """Replace the head by W2 act(W1 h + b1) + b2 with an inner width far below the features', and train on.

    Args:
        rank: inner width, >= 1, smaller hides more; 0 keeps the head (off).
        activation: between the two layers.
        init: `svd` starts from the truncated singular value decomposition of the trained head, `random` from fresh
            layers.
        pre_bn: a BatchNorm1d in front of W1 (released code yes, paper silent).
        from_scratch: start from the network as the setup gives it instead of from the undefended target of the same
            seed (phase one): right for a pre-trained backbone, the paper's first way to train; on fresh weights
            tanh saturates early.
        fine_tune: train on behind the new head. Without it the trained head is cut and nothing is learned, as in the
            paper's Fig. 3, which has no activation.

    The k values after the activation are the tap `code`; white-box attackers see the features in front of the head
    unless they ask for it.

    Presets are the released checkpoints (FaceScrub at 224 px): rank 50 on a pre-trained backbone, 40 and 35 without.

    Source: the LoFt paper (low-rank feature filtering against model inversion, arXiv 2410.05814), its SVD route, and
    its released head.
    We differ: the length of phase one is not published; ours is one undefended training of the same budget, shared with
    the NoDef target (or, in a stack, with the target under the other defenses), so a LoFt target has seen twice the
    epochs. The SVD keeps the full head's bias as b2. The default rank, SVD without batch norm, is our choice.
    """

    paper: ClassVar[str] = "LoFt, low-rank feature filtering (arXiv 2410.05814)"
    version: ClassVar[int] = 2
    acts_on: ClassVar[str] = "classification head"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "facescrub-resnet152-pretrained": {"rank": 50, "init": "random", "pre_bn": True, "from_scratch": True},
        "facescrub-resnet152": {"rank": 40, "init": "random", "pre_bn": True},
        "facescrub-resnet152-strong": {"rank": 35, "init": "random", "pre_bn": True},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="rank", low=5, high=500, larger_hides=False, scale="log")

    rank: int = 30
    activation: Literal["tanh", "relu", "sigmoid", "identity"] = "tanh"
    init: Literal["svd", "random"] = "svd"
    pre_bn: bool = False
    from_scratch: bool = False
    fine_tune: bool = field(default=True, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ValueError(f"needs rank >= 0, got {self.rank}")
        if self.init == "svd" and (self.from_scratch or self.pre_bn) and self.rank:
            reason = "an untrained head" if self.from_scratch else "a head behind a new BatchNorm"
            raise ValueError(f"init='svd' would decompose {reason}; use init='random'")
        if not self.fine_tune and self.rank and (self.init != "svd" or self.activation != "identity"):
            given = f"init={self.init!r} and activation={self.activation!r}"
            raise ValueError(
                f"fine_tune=False cuts a trained head: it needs init='svd', activation='identity'; got {given}"
            )

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        return replace(facts, head_is_linear=False, head_has_batch_norm=self.pre_bn) if self.rank else facts

    @override
    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        return {} if self.from_scratch or not self.rank else {PHASE_ONE: undefended}

    @property
    @override
    def starts_from_private(self) -> bool:
        return bool(self.rank) and not self.from_scratch

    @property
    @override
    def trains(self) -> bool:
        return self.fine_tune or not self.rank

    @override
    def prepare_head(self, head: nn.Module) -> nn.Module:
        if not self.rank:
            return head
        from midef.defenses.families.low_rank import make_low_rank

        assert isinstance(head, nn.Linear), "the undefended head of every architecture is one linear layer"
        svd = self.init == "svd"
        return make_low_rank(head, rank=self.rank, activation=self.activation, svd=svd, pre_bn=self.pre_bn)

    @override
    def draws_in_layers(self) -> bool:
        return False

    @override
    def off(self) -> Self:
        return replace(self, rank=0)
