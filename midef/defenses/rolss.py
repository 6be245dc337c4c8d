"""RoLSS: no skip connections in the last stage."""

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


@DEFENSES.add("rolss")
@dataclass(frozen=True, kw_only=True)
class Rolss(Defense):
    """Remove the skip connections of the last stage, its first block's projection included: out = F(x).

    A pre-trained backbone is loaded with its skips, then loses them. A DenseNet's last block no longer concatenates:
    every layer sees only what the layer before it made, and so does the head.

    Args:
        stages: the stages that lose their skips, from 1, or from -1 for the last; the published vector [1, 1, 1, 0]
            is -1. More stages hide more; none is off.
        only: kinds of skips that go, where there are several (MaxViT: `mbconv`, `attention`, `mlp`; ViT and Swin:
            `attention`, `mlp`); empty means all.
        legacy_layer3_split: as in the released ResNet code, the last fifth of layer3's blocks lose their skips too,
            although its stage vector keeps them; published RoLSS numbers of ResNets probably include it (preset
            `facescrub-resnet-released`).
        count: above 0, the last `count` blocks with skips lose them instead, from the output back, whatever their
            stage; larger hides more. 0 goes by `stages`. Of a block with several skips all of `only` go; a dense block
            of a DenseNet is one.

    Source: Koh, Ho et al., "On the Vulnerability of Skip Connections to Model Inversion Attacks", ECCV 2024, and its
    released code. Its `split` of 0.8 is read as: block i of n goes if i >= int(0.8 n).
    `count` is the strength LoFt tunes (arXiv 2410.05814, App. A): the number of skip connections removed.
    We differ: `count=n` removes n, where the code beside LoFt removes n + 1. Which skips of MaxViT the published row
    removes is unknown; by default all of the last stage go.
    """

    paper: ClassVar[str] = "Koh et al., ECCV 2024 (arXiv 2409.01696)"
    acts_on: ClassVar[str] = "architecture"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "facescrub-224": {"stages": [-1]},
        "facescrub-resnet-released": {"stages": [-1], "legacy_layer3_split": True},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="count", low=1, high=skips.MOST_BLOCKS)
    scales_skips: ClassVar[bool] = True

    stages: tuple[int, ...] = (-1,)
    only: tuple[str, ...] = ()
    legacy_layer3_split: bool = False
    count: int = field(default=0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        skips.check_stages(self.stages)
        skips.check_count(self.count, others=self._names_stages)

    @property
    def _names_stages(self) -> bool:
        return self.stages != skips.LAST_STAGE or self.legacy_layer3_split

    def _blocks(self, skip_stages: skips.SkipStages) -> tuple[str, ...]:
        extra = skips.split_blocks(skip_stages) if self.legacy_layer3_split else ()
        return tuple(dict.fromkeys((*extra, *skips.blocks_of(skip_stages, count=self.count, stages=self.stages))))

    @override
    def tuned_by(self) -> Tuning | NotTuned:
        if self._names_stages:
            return NotTuned("its stages are given; without them the number of blocks is searched")
        return self.tuning

    @override
    def tuned_on(self, facts: ModelFacts) -> Tuning | NotTuned:
        tuning = self.tuned_by()
        return tuning if isinstance(tuning, NotTuned) else skips.tuning_of(tuning, facts)

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        if self.only and set(facts.skip_kinds) - set(self.only):
            return facts  # skips of another kind stay
        return skips.without(facts, self._blocks(facts.skip_stages))

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        if not self.stages and not self.legacy_layer3_split:
            return []
        return skips.problems_of(
            "RoLSS",
            facts,
            count=self.count,
            stages=self.stages,
            only=self.only,
            legacy=self.legacy_layer3_split,
        )

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        model.scale_skips(self._blocks(skips.skip_stages_of(model)), 0.0, only=frozenset(self.only))
        return model

    @override
    def draws_in_layers(self) -> bool:
        return False

    @override
    def off(self) -> Self:
        return replace(self, stages=(), only=(), legacy_layer3_split=False, count=0)
