from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor
from typing_extensions import override

from midef.core import Choice, Inputs, Recipe, SpecError
from midef.defenses import DEFENSES, Batch, Defense
from midef.defenses.bido import Bido
from midef.defenses.midre import Midre
from midef.defenses.nls import NegativeLabelSmoothing
from midef.defenses.serving import Query, Serving
from midef.defenses.stack import Stack, choose_defense, name_of, remake_defense
from midef.models import ARCHITECTURES, ModelFacts
from midef.nn.network import Forward, TargetModel

FACTS = ModelFacts("toy", ("a", "b", "c"), ("a", "b"), has_batch_norm=True)
IMAGE = torch.zeros(1, 3, 2, 2)
EMPTY = Batch(torch.zeros(2, 3, 2, 2), torch.zeros(2, dtype=torch.long), torch.arange(2))
FORWARD = Forward(torch.zeros(2, 2), torch.zeros(2, 2), {})
PLAIN = Recipe("target", "classifier", {"seed": 0})


@dataclass(frozen=True, kw_only=True)
class Toy(Defense):
    """Adds or multiplies, so that the order shows."""

    add: float = 0.0
    times: float = 1.0
    tap: str = "a"
    needs: Recipe | None = None

    @override
    def taps(self, facts: ModelFacts) -> tuple[str, ...]:
        return (self.tap,)

    @override
    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        return {} if self.needs is None else {"helper": self.needs}

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        return [f"{name_of(self)} is only a toy"]

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        return model * self.times + self.add  # type: ignore[operator, return-value]

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        return batch.with_images(batch.images * self.times + self.add)

    @override
    def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
        return {"term": torch.tensor(self.add)}

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return query.probabilities * self.times + self.add


class First(Toy):
    registered_name: ClassVar[str] = "first"


class Second(Toy):
    registered_name: ClassVar[str] = "second"


class Owner(Toy):
    registered_name: ClassVar[str] = "owner"

    @override
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        return torch.tensor(7.0)


def test_hooks_run_in_the_order_written() -> None:
    stack = Stack(members=(First(add=1.0), Second(times=3.0)))
    rng = torch.Generator()
    assert stack.transform_batch(EMPTY, 0.0, rng).images.unique().tolist() == [3.0]
    assert Serving(stack, 1)(IMAGE, torch.zeros(1, 1)).item() == 3.0
    assert stack.prepare_model(0.0, Inputs({}, lambda r: None)) == 3.0  # type: ignore[arg-type, return-value, comparison-overlap]
    turned = Stack(members=tuple(reversed(stack.members)))
    assert turned.transform_batch(EMPTY, 0.0, rng).images.unique().tolist() == [1.0]
    assert Serving(turned, 1)(IMAGE, torch.zeros(1, 1)).item() == 1.0


def test_penalties_are_kept_apart_by_name() -> None:
    terms = Stack(members=(First(add=1.0), Second(add=2.0))).penalties(FORWARD, EMPTY, 0.0)
    assert {name: float(value) for name, value in terms.items()} == {"first.term": 1.0, "second.term": 2.0}


def test_taps_are_united_in_block_order() -> None:
    stack = Stack(members=(First(tap="c"), Second(tap="a"), Bido()))
    assert stack.taps(FACTS) == ("a", "b", "c")


def test_problems_of_every_part_are_told() -> None:
    assert Stack(members=(First(), Second())).problems(FACTS) == ["first is only a toy", "second is only a toy"]


def test_one_criterion_owner_speaks_for_the_stack() -> None:
    stack = Stack(members=(First(), Owner()))
    assert stack.criterion(FORWARD, EMPTY, 0.0) == torch.tensor(7.0)
    assert Stack(members=(First(), Second())).criterion(FORWARD, EMPTY, 0.0) is None


def test_two_criterion_owners_are_refused() -> None:
    with pytest.raises(SpecError, match="owner and nls both replace the criterion; a stack can hold one of them"):
        Stack(members=(Owner(), NegativeLabelSmoothing()))


