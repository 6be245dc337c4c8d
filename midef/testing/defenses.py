"""The suite of defenses, on trainings small enough to really run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typing_extensions import override

from midef.core import Choice, Inputs, Recipe, Registry, SpecError
from midef.core.recipe import ArtifactKey
from midef.datasets import DATASETS, Images
from midef.defenses import DEFENSES, Batch, Defense, NotTuned, Stack, choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.nn.network import Forward, TargetModel
from midef.stages import BuildContext, ensure
from midef.stages import target as stage
from midef.stages.recipes import NO_DEFENSE, split_recipe, target_recipe
from midef.storage import Store
from midef.testing.suite import Contract
from midef.testing.values import changed
from midef.training import TrainingRecipe
from midef.training.classifier.descent import loss_of
from midef.training.classifier.fit import fit_classifier

RESOLUTION_PX = 32
CLASSES = 8
SEED = 3
FACES = DATASETS.choose({"name": "synthetic_faces", "identities": CLASSES, "train_images": 8, "report_images": 2})
PRIVATE = split_recipe(FACES, RESOLUTION_PX)
NETWORKS = ("vgg16_tiny", "resnet18_tiny", "densenet121_tiny")
"""A defense is trained on the first of these it can work on."""
TRAINING = TrainingRecipe(epochs=2, batch_size=16, learning_rate=0.02)
TRAINING_HOOKS = (
    "prepare_model",
    "prepare_head",
    "training_state",
    "images_of_epoch",
    "transform_batch",
    "criterion",
    "penalties",
    "requires",
    "training_overrides",
)
PROGRESS = (0.0, 0.5, 0.99)


@dataclass
class Trained:
    """A stored target.

    Args:
        weights: as stored.
        probabilities: served for the report split.
        before: logits in the process that trained.
        after: logits once loaded again.
    """

    recipe: Recipe
    weights: dict[str, Tensor]
    probabilities: Tensor
    before: Tensor
    after: Tensor


class Trainings:
    """Trains through the stage, once for each recipe and store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = DATASETS.remake(FACES).load(RESOLUTION_PX).report.images.float() / 255
        self.done: dict[tuple[ArtifactKey, str], Trained] = {}

    def __call__(self, defense: Choice, architecture: Choice, store: str = "store") -> Trained:
        return self.of(target_recipe(PRIVATE, architecture, defense, TRAINING, seed=SEED), store)

    def of(self, recipe: Recipe, store: str) -> Trained:
        """The target of a recipe, and of the first phases it starts from."""
        if (recipe.key, store) not in self.done:
            for phase in recipe.inputs.values():
                if phase.kind == "target":
                    self.of(phase, store)
            self.done[recipe.key, store] = self._train(recipe, store)
        return self.done[recipe.key, store]

    def _train(self, recipe: Recipe, store: str) -> Trained:
        seen: list[Tensor] = []

        def spy(model: TargetModel, part: Any, *, device: str, **chunks: Any) -> float:
            model.eval()
            seen.append(answers(model, self.images))
            return 0.0

        context = BuildContext(store=Store.open(self.folder / store))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage, "accuracy", spy)
            folder = ensure(recipe, context)
        spec = stage.TargetSpec.of(recipe)
        model = stage.load(spec, folder, context, CLASSES)
        assert not model.training
        logits = answers(model, self.images)
        probabilities = spec.defense.post_process(torch.softmax(logits, 1), torch.Generator())
        return Trained(recipe, load_file(folder / "model.safetensors"), probabilities, seen[-1], logits)


