"""Equal recipes are one artifact: what cells share, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from midef.attacks import ATTACKS
from midef.attacks.priors.base import PublicPrior
from midef.core import ArtifactKey, Choice, Protocol, Recipe, Setup
from midef.datasets import DATASETS
from midef.defenses import DEFENSES
from midef.defenses.stack import choose_defense
from midef.stages import CellRecipes, place_dataset, recipes_for_cell
from midef.stages.recipes import NO_DEFENSE, evaluator_recipe, split_recipe, target_recipe
from midef.training import TrainingRecipe

PlanCell = Callable[..., CellRecipes]


def prior_of(cell: CellRecipes) -> Recipe:
    (prior,) = (recipe for recipe in cell.reconstructions.inputs.values() if recipe.kind in ("prior", "inverter"))
    return prior


def test_planning_twice_gives_the_same_keys(plan: PlanCell) -> None:
    assert plan().scores.key == plan().scores.key


def test_attacks_share_target_evaluator_and_a_prior_of_equal_parameters(plan: PlanCell) -> None:
    gmi, brep, inversion = plan("gmi"), plan("brep_mi"), plan("inversion_model")
    assert gmi.target == brep.target == inversion.target
    assert gmi.evaluator == brep.evaluator == inversion.evaluator
    assert prior_of(gmi) == prior_of(brep)
    assert len({gmi.reconstructions, brep.reconstructions, inversion.reconstructions}) == 3


def test_targets_share_evaluator_splits_and_a_prior_that_never_asks_them(plan: PlanCell) -> None:
    one, other = plan(defense=choose_defense("midre")), plan(seed=1)
    assert one.target != other.target
    assert (one.evaluator, one.private, prior_of(one)) == (other.evaluator, other.private, prior_of(other))


def test_an_inverter_belongs_to_one_target(plan: PlanCell) -> None:
    one, other = plan("inversion_model"), plan("inversion_model", seed=1)
    assert prior_of(one) != prior_of(other) and one.target in prior_of(one).inputs.values()


@pytest.mark.parametrize("name", DEFENSES.names())
def test_each_defense_has_its_own_target_and_the_undefended_one_is_shared(name: str, plan: PlanCell) -> None:
    undefended, defended = plan(), plan(defense=choose_defense(name))
    assert (defended.target == undefended.target) == (name == NO_DEFENSE.name)
    assert defended.evaluator == undefended.evaluator and defended.private == undefended.private


def test_the_constant_is_the_registered_no_defense() -> None:
    assert DEFENSES.choose("none") == NO_DEFENSE


CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "identities": {"protocol": Protocol(identities=5, images_per_identity=3, evaluator_resolution_px=40)},
    "images per identity": {"protocol": Protocol(identities=6, images_per_identity=2, evaluator_resolution_px=40)},
    "resolution": {"resolution_px": 64},
    "evaluator's resolution": {"protocol": Protocol(identities=6, images_per_identity=3, evaluator_resolution_px=32)},
    "public data": {"public": DATASETS.choose({"name": "synthetic_faces", "population": "public", "seed": 3})},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_the_numbers_changes_the_key_of_the_scores(change: dict[str, Any], plan: PlanCell) -> None:
    assert plan(**change).scores.key != plan().scores.key


def test_the_name_of_a_setup_is_no_part_of_a_key(plan: PlanCell) -> None:
    assert plan(id="another name").scores.key == plan().scores.key


def test_every_field_of_a_training_is_in_the_key() -> None:
    private = split_recipe(DATASETS.choose("synthetic_faces"), 32)
    base, architecture = TrainingRecipe(), Choice("vgg16_tiny")
    changed: dict[str, Any] = {
        "optimizer": "adam",
        "schedule": "cosine",
        "checkpoint": "best_select",
        "precision": "bfloat16",
        "nesterov": True,
        "momentum": 0.5,
        "betas": (0.5, 0.9),
        "milestones": (0.5,),
        "warmup": 0.1,
        "flip": 0.1,
        "crop_scale": (0.5, 1.0),
        "color_jitter": (0.1, 0.0, 0.0, 0.0),
    }
    for name in vars(base):
        other = replace(base, **{name: changed[name] if name in changed else getattr(base, name) + 1})
        mine, theirs = (target_recipe(private, architecture, NO_DEFENSE, t, seed=0) for t in (base, other))
        assert mine.key != theirs.key, name
        assert evaluator_recipe(private, architecture, base) != evaluator_recipe(private, architecture, other), name


def test_a_path_never_enters_a_key_and_a_fingerprint_does(tmp_path: Path) -> None:
    def split(folder: Path) -> Recipe:
        keyed, _ = place_dataset(DATASETS.choose({"name": "image_folder", "path": str(folder), "labelled": False}))
        return split_recipe(keyed, 32)

    for place, grey in (("one", 10), ("other", 10), ("changed", 11)):
        (tmp_path / place).mkdir()
        for i in range(4):
            Image.new("RGB", (8, 8), (grey, i, 0)).save(tmp_path / place / f"{i}.png")
    assert split(tmp_path / "one") == split(tmp_path / "other")
    assert split(tmp_path / "one") != split(tmp_path / "changed")


def test_keys_of_a_cell_are_fixed_until_a_version_is_bumped() -> None:
    """From the code before cells shared what recipes are made of. A new field of `TrainingRecipe` changes them, too."""
    setup = Setup(
        id="m1",
        attack=Choice("mi_face", {"iterations": 10}),
        architecture=Choice("vgg16_tiny"),
        private=Choice("faces", {"identities": 4}),
        public=Choice("faces", {"population": "public"}, 2, "public faces"),
        evaluator=Choice("resnet18_tiny"),
        resolution_px=32,
        protocol=Protocol(identities=4),
        pretraining=Choice("others"),
    )
    first, judge, second = (TrainingRecipe(epochs=epochs) for epochs in (4, 3, 2))
    found = recipes_for_cell(
        setup, NO_DEFENSE, 3, training=second, evaluator_training=judge, pretraining_training=first, metrics=()
    )
    assert {f.name: getattr(found, f.name).key.digest for f in fields(found)} == {
        "private": "ae0944d34f05f463fb710570d43669b2aa4344c5de45256002d1902be8a6ff6b",
        "public": "535de7a164c40ece830fe66b95f876dbd9259c5794636b0ab40ef96dd8e6c7f4",
        "target": "21f902dd12485bb30959e85d8278f88d548b0d7589848201c93de28521bfc0c7",
        "evaluator": "22f41694db6f946554f0a8621d28d1f06a57242d1995ff273c84ba2c0a7a6cb1",
        "reconstructions": "b66955fc593b7326b3318bc344f91aa381beb93e295500580ec63b5ea059ea86",
        "scores": "af81ae7b40b2c434d918c8fa933c5f164382379e1a884d645d61fd67fe367071",
    }


@pytest.mark.parametrize(("attack", "observes"), [("inversion_model", True), ("gmi", False)])
def test_the_victims_are_in_a_key_where_an_attack_observes_them_and_they_are_not_the_report_split(
    attack: str, observes: bool, plan: PlanCell
) -> None:
    protocol = Protocol(identities=6, images_per_identity=3, evaluator_resolution_px=40)
    usual = plan(attack, protocol=protocol)
    trained_on = plan(attack, protocol=replace(protocol, victims="train"))
    assert "victims" not in usual.reconstructions.params
    assert (trained_on.reconstructions.params.get("victims") == "train") == observes
    assert (usual.reconstructions != trained_on.reconstructions) == observes
    assert (usual.scores != trained_on.scores) == observes
    assert usual.scores.params == trained_on.scores.params, "they decide what is made, not how it is evaluated"
    assert prior_of(usual) == prior_of(trained_on)


@pytest.mark.parametrize("name", ATTACKS.names())
def test_what_cells_share_is_what_each_would_ask_for(name: str) -> None:
    """Reference: every attack asked anew for every target, as if no cell had been named before."""
    setup = Setup(
        id="any",
        attack=ATTACKS.choose(name),
        architecture=Choice("vgg16_tiny"),
        private=Choice("faces"),
        public=Choice("faces", {"population": "public"}),
        evaluator=Choice("resnet18_tiny"),
        resolution_px=32,
        protocol=Protocol(),
    )
    training = TrainingRecipe()
    for defense, seed in product(("none", "midre", "loft", "midre+nls"), (0, 1)):
        chosen = choose_defense(defense)
        cell = recipes_for_cell(setup, chosen, seed, training=training, evaluator_training=training)
        wanted = ATTACKS.remake(setup.attack).requires(target=cell.target, public=cell.public)
        assert dict(cell.reconstructions.inputs) == {"target": cell.target, "private": cell.private, **wanted}
        alone = target_recipe.__wrapped__(cell.private, setup.architecture, chosen, training, seed=seed)
        assert Recipe.from_plain(alone.as_plain()).key == cell.target.key


# ---------------------------------------------------------------- the network that reads traits

PHOTOGRAPHS = {"fingerprint": "a" * 64}


def test_a_regressor_is_planned_where_the_data_is_drawn_and_the_attack_does_not_know_its_traits(
    plan: Callable[..., CellRecipes],
) -> None:
    cell = plan()
    regressor = cell.scores.inputs["regressor"]
    assert regressor.kind == "regressor" and not regressor.inputs
    assert regressor.params["drawn"]["params"] == {"difficulty": 1.0}
    of_photographs = plan(private=Choice("image_folder", PHOTOGRAPHS))
    assert "regressor" not in of_photographs.scores.inputs


def test_traits_of_another_kind_of_data_are_not_those_of_the_private_identities(
    plan: Callable[..., CellRecipes],
) -> None:
    """A regressor of the private data reads them then."""
    through = ATTACKS.choose({"name": "pool_search", "prior": "renderer"})
    other = plan(attack=through, public=Choice("image_folder", PHOTOGRAPHS))
    assert other.scores.inputs["regressor"] == plan().scores.inputs["regressor"]


def held(cls: type) -> bool:
    """Whether an attack takes any generator as its prior."""
    return any(f.name == "prior" and f.type in ("PublicPrior", PublicPrior) for f in fields(cls))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [cls.registered_name for cls in ATTACKS if held(cls)])  # type: ignore[attr-defined]
def test_attacks_through_the_renderer_train_no_regressor(plan: Callable[..., CellRecipes], name: str) -> None:
    through = plan(attack=ATTACKS.choose({"name": name, "prior": "renderer"}))
    assert "regressor" not in {recipe.kind for recipe in through.scores.walk()}
    assert "regressor" in {recipe.kind for recipe in plan(attack=ATTACKS.choose(name)).scores.walk()}


def test_one_regressor_reads_all_data_that_is_drawn_in_the_same_way(plan: Callable[..., CellRecipes]) -> None:
    def key(**changes: Any) -> ArtifactKey:
        return plan(**changes).scores.inputs["regressor"].key

    people = DATASETS.choose("synthetic_faces(identities=30,seed=4,train_images=3)")
    public = DATASETS.choose("synthetic_faces(population=public,seed=5)")
    assert key() == key(private=people) == key(public=public) == key(attack="brep_mi") == key(seed=3)
    assert key() != key(private=DATASETS.choose("synthetic_faces(difficulty=0.2)"))
    assert key() != key(resolution_px=40)


def test_metrics_that_read_no_traits_need_no_regressor(plan: Callable[..., CellRecipes]) -> None:
    setup = Setup(
        id="any",
        attack=ATTACKS.choose("gmi"),
        architecture=Choice("vgg16_tiny"),
        private=DATASETS.choose("synthetic_faces"),
        public=DATASETS.choose("synthetic_faces(population=public)"),
        evaluator=Choice("resnet18_tiny"),
        resolution_px=32,
        protocol=Protocol(),
    )
    budget = TrainingRecipe()

    def kinds(*metrics: str) -> set[str]:
        cell = recipes_for_cell(
            setup, NO_DEFENSE, 0, training=budget, evaluator_training=budget, metrics=metrics, regressor_images=10
        )
        return {recipe.kind for recipe in cell.scores.walk()}

    assert "regressor" not in kinds("natural_accuracy", "attack_accuracy_at_1")
    assert kinds("natural_accuracy", "trait_accuracy") == {*kinds("natural_accuracy"), "regressor"}
