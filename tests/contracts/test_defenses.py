"""The same questions to every registered defense and two stacks, on trainings small enough to really run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from midef.core import Choice, Inputs, Recipe, SpecError
from midef.core.canonical import plain
from midef.datasets import DATASETS, Images
from midef.defenses import DEFENSES, Batch, Defense
from midef.defenses.stack import Stack, choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.nn.network import Forward, TargetModel
from midef.stages import BuildContext, ensure
from midef.stages import target as stage
from midef.stages.recipes import split_recipe, target_recipe
from midef.storage import Store
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier

RESOLUTION_PX = 32
CLASSES = 8
SEED = 3
FACES = DATASETS.choose({"name": "synthetic_faces", "identities": CLASSES, "train_images": 8, "report_images": 2})
PRIVATE = split_recipe(FACES, RESOLUTION_PX)
VGG, RESNET = ARCHITECTURES.choose("vgg16_tiny"), ARCHITECTURES.choose("resnet18_tiny")
# What a defense needs that its defaults, or the first network, do not give.
WRITTEN = {"tl_dmi": "tl_dmi(fresh=true)", "dp_sgd": "dp_sgd(batch_norm=group)", "calor": "calor(learning_rate=0.01)"}
UNTUNED = {"none": "no strength", "rolss": "all or nothing", "tts": "as rolss, see ssf", "rounding": "acts on answers"}
PLACE = dict.fromkeys(("rolss", "ssf", "tts"), RESNET)
NONE = choose_defense("none")
TRAINING = TrainingRecipe(epochs=2, batch_size=16, learning_rate=0.02)

STACKS = ["midre+nls", "midre+bido", "midre+trap_mid", "tl_dmi(fresh=true)+bido", "mid+bido", "loft+nls"]
SUBJECTS = [*DEFENSES.names(), *STACKS]
DEFENDING = [name for name in SUBJECTS if name != "none"]
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

every_class = pytest.mark.parametrize("name", DEFENSES.names())
every_subject = pytest.mark.parametrize("name", SUBJECTS)
every_defending = pytest.mark.parametrize("name", DEFENDING)
at_any_time = pytest.mark.parametrize("progress", [0.0, 0.5, 0.99], ids=lambda p: f"progress{p:g}")


@dataclass
class Trained:
    """weights: as stored; probabilities: served for the report split; before: logits in the process that trained."""

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
        self.done: dict[tuple[Any, str], Trained] = {}

    def __call__(self, defense: Choice, architecture: Choice = VGG, store: str = "store") -> Trained:
        return self.of(target_recipe(PRIVATE, architecture, defense, TRAINING, seed=SEED), store)

    def of(self, recipe: Recipe, store: str) -> Trained:
        if (recipe.key, store) not in self.done:
            for phase in recipe.inputs.values():
                if phase.kind == "target":
                    self.of(phase, store)
            self.done[recipe.key, store] = self.train(recipe, store)
        return self.done[recipe.key, store]

    def train(self, recipe: Recipe, store: str) -> Trained:
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
def answers(model: TargetModel, images: Tensor) -> Tensor:
    """Logits; a head that draws when it answers draws the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        logits: Tensor = model(images).logits
    return logits


def choice(name: str) -> Choice:
    return choose_defense(WRITTEN.get(name, name))


def made(name: str) -> Defense:
    return remake_defense(choice(name))