def test_a_defense_cannot_stand_twice() -> None:
    with pytest.raises(SpecError, match="midre stands twice in one stack; give it once"):
        Stack(members=(Midre(), Midre(area_high=0.8)))


def test_required_recipes_are_united() -> None:
    other = Recipe("target", "classifier", {"seed": 1})
    stack = Stack(members=(First(needs=other), Second(needs=other)))
    assert stack.requires(PLAIN) == {"helper": other}
    clash = Stack(members=(First(needs=other), Second(needs=PLAIN)))
    with pytest.raises(SpecError, match="need different artifacts as 'helper'"):
        clash.requires(PLAIN)


def test_off_switches_every_part_off() -> None:
    off = Stack(members=(Midre(), NegativeLabelSmoothing())).off()
    assert off.members == (Midre().off(), NegativeLabelSmoothing().off())


# --- what a person writes ---------------------------------------------------------------------------------------------


def test_one_name_is_the_defense_itself() -> None:
    assert choose_defense("midre(area_high=0.8)") == DEFENSES.choose({"name": "midre", "area_high": 0.8})


@pytest.mark.parametrize(
    "written",
    [
        "midre(area_high=0.6)+nls",
        " midre( area_high = 0.6 ) + nls ",
        "midre(area_high=6e-1)+nls",
        "midre(area_high=6e-01)+nls(alpha=-5e-2)",
        "midre(area_high=0.006e+2)+nls",
        {"stack": ["midre(area_high=0.6)", "nls"]},
        {"stack": [{"name": "midre", "area_high": 0.6}, {"name": "nls"}]},
        {"stack": [{"name": "midre", "area_high": "0.6"}, "nls"]},
    ],
    ids=str,
)
def test_the_same_stack_in_many_spellings(written: str | Mapping[str, Any]) -> None:
    choice = choose_defense(written)
    assert remake_defense(choice) == Stack(members=(Midre(area_high=0.6), NegativeLabelSmoothing()))
    assert choice == choose_defense("midre(area_high=0.6)+nls")
    assert choice.label == "midre(area_high=0.6)+nls"


def test_presets_work_inside_a_stack() -> None:
    stack = remake_defense(choose_defense("midre:facescrub-224-strong+bido:celeba-vgg16"))
    assert stack == Stack(members=(Midre(area_high=0.8, fill_space="normalised"), Bido()))


def test_order_is_part_of_the_key() -> None:
    assert choose_defense("midre+nls") != choose_defense("nls+midre")


def test_every_problem_of_every_part_is_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        choose_defense("midra+nls(alfa=1)+bido(lambda_x=-1)")
    assert len(caught.value.problems) == 3
    for part in (
        "unknown defense 'midra'; did you mean 'midre'?",
        "defense 'nls' has no parameter 'alfa'; did you mean 'alpha'?",
        "needs lambda_x, lambda_y >= 0, got -1.0, 0.5",
    ):
        assert part in str(caught.value)


