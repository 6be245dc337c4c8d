"""BiDO: bilateral dependency optimisation with HSIC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import F, torch
from midef.defenses._base import DEFENSES, Batch, Defense

if TYPE_CHECKING:
    from torch import Tensor

    from midef.models._base import ModelFacts
    from midef.models._network import Forward


@DEFENSES.add("bido")
@dataclass(frozen=True, kw_only=True)
class Bido(Defense):
    """Make hidden layers depend less on the image and more on the label: CE + sum_j lx HSIC(Z_j, X) - ly HSIC(Z_j, Y).

    lambda_x: weight of the dependence on the image, >= 0, larger hides more; lambda_y: weight of the dependence on the
    label, >= 0, larger keeps more accuracy. sigma: bandwidth in units of sqrt(dimension). Batches hold four images of
    each drawn identity: with a plain sampler and many identities the label kernel is nearly diagonal and its term is
    meaningless.

    Source: Peng et al., KDD 2022, and its released code (github AlanPeng0897/Defend_MI): sum over the hidden list,
    Gaussian kernels for image and activation, linear kernel for the label, normalised HSIC.
    We differ: the released script ignores its `--measure` option; here this class is HSIC and nothing else.
    """

    paper: ClassVar[str] = "Peng et al., KDD 2022 (arXiv 2206.05483)"
    acts_on: ClassVar[str] = "loss, through hidden layers"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba-vgg16": {"lambda_x": 0.05, "lambda_y": 0.5},
        "celeba-vgg16-strong": {"lambda_x": 0.05, "lambda_y": 1.0},
        "celeba-resnet34": {"lambda_x": 0.1, "lambda_y": 2.0},
    }

    lambda_x: float = 0.05
    lambda_y: float = 0.5
    sigma: float = 5.0

    def __post_init__(self) -> None:
        if self.lambda_x < 0 or self.lambda_y < 0:
            raise ValueError(f"needs lambda_x, lambda_y >= 0, got {self.lambda_x}, {self.lambda_y}")
        if self.sigma <= 0:
            raise ValueError(f"needs sigma > 0, got {self.sigma}")

    @property
    @override
    def images_per_identity(self) -> int:
        return 4 if self.lambda_x or self.lambda_y else 0

    @override
    def taps(self, facts: ModelFacts) -> tuple[str, ...]:
        return facts.taps if self.lambda_x or self.lambda_y else ()

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        if set(facts.taps) <= facts.frozen:
            return [f"BiDO needs at least one trainable tap; {', '.join(facts.taps)} are frozen; freeze fewer blocks"]
        return []

    @override
    def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
        if not forward.taps:
            return {}
        images = normalised_kernel(gaussian_kernel(batch.images.flatten(1), sigma=self.sigma))
        one_hot = F.one_hot(batch.labels, forward.logits.shape[1]).to(batch.images.dtype)
        labels = normalised_kernel(one_hot @ one_hot.T)
        terms: dict[str, Tensor] = {}
        for name, hidden in forward.taps.items():
            hidden_kernel = normalised_kernel(gaussian_kernel(hidden.flatten(1), sigma=self.sigma))
            terms[f"hsic_x.{name}"] = self.lambda_x * (hidden_kernel * images.T).sum()
            terms[f"hsic_y.{name}"] = -self.lambda_y * (hidden_kernel * labels.T).sum()
        return terms

    @override
    def off(self) -> Self:
        return replace(self, lambda_x=0.0, lambda_y=0.0)


def gaussian_kernel(points: Tensor, *, sigma: float) -> Tensor:
    """exp(-|a - b|^2 / (2 sigma^2 dim)) between the rows of points [B, dim], as [B, B]."""
    points = points.float() if points.dtype in (torch.float16, torch.bfloat16) else points
    squared = points.pow(2).sum(dim=1)
    distances = (squared[:, None] + squared[None, :] - 2 * points @ points.T).abs()
    return torch.exp(-distances / (2 * sigma**2 * points.shape[1]))


def normalised_kernel(kernel: Tensor) -> Tensor:
    """K~ (K~ + 1e-5 B I)^-1 with K~ = K H, H the centring matrix: [B, B] -> [B, B].

    In float32 at least: the ridge is below half precision.
    """
    n = kernel.shape[0]
    kernel = kernel.float() if kernel.dtype in (torch.float16, torch.bfloat16) else kernel
    identity = torch.eye(n, dtype=kernel.dtype, device=kernel.device)
    centred = kernel - kernel.mean(dim=1, keepdim=True)
    # A (A + c I)^-1 = I - c (A + c I)^-1: one inversion, no product.
    ridge = 1e-5 * n
    normalised: Tensor = identity - ridge * torch.linalg.inv(centred + ridge * identity)
    return normalised


def normalised_hsic(first: Tensor, second: Tensor) -> Tensor:
    """trace(R_K R_L) of two kernels [B, B]: 0 for a constant, up to B - 1."""
    return (normalised_kernel(first) * normalised_kernel(second).T).sum()
