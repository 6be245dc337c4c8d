"""SSF: scaled skip connections in the last stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.canonical import ADDED_LATER
from midef.defenses.base import DEFENSES, Defense
from midef.defenses.families import skips
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from midef.core.recipe import Inputs
    from midef.models.base import ModelFacts
    from midef.nn.network import TargetModel


@DEFENSES.add("ssf")
@dataclass(frozen=True, kw_only=True)
class Ssf(Defense):
    """Weaken the skip connections of the last stage: out = F(x) + k S(x).

    Args:
        k: scale of the skips, above 0 to 1; smaller hides more, 1 is off, 0 would be `rolss`. In a DenseNet the
            first round(k * channels) channels of every older map stay in the concatenation.
        stages: the stages that are scaled, from 1, or from -1 for the last. A network of one stage (ViT) needs `count`
            instead.
        count: above 0, the skips of the last `count` blocks are scaled instead, from the output back, whatever their
            stage; larger hides more. 0 goes by `stages`.

    Accuracy matching searches k; where a count is written, the count at this k.

    Presets come from the released scripts: checkpoint names there carry the published accuracies (ResNet-101 and
    DenseNet-169, the latter trained from fresh weights) or name other k that were tried.

    Source: Koh, Ho et al., "On the Vulnerability of Skip Connections to Model Inversion Attacks", ECCV 2024, and its
    released code.
    We differ: published numbers of ResNets probably include a leftover of that code, which takes the skips of the last
    blocks of layer3 away (see `rolss`); here it is left out.
    """

    paper: ClassVar[str] = "Koh et al., ECCV 2024 (arXiv 2409.01696)"
    acts_on: ClassVar[str] = "architecture"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "facescrub-resnet34": {"k": 0.2},
        "facescrub-resnet50": {"k": 0.2},
        "facescrub-resnet101": {"k": 0.2},
        "facescrub-resnet101-0.4": {"k": 0.4},
        "facescrub-resnet101-0.6": {"k": 0.6},
        "facescrub-resnet101-0.8": {"k": 0.8},
        "facescrub-densenet169": {"k": 0.01},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="k", low=0.01, high=0.95, larger_hides=False)
    scales_skips: ClassVar[bool] = True
    count_tuning: ClassVar[Tuning] = Tuning(parameter="count", low=1, high=skips.MOST_BLOCKS)

    k: float = 0.2
    stages: tuple[int, ...] = (-1,)
    count: int = field(default=0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if not 0 < self.k <= 1:
            raise ValueError(f"needs 0 < k <= 1 (k = 0 is rolss), got {self.k}")
        skips.check_stages(self.stages)
        skips.check_count(self.count, others=self.stages != skips.LAST_STAGE)

    @override
    def tuned_by(self) -> Tuning | NotTuned:
        return self.count_tuning if self.count else self.tuning

    @override
    def tuned_on(self, facts: ModelFacts) -> Tuning | NotTuned:
        return skips.tuning_of(self.count_tuning, facts) if self.count else self.tuning

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        return [] if self.k == 1 else skips.problems_of("SSF", facts, count=self.count, stages=self.stages)

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        if self.k != 1:
            blocks = skips.blocks_of(skips.skip_stages_of(model), count=self.count, stages=self.stages)
            model.scale_skips(blocks, self.k)
        return model

    @override
    def draws_in_layers(self) -> bool:
        return False

    @override
    def off(self) -> Self:
        return replace(self, k=1.0)