def network_of(name: str) -> Choice:
    """The architecture this defense is asked about."""
    return PLACE.get(name, VGG)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    torch.set_num_threads(1)
    return Trainings(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def batch() -> Batch:
    """Sixteen images, four of each of four identities."""
    images = torch.rand(16, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(4).repeat_interleave(4), torch.arange(16))


def choice_of(defense: Defense) -> Choice:
    if isinstance(defense, Stack):
        return Choice("stack", {"members": [DEFENSES.describe(part).keyed for part in defense.members]})
    return DEFENSES.describe(defense)


def same_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def acts_on_training(defense: Defense) -> bool:
    return any(getattr(type(p), h) is not getattr(Defense, h) for p in defense.parts() for h in TRAINING_HOOKS)


def forward_of(batch: Batch, defense: Defense) -> Forward:
    """A pass of a fresh small network with the taps the defense asks for."""
    torch.manual_seed(0)
    architecture = ARCHITECTURES.remake(VGG)
    model = defense.prepare_model(architecture.build(CLASSES, RESOLUTION_PX), Inputs({}, nothing_stored))
    model.head = defense.prepare_head(model.head)
    forward: Forward = model(batch.images, defense.taps(architecture.facts()))
    return forward


def nothing_stored(recipe: Recipe) -> Path:
    raise AssertionError(f"asked for {recipe.key}")


# --- declarations -----------------------------------------------------------------------------------------------------


@every_class
def test_says_where_it_comes_from_and_what_it_acts_on(name: str) -> None:
    cls = DEFENSES.get(name)
    assert cls.__dict__.get("paper"), "give the paper"
    assert cls.__dict__.get("acts_on"), "say what it acts on"
    assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("), "write a docstring; dataclass made this one"
    for field in fields(cls):
        assert field.name in cls.__doc__, f"the docstring does not explain {field.name}"


@every_class
def test_the_file_is_named_like_the_defense(name: str) -> None:
    assert DEFENSES.get(name).__module__ == f"midef.defenses.{name}"


@every_subject
def test_builds_with_defaults(name: str) -> None:
    defense = made(name)
    assert defense.problems(ARCHITECTURES.remake(network_of(name)).facts()) == []
    names = "+".join(type(part).registered_name for part in defense.parts())  # type: ignore[attr-defined]
    assert names == re.sub(r"\([^)]*\)", "", name)


@every_class
def test_refuses_an_unknown_field_and_names_the_nearest(name: str) -> None:
    known = [field.name for field in fields(DEFENSES.get(name))]
    nearest = known[0] if known else None
    wrong = f"{nearest}x" if nearest else "strength"
    with pytest.raises(SpecError) as caught:
        choose_defense({"name": name, wrong: 1})
    assert f"defense {name!r} has no parameter {wrong!r}" in str(caught.value)
    assert (f"did you mean {nearest!r}?" if nearest else "Known: none") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "preset"), [(cls.registered_name, preset) for cls in DEFENSES for preset in cls.presets]
)
def test_presets_are_valid_and_set_what_they_say(name: str, preset: str) -> None:
    chosen = DEFENSES.choose(f"{name}:{preset}")
    wanted = DEFENSES.get(name).presets[preset]
    assert {key: chosen.params[key] for key in wanted} == plain(dict(wanted))


@every_class
def test_tuning_names_a_strength_and_both_ends_are_valid(name: str) -> None:
    cls = DEFENSES.get(name)
    if cls.tuning is None:
        assert name in UNTUNED, "declare what accuracy matching may search, or say in UNTUNED why there is nothing"
        return
    for strength in (cls.tuning.low, cls.tuning.high):
        params: dict[str, Any] = dict(cls.tuning.params(strength))
        kinds = {field.name: field.type for field in fields(cls)}
        params = {key: round(value) if kinds[key] == "int" else value for key, value in params.items()}
        assert DEFENSES.make(name, params) != DEFENSES.make(name).off()


@every_subject
def test_a_choice_makes_an_equal_defense(name: str) -> None:
    written = choice(name)
    defense = remake_defense(written)
    again = Choice.from_plain(written.keyed)
    assert again == written
    assert remake_defense(again) == defense
    assert choice_of(defense) == written
    assert choose_defense(written.label) == written


@every_class
def test_every_field_is_in_the_key(name: str) -> None:
    chosen = DEFENSES.choose(name)
    cls = DEFENSES.get(name)
    assert set(chosen.params) == {field.name for field in fields(cls)}
    base = target_recipe(PRIVATE, VGG, chosen, TRAINING, seed=SEED)
    for field in fields(cls):
        other = DEFENSES.describe(another_value(name, field.name, getattr(DEFENSES.make(name), field.name)))
        assert target_recipe(PRIVATE, VGG, other, TRAINING, seed=SEED).key != base.key, field.name


