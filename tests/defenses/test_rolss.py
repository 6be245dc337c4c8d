"""Skips that go, what a block computes without them, and the stages they are taken from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from midef.core import Inputs, Recipe, SpecError
from midef.defenses import DEFENSES, Defense, NotTuned, Tuning
from midef.defenses.families.skips import blocks_in, blocks_of, skip_stages_of, split_blocks
from midef.defenses.rolss import Rolss
from midef.defenses.ssf import Ssf
from midef.defenses.stack import choose_defense, remake_defense
from midef.defenses.tts import Tts
from midef.models import ARCHITECTURES, ModelFacts
from midef.nn.network import SkipBlock, TargetModel
from midef.stages.recipes import target_recipe
from midef.training import TrainingRecipe

CLASSES, RESOLUTION_PX = 6, 32
NOTHING = Inputs({}, lambda recipe: None)  # type: ignore[arg-type, return-value]
TINY = [name for name in ARCHITECTURES.names() if name.endswith("_tiny")]
STAGES = (("a1", "a2"), ("b1",), ("c1", "c2", "c3"), ("d1", "d2"))


def facts_of(architecture: str) -> ModelFacts:
    return ARCHITECTURES.make(architecture).facts()


def network(architecture: str = "resnet18_tiny") -> TargetModel:
    torch.manual_seed(0)
    return ARCHITECTURES.make(architecture).build(CLASSES, RESOLUTION_PX)


def scales(model: TargetModel) -> dict[str, float]:
    """k of every block of a ResNet."""
    return {name: block.skip_scale for name, block in model.blocks.named_children() if isinstance(block, SkipBlock)}  # type: ignore[misc]


# --- stages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [*TINY, "resnet101", "vit_b16"])  # names are the family's; two are deep
def test_stages_of_a_network_are_those_of_its_facts(architecture: str) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES.make(architecture).build(CLASSES, 224)
    assert skip_stages_of(model) == facts_of(architecture).skip_stages


@pytest.mark.parametrize(
    ("stages", "blocks"),
    [
        ((-1,), ("d1", "d2")),
        ((4,), ("d1", "d2")),
        ((1, -3), ("a1", "a2", "b1")),
        ((-1, 4), ("d1", "d2")),
        ((), ()),
        ((5, -5), ()),
    ],
    ids=str,
)
def test_blocks_of_stages_counted_from_either_end(stages: tuple[int, ...], blocks: tuple[str, ...]) -> None:
    assert blocks_in(STAGES, stages) == blocks


@pytest.mark.parametrize(
    ("architecture", "first", "count"),
    [("resnet18", 1, 1), ("resnet34", 4, 2), ("resnet101", 18, 5), ("resnet152", 28, 8)],
)
def test_the_split_of_the_released_code_is_the_last_fifth_of_layer3(architecture: str, first: int, count: int) -> None:
    blocks = split_blocks(facts_of(architecture).skip_stages)
    assert blocks == tuple(f"layer3_{first + i}" for i in range(count))
    depth = len(facts_of(architecture).skip_stages[2])
    assert blocks == tuple(f"layer3_{i}" for i in range(depth) if i >= int(0.8 * depth))


# --- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "blocks"),
    [(1, ("d2",)), (2, ("d1", "d2")), (4, ("c2", "c3", "d1", "d2")), (8, ("a1", "a2", "b1", *STAGES[2], *STAGES[3]))],
    ids=str,
)
def test_a_count_goes_from_the_output_back_over_stages(count: int, blocks: tuple[str, ...]) -> None:
    assert blocks_of(STAGES, count=count) == blocks


@pytest.mark.parametrize("made", [Rolss(count=3), Ssf(k=0.0625, count=3), Tts(count=3)], ids=["rolss", "ssf", "tts"])
@pytest.mark.parametrize(
    ("architecture", "last_three"),
    [
        ("resnet18_tiny", {"layer3_1", "layer4_0", "layer4_1"}),
        ("vit_b16_tiny", {"layer1_1", "layer1_2", "layer1_3"}),
        ("swin_v2_t_tiny", None),
    ],
    ids=["resnet", "vit", "swin"],
)
def test_only_the_last_blocks_are_changed(made: Defense, architecture: str, last_three: set[str] | None) -> None:
    model = made.prepare_model(network(architecture), NOTHING)
    names = [name for stage in facts_of(architecture).skip_stages for name in stage]
    plain = network(architecture)
    changed = {name for name in names if skip_factors(model, name) != skip_factors(plain, name)}
    assert changed == (last_three or set(names[-3:]))
    left = {name for stage in made.facts_after(facts_of(architecture)).skip_stages for name in stage}
    assert left == set(names) - (set() if isinstance(made, Ssf) else changed)


def skip_factors(model: TargetModel, name: str) -> dict[str, float]:
    """Factors of a block's skips that differ from 1, by attribute."""
    return {key: k for key, k in vars(model.blocks.get_submodule(name)).items() if "skip" in key and k != 1.0}


