"""What freezes, what still moves, and the published numbers of trainable weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from midef.core import Inputs, SpecError
from midef.datasets import Images
from midef.defenses import DEFENSES, Defense
from midef.defenses.stack import choose_defense, remake_defense
from midef.defenses.tl_dmi import TlDmi, block_of, units_of
from midef.models import ARCHITECTURES, ModelFacts
from midef.nn.network import TargetModel
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier

CLASSES, RESOLUTION_PX = 6, 32
NOTHING = Inputs({}, lambda recipe: None)  # type: ignore[arg-type, return-value]
RECIPE = TrainingRecipe(epochs=2, batch_size=8, learning_rate=0.05, weight_decay=0.1)

WEIGHTLESS = {"pool"}  # in some families


def built(architecture: str, *, classes: int = CLASSES, resolution_px: int = RESOLUTION_PX) -> TargetModel:
    """A network without memory behind its weights: enough to count them."""
    with torch.device("meta"):
        return ARCHITECTURES.make(architecture).build(classes, resolution_px)


def facts_of(architecture: str, *, pretrained: bool = True) -> ModelFacts:
    return replace(ARCHITECTURES.make(architecture).facts(), pretrained=pretrained)


def trainable(model: TargetModel) -> dict[str, int]:
    return {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}


def trained(defense: Defense, architecture: str = "vgg16_tiny") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and statistics before and after a short training under a defense."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 3, RESOLUTION_PX, RESOLUTION_PX), generator=rng, dtype=torch.uint8)
    split = Images(images, torch.arange(32) % CLASSES)
    torch.manual_seed(0)
    model = defense.prepare_model(ARCHITECTURES.make(architecture).build(CLASSES, RESOLUTION_PX), NOTHING)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_classifier(model, split, split, facts=facts_of(architecture), recipe=RECIPE, defense=defense, seed=1)
    return before, model.state_dict()


# --- published numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "architecture", "resolution_px", "classes", "millions"),
    [
        ("celeba-vgg16-15.0m", "vgg16", 64, 1000, "15.04"),
        ("celeba-vgg16", "vgg16", 64, 1000, "13.855"),
        ("celeba-vgg16-11.5m", "vgg16", 64, 1000, "11.49"),
        ("celeba-vgg16-9.1m", "vgg16", 64, 1000, "9.13"),
        ("celeba-vgg16-2.1m", "vgg16", 64, 1000, "2.05"),
        ("facescrub-resnet18", "resnet18", 224, 1000, "8.907"),
        ("facescrub-resnet18", "resnet18", 224, 530, "8.67"),
        ("facescrub-maxvit_t", "maxvit_t", 224, 1000, "18.307"),  # 18.306 without the bias of our head
        ("stanford_dogs-resnest101", "resnest101", 224, 1000, "27.94"),
        ("celeba-ir152", "ir152", 64, 1000, "17.827"),  # 17.825 without the stem
        ("celeba-facenet64", "facenet64", 64, 1000, "34.394"),  # 34.392 without the stem
    ],
    ids=lambda v: str(v),
)
def test_trainable_weights_as_published(
    preset: str, architecture: str, resolution_px: int, classes: int, millions: str
) -> None:
    """TL-DMI, CVPR 2024, tables 4, 11 and 17 (three digits), recounted to five from the released layer lists."""
    model = built(architecture, classes=classes, resolution_px=resolution_px)
    defense = DEFENSES.remake(DEFENSES.choose(f"tl_dmi:{preset}"))
    defense.prepare_model(model, NOTHING)
    assert defense.problems(facts_of(architecture)) == []
    digits = len(millions.partition(".")[2])
    assert f"{sum(trainable(model).values()) / 1e6:.{digits}f}" == millions


@pytest.mark.parametrize(
    ("architecture", "cut", "millions"), [("ir152", "layer3_35", "17.825"), ("facenet64", "layer2_2", "34.392")]
)
def test_the_misspelt_flag_of_the_released_code_is_the_stem(architecture: str, cut: str, millions: str) -> None:
    counts = {}
    for stem_trains in (False, True):
        model = built(architecture, classes=1000, resolution_px=64)
        TlDmi(cut=cut, stem_trains=stem_trains).prepare_model(model, NOTHING)
        counts[stem_trains] = sum(trainable(model).values())
    assert f"{counts[False] / 1e6:.3f}" == millions
    assert counts[True] - counts[False] == 1_920


# --- what freezes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [n for n in ARCHITECTURES.names() if not ARCHITECTURES.get(n).judges_only])
def test_every_architecture_can_be_cut_at_each_of_its_units(architecture: str) -> None:
    facts = facts_of(architecture)
    model = built(architecture, classes=7, resolution_px=224)
    assert units_of(model) == facts.units
    left = sum(trainable(model).values())
    for unit in facts.units:
        defense = TlDmi(cut=unit)
        assert defense.problems(facts) == []
        defense.prepare_model(model, NOTHING)
        now = sum(trainable(model).values())
        assert now < left or (now == left and unit in WEIGHTLESS), f"{unit} freezes nothing"
        left = now
        training = {name.split(".")[1] for name in trainable(model) if name.startswith("blocks.")}
        assert not training & defense.facts_after(facts).frozen
    assert all(name.startswith(("head.", "side.")) for name in trainable(model))
    beside = sum(count for name, count in trainable(model).items() if name.startswith("side."))
    assert left == 7 * (model.feature_dim + 1) + beside, "every head always trains"


@pytest.mark.parametrize(
    ("share", "last"),
    [
        (0.0, None),
        (0.03, None),
        (0.05, "block1.conv1"),
        (0.5, "block3.conv3"),
        (0.9, "block5.conv3"),
        (1.0, "embedding"),
    ],
    ids=str,
)
def test_a_share_counts_units(share: float, last: str | None) -> None:
    facts = facts_of("vgg16")
    frozen = TlDmi(share=share).frozen_units(facts.units)
    assert (frozen[-1] if frozen else None) == last
    assert frozen == facts.units[: len(frozen)]
    model, other = built("vgg16", resolution_px=64), built("vgg16", resolution_px=64)
    TlDmi(share=share).prepare_model(model, NOTHING)
    if last is not None:
        TlDmi(cut=last).prepare_model(other, NOTHING)
    assert trainable(model) == trainable(other)


def test_a_block_is_frozen_once_all_its_units_are() -> None:
    facts = facts_of("vgg16")
    assert TlDmi(cut="block4.conv2").facts_after(facts).frozen == {"block1", "block2", "block3"}
    assert TlDmi(cut="block4.conv3").facts_after(facts).frozen == {"block1", "block2", "block3", "block4"}
    assert TlDmi(cut="block4.conv3", stem_trains=True).facts_after(facts).frozen == {"block2", "block3", "block4"}
    assert TlDmi(share=1.0).facts_after(facts).frozen == set(facts.blocks)
    assert TlDmi(share=0.0).facts_after(facts) == facts
    earlier = replace(facts, frozen=frozenset({"block5"}))
    assert TlDmi(cut="block1.conv2").facts_after(earlier).frozen == {"block1", "block5"}


def test_block_of_a_unit() -> None:
    assert (block_of("block4.conv1"), block_of("layer3_1")) == ("block4", "layer3_1")


# --- what still moves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze_bn_stats", [False, True], ids=["as published", "statistics frozen"])
def test_frozen_weights_stay_and_statistics_as_asked(freeze_bn_stats: bool) -> None:
    defense = TlDmi(cut="block3.conv1", freeze_bn_stats=freeze_bn_stats)
    before, after = trained(defense)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    early = {name for name in before if name.startswith(("blocks.block1", "blocks.block2", "blocks.block3"))}
    statistics = {name for name in early if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert len(statistics) == 9
    assert moved & early == (set() if freeze_bn_stats else statistics)
    late = set(before) - early - {"blocks.embedding.1.bias"}
    assert moved - early == late, "everything behind the cut trains, its statistics included"


def test_frozen_statistics_are_those_of_the_frozen_units_only() -> None:
    model = TlDmi(cut="layer2_0", freeze_bn_stats=True).prepare_model(built("resnet18_tiny"), NOTHING)
    model.train()
    norms = {name: part.training for name, part in model.named_modules() if isinstance(part, torch.nn.BatchNorm2d)}
    frozen = ("blocks.stem", "blocks.layer1_", "blocks.layer2_0")
    assert norms and all(training != name.startswith(frozen) for name, training in norms.items())
    assert model.blocks.get_submodule("stem").training, "only batch norms are held in eval, not what drops or draws"


def test_off_trains_what_no_defense_trains() -> None:
    off = TlDmi(cut="block3.conv1", freeze_bn_stats=True, fresh=False, stem_trains=True).off()
    assert off.problems(facts_of("vgg16_tiny", pretrained=False)) == []
    _, plain = trained(DEFENSES.make("none"))
    _, after = trained(off)
    assert all(torch.equal(plain[name], after[name]) for name in plain)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_fresh_weights_are_not_frozen_unless_asked() -> None:
    facts = facts_of("vgg16", pretrained=False)
    (problem,) = TlDmi(cut="block4.conv1").problems(facts)
    assert problem.startswith("TL-DMI would freeze block1.conv1 to block4.conv1 with fresh weights;")
    assert "give the setup a labelled data set as `pretraining`, or write tl_dmi(fresh=true)" in problem
    assert TlDmi(cut="block4.conv1", fresh=True).problems(facts) == []


@pytest.mark.parametrize(
    ("params", "architecture", "message"),
    [
        ({"cut": "block4conv1"}, "vgg16", "no unit 'block4conv1' to cut after; did you mean 'block4.conv1'?"),
        ({"cut": "block4"}, "vgg16", "no unit 'block4' to cut after; did you mean 'block4.conv"),
        ({"cut": "stem", "stem_trains": True}, "resnet18", "nothing freezes, since stem is the stem"),
        ({"freeze_bn_stats": True}, "vit_b16", "vit has no batch norm; leave freeze_bn_stats out"),
    ],
    ids=["misspelt", "a block with parts", "only the stem", "no statistics"],
)
def test_what_cannot_work_here_is_told(params: dict[str, Any], architecture: str, message: str) -> None:
    facts = facts_of(architecture)
    defense = TlDmi(**params)
    (problem,) = defense.problems(facts)
    assert message in problem
    assert defense.facts_after(facts).frozen <= set(facts.blocks), "a stack asks for the facts of a wrong cut too"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"share": 1.2}, r"needs 0 <= share <= 1, got 1.2"),
        ({"share": -0.1}, r"needs 0 <= share <= 1, got -0.1"),
        ({"cut": "stem", "share": 0.3}, "cut='stem' already says what is frozen; give cut or share, got share=0.3"),
    ],
    ids=["share above 1", "share below 0", "cut and share"],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("tl_dmi", params)


@pytest.mark.parametrize("written", ["tl_dmi+tts", "tts+tl_dmi", "tl_dmi+calor"])
def test_layers_that_phase_one_trained_are_not_frozen_afterwards(written: str) -> None:
    with pytest.raises(SpecError, match="layers that private images must not reach have learned"):
        choose_defense(written)


# --- stacks -----------------------------------------------------------------------------------------------------------


def test_bido_beside_it_needs_a_trainable_tap() -> None:
    facts = facts_of("vgg16_tiny", pretrained=False)
    for written in ("tl_dmi(share=1,fresh=true)+bido", "bido+tl_dmi(share=1,fresh=true)"):
        (problem,) = remake_defense(choose_defense(written)).problems(facts)
        assert problem.startswith("BiDO needs at least one trainable tap; block1, block2, block3, block4, embedding")
    assert remake_defense(choose_defense("tl_dmi(share=0.6,fresh=true)+bido")).problems(facts) == []


def test_skips_of_frozen_blocks_are_not_removed() -> None:
    facts = facts_of("resnet18")
    assert remake_defense(choose_defense("tl_dmi(cut=layer3_1)+rolss")).problems(facts) == []
    (problem,) = remake_defense(choose_defense("tl_dmi(cut=layer4_0)+rolss")).problems(facts)
    assert problem.startswith("RoLSS changes the skips of layer4_0, which are frozen and cannot adapt; freeze fewer")


# --- controls: another part freezes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "trains"),
    [
        (
            {"where": "range", "start": "block2.conv1", "cut": "block4.conv1"},
            {"block1", "block5", "embedding"},
        ),
        ({"where": "range", "start": "block3.conv1", "cut": "block3.conv1"}, {*"12456"}),
        ({"where": "last", "cut": "block3.conv1"}, {"block1", "block2"}),
        ({"where": "last", "share": 0.5}, {"block1", "block2", "block3"}),
        ({"where": "last", "share": 0.0}, {*"123456"}),
        ({"where": "last", "share": 1.0}, set()),
    ],
    ids=["a range", "a range of one", "from a unit on", "the last half", "none", "all but the head"],
)
def test_a_control_trains_the_first_units(written: dict[str, Any], trains: set[str]) -> None:
    """The names of vgg16_tiny's blocks are block1 to block5 and embedding, each one unit."""
    number = {"1": "block1", "2": "block2", "3": "block3", "4": "block4", "5": "block5", "6": "embedding"}
    trains = {number.get(name, name) for name in trains}
    model = built("vgg16_tiny")
    defense = TlDmi(**written)
    assert defense.problems(facts_of("vgg16_tiny")) == []
    defense.prepare_model(model, NOTHING)
    assert {name.split(".")[1] for name in trainable(model) if name.startswith("blocks.")} == trains
    assert {"head.weight", "head.bias"} <= set(trainable(model))
    frozen = defense.facts_after(facts_of("vgg16_tiny")).frozen
    assert frozen == set(number.values()) - trains


