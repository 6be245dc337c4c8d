"""TL-DMI: early layers keep what they learned from other data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.canonical import ADDED_LATER
from midef.core.errors import SpecError, did_you_mean
from midef.core.lazy import nn
from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from midef.core.recipe import Inputs
    from midef.models.base import ModelFacts
    from midef.nn.network import TargetModel


@DEFENSES.add("tl_dmi")
@dataclass(frozen=True, kw_only=True)
class TlDmi(Defense):
    """Freeze the first units of a backbone that was pre-trained on other data; only the rest learns private images.

    The pre-training belongs to the setup (`pretraining:`, a labelled data set), so that every defense and NoDef start
    from the same backbone. Units are those of the architecture (`block4.conv1` of VGG16, `layer3_1` of a ResNet). The
    head always trains.

    Args:
        cut: name of the last frozen unit, with `where=last` of the first one; later cuts hide more.
        share: used without a cut, 0 to 1: round(share * number of units) are frozen, the first or, with `where=last`,
            the last ones; larger hides more, 0 freezes none (off), 1 leaves only the head.
        where: the units that freeze: the `first` ones, as published; the `last` ones, or the `range` from `start` to
            the cut, which are the paper's controls (its section 7.2): the first units learn private images instead.
        start: name of the first frozen unit of a range.
        freeze_bn_stats: also hold the running statistics of frozen batch norms. Without it, as published, only
            gradients are off and these statistics still absorb private data.
        fresh: allow freezing weights that were never trained, as the paper's ResNet-34 does.
        stem_trains: the first unit trains although later ones do not; the released IR152 and FaceNet64 do so
            because a flag is misspelt (1,920 weights).

    Presets are cuts that give the published numbers of trainable weights. Those of VGG16, IR152 and FaceNet64 are
    those of the released code; those of ResNet-18, MaxViT and ResNeSt-101 are inferred from the number alone. The
    paper's combination with BiDO freezes as `celeba-vgg16-15.0m`, with BiDO's lambda_x = 0.03, lambda_y = 0.4
    (82.15 % natural accuracy, 18.87 % for KedMI) or 0.05, 0.4 (84.31 %, no attack published).

    Source: Ho et al., "Model Inversion Robustness: Can Transfer Learning Help?", CVPR 2024, and its released code.
    We differ: a cut is a name, where the released code counts layers and means "freeze all" by 0 for VGG16. `share`
    and its default are ours, to have one strength for every architecture.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (arXiv 2405.05588)"
    acts_on: ClassVar[str] = "which layers learn private data"
    small: ClassVar[Mapping[str, Any]] = {"fresh": True}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba-vgg16": {"cut": "block4.conv1"},
        "celeba-vgg16-15.0m": {"cut": "block3.conv3"},
        "celeba-vgg16-11.5m": {"cut": "block4.conv2"},
        "celeba-vgg16-9.1m": {"cut": "block4.conv3"},
        "celeba-vgg16-2.1m": {"cut": "block5.conv3"},
        "celeba-ir152": {"cut": "layer3_35", "stem_trains": True},
        "celeba-facenet64": {"cut": "layer2_2", "stem_trains": True},
        "facescrub-resnet18": {"cut": "layer3_1"},
        "facescrub-maxvit_t": {"cut": "block3_4"},
        "stanford_dogs-resnest101": {"cut": "layer3_14"},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="share", low=0.05, high=0.9)

    needs_unseen: ClassVar[str] = "layers that private images must not reach have learned from them in phase one"

    cut: str = ""
    share: float = 0.5
    freeze_bn_stats: bool = False
    fresh: bool = False
    stem_trains: bool = False
    where: Literal["first", "last", "range"] = field(default="first", metadata=ADDED_LATER)
    start: str = field(default="", metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"needs 0 <= share <= 1, got {self.share}")
        if self.cut and self.share != TlDmi.share:
            raise ValueError(f"cut={self.cut!r} already says what is frozen; give cut or share, got share={self.share}")

    def frozen_units(self, units: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the architecture's units that do not train, input first.

        Raises:
            SpecError: if the cut or the start is not a unit, or they do not go together.
        """
        if problems := self._problems_of_units(units):
            raise SpecError(problems)
        if self.where == "range":
            return units[units.index(self.start) : units.index(self.cut) + 1]
        if self.where == "last":
            return units[units.index(self.cut) if self.cut else len(units) - round(self.share * len(units)) :]
        count = units.index(self.cut) + 1 if self.cut else round(self.share * len(units))
        return units[int(self.stem_trains) : count]

    def _problems_of_units(self, units: tuple[str, ...]) -> list[str]:
        if self.where == "range" and not (self.start and self.cut):
            return [f"a range needs start and cut, got start={self.start!r}, cut={self.cut!r}; name both units"]
        if self.start and self.where != "range":
            return [f"start={self.start!r} begins a range, got where={self.where}; write where=range, or leave it out"]
        if self.stem_trains and self.where != "first":
            return [f"stem_trains is for where=first, got where={self.where}; leave it out"]
        named = {"start at": self.start, "cut after": self.cut}
        unknown = {what: unit for what, unit in named.items() if unit and unit not in units}
        if unknown:
            return [f"there is no unit {u!r} to {what}; {did_you_mean(u, units)}" for what, u in unknown.items()]
        if self.start and units.index(self.start) > units.index(self.cut):
            return [f"the range from {self.start} to {self.cut} is empty; start at or before the cut"]
        return []

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        if self._problems_of_units(facts.units):
            return facts  # `problems` tells
        training = {block_of(unit) for unit in set(facts.units).difference(self.frozen_units(facts.units))}
        frozen = set(facts.blocks).difference(training)
        for before, block in pairwise(facts.blocks):  # what has no weights learns exactly as much as what feeds it
            if block in facts.weightless and before in frozen:
                frozen.add(block)
        return replace(facts, frozen=facts.frozen | frozen)

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        try:
            frozen = self.frozen_units(facts.units)
        except SpecError as error:
            return [f"TL-DMI: {problem}" for problem in error.problems]
        problems = []
        if frozen and not facts.pretrained and not self.fresh:
            problems.append(
                f"TL-DMI would freeze {frozen[0]} to {frozen[-1]} with fresh weights; give the setup a labelled data "
                "set as `pretraining`, or write tl_dmi(fresh=true) to freeze untrained layers"
            )
        if self.cut and not frozen:
            problems.append(f"TL-DMI: nothing freezes, since {self.cut} is the stem, which trains; cut later")
        if self.freeze_bn_stats and not facts.has_batch_norm:
            problems.append(f"TL-DMI: {facts.family} has no batch norm; leave freeze_bn_stats out")
        return problems

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        frozen = [module for unit in self.frozen_units(units_of(model)) for module in model.unit(unit)]
        for module in frozen:
            module.requires_grad_(False)
        if self.freeze_bn_stats:
            norms = (nn.BatchNorm1d, nn.BatchNorm2d)
            inside = {part for module in frozen for part in module.modules() if isinstance(part, norms)}
            model.hold_in_eval(path for path, part in model.named_modules() if part in inside)
        return model

    @override
    def draws_in_layers(self) -> bool:
        return False

    @override
    def off(self) -> Self:
        return replace(self, cut="", share=0.0, freeze_bn_stats=False, stem_trains=False, where="first", start="")


def block_of(unit: str) -> str:
    """The block a unit belongs to."""
    return unit.partition(".")[0]


def units_of(model: TargetModel) -> tuple[str, ...]:
    """`ModelFacts.units` of a built network: the parts of a block where it has parts, else the block."""
    parts = {block: [part for part in model.parts if block_of(part) == block] for block in model.block_names}
    return tuple(unit for block, inside in parts.items() for unit in inside or [block])