def test_a_clash_names_the_stack_as_it_was_written() -> None:
    with pytest.raises(SpecError, match=r"defense 'midre\+midre\(area_high=0.8\)': midre stands twice"):
        choose_defense("midre+midre(area_high=0.8)")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("midre+", r"cannot read defense .midre\+., character 7: no name; write name, name:preset or name"),
        ("midre(area_high 0.4)+nls", "write parameter=value"),
        ("midre(area_high=0.4", r"character 6: .* is never closed"),
        ({"stack": []}, "a list of at least one defense"),
        ({"stack": "midre+nls"}, "a list of .* got .*midre.nls"),
        ({"stack": ["midre", "nls"], "area_high": 0.4}, "area_high"),
        ({"area_high": 0.4}, "needs a 'name'"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(written: str | Mapping[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        choose_defense(written)


@pytest.mark.parametrize("other", ["loft", "calor", "tts"])
@pytest.mark.parametrize("needing", ["tl_dmi(fresh=true)", "dp_sgd(batch_norm=group)"])
def test_a_first_phase_on_private_images_is_refused_where_it_spoils_the_point(needing: str, other: str) -> None:
    with pytest.raises(SpecError, match="phase one"):
        choose_defense(f"{needing}+{other}")


def test_loft_without_a_first_phase_combines_with_tl_dmi() -> None:
    assert choose_defense("tl_dmi(fresh=true)+loft(from_scratch=true,init=random)").name == "stack"


def test_bido_is_refused_where_only_a_tap_without_weights_is_left() -> None:
    facts = ARCHITECTURES.make("resnet18_tiny").facts()
    stack = remake_defense(choose_defense("tl_dmi(cut=layer4_1,fresh=true)+bido"))
    assert any("trainable tap" in problem for problem in stack.problems(facts))
    later = remake_defense(choose_defense("tl_dmi(cut=layer3_1,fresh=true)+bido"))
    assert later.problems(facts) == [] and later.taps(facts) == ("pool",)


def keyed(text: str) -> dict[str, Any]:
    return choose_defense(text).keyed


UNDEFENDED = Recipe("target", "classifier", {"seed": 0, "defense": keyed("none")}, {"private": Recipe("split", "x")})


def test_the_others_of_a_stack_defend_its_first_phase_too() -> None:
    (phase,) = remake_defense(choose_defense("midre+bido+loft")).requires(UNDEFENDED).values()
    assert phase.params["defense"] == keyed("midre+bido")
    (alone,) = remake_defense(choose_defense("midre+loft")).requires(UNDEFENDED).values()
    assert alone.params["defense"] == keyed("midre"), "the artifact is shared with midre's own cell"


def test_a_first_phase_of_several_steps_is_defended_in_each() -> None:
    (lofted,) = remake_defense(choose_defense("midre+calor(rank=30)")).requires(UNDEFENDED).values()
    assert [m["name"] for m in lofted.params["defense"]["params"]["members"]] == ["midre", "loft"]
    assert lofted.inputs["phase_one"].params["defense"] == keyed("midre")
    planned = remake_defense(Choice.from_plain(lofted.params["defense"])).requires(UNDEFENDED)
    assert planned["phase_one"].key == lofted.inputs["phase_one"].key, "the same artifact as in a sweep of midre+loft"


def test_only_the_second_phase_operates_on_the_network_of_the_first() -> None:
    stack = remake_defense(choose_defense("rolss+loft"))
    assert [name_of(part) for part in stack.second_phase().parts()] == ["loft"]
    without = remake_defense(choose_defense("rolss+midre"))
    assert without.second_phase() is without


@pytest.mark.parametrize("written", ["tts+calor", "loft+tts"])
def test_two_first_phases_are_refused(written: str) -> None:
    with pytest.raises(SpecError, match="each starts from a first phase of its own"):
        choose_defense(written)


def test_a_second_phase_has_the_last_word_on_the_training() -> None:
    for written in ("calor+entire_erasing(epochs_share=0.5)", "entire_erasing(epochs_share=0.5)+calor"):
        assert remake_defense(choose_defense(written)).training_overrides({"epochs": 100})["epochs"] == 5


@pytest.mark.parametrize("written", ["dp_sgd(batch_norm=group)+mid", "mid+dp_sgd(batch_norm=group)"])
def test_surgery_that_must_come_last_does(written: str) -> None:
    network = ARCHITECTURES.make("vgg16_tiny").build(4, 32)
    model = remake_defense(choose_defense(written)).prepare_model(network, Inputs({}, lambda recipe: Path()))
    assert isinstance(model.blocks.get_submodule("embedding")[-1], torch.nn.Identity)  # type: ignore[index]
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())


def test_dp_sgd_is_refused_beside_a_head_with_batch_norm() -> None:
    stack = remake_defense(choose_defense("loft(from_scratch=true,init=random,pre_bn=true)+dp_sgd(batch_norm=group)"))
    assert any("pre_bn=false" in p for p in stack.problems(ARCHITECTURES.make("vgg16_tiny").facts()))
