"""TTS: train with all skip connections, then without those of the last stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.canonical import ADDED_LATER
from midef.defenses.base import DEFENSES, PHASE_ONE, Defense
from midef.defenses.families import skips
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from midef.core.recipe import Inputs, Recipe
    from midef.models.base import ModelFacts
    from midef.nn.network import TargetModel


@DEFENSES.add("tts")
@dataclass(frozen=True, kw_only=True)
class Tts(Defense):
    """Take the undefended target (phase one), scale the skip connections of its last stage and train on (phase two).

    Args:
        k: scale of the skips in phase two, 0 to 1; smaller hides more, 0 removes them, 1 is off and skips phase
            two.
        epochs_share: above 0; epochs of phase two as a share of the recipe's, at least one.
        learning_rate_factor: above 0; learning rate of phase two as a share of the recipe's; the schedule starts
            anew.
        count: above 0, the skips of the last `count` blocks are scaled instead of those of the last stage, from the
            output back; larger hides more. 0 takes the last stage, which a network of one stage (ViT) does not have.

    Source: Koh, Ho et al., "On the Vulnerability of Skip Connections to Model Inversion Attacks", ECCV 2024.
    We differ: neither paper nor released code gives the length and the learning rate of phase two, so both are our
    choice: as many epochs as phase one, at a tenth of the rate. A TTS target has then seen twice the epochs. In a
    stack the other defenses act in both phases.
    """

    paper: ClassVar[str] = "Koh et al., ECCV 2024 (arXiv 2409.01696)"
    acts_on: ClassVar[str] = "architecture, in two phases"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="count", low=1, high=skips.MOST_BLOCKS)
    scales_skips: ClassVar[bool] = True
    has_phase_one: ClassVar[bool] = True

    k: float = 0.0
    epochs_share: float = 1.0
    learning_rate_factor: float = 0.1
    count: int = field(default=0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if not 0 <= self.k <= 1:
            raise ValueError(f"needs 0 <= k <= 1, got {self.k}")
        if self.epochs_share <= 0 or self.learning_rate_factor <= 0:
            given = f"{self.epochs_share} and {self.learning_rate_factor}"
            raise ValueError(f"needs epochs_share and learning_rate_factor > 0, got {given}")
        skips.check_count(self.count, others=False)

    @override
    def tuned_on(self, facts: ModelFacts) -> Tuning | NotTuned:
        tuning = self.tuned_by()
        return tuning if isinstance(tuning, NotTuned) else skips.tuning_of(tuning, facts)

    @override
    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        return {} if self.k == 1 else {PHASE_ONE: undefended}

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        return facts if self.k else skips.without(facts, skips.blocks_of(facts.skip_stages, count=self.count))

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        problems = [] if self.k == 1 else skips.problems_of("TTS", facts, count=self.count)
        if self.k < 1 and facts.skips_concatenate and not facts.head_is_linear:
            problems.append(
                "tts cuts the features of a trained DenseNet, and another defense's head cannot be cut along"
            )
        return problems

    @override
    def training_overrides(self, training: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.k == 1:
            return {}
        return {
            "epochs": max(1, round(self.epochs_share * training["epochs"])),
            "learning_rate": self.learning_rate_factor * training["learning_rate"],
        }

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        if self.k != 1:
            model.scale_skips(skips.blocks_of(skips.skip_stages_of(model), count=self.count), self.k)
        return model

    @override
    def draws_in_layers(self) -> bool:
        return False

    @override
    def off(self) -> Self:
        return replace(self, k=1.0)
