"""MID: limit what the logits can know of the image, by a variational information bottleneck in the head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import nn
from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.tuning import NotTuned, Tuning
from midef.nn.taps import CODE

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Inputs
    from midef.models.base import ModelFacts
    from midef.nn.network import Forward, TargetModel


@DEFENSES.add("mid")
@dataclass(frozen=True, kw_only=True)
class Mid(Defense):
    """Classify a sample of N(mu(h), sigma(h)^2) instead of the features h, and add weight * KL to N(0, 1).

    Args:
        weight: >= 0, larger hides more; 0 keeps the sampling head, which costs accuracy by itself. KL is summed
            over the dimensions of the bottleneck, half as many as the features', so weights do not carry over
            between architectures.
        eval_sample: the served model samples too, as the released code does, so accuracy and white-box gradients
            are noisy; False serves the logits of mu.
        bottleneck: False keeps the linear head (off) and needs weight 0.

    The head takes the place of VGG16's last BatchNorm1d too. The preset `mibench` and those for ResNet-152 are the
    strengths of third parties: a public benchmark and the LoFt authors' scripts.

    Source: Wang, Zhang, Jia, AAAI 2021, and its released code; strengths as reported by TL-DMI and LPA.
    We differ: ln sigma is computed without underflow; the weights of the trunk are those of the training recipe.
    """

    paper: ClassVar[str] = "Wang et al., AAAI 2021 (arXiv 2009.05241)"
    acts_on: ClassVar[str] = "classification head and loss"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba-vgg16": {"weight": 0.003},
        "celeba-vgg16-0.002": {"weight": 0.002},
        "celeba-vgg16-0.004": {"weight": 0.004},
        "celeba-vgg16-0.01": {"weight": 0.01},
        "celeba-resnet34": {"weight": 0.0},
        "facescrub-resnet101": {"weight": 0.05},
        "facescrub-resnet101-0.02": {"weight": 0.02},
        "facescrub-resnet101-0.01": {"weight": 0.01},
        "facescrub-resnet152-0.001": {"weight": 0.001},
        "facescrub-resnet152-0.005": {"weight": 0.005},
        "facescrub-100": {"weight": 0.01},
        "mnist": {"weight": 0.01},
        "fashion-mnist": {"weight": 0.01},
        "cifar10": {"weight": 0.001},
        "mibench": {"weight": 0.01},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="weight", low=1e-4, high=0.1, scale="log")

    weight: float = 0.003
    eval_sample: bool = True
    bottleneck: bool = True

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"needs weight >= 0, got {self.weight}")
        if self.weight and not self.bottleneck:
            raise ValueError(f"bottleneck=False leaves nothing for weight {self.weight} to act on; set weight to 0")

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        return replace(facts, head_is_linear=False) if self.bottleneck else facts

    @override
    def taps(self, facts: ModelFacts) -> tuple[str, ...]:
        return (CODE,) if self.weight else ()

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        """Drop a FixedZeroBias at the end of the last block: VGG16's bottleneck reads the features in front of it."""
        from midef.nn.network import FixedZeroBias

        if not self.bottleneck:
            return model
        last = model.blocks.get_submodule(model.block_names[-1])
        if isinstance(last, nn.Sequential) and len(last) and isinstance(last[-1], FixedZeroBias):
            last[-1] = nn.Identity()  # the block and the paths in it keep their names
        return model

    @override
    def prepare_head(self, head: nn.Module) -> nn.Module:
        from midef.defenses.families.heads import VibHead

        if not self.bottleneck:
            return head
        assert isinstance(head, nn.Linear), "the undefended head of every architecture is one linear layer"
        return VibHead(head.in_features, head.out_features, eval_sample=self.eval_sample)

    @override
    def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
        from midef.defenses.families.heads import gaussian_of

        if not self.weight:
            return {}
        mean, log_sigma = gaussian_of(forward.taps[CODE])
        return {"kl": self.weight * kl_to_standard_normal(mean, log_sigma)}

    @override
    def draws_in_layers(self) -> bool:
        return self.bottleneck

    @override
    def off(self) -> Self:
        return replace(self, weight=0.0, bottleneck=False)


def kl_to_standard_normal(mean: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(N(mean, sigma^2) || N(0, 1)), summed over the dimensions and averaged over the batch; both are [B, k]."""
    kl: Tensor = 0.5 * (mean.square() + (2 * log_sigma).exp() - 1 - 2 * log_sigma)
    return kl.sum(dim=1).mean()