@torch.no_grad()
def answers(model: TargetModel, images: Tensor, seed: int = 0) -> Tensor:
    """Logits; a head that draws when it answers draws the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        logits: Tensor = model(images).logits
    return logits


def written(subject: str) -> Choice:
    """The choice of a registered name, at what it runs with on small networks, or of a stack as it is written."""
    if subject not in DEFENSES.names():
        return choose_defense(subject)
    return choose_defense({"name": subject, **DEFENSES.get(subject).small})


def made(subject: str) -> Defense:
    return remake_defense(written(subject))


def network_of(subject: str) -> Choice:
    """The first network a defense can work on."""
    for name in NETWORKS:
        if not made(subject).problems(ARCHITECTURES.make(name).facts()):
            return ARCHITECTURES.choose(name)
    reasons = made(subject).problems(ARCHITECTURES.make(NETWORKS[0]).facts())
    raise AssertionError(f"{subject} works on none of {', '.join(NETWORKS)}: {'; '.join(reasons)}; give it `small`")


def choice_of(defense: Defense) -> Choice:
    if isinstance(defense, Stack):
        return Choice("stack", {"members": [DEFENSES.describe(part).keyed for part in defense.members]})
    return DEFENSES.describe(defense)


def same_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def acts_on_training(defense: Defense) -> bool:
    return any(getattr(type(p), h) is not getattr(Defense, h) for p in defense.parts() for h in TRAINING_HOOKS)


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


class DefenseContract(Contract):
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
        return {**super().cases(), "subject": subjects, "defending": defending, "progress": PROGRESS}

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
        """Targets that are trained once for all questions."""
        torch.set_num_threads(1)
        yield Trainings(tmp_path_factory.mktemp("stores"))

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
        base = target_recipe(PRIVATE, network, DEFENSES.describe(defense), TRAINING, seed=SEED)
        for field in fields(defense):
            other = DEFENSES.describe(changed(DEFENSES, defense, field.name))
            assert target_recipe(PRIVATE, network, other, TRAINING, seed=SEED).key != base.key, field.name

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

    def test_answers_stay_probabilities(self, subject: str) -> None:
        defense = made(subject)
        rng = torch.Generator().manual_seed(0)
        for sharpness in (0.01, 1.0, 30.0):
            asked = torch.softmax(sharpness * torch.randn(64, CLASSES, generator=rng), dim=1)
            given = asked.clone()
            answered = defense.post_process(asked, rng)
            assert torch.equal(asked, given), "the probabilities were changed in place"
            assert answered.shape == asked.shape
            assert (answered >= 0).all()
            torch.testing.assert_close(answered.sum(dim=1), torch.ones(64))

    def test_trains_on_the_batches_its_parts_need(self, subject: str) -> None:
        defense = made(subject)
        assert defense.images_per_identity == max(part.images_per_identity for part in defense.parts())
        assert defense.off().images_per_identity == 0

    # --- trainings ----------------------------------------------------------------------------------------------------

    def test_the_same_seed_gives_the_same_weights(self, subject: str, trained: Trainings) -> None:
        network = network_of(subject)
        first, again = trained(written(subject), network), trained(written(subject), network, store="second")
        assert same_weights(first.weights, again.weights)

    def test_on_differs_from_the_undefended_target_of_this_run(self, defending: str, trained: Trainings) -> None:
        network = network_of(defending)
        undefended, target = trained(NO_DEFENSE, network), trained(written(defending), network)
        assert undefended.recipe.key != target.recipe.key
        assert not torch.equal(undefended.probabilities, target.probabilities), f"{defending} serves what NoDef serves"
        trains = acts_on_training(made(defending))
        assert same_weights(undefended.weights, target.weights) == (not trains)

    def test_off_equals_the_undefended_target(self, subject: str, trained: Trainings) -> None:
        network = network_of(subject)
        undefended = trained(NO_DEFENSE, network)
        off = made(subject).off()
        assert off.problems(ARCHITECTURES.make(NETWORKS[0]).facts()) == [], "what is off cannot be in the way"
        target = trained(choice_of(off), network)
        assert same_weights(undefended.weights, target.weights)
        # What is served may be rounded once more: probabilities divided by their sum are not always what they were.
        rounding = 1e-6 if any(type(p).post_process is not Defense.post_process for p in off.parts()) else 0.0
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
            if acts_on_training(parts[i]):
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
