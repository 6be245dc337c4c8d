"""The suite of defenses, on trainings small enough to really run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from midef.core import Choice, Inputs, Recipe, Registry, SpecError
from midef.datasets import DATASETS, Images
from midef.defenses import DEFENSES, Batch, Defense, NotTuned, Stack, choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.nn.network import Forward
from midef.stages import target as stage
from midef.stages.recipes import NO_DEFENSE, target_recipe
from midef.testing.answers import AnswersContract
from midef.testing.trainings import (
    CLASSES,
    FACES,
    NETWORKS,
    PRIVATE,
    PUBLIC,
    RESOLUTION_PX,
    SEED,
    TRAINING,
    Trainings,
    answers,
    choice_of,
    made,
    network_of,
    same_weights,
    written,
)
from midef.testing.values import changed
from midef.training import TrainingRecipe
from midef.training.classifier.descent import loss_of
from midef.training.classifier.fit import fit_classifier

PROGRESS = (0.0, 0.5, 0.99)


def nothing_stored(recipe: Recipe) -> Path:
    raise AssertionError(f"asked for {recipe.key}")


def forward_of(batch: Batch, defense: Defense, network: Choice) -> Forward:
    """A pass of a fresh small network with the taps the defense asks for."""
    torch.manual_seed(0)
    architecture = ARCHITECTURES.remake(network)
    model = defense.prepare_model(architecture.build(CLASSES, RESOLUTION_PX), Inputs({}, nothing_stored))
    model.head = defense.prepare_head(model.head)
    forward: Forward = model(batch.images, defense.taps(architecture.facts()))
    return forward


class DefenseContract(AnswersContract):
    """What every defense answers.

    Args:
        stacks: combinations that are asked the same, as they are written.
    """

    registry: ClassVar[Registry[Any]] = DEFENSES
    stacks: ClassVar[Sequence[str]] = ()

    @classmethod
    @override
    def cases(cls) -> Mapping[str, Sequence[Any]]:
        subjects = [*cls.asked(), *cls.stacks]
        defending = [s for s in subjects if s not in DEFENSES.names() or DEFENSES.get(s).acts_on != "nothing"]
        answering = [s for s in subjects if made(s).changes_answers]
        cases = {"subject": subjects, "defending": defending, "answering": answering, "progress": PROGRESS}
        return {**super().cases(), **cases}

    @pytest.fixture
    def batch(self) -> Batch:
        """Sixteen images, four of each of four identities."""
        images = torch.rand(16, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(0))
        return Batch(images, torch.arange(4).repeat_interleave(4), torch.arange(16))

    # --- declarations -------------------------------------------------------------------------------------------------

    def test_says_its_paper_what_it_acts_on_and_what_each_parameter_means(self, name: str) -> None:
        cls = DEFENSES.get(name)
        assert cls.__dict__.get("paper"), "give the paper"
        assert cls.__dict__.get("acts_on"), "say what it acts on"
        for field in fields(cls):
            assert field.name in (cls.__doc__ or ""), f"the docstring does not explain {field.name}"

    def test_works_on_a_small_network(self, subject: str) -> None:
        network_of(subject)
        names = "+".join(type(part).registered_name for part in made(subject).parts())  # type: ignore[attr-defined]
        assert names == re.sub(r"\([^)]*\)", "", subject)

    def test_tuning_has_a_reason_or_a_strength_with_valid_ends(self, name: str) -> None:
        cls = DEFENSES.get(name)
        if isinstance(cls.tuning, NotTuned):
            assert cls.tuning.reason, "say why accuracy matching finds nothing to search"
            return
        kinds = {field.name: field.type for field in fields(cls)}
        for strength in (cls.tuning.low, cls.tuning.high):
            params: dict[str, Any] = dict(cls.tuning.params(strength))
            params = {key: round(value) if kinds[key] == "int" else value for key, value in params.items()}
            assert DEFENSES.make(name, params) != DEFENSES.make(name).off()

    def test_a_choice_and_its_label_make_an_equal_defense(self, subject: str) -> None:
        choice = written(subject)
        defense = remake_defense(choice)
        again = Choice.from_plain(choice.keyed)
        assert again == choice
        assert remake_defense(again) == defense
        assert choice_of(defense) == choice
        assert choose_defense(choice.label) == choice

    def test_every_parameter_is_in_the_key(self, name: str) -> None:
        defense = DEFENSES.make(name)
        network = ARCHITECTURES.choose(NETWORKS[0])
        base = target_recipe(PRIVATE, network, DEFENSES.describe(defense), TRAINING, seed=SEED, public=PUBLIC)
        for field in fields(defense):
            other = DEFENSES.describe(changed(DEFENSES, defense, field.name))
            assert target_recipe(PRIVATE, network, other, TRAINING, seed=SEED, public=PUBLIC).key != base.key, (
                field.name
            )

    # --- hooks --------------------------------------------------------------------------------------------------------

    def test_batches_keep_shape_and_range(self, subject: str, progress: float, batch: Batch) -> None:
        defense = made(subject)
        images, labels = batch.images.clone(), batch.labels.clone()
        after = defense.transform_batch(batch, progress, torch.Generator().manual_seed(0))
        assert torch.equal(batch.images, images) and torch.equal(batch.labels, labels), "the batch was changed in place"
        assert after.images.shape == images.shape and after.images.dtype == torch.float32
        assert after.labels.shape == labels.shape and after.labels.dtype == torch.int64
        assert after.images.min() >= 0 and after.images.max() <= 1
        assert torch.equal(after.indices, batch.indices)
        again = defense.transform_batch(batch, progress, torch.Generator().manual_seed(0))
        assert torch.equal(again.images, after.images), "the same generator gave other images"

    def test_losses_are_finite_scalars_that_train_the_network(
        self, subject: str, progress: float, batch: Batch
    ) -> None:
        defense = made(subject)
        forward = forward_of(batch, defense, network_of(subject))
        loss = defense.criterion(forward, batch, progress)
        for term in [*([] if loss is None else [loss]), *defense.penalties(forward, batch, progress).values()]:
            assert term.shape == () and torch.isfinite(term)
            gradients = torch.autograd.grad(
                term, [forward.logits, *forward.taps.values()], retain_graph=True, allow_unused=True
            )
            slopes = [g for g in gradients if g is not None]
            assert slopes and all(torch.isfinite(g).all() for g in slopes)

    def test_layers_that_draw_while_training_are_declared(self, subject: str) -> None:
        """Several processes would draw other numbers than one: they do not train such a network together."""
        defense = made(subject)
        torch.manual_seed(0)
        model = ARCHITECTURES.remake(network_of(subject)).build(CLASSES, RESOLUTION_PX)
        model = defense.prepare_model(model, Inputs({}, nothing_stored))
        model.head = defense.prepare_head(model.head)
        images = torch.rand(8, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(0))
        first, second = (answers(model.train(), images, seed) for seed in (0, 1))
        assert torch.equal(first, second) or defense.draws_in_layers()

    def test_a_loss_that_draws_is_declared(self, subject: str, batch: Batch) -> None:
        """Every process computes the loss of the whole batch: with numbers of its own it would be another loss."""
        defense = made(subject)
        forward = forward_of(batch, defense, network_of(subject))

        def loss(seed: int) -> Tensor:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                return loss_of(defense, forward, batch, 0.5)

        assert torch.equal(loss(0), loss(1)) or defense.draws_in_layers()

    def test_trains_on_the_batches_its_parts_need(self, subject: str) -> None:
        defense = made(subject)
        assert defense.images_per_identity == max(part.images_per_identity for part in defense.parts())
        assert defense.off().images_per_identity == 0

    # --- trainings ----------------------------------------------------------------------------------------------------

    def test_the_same_seed_gives_the_same_weights(self, subject: str, trained: Trainings) -> None:
        network = network_of(subject)
        first, again = trained(written(subject), network), trained(written(subject), network, store="second")
        assert same_weights(first.weights, again.weights)
        assert torch.equal(first.probabilities, again.probabilities)

    def test_on_differs_from_the_undefended_target_of_this_run(self, defending: str, trained: Trainings) -> None:
        network = network_of(defending)
        undefended, target = trained(NO_DEFENSE, network), trained(written(defending), network)
        assert undefended.recipe.key != target.recipe.key
        assert not torch.equal(undefended.probabilities, target.probabilities), f"{defending} serves what NoDef serves"
        trains = made(defending).acts_on_training
        assert same_weights(undefended.weights, target.weights) == (not trains)

    def test_off_equals_the_undefended_target(self, subject: str, trained: Trainings) -> None:
        network = network_of(subject)
        undefended = trained(NO_DEFENSE, network)
        off = made(subject).off()
        assert off.problems(ARCHITECTURES.make(NETWORKS[0]).facts()) == [], "what is off cannot be in the way"
        if not made(subject).acts_on_training:
            return  # its training is the undefended one, and its answers are asked elsewhere
        target = trained(choice_of(off), network)
        assert same_weights(undefended.weights, target.weights)
        # What is served may be rounded once more: probabilities divided by their sum are not always what they were.
        rounding = 1e-6 if off.changes_answers else 0.0
        torch.testing.assert_close(target.probabilities, undefended.probabilities, rtol=rounding, atol=0.0)
        assert off.off() == off

    def test_survives_saving_and_loading(self, subject: str, trained: Trainings) -> None:
        target = trained(written(subject), network_of(subject))
        assert torch.equal(target.before, target.after)
        assert all(torch.isfinite(w).all() for w in target.weights.values() if w.is_floating_point())

    def test_each_part_of_a_stack_changes_something(self, subject: str, trained: Trainings) -> None:
        parts = made(subject).parts()
        for i in range(len(parts) if len(parts) > 1 else 0):
            members = tuple(part.off() if j == i else part for j, part in enumerate(parts))
            without = trained(choice_of(Stack(members=members)), network_of(subject))
            whole = trained(written(subject), network_of(subject))
            if parts[i].acts_on_training:
                assert not same_weights(whole.weights, without.weights)
            assert not torch.equal(whole.probabilities, without.probabilities)

    # --- pairs --------------------------------------------------------------------------------------------------------

    def test_every_pair_is_refused_with_a_reason_or_trains(self, name: str) -> None:
        """One step of every pair that passes planning; networks and orders take turns."""
        splits = DATASETS.remake(FACES).load(RESOLUTION_PX)
        few = Images(splits.train.images[::4], splits.train.labels[::4])
        for turn, other in enumerate(partners(name, self.asked())):
            allowed = [(network, choice) for network, choice in planned_pairs(name, other) if choice is not None]
            if not allowed:
                continue
            network, chosen = allowed[(turn + len(name)) % len(allowed)]
            if not all(part.acts_on_training for part in remake_defense(chosen).parts()):
                continue  # the training of a pair is that of the other one
            try:
                one_step(chosen, network, few)
            except Exception as error:
                raise AssertionError(f"{chosen.label} passes planning on {network} and then breaks") from error


_TURNS = (("vgg16_tiny", False), ("resnet18_tiny", True), ("densenet121_tiny", False), ("densenet121_tiny", True))


def partners(name: str, asked: Sequence[str]) -> list[str]:
    """The defenses a name is paired with, so that each pair comes once."""
    return [other for other in DEFENSES.names() if other != name and (other not in asked or other > name)]


def planned_pairs(name: str, other: str) -> list[tuple[str, Choice | None]]:
    """The stack of two defenses on each network and in both orders; None where it is refused, which takes a reason."""
    planned: list[tuple[str, Choice | None]] = []
    for network, is_reversed in _TURNS:
        members = [{"name": n, **DEFENSES.get(n).small} for n in ((other, name) if is_reversed else (name, other))]
        choice: Choice | None = None
        try:
            choice = choose_defense({"stack": members})
        except SpecError as error:
            assert any(word in str(error) for word in ("both", "cannot be combined")), error
        if choice is not None and remake_defense(choice).problems(ARCHITECTURES.make(network).facts()):
            choice = None
        planned.append((network, choice))
    return planned


def one_step(chosen: Choice, network: str, few: Images) -> None:
    """Train a network of random weights for one epoch of few images under a defense."""
    defense, facts = remake_defense(chosen), ARCHITECTURES.make(network).facts()
    recipe = target_recipe(PRIVATE, ARCHITECTURES.choose(network), chosen, TRAINING, seed=SEED)
    torch.manual_seed(0)
    model = stage.structure(stage.TargetSpec.of(recipe), Inputs({}, nothing_stored), CLASSES)
    usual = vars(TrainingRecipe(epochs=1, batch_size=16))
    training = TrainingRecipe.make({**usual, **defense.training_overrides(usual), "epochs": 1})
    fit_classifier(model, few, few, facts=facts, recipe=training, defense=defense, seed=0)