@pytest.mark.parametrize("architecture", ["resnet18", "resnet152", "densenet121", "maxvit_t", "swin_v2_t", "ir152"])
def test_a_count_of_the_last_stages_blocks_is_the_default(architecture: str) -> None:
    facts = facts_of(architecture)
    counted = Rolss(count=len(facts.skip_stages[-1]))
    assert counted.facts_after(facts).skip_stages == Rolss().facts_after(facts).skip_stages
    assert counted.problems(facts) == []


@pytest.mark.parametrize(
    ("architecture", "blocks"), [("resnet18", 2 + 2 + 2 + 2), ("resnet152", 3 + 8 + 36 + 3), ("vit_b16", 12)]
)
@pytest.mark.parametrize("made", [Rolss(), Rolss(count=2), Tts(), Ssf(count=2)], ids=["", "counted", "tts", "ssf"])
def test_matching_searches_up_to_all_blocks_of_the_network(made: Defense, architecture: str, blocks: int) -> None:
    tuning = made.tuned_on(facts_of(architecture))
    assert isinstance(tuning, Tuning)
    assert (tuning.parameter, tuning.low, tuning.high, tuning.larger_hides) == ("count", 1, blocks, True)


def test_matching_searches_no_frozen_block_and_no_network_without_choice() -> None:
    frozen = replace(facts_of("resnet18"), frozen=frozenset({"layer1_0", "layer2_1"}))
    tuning = Rolss().tuned_on(frozen)
    assert isinstance(tuning, Tuning) and tuning.high == 4, "layer3 and layer4; before them is a frozen block"
    assert Rolss(count=4).problems(frozen) == [] and Rolss(count=5).problems(frozen) != []
    assert isinstance(Rolss().tuned_on(facts_of("vgg16")), NotTuned)
    assert isinstance(Rolss(legacy_layer3_split=True).tuned_on(facts_of("resnet18")), NotTuned)
    assert isinstance(Rolss(stages=(3, 4)).tuned_by(), NotTuned)
    assert Ssf().tuned_on(facts_of("resnet18")) == Ssf.tuning, "k, unless a count is written"


def test_a_network_of_one_stage_needs_a_count() -> None:
    """ViT-B/16 is 12 blocks in one stage: 3 are a quarter of them, and all 12 go only where that is asked for."""
    vit = facts_of("vit_b16")
    for name, made in {"RoLSS": Rolss(), "SSF": Ssf(), "TTS": Tts()}.items():
        (problem,) = made.problems(vit)
        assert problem == (
            f"{name}: the 12 blocks of vit are one stage, so all skips would be changed; "
            "give the number of blocks, as in count=3 (a quarter of the depth)"
        )
    assert all(made.problems(vit) == [] for made in (Rolss(count=3), Ssf(count=3), Tts(count=3), Rolss(count=12)))
    assert all(made.off().problems(vit) == [] for made in (Rolss(count=3), Ssf(count=3), Tts(count=3)))


def test_counts_that_name_nothing_are_refused() -> None:
    (problem,) = Rolss(count=9).problems(facts_of("resnet18"))
    assert problem == "RoLSS: resnet has 8 blocks with skips; give a count of at most that"
    with pytest.raises(SpecError, match=r"needs count >= 0 \(0 takes the last stage\), got -1"):
        DEFENSES.make("tts", {"count": -1})
    for name, other in {"rolss": {"legacy_layer3_split": True}, "ssf": {"stages": [3]}}.items():
        with pytest.raises(SpecError, match="count chooses the blocks from the output back, whatever their stage"):
            DEFENSES.make(name, {"count": 2, **other})


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("rolss", "c380b1bbe6622b93"),
        ("rolss(stages=[1],only=[mlp])", "3cc12f73a444091b"),
        ("ssf", "8c48cfb8dbad5fbb"),
        ("tts", "0123ba25512e5f56"),
        ("midre+tts+nls", "11232e83781264da"),
    ],
    ids=["rolss", "stages", "ssf", "tts", "stack"],
)
def test_targets_stored_before_there_were_counts_keep_their_keys(written: str, key: str) -> None:
    """Keys printed by commit aabd59d, the last without counts."""
    private, network = Recipe("split", "faces", {"resolution_px": 32}), ARCHITECTURES.choose("resnet18_tiny")
    made = target_recipe(private, network, choose_defense(written), TrainingRecipe(), seed=3)
    assert made.key.digest.startswith(key)


