"""LoFt: low-rank feature filtering, a narrow head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.lazy import nn, torch
from midef.defenses._base import DEFENSES, PHASE_ONE, Defense

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe

_ACTIVATIONS = {"tanh": "Tanh", "relu": "ReLU", "sigmoid": "Sigmoid", "identity": "Identity"}


@DEFENSES.add("loft")
@dataclass(frozen=True, kw_only=True)
class LoFt(Defense):
    """Replace the head by W2 act(W1 h + b1) + b2 with an inner width far below the features', and train on.

    rank: inner width, >= 1, smaller hides more; 0 keeps the head (off). activation: between the two layers.
    init: `svd` starts from the truncated singular value decomposition of the trained head, `random` from fresh layers.
    pre_bn: a BatchNorm1d in front of W1 (released code yes, paper silent). from_scratch: start from an untrained
    network instead of the undefended target of the same seed (phase one); tanh saturates early there.

    Source: the LoFt paper (low-rank feature filtering against model inversion), its SVD route, and its released head.
    We differ: the length of phase one is not published; ours is one undefended training of the same budget, shared with
    the NoDef target, so a LoFt target has seen twice the epochs. The SVD keeps the full head's bias as b2.
    """

    paper: ClassVar[str] = "LoFt, low-rank feature filtering"
    acts_on: ClassVar[str] = "classification head"

    rank: int = 30
    activation: Literal["tanh", "relu", "sigmoid", "identity"] = "tanh"
    init: Literal["svd", "random"] = "svd"
    pre_bn: bool = False
    from_scratch: bool = False

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ValueError(f"needs rank >= 0, got {self.rank}")
        if self.init == "svd" and (self.from_scratch or self.pre_bn) and self.rank:
            reason = "an untrained head" if self.from_scratch else "a head behind a new BatchNorm"
            raise ValueError(f"init='svd' would decompose {reason}; use init='random'")

    @override
    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        return {} if self.from_scratch or not self.rank else {PHASE_ONE: undefended}

    @override
    def prepare_head(self, head: nn.Module) -> nn.Module:
        if not self.rank:
            return head
        assert isinstance(head, nn.Linear), "the undefended head of every architecture is one linear layer"
        full = head
        rank = min(self.rank, full.in_features, full.out_features)
        narrow, wide = nn.Linear(full.in_features, rank), nn.Linear(rank, full.out_features)
        if self.init == "svd":
            with torch.no_grad():
                for weight, value in zip(
                    (narrow.weight, narrow.bias, wide.weight, wide.bias),
                    truncated_head(full.weight, full.bias, rank=rank),
                    strict=True,
                ):
                    weight.copy_(value)
        layers: list[nn.Module] = [nn.BatchNorm1d(full.in_features)] if self.pre_bn else []
        layers += [narrow, getattr(nn, _ACTIVATIONS[self.activation])(), wide]
        return nn.Sequential(*layers)

    @override
    def off(self) -> Self:
        return replace(self, rank=0)


def truncated_head(weight: Tensor, bias: Tensor, *, rank: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two layers whose product is the best rank-k approximation of weight [K, D].

    Returns:
        W1 = V_k^T [k, D], b1 = 0 [k], W2 = U_k S_k [K, k], b2 = bias [K].
    """
    left, singular, right = torch.linalg.svd(weight, full_matrices=False)
    return right[:rank], weight.new_zeros(rank), left[:, :rank] * singular[:rank], bias