def another_value(name: str, field: str, value: Any) -> Defense:
    """The defense with one field changed to the first other value that is valid."""
    numbers = [0.9 * value, 0.5, 0.2, 0.05, 2.0] if isinstance(value, float) else []
    hint = get_type_hints(DEFENSES.get(name))[field]
    words = [w for w in get_args(hint) if isinstance(w, str)] + ["block1.conv1"] if isinstance(value, str) else []
    whole = [1 if value != 1 else 2, 5] if isinstance(value, int) and not isinstance(value, bool) else []
    several = [(1,), ("mlp",)] if isinstance(value, tuple) else []
    rest: dict[str, Any] = {"init": "random"} if name in ("loft", "calor") and field != "init" else {}
    if (name, field) == ("mid", "bottleneck"):
        rest = {"weight": 0.0}
    for candidate in [*numbers, *words, *whole, *several, *([not value] if isinstance(value, bool) else [])]:
        try:
            other = DEFENSES.make(name, {**rest, field: candidate})
        except SpecError:
            continue
        if getattr(other, field) != value:
            return other
    raise AssertionError(f"the test knows no other value for {name}.{field}; add one to another_value")


# --- hooks ------------------------------------------------------------------------------------------------------------


@every_subject
@at_any_time
def test_batches_keep_shape_and_range(name: str, progress: float, batch: Batch) -> None:
    defense = made(name)
    images, labels = batch.images.clone(), batch.labels.clone()
    changed = defense.transform_batch(batch, progress, torch.Generator().manual_seed(0))
    assert torch.equal(batch.images, images) and torch.equal(batch.labels, labels), "the batch was changed in place"
    assert changed.images.shape == images.shape and changed.images.dtype == torch.float32
    assert changed.labels.shape == labels.shape and changed.labels.dtype == torch.int64
    assert changed.images.min() >= 0 and changed.images.max() <= 1
    assert torch.equal(changed.indices, batch.indices)
    again = defense.transform_batch(batch, progress, torch.Generator().manual_seed(0))
    assert torch.equal(again.images, changed.images), "the same generator gave other images"


@every_subject
@at_any_time
def test_losses_are_finite_scalars_that_train_the_network(name: str, progress: float, batch: Batch) -> None:
    defense = made(name)
    forward = forward_of(batch, defense)
    loss = defense.criterion(forward, batch, progress)
    for term in [*([] if loss is None else [loss]), *defense.penalties(forward, batch, progress).values()]:
        assert term.shape == () and torch.isfinite(term)
        gradients = torch.autograd.grad(
            term, [forward.logits, *forward.taps.values()], retain_graph=True, allow_unused=True
        )
        slopes = [g for g in gradients if g is not None]
        assert slopes and all(torch.isfinite(g).all() for g in slopes)


@every_subject
def test_answers_stay_probabilities(name: str) -> None:
    defense = made(name)
    rng = torch.Generator().manual_seed(0)
    for sharpness in (0.01, 1.0, 30.0):
        asked = torch.softmax(sharpness * torch.randn(64, CLASSES, generator=rng), dim=1)
        kept = asked.clone()
        answered = defense.post_process(asked, rng)
        assert torch.equal(asked, kept), "the probabilities were changed in place"
        assert answered.shape == asked.shape
        assert (answered >= 0).all()
        torch.testing.assert_close(answered.sum(dim=1), torch.ones(64))


def test_rounding_keeps_the_predicted_class_of_trained_targets(trained: Trainings) -> None:
    found = trained(choose_defense("rounding"))
    assert torch.equal(found.probabilities.argmax(dim=1), found.after.argmax(dim=1))


# --- trainings --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_subject
def test_the_same_seed_gives_the_same_weights(name: str, trained: Trainings) -> None:
    place = network_of(name)
    first, again = trained(choice(name), place), trained(choice(name), place, store="second")
    assert same_weights(first.weights, again.weights)


@every_defending
def test_on_differs_from_the_undefended_target_of_this_run(name: str, trained: Trainings) -> None:
    undefended, found = trained(NONE, network_of(name)), trained(choice(name), network_of(name))
    assert undefended.recipe.key != found.recipe.key
    assert not torch.equal(undefended.probabilities, found.probabilities), f"{name} served what NoDef serves"
    trains = acts_on_training(made(name))
    assert same_weights(undefended.weights, found.weights) == (not trains)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("part", [0, 1], ids=["first", "second"])
