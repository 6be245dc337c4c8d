"""The narrow head of LoFt and CALoR, and where its weights may start."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.network import CodeHead

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


class LowRankHead(CodeHead):
    """W2 act(W1 norm(h) + b1) + b2: features [B, D] through a code [B, k] to logits [B, K].

    Args:
        narrow: W1, b1.
        wide: W2, b2.
        pre_bn: in front of W1, None for none.

    The code is what comes out of `activation`.
    """

    def __init__(
        self, narrow: nn.Linear, activation: nn.Module, wide: nn.Linear, *, pre_bn: nn.BatchNorm1d | None = None
    ) -> None:
        super().__init__()
        self.pre_bn = pre_bn
        self.narrow = narrow
        self.activation = activation
        self.wide = wide

    @override
    def with_code(self, features: Tensor) -> tuple[Tensor, Tensor]:
        code: Tensor = self.activation(self._before_activation(features))
        return self.wide(code), code

    def linear(self, features: Tensor) -> Tensor:
        """Logits [B, K] of features [B, D] as without `activation`."""
        logits: Tensor = self.wide(self._before_activation(features))
        return logits

    def _before_activation(self, features: Tensor) -> Tensor:
        before: Tensor = self.narrow(features if self.pre_bn is None else self.pre_bn(features))
        return before

    def directions(self) -> Tensor:
        """Directions of features that the code sees, [k, D]: W1 with the norm's scale folded in, shifts left out."""
        weight = self.narrow.weight.detach()
        if self.pre_bn is None:
            return weight
        assert self.pre_bn.running_var is not None
        return weight * (self.pre_bn.weight.detach() / (self.pre_bn.running_var + self.pre_bn.eps).sqrt())


def make_low_rank(full: nn.Linear, *, rank: int, activation: str, svd: bool, pre_bn: bool) -> LowRankHead:
    """A head for the features and classes of `full`, at most as wide as its full rank.

    Args:
        svd: start from the truncated decomposition of `full`; otherwise from fresh layers, as PyTorch draws them.
    """
    rank = min(rank, full.in_features, full.out_features)
    narrow, wide = nn.Linear(full.in_features, rank), nn.Linear(rank, full.out_features)
    if svd:
        with torch.no_grad():
            for weight, value in zip(
                (narrow.weight, narrow.bias, wide.weight, wide.bias),
                truncated_head(full.weight, full.bias, rank=rank),
                strict=True,
            ):
                weight.copy_(value)
    norm = nn.BatchNorm1d(full.in_features) if pre_bn else None
    return LowRankHead(narrow, ACTIVATIONS[activation](), wide, pre_bn=norm)


def truncated_head(weight: Tensor, bias: Tensor, *, rank: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two layers whose product is the best rank-k approximation of weight [K, D].

    Returns:
        W1 = V_k^T [k, D], b1 = 0 [k], W2 = U_k S_k [K, k], b2 = bias [K].
    """
    left, singular, right = torch.linalg.svd(weight, full_matrices=False)
    return right[:rank], weight.new_zeros(rank), left[:, :rank] * singular[:rank], bias
