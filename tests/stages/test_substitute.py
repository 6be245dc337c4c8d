"""Targets whose answers are defended: what they are made of, what is trained for them, what is measured of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from midef.attacks import ATTACKS
from midef.attacks.access import AccessLevel
from midef.core import Recipe, SpecError
from midef.defenses.families.substitutes import INVERTER
from midef.defenses.stack import choose_defense
from midef.nn.answers import mean_squared, score_features
from midef.nn.inversion import TransposedCnn
from midef.stages import CellRecipes, ensure
from midef.stages.handle import handle_of
from midef.stages.recipes import SERVED, TRAINED
from midef.stages.split import load as load_splits
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target
from midef.training.generative.inverter import AnsweredImages, fit_inverter

PlanCell = Callable[..., CellRecipes]
SMALL = "inverter_width=4, inverter_epochs=1, rounds=1"
LPA = f"lpa({SMALL})"
FLIPPING = "lfp(inverter_width=4, inverter_epochs=1, rounds=0, share=0.5, window=8)"


def target_of(plan: PlanCell, defense: str) -> Recipe:
    return plan("inversion_model", defense=choose_defense(defense)).target


def test_a_target_with_artifacts_is_the_undefended_one_with_other_answers(own_cell: Any, plan: PlanCell) -> None:
    recipe, undefended = target_of(plan, LPA), plan("inversion_model").target
    assert recipe.component == SERVED and recipe.inputs[TRAINED] == undefended
    substitute = recipe.inputs[f"lpa.{INVERTER}"]
    assert substitute.kind == "substitute" and substitute.inputs["target"] == undefended
    folder = ensure(recipe, own_cell.context)
    weights, plain = (load_file(ensure(r, own_cell.context) / "model.safetensors") for r in (recipe, undefended))
    assert weights.keys() == plain.keys() and all(torch.equal(weights[name], plain[name]) for name in plain)
    facts, before = (own_cell.context.store.artifacts.meta(r.key)["facts"] for r in (recipe, undefended))
    for name in ("train_s", "train_accuracy", "select_accuracy", "report_accuracy", "classes"):
        assert facts[name] == before[name], "labels are kept, and nothing was trained"
    assert (folder / "training.json").exists()


def test_a_part_of_a_stack_is_prepared_on_the_answers_of_those_before_it(plan: PlanCell) -> None:
    undefended, erased = plan("inversion_model").target, target_of(plan, "midre")
    behind = {
        f"midre+{LPA}": erased,
        f"{LPA}+midre": erased,
        f"rounding+{LPA}": target_of(plan, "rounding"),
        f"{LPA}+rounding": undefended,
    }
    for written, expected in behind.items():
        recipe = target_of(plan, written)
        assert recipe.inputs[f"lpa.{INVERTER}"].inputs["target"] == expected, written
        assert recipe.inputs[TRAINED] == (erased if "midre" in written else undefended), written
    assert target_of(plan, "rounding").component != SERVED, "what needs nothing is trained as it always was"
    assert target_of(plan, "lpa(radius=0.0)").inputs.keys() == undefended.inputs.keys()


def test_defenses_with_equal_settings_share_a_substitute(plan: PlanCell) -> None:
    first, second = target_of(plan, LPA), target_of(plan, f"poi_mse({SMALL})")
    assert first.inputs[f"lpa.{INVERTER}"] == second.inputs[f"poi_mse.{INVERTER}"]
    with pytest.raises(SpecError, match="public"):
        from midef.stages.recipes import target_recipe
        from midef.testing.trainings import PRIVATE, TRAINING

        network = plan().target.params["architecture"]
        target_recipe(PRIVATE, _choice(network), choose_defense(LPA), TRAINING, seed=0)


def _choice(keyed: Any) -> Any:
    from midef.core import Choice

    return Choice.from_plain(keyed)


def test_the_target_gradient_is_that_of_minus_the_loss_on_all_private_images(own_cell: Any, plan: PlanCell) -> None:
    recipe = target_of(plan, LPA)
    substitute = recipe.inputs[f"lpa.{INVERTER}"]
    folder = ensure(substitute, own_cell.context)
    private = load_splits(ensure(recipe.inputs["private"], own_cell.context)).train.images
    spec = TargetSpec.of(recipe.inputs[TRAINED])
    model = load_target(spec, ensure(recipe.inputs[TRAINED], own_cell.context), own_cell.context, 8)
    scores = handle_of(spec, model, AccessLevel.SCORES, own_cell.context).scores(private.float() / 255)
    network = TransposedCnn(8, 32, 4).eval()
    network.load_state_dict(load_file(folder / f"{INVERTER}.safetensors"))
    loss = -mean_squared(network(score_features(scores)), private.float() / 255).mean()
    loss.backward()
    stored = load_file(folder / "gradient.safetensors")
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(stored[name], weight.grad, rtol=1e-3, atol=1e-7)


def test_attacker_and_defender_of_two_halves_share_no_image(
    own_cell: Any, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[list[torch.Tensor]] = []

    def spy(network: Any, pairs: AnsweredImages, *given: Any, **named: Any) -> dict[str, float]:
        fitted.append([pairs.images, pairs.held_images])
        return fit_inverter(network, pairs, *given, **named)

    for module in ("midef.stages.substitute", "midef.attacks.priors.tcnn"):
        monkeypatch.setattr(f"{module}.fit_inverter", spy)
    attack = ATTACKS.choose({"name": "inversion_model", "prior": {"width": 4, "epochs": 1, "half": "second"}})
    recipes = plan(attack, defense=choose_defense(LPA.replace("rounds=1", "rounds=1, half=first")))
    ensure(recipes.reconstructions, own_cell.context)
    public = load_splits(ensure(recipes.public, own_cell.context))
    assert len(fitted) == 2
    mine, theirs = ({image.numpy().tobytes() for part in parts for image in part} for parts in fitted)
    assert not mine & theirs
    assert mine | theirs == {image.numpy().tobytes() for image in public.all_images}


def test_accuracies_are_those_of_what_is_served_where_labels_may_change(own_cell: Any, plan: PlanCell) -> None:
    recipe = target_of(plan, FLIPPING)
    folder = ensure(recipe, own_cell.context)
    spec = TargetSpec.of(recipe)
    report = load_splits(ensure(recipe.inputs["private"], own_cell.context)).report
    model = load_target(spec, folder, own_cell.context, 8)
    labels = handle_of(spec, model, AccessLevel.LABELS, own_cell.context).labels(report.images.float() / 255)
    facts = own_cell.context.store.artifacts.meta(recipe.key)["facts"]
    assert facts["report_accuracy"] == pytest.approx(100 * float((labels == report.labels).float().mean()))
    with torch.no_grad():
        own = model(report.images.float() / 255).logits.argmax(dim=1)
    assert int((labels != own).sum()) == 8, "half of 16 images"


def test_the_accuracy_of_a_target_is_that_of_its_cells_also_where_answers_are_joint(
    own_cell: Any, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midef.stages.handle.SERVED_AT_ONCE", 3)
    recipes = plan("inversion_model", defense=choose_defense(FLIPPING.replace("share=0.5", "share=0.3")))
    stored = np.load(ensure(recipes.scores, own_cell.context) / "per_image.npz")
    facts = own_cell.context.store.artifacts.meta(recipes.target.key)["facts"]
    spec = TargetSpec.of(recipes.target)
    model = load_target(spec, ensure(recipes.target, own_cell.context), own_cell.context, 8)
    report = load_splits(ensure(recipes.target.inputs["private"], own_cell.context)).report
    handle = handle_of(spec, model, AccessLevel.LABELS, own_cell.context)
    parts = [handle.labels(part.float() / 255) for part in report.images.split(3)]
    assert np.array_equal(stored["report_predictions"], torch.cat(parts).numpy())
    hits = stored["report_predictions"] == stored["report_labels"]
    assert facts["report_accuracy"] == pytest.approx(100 * float(hits.mean()))


@pytest.mark.parametrize("state", [1, 2])
def test_what_a_network_that_samples_answers_depends_on_seeds_alone(
    own_cell: Any, plan: PlanCell, state: int, drawn: list[Any]
) -> None:
    """The observed scores that are inverted, and the accuracies of what is served, whatever was drawn before."""
    recipes = plan("inversion_model", defense=choose_defense(f"mid+{FLIPPING}"))
    for needed in (*recipes.target.inputs.values(), *recipes.reconstructions.inputs.values()):
        if needed.key != recipes.target.key:
            ensure(needed, own_cell.context)
    torch.manual_seed(state)
    facts_of = own_cell.context.store.artifacts.meta
    ensure(recipes.target, own_cell.context)
    torch.manual_seed(state)
    images = np.load(ensure(recipes.reconstructions, own_cell.context) / "images.npz")["images"]
    drawn.append((facts_of(recipes.target.key)["facts"]["report_accuracy"], images.tobytes()))
    assert drawn[0] == drawn[-1]


@pytest.fixture(scope="module")
def drawn() -> list[Any]:
    """What each state of the global generator gave."""
    return []


def test_the_attackers_queries_are_those_of_the_attacker_alone(own_cell: Any, plan: PlanCell) -> None:
    recipes = plan("inversion_model", defense=choose_defense(LPA))
    ensure(recipes.scores, own_cell.context)
    facts = own_cell.context.store.artifacts.meta(recipes.reconstructions.key)["facts"]
    assert facts["queries"] == 8 * (4 + 1 + 2), "the defender asked his own model, which is free"
    plain = plan("inversion_model")
    stored = [np.load(ensure(r.reconstructions, own_cell.context) / "images.npz")["images"] for r in (recipes, plain)]
    assert not np.array_equal(*stored), "the attacker was answered otherwise"