# --- surgery ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("defense", "gone"),
    [
        (Rolss(), {"layer4_0", "layer4_1"}),
        (Rolss(stages=(1, 3)), {"layer1_0", "layer1_1", "layer3_0", "layer3_1"}),
        (Rolss(legacy_layer3_split=True), {"layer3_1", "layer4_0", "layer4_1"}),
        (Rolss().off(), set()),
    ],
    ids=["last stage", "two stages", "legacy", "off"],
)
def test_only_the_skips_of_the_chosen_stages_go(defense: Rolss, gone: set[str]) -> None:
    model = defense.prepare_model(network(), NOTHING)
    assert {name for name, k in scales(model).items() if k == 0} == gone
    assert {k for name, k in scales(model).items() if name not in gone} <= {1.0}
    kept = {name for stage in defense.facts_after(facts_of("resnet18_tiny")).skip_stages for name in stage}
    assert kept == set(scales(model)) - gone


def test_the_unused_projection_is_removed_and_all_weights_left_train() -> None:
    model = Rolss().prepare_model(network(), NOTHING)
    assert not any("layer4_0.downsample" in name for name, _ in model.named_parameters())
    images = torch.rand(4, 3, RESOLUTION_PX, RESOLUTION_PX)
    model(images).logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters()), "several processes wait for every gradient"


@pytest.mark.parametrize(
    ("architecture", "last"),
    [("resnet18_tiny", "bn2"), ("resnet50", "bn3"), ("resnest101_tiny", "bn3")],
    ids=["basic block", "bottleneck", "split attention"],
)
def test_without_residual_and_skip_a_block_outputs_zero(architecture: str, last: str) -> None:
    model = Rolss().prepare_model(network(architecture), NOTHING).eval()
    for name in facts_of(architecture).skip_stages[-1]:
        norm = model.blocks.get_submodule(f"{name}.{last}")
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    name = facts_of(architecture).skip_stages[-1][0]
    with torch.no_grad():
        seen = model(torch.rand(2, 3, RESOLUTION_PX, RESOLUTION_PX), (name,)).taps[name]
    assert seen.numel() and not seen.any()


def test_a_residual_unit_of_ir152_outputs_zero_too() -> None:
    model = Rolss().prepare_model(network("ir152_tiny"), NOTHING).eval()
    name = facts_of("ir152_tiny").skip_stages[-1][0]
    for parameter in model.blocks.get_submodule(name).parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        assert not model(torch.rand(2, 3, RESOLUTION_PX, RESOLUTION_PX), (name,)).taps[name].any()


@pytest.mark.parametrize(("architecture", "channels"), [("densenet121", 32), ("densenet121_tiny", 12)])
def test_a_densenet_without_its_last_skips_sees_one_layers_channels(architecture: str, channels: int) -> None:
    with torch.device("meta"):
        model = Rolss().prepare_model(ARCHITECTURES.make(architecture).build(CLASSES, 224), NOTHING)
        assert isinstance(model.head, nn.Linear)
        assert model.head.in_features == model.feature_dim == channels
        assert model(torch.zeros(1, 3, 224, 224)).features.shape == (1, channels)


@pytest.mark.parametrize("architecture", ["maxvit_t_tiny", "vit_b16_tiny", "swin_v2_t_tiny", "ir152_tiny"])
def test_other_families_still_answer_and_answer_otherwise(architecture: str) -> None:
    images = torch.rand(2, 3, 32, 32)
    plain, model = network(architecture).eval(), Rolss().prepare_model(network(architecture), NOTHING).eval()
    with torch.no_grad():
        assert model(images).logits.isfinite().all()
        assert not torch.allclose(model(images).logits, plain(images).logits)


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["maxvit_t_tiny", "vit_b16_tiny", "swin_v2_t_tiny"])
def test_every_kind_of_skip_can_go_on_its_own(architecture: str) -> None:
    facts = facts_of(architecture)
    images = torch.rand(2, 3, 32, 32)
    answers = []
    for only in ((), *((kind,) for kind in facts.skip_kinds)):
        defense = Rolss(only=only)
        assert (defense.problems(facts) == []) == (len(facts.skip_stages) > 1)
        model = defense.prepare_model(network(architecture), NOTHING).eval()
        with torch.no_grad():
            answers.append(model(images).logits)
        some_left = bool(defense.facts_after(facts).skip_stages[-1])
        assert some_left == bool(only)
    for i, first in enumerate(answers):
        assert all(not torch.allclose(first, other) for other in answers[i + 1 :])