def test_frozen_weights_of_a_range_stay_while_those_before_and_behind_it_learn() -> None:
    before, after = trained(TlDmi(where="range", start="block2.conv1", cut="block4.conv1"))
    moved = {
        name.split(".")[1] for name in before if name.endswith("weight") and not torch.equal(before[name], after[name])
    }
    assert moved - {"weight"} == {"block1", "block5", "embedding"}, "and the head, whose name has no block"


def test_what_froze_first_units_keeps_its_key() -> None:
    """Fields that were added later enter the key only where they change something; the digest is of an older midef."""
    plain = DEFENSES.choose("tl_dmi(cut=block4.conv1)")
    assert plain.params == {
        "cut": "block4.conv1",
        "share": 0.5,
        "freeze_bn_stats": False,
        "fresh": False,
        "stem_trains": False,
    }
    assert DEFENSES.choose("tl_dmi(cut=block4.conv1,where=first)") == plain
    assert DEFENSES.choose("tl_dmi(cut=block4.conv1,where=last)").params == {**plain.params, "where": "last"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"where": "range", "cut": "block4.conv1"}, "a range needs start and cut, got start='', cut='block4.conv1'"),
        ({"where": "range", "start": "block4.conv1"}, "a range needs start and cut, got start='block4.conv1', cut=''"),
        ({"start": "block1.conv1", "cut": "block4.conv1"}, "begins a range, got where=first; write where=range"),
        ({"where": "range", "start": "blok1", "cut": "block4.conv1"}, "no unit 'blok1' to start at; did you mean"),
        (
            {"where": "range", "start": "block4.conv1", "cut": "block1.conv2"},
            "the range from block4.conv1 to block1.conv2 is empty; start at or before the cut",
        ),
        ({"where": "last", "stem_trains": True}, "stem_trains is for where=first, got where=last"),
    ],
    ids=["no start", "no cut", "start without a range", "misspelt", "empty", "stem"],
)
def test_controls_that_cannot_be_are_told(params: dict[str, Any], message: str) -> None:
    (problem,) = TlDmi(**params).problems(facts_of("vgg16"))
    assert message in problem
    assert TlDmi(**params).facts_after(facts_of("vgg16")) == facts_of("vgg16")