def test_each_part_of_a_stack_changes_something(name: str, part: int, trained: Trainings) -> None:
    members = [p.off() if i == part else p for i, p in enumerate(made(name).parts())]
    without = trained(choice_of(Stack(members=tuple(members))))
    assert not same_weights(trained(choice(name)).weights, without.weights)


@every_subject
def test_off_equals_the_undefended_target(name: str, trained: Trainings) -> None:
    undefended = trained(NONE, network_of(name))
    off = made(name).off()
    assert off.problems(ARCHITECTURES.remake(VGG).facts()) == [], "what is off cannot be in the way"
    found = trained(choice_of(off), network_of(name))
    assert same_weights(undefended.weights, found.weights)
    assert torch.equal(undefended.probabilities, found.probabilities)
    assert off.off() == off


@every_subject
def test_survives_saving_and_loading(name: str, trained: Trainings) -> None:
    found = trained(choice(name), network_of(name))
    assert torch.equal(found.before, found.after)
    assert all(torch.isfinite(w).all() for w in found.weights.values() if w.is_floating_point())


@every_subject
def test_a_stack_trains_on_the_batches_its_parts_need(name: str) -> None:
    defense = made(name)
    assert defense.images_per_identity == max(part.images_per_identity for part in defense.parts())
    assert defense.off().images_per_identity == 0


def test_phase_one_is_the_undefended_target_itself() -> None:
    undefended = target_recipe(PRIVATE, VGG, DEFENSES.choose("none"), TRAINING, seed=SEED)
    phase_one = target_recipe(PRIVATE, VGG, DEFENSES.choose("loft"), TRAINING, seed=SEED).inputs["phase_one"]
    assert phase_one.key == undefended.key


def test_a_defense_that_cannot_work_is_refused_before_training(
    trained: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DEFENSES.get("midre"), "problems", lambda self, facts: ["no such layer here; choose another"])
    with pytest.raises(SpecError, match="no such layer here"):
        trained(choose_defense("midre(area_high=0.3)"), store="refused")


# --- pairs ------------------------------------------------------------------------------------------------------------

PAIRS = [f"{WRITTEN.get(a, a)}+{WRITTEN.get(b, b)}" for a, b in combinations(DEFENDING[: -len(STACKS)], 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "reverse"),
    [("vgg16_tiny", False), ("resnet18_tiny", True), ("densenet121_tiny", False), ("densenet121_tiny", True)],
)
def test_every_pair_is_refused_with_a_reason_or_trains(architecture: str, reverse: bool) -> None:
    """One step of every pair that passes planning; the weights of a first phase are left at random."""
    splits = DATASETS.remake(FACES).load(RESOLUTION_PX)
    few = Images(splits.train.images[::4], splits.train.labels[::4])
    network = ARCHITECTURES.choose(architecture)
    facts = ARCHITECTURES.remake(network).facts()
    trained = 0
    for pair in PAIRS:
        written = "+".join(reversed(pair.split("+"))) if reverse else pair
        try:
            chosen = choose_defense(written)
        except SpecError as error:
            assert any(word in str(error) for word in ("both", "cannot be combined")), error
            continue
        defense = remake_defense(chosen)
        if defense.problems(facts):
            continue
        recipe = target_recipe(PRIVATE, network, chosen, TRAINING, seed=SEED)
        torch.manual_seed(0)
        model = stage.structure(stage.TargetSpec.of(recipe), Inputs({}, nothing_stored), CLASSES)
        training = vars(TrainingRecipe(epochs=1, batch_size=16))
        training = TrainingRecipe.make({**training, **defense.training_overrides(training), "epochs": 1})
        try:
            fit_classifier(model, few, few, facts=facts, recipe=training, defense=defense, seed=0)
        except Exception as error:
            raise AssertionError(f"{written} passes planning on {architecture} and then breaks") from error
        trained += 1
    assert trained > 20