@pytest.mark.parametrize("architecture", ["maxvit_t_tiny", "vit_b16_tiny", "swin_v2_t_tiny", "densenet121_tiny"])
def test_the_blocks_know_no_other_kinds_than_we_do(architecture: str) -> None:
    facts = facts_of(architecture)
    for kind in {"mbconv", "attention", "mlp"}.difference(facts.skip_kinds):
        with pytest.raises(SpecError, match=kind):
            Rolss(only=(kind,)).prepare_model(network(architecture), NOTHING)


def test_kinds_are_those_the_network_tells() -> None:
    facts = ModelFacts("new", ("a",), ("a",), has_batch_norm=False, skip_stages=(("a",),), skip_kinds=("left", "right"))
    assert Rolss(only=("left",)).problems(facts) == []
    assert Rolss(only=("left",)).facts_after(facts) == facts, "skips of the other kind stay"
    assert Rolss(only=("left", "right")).facts_after(facts).skip_stages == ((),)


def test_all_kinds_named_are_all_skips() -> None:
    assert Rolss(only=("mlp", "attention")).facts_after(facts_of("vit_b16")).skip_stages == ((),)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("defense", "architecture", "message"),
    [
        (Rolss(), "vgg16", "RoLSS needs skip connections, vgg has none; take another architecture or defense"),
        (Rolss(stages=(5,)), "resnet18", "resnet has no stage 5; stages are 1 to 4, or -1 to -4"),
        (Rolss(stages=(-2,)), "vit_b16", "vit has no stage -2; stages are 1 to 1, or -1 to -1"),
        (Rolss(only=("mlp",)), "resnet18", "resnet has one kind of skips; leave `only` empty"),
        (Rolss(only=("mpl",)), "maxvit_t", "maxvit has no skips of kind 'mpl'; did you mean 'mlp'?"),
        (Rolss(legacy_layer3_split=True), "densenet121", "legacy_layer3_split is about ResNets, not densenet"),
        (Rolss(legacy_layer3_split=True), "swin_v2_t", "legacy_layer3_split is about ResNets, not swin"),
    ],
    ids=["no skips", "no such stage", "one stage only", "one kind", "misspelt kind", "legacy", "another layer3"],
)
def test_what_cannot_work_here_is_told(defense: Rolss, architecture: str, message: str) -> None:
    (problem,) = defense.problems(facts_of(architecture))
    assert message in problem


def test_off_works_everywhere() -> None:
    assert Rolss(only=("mlp",), legacy_layer3_split=True).off().problems(facts_of("vgg16")) == []
    model = Rolss().off().prepare_model(network("vgg16_tiny"), NOTHING)
    assert all(torch.equal(w, v) for w, v in zip(model.parameters(), network("vgg16_tiny").parameters(), strict=True))


def test_stage_zero_is_refused() -> None:
    with pytest.raises(SpecError, match=r"stages count from 1, or from -1 for the last; got \[0\]"):
        DEFENSES.make("rolss", {"stages": (0,)})


def test_skips_of_frozen_blocks_are_left_alone() -> None:
    frozen = replace(facts_of("resnet18"), frozen=frozenset({"layer3_1", "layer4_0"}))
    (problem,) = Rolss().problems(frozen)
    assert problem == "RoLSS changes the skips of layer4_0, which are frozen and cannot adapt; freeze fewer blocks"
    (problem,) = Rolss(legacy_layer3_split=True).problems(frozen)
    assert "layer3_1, layer4_0" in problem


# --- stacks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["rolss+ssf", "ssf+rolss", "tts+rolss", "ssf+tts"])
def test_two_defenses_of_the_same_skips_are_refused(written: str) -> None:
    with pytest.raises(SpecError, match="cannot be combined: both scale the same skip connections"):
        choose_defense(written)


def test_twice_the_same_is_told_once() -> None:
    with pytest.raises(SpecError) as caught:
        choose_defense("rolss+rolss")
    assert len(caught.value.problems) == 1 and "rolss stands twice in one stack" in str(caught.value)


@pytest.mark.parametrize("written", ["midre+rolss", "rolss+nls", "bido+ssf", "midre+tts+nls", "rolss+loft(rank=3)"])
def test_combines_with_losses_images_and_heads(written: str) -> None:
    stack: Any = remake_defense(choose_defense(written))
    assert stack.problems(facts_of("resnet18_tiny")) == []
    if "loft" not in written:
        model = stack.prepare_model(network(), NOTHING)
        assert {k for name, k in scales(model).items() if name.startswith("layer4")} != {1.0}
