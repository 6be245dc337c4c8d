"""The same questions to every registered attack, on a toy target that answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.attacks import ATTACKS, PRIORS, AccessLevel, Attack, Prior, Reconstructions
from midef.attacks.base import Task
from midef.attacks.priors.base import FitContext, PublicPrior, TargetedPrior
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError, Choice, Inputs, Recipe, SpecError, derive_seed
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.nn.network import Forward, TargetModel

RESOLUTION_PX, CLASSES, LATENT_DIM = 32, 5, 6
SMALL_GAN = {"width": 4, "latent_dim": LATENT_DIM, "steps": 2, "batch_size": 4}

SMALL_KEDMI = {**SMALL_GAN, "discriminator_steps": 1}
SMALL_STUDENTS = {"family": "cnn_tiny", "count": 2, "weights": "none", "epochs": 1, "batch_size": 4}


@dataclass(frozen=True)
class Facts:
    """What the tests must be told about one attack.

    small: parameters that make it quick; draws: whether the attack itself, given its prior, depends on the seed;
    queries: how many images `reconstruct` asks the target about for so many reconstructions, where that is fixed;
    others: another valid value of a prior's field, where adding 1 gives none.
    """

    small: Mapping[str, Any]
    draws: bool = True
    queries: Callable[[int], int] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)


FACTS = {
    "brep_mi": Facts(
        {"patience": 4, "sphere_points": 8, "inside_share": 0.0, "pool_batches": 4, "redraws": 5, "prior": SMALL_GAN}
    ),
    "gmi": Facts({"iterations": 6, "prior": SMALL_GAN}, queries=lambda n: 6 * n),
    "diffusion_inverter": Facts(
        {"prior": {"width": 8, "noise_steps": 3, "epochs": 1, "batch_size": 4}},
        queries=lambda n: 0,
        others={"width": 16, "beta_first": 2e-4, "beta_last": 0.03, "drop_context": 0.2},
    ),
    "inversion_model": Facts(
        {"prior": {"width": 4, "epochs": 1}}, draws=False, queries=lambda n: 0, others={"blocks": 6}
    ),
    "kedmi": Facts({"iterations": 6, "prior": SMALL_KEDMI}, queries=lambda n: 6 * n // 2),
    "lomma_gmi": Facts(
        {"iterations": 6, "prior": SMALL_GAN, "students": SMALL_STUDENTS},
        queries=lambda n: 6 * n,
        others={"momentum": 0.5},
    ),
    "lomma_kedmi": Facts(
        {"iterations": 6, "prior": SMALL_KEDMI, "students": SMALL_STUDENTS},
        queries=lambda n: 6 * n // 2,
        others={"momentum": 0.5},
    ),
    "mi_face": Facts({"iterations": 6}),  # a row may end before
    "plg_mi": Facts({"iterations": 3, "prior": {**SMALL_GAN, "critic_steps": 1, "top": 3}}, queries=lambda n: 6 * n),
    "rlb_mi": Facts(
        {"episodes": 12, "batch_size": 4, "start_after": 4, "hidden": 8, "prior": SMALL_GAN}, queries=lambda n: 24 * n
    ),
    "lokt": Facts(
        {
            "iterations": 3,
            "surrogates": {
                "family": "cnn_tiny",
                "count": 2,
                "weights": "none",
                "latents_per_class": 3,
                "steps": 2,
                "batch_size": 4,
                "gan": {
                    "width": 2,
                    "latent_dim": LATENT_DIM,
                    "iterations": 2,
                    "warm_up": 0,
                    "discriminator_steps": 1,
                    "batch_size": 4,
                },
            },
        },
        queries=lambda n: 0,
        others={"jitter_p": 0.25, "momentum": 0.5},
    ),
    "vmi": Facts(
        {
            "iterations": 3,
            "batch": 2,
            "learning_rate": 1e-6,  # the toy target is steep
            "levels": 2,
            "flow_steps": 2,
            "hidden": 8,
            "prior": {"latent_dim": LATENT_DIM, "channel_base": 64, "channel_max": 8, "steps": 2, "batch_size": 4},
        },
        queries=lambda n: 3 * 2 * n // 2,
        others={"ada_target": 0.5},
    ),
}
NAMES = ATTACKS.names()
every_attack = pytest.mark.parametrize("name", NAMES)

PUBLIC = Recipe("split", "synthetic_faces", {"population": "public", "resolution_px": RESOLUTION_PX})
OTHER_PUBLIC = Recipe("split", "image_folder", {"fingerprint": "abc", "resolution_px": RESOLUTION_PX})
TARGET = Recipe("target", "classifier", {"seed": 0})
OTHER_TARGET = Recipe("target", "classifier", {"seed": 1})


class Reversing(Defense):
    """Serves the probabilities in reverse order of the classes: nobody can miss whether it took part."""

    @override
    def post_process(self, probabilities: Tensor, rng: Generator) -> Tensor:
        return probabilities.flip(1)


class Recorder(TargetHandle):
    """Writes down the highest access level asked for."""

    asked: AccessLevel | None = None

    def _note(self, level: AccessLevel) -> None:
        self.asked = level if self.asked is None else max(self.asked, level)

    @override
    def run(self, images: Tensor) -> Forward:
        self._note(AccessLevel.WHITE_BOX)
        return super().run(images)

    @override
    def scores(self, images: Tensor) -> Tensor:
        self._note(AccessLevel.SCORES)
        return super().scores(images)

    @override
    def labels(self, images: Tensor) -> Tensor:
        self._note(AccessLevel.LABELS)
        return super().labels(images)


def small(name: str) -> Attack:
    return ATTACKS.make(name, FACTS[name].small)


def priors_of(component: Attack | Prior) -> list[Prior]:
    """Its priors, and the priors these start from first."""
    found: list[Prior] = []
    for f in fields(component):
        if isinstance(value := getattr(component, f.name), Prior):
            found += [*priors_of(value), value]
    return found


def fit(prior: Prior, handle: TargetHandle, stored: Callable[[Attack | Prior], Inputs]) -> dict[str, nn.Module]:
    """Its networks, trained on random public images from what it requires with random weights."""
    torch.manual_seed(0)
    networks = prior.networks(RESOLUTION_PX, CLASSES)
    context = FitContext(inputs=stored(prior))
    if isinstance(prior, TargetedPrior):
        prior.fit(networks, public_splits(), handle, context)
    else:
        assert isinstance(prior, PublicPrior)
        prior.fit(networks, public_splits(), context)
    return networks


def another_value(component: Any, field_name: str, others: Mapping[str, Any]) -> Any:
    """A valid value that differs from the one the component has."""
    value = getattr(component, field_name)
    if field_name in others:
        return others[field_name]
    if isinstance(value, Prior):
        inner = fields(value)[0].name  # type: ignore[arg-type]
        return replace(value, **{inner: another_value(value, inner, others)})
    if isinstance(value, str):
        return next(v for v in get_args(get_type_hints(type(component))[field_name]) if v != value)
    if isinstance(value, bool):
        return not value
    return 3 if value is None else value + 1


def public_splits() -> Splits:
    rng = torch.Generator().manual_seed(5)

    def part(n: int) -> Images:
        shape = (n, 3, RESOLUTION_PX, RESOLUTION_PX)
        return Images(torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8), torch.full((n,), -1))

    return Splits(part(8), part(3), part(4), ())


@pytest.fixture(scope="module")
def stored_priors(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Attack | Prior], Inputs]:
    """Gives an attack or a prior what it requires with random weights, stored as the stage stores it."""

    def store(attack: Attack | Prior) -> Inputs:
        def fetch(recipe: Recipe) -> Path:
            folder = tmp_path_factory.mktemp("prior")
            prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
            torch.manual_seed(1)
            for network_name, network in prior.networks(RESOLUTION_PX, CLASSES).items():
                save_file(
                    {k: v.contiguous() for k, v in network.state_dict().items()}, folder / f"{network_name}.safetensors"
                )
            return folder

        return Inputs(attack.requires(target=TARGET, public=PUBLIC), fetch)

    return store


@pytest.fixture
def target() -> TargetModel:
    """A linear target whose batch norm is set so that images of a random small generator fall into every class."""
    torch.manual_seed(2)
    pixels = 3 * RESOLUTION_PX**2
    norm = nn.BatchNorm1d(pixels)
    model = TargetModel(
        [("pixels", nn.Sequential(nn.Flatten(), norm))],
        nn.Linear(pixels, CLASSES),
        feature_dim=pixels,
        n_classes=CLASSES,
    )
    torch.manual_seed(1)
    generator = PRIORS.make("wgan_gp", SMALL_GAN).networks(RESOLUTION_PX, CLASSES)["generator"].eval()
    with torch.no_grad():
        images = generator(torch.randn(256, LATENT_DIM))
        norm.running_mean.copy_(images.flatten(1).mean(0))  # type: ignore[union-attr]
        norm.running_var.copy_(images.flatten(1).var(0))  # type: ignore[union-attr]
        model.head.weight.mul_(3)
        model.head.bias.zero_()
    return model.train()  # whoever attacks it has to put it into eval mode


def task_of(labels: list[int], restarts: int = 2, seed: int = 3) -> Task:
    """`restarts` reconstructions of each label; observed answers belong to (label, restart), not to the position."""
    pairs = [(label, restart) for label in labels for restart in range(restarts)]
    observed = torch.stack(
        [
            torch.rand(CLASSES, generator=torch.Generator().manual_seed(derive_seed("observed", *pair))).softmax(0)
            for pair in pairs
        ]
    )
    of_labels, of_restarts = torch.tensor(pairs).T
    return Task(of_labels, of_restarts, RESOLUTION_PX, seed, "cpu", observed)


def run_attack(attack: Attack, target: TargetModel, inputs: Inputs, task: Task) -> Reconstructions:
    return attack.reconstruct(TargetHandle(target, Defense(), attack.access), inputs, task)


# ---------------------------------------------------------------- what an attack says about itself


def test_every_attack_has_its_facts_here() -> None:
    assert set(FACTS) == set(NAMES), "give a new attack a line in FACTS"


@every_attack
def test_says_where_it_comes_from(name: str) -> None:
    cls = ATTACKS.get(name)
    assert isinstance(cls.access, AccessLevel)
    assert "20" in cls.paper, f"{name}: paper should name authors and year"
    doc = cls.__dict__.get("__doc__") or ""
    assert "Source:" in doc and not doc.startswith(f"{cls.__name__}("), f"{name}: its docstring should cite its source"
    assert cls.__module__ == f"midef.attacks.{name}"


@every_attack
def test_builds_with_defaults(name: str) -> None:
    attack = ATTACKS.make(name)
    assert attack == ATTACKS.make(name) and type(attack) is ATTACKS.get(name)
    with pytest.raises(AttributeError):
        attack.access = AccessLevel.LABELS  # type: ignore[misc]


@every_attack
def test_refuses_an_unknown_field_by_name(name: str) -> None:
    with pytest.raises(SpecError, match=f"attack '{name}' has no parameter 'no_such_field'"):
        ATTACKS.make(name, {"no_such_field": 1})


@every_attack
def test_refuses_an_unknown_field_of_its_prior(name: str) -> None:
    for f in fields(ATTACKS.make(name)):  # type: ignore[arg-type]
        if isinstance(getattr(ATTACKS.make(name), f.name), Prior):
            with pytest.raises(SpecError, match="no_such_field"):
                ATTACKS.make(name, {f.name: {"no_such_field": 1}})


PRESETS = [(name, preset) for name in NAMES for preset in ATTACKS.get(name).presets]


@pytest.mark.parametrize(("name", "preset"), PRESETS, ids=[f"{n}:{p}" for n, p in PRESETS])
def test_presets_are_valid(name: str, preset: str) -> None:
    choice = ATTACKS.choose(f"{name}:{preset}")
    for field_name, value in ATTACKS.get(name).presets[preset].items():
        found = choice.params[field_name]
        if isinstance(value, Mapping):  # of a prior: what the preset says of it
            found, value = {key: found[key] for key in value}, dict(value)
        assert found == value


@every_attack
def test_a_choice_comes_back(name: str) -> None:
    attack = small(name)
    choice = ATTACKS.describe(attack)
    assert Choice.from_plain(json.loads(choice.keyed_json)) == choice
    assert ATTACKS.remake(choice) == attack
    assert set(choice.params) == {f.name for f in fields(attack)}  # type: ignore[arg-type]
    assert choice != ATTACKS.choose(name)


@every_attack
def test_parameters_of_the_prior_are_in_the_key(name: str) -> None:
    attack = small(name)
    for f in fields(attack):  # type: ignore[arg-type]
        prior = getattr(attack, f.name)
        if not isinstance(prior, Prior):
            continue
        for inner in fields(prior):  # type: ignore[arg-type]
            changed = another_value(prior, inner.name, FACTS[name].others)
            other = replace(attack, **{f.name: replace(prior, **{inner.name: changed})})
            assert ATTACKS.describe(other) != ATTACKS.describe(attack), f"{f.name}.{inner.name}"
            needed = {role: recipe.key for role, recipe in attack.requires(target=TARGET, public=PUBLIC).items()}
            now = {role: recipe.key for role, recipe in other.requires(target=TARGET, public=PUBLIC).items()}
            assert needed != now, f"{f.name}.{inner.name} is not in the prior's key"


# ---------------------------------------------------------------- what it needs


@every_attack
def test_requires_what_depends_on_the_target_once_per_target_and_the_rest_once_for_all(name: str) -> None:
    attack = small(name)
    mine = attack.requires(target=TARGET, public=PUBLIC)
    other = attack.requires(target=OTHER_TARGET, public=PUBLIC)
    assert bool(mine) == bool(priors_of(attack)) and set(mine) == set(other)
    assert mine == attack.requires(target=TARGET, public=PUBLIC)
    for role, recipe in mine.items():
        depends = TARGET in list(recipe.walk())
        assert (TARGET in recipe.inputs.values()) == (PRIORS.get(recipe.component).asks is not None)
        assert (recipe.key == other[role].key) == (not depends), role


@every_attack
def test_requires_other_things_for_another_public_set(name: str) -> None:
    attack = small(name)
    mine = attack.requires(target=TARGET, public=PUBLIC)
    other = attack.requires(target=TARGET, public=OTHER_PUBLIC)
    assert all(mine[role].key != other[role].key for role in mine)


@pytest.mark.parametrize("prior", PRIORS.names())
def test_a_prior_comes_back_from_its_recipe(prior: str) -> None:
    recipe = PRIORS.make(prior).recipe(public=PUBLIC, target=TARGET)
    assert PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version)) == PRIORS.make(prior)
    assert ("target" in recipe.inputs) == (PRIORS.get(prior).asks is not None)
    assert PRIORS.get(prior).paper


# ---------------------------------------------------------------- access


def handle_with(target: TargetModel, access: AccessLevel) -> TargetHandle:
    return TargetHandle(target, Reversing(), access)


@pytest.mark.parametrize(
    ("access", "call", "allowed"),
    [
        (AccessLevel.LABELS, "labels", True),
        (AccessLevel.LABELS, "scores", False),
        (AccessLevel.LABELS, "run", False),
        (AccessLevel.SCORES, "labels", True),
        (AccessLevel.SCORES, "scores", True),
        (AccessLevel.SCORES, "run", False),
        (AccessLevel.WHITE_BOX, "labels", True),
        (AccessLevel.WHITE_BOX, "scores", True),
        (AccessLevel.WHITE_BOX, "run", True),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, AccessLevel) else str(value),
)
def test_the_handle_offers_what_the_access_level_allows(
    target: TargetModel, access: AccessLevel, call: str, allowed: bool
) -> None:
    handle, images = handle_with(target, access), torch.rand(3, 3, RESOLUTION_PX, RESOLUTION_PX)
    if allowed:
        getattr(handle, call)(images)
        assert handle.queries == 3
    else:
        with pytest.raises(AccessError, match=f"access level '{access.words}' but asked for '{call}'"):
            getattr(handle, call)(images)
        assert handle.queries == 0


def test_served_answers_go_through_post_process_and_white_box_ones_do_not(target: TargetModel) -> None:
    handle, images = handle_with(target, AccessLevel.WHITE_BOX), torch.rand(4, 3, RESOLUTION_PX, RESOLUTION_PX)
    with torch.no_grad():
        plain = target.eval()(images).logits
    assert torch.equal(handle.run(images).logits, plain)
    assert torch.allclose(handle.scores(images), plain.softmax(1).flip(1))
    assert torch.equal(handle.labels(images), CLASSES - 1 - plain.argmax(1))


def test_white_box_answers_carry_gradients_to_the_image_and_served_ones_do_not(target: TargetModel) -> None:
    handle = handle_with(target, AccessLevel.WHITE_BOX)
    images = torch.rand(2, 3, RESOLUTION_PX, RESOLUTION_PX, requires_grad=True)
    (slope,) = torch.autograd.grad(handle.run(images).logits.sum(), images)
    assert slope.abs().sum() > 0
    assert not handle.scores(images).requires_grad


@every_attack
def test_uses_exactly_the_access_it_declares(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    attack = small(name)
    handle = Recorder(target, Defense(), AccessLevel.WHITE_BOX)
    for prior in priors_of(attack):
        fit(prior, handle, stored_priors)
    attack.reconstruct(handle, stored_priors(attack), task_of([0, 1]))
    assert handle.asked == attack.access


@every_attack
def test_a_prior_asks_the_target_exactly_what_it_says(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    for prior in priors_of(small(name)):
        handle = Recorder(target, Defense(), AccessLevel.WHITE_BOX)
        fit(prior, handle, stored_priors)
        assert handle.asked == prior.asks and (handle.queries > 0) == (prior.asks is not None)
        assert prior.asks is None or prior.asks <= small(name).access


@pytest.mark.parametrize("name", [name for name in NAMES if ATTACKS.get(name).access > AccessLevel.LABELS])
def test_fails_below_its_access_level(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    attack = small(name)
    handle = TargetHandle(target, Defense(), AccessLevel(attack.access - 1))
    with pytest.raises(AccessError):
        for prior in priors_of(attack):
            fit(prior, handle, stored_priors)
        attack.reconstruct(handle, stored_priors(attack), task_of([0, 1]))


# ---------------------------------------------------------------- what it finds


@every_attack
def test_gives_one_image_in_range_for_each_pair(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    attack, task = small(name), task_of([0, 2, 3])
    found = run_attack(attack, target, stored_priors(attack), task)
    assert found.images.shape == (6, 3, RESOLUTION_PX, RESOLUTION_PX) and found.images.dtype == torch.float32
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert torch.equal(found.labels, task.labels) and torch.equal(found.restarts, task.restarts)
    assert found.found.shape == (6,) and found.found.dtype == torch.bool
    assert not found.images.requires_grad
    assert len(found.images.flatten(1).unique(dim=0)) == 6, "every (label, restart) has its own reconstruction"


@every_attack
def test_repeats_with_the_same_seed_and_not_with_another(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    attack = small(name)
    inputs = stored_priors(attack)
    first = run_attack(attack, target, inputs, task_of([0, 1, 4]))
    torch.manual_seed(99)  # results do not hang on the global generator
    again = run_attack(attack, target, inputs, task_of([0, 1, 4]))
    other = run_attack(attack, target, inputs, task_of([0, 1, 4], seed=4))
    assert torch.equal(first.images, again.images) and torch.equal(first.found, again.found)
    same = (first.images - other.images).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert not same.any() if FACTS[name].draws else same.all()


@every_attack
def test_results_do_not_depend_on_the_chunk(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = small(name)
    inputs, task = stored_priors(attack), task_of([0, 1, 2, 4])
    whole = run_attack(attack, target, inputs, task)
    for cls in type(attack).__mro__:
        if hasattr(sys.modules[cls.__module__], "CHUNK"):
            monkeypatch.setattr(sys.modules[cls.__module__], "CHUNK", 3)
    pieces = run_attack(attack, target, inputs, task)
    assert torch.allclose(whole.images, pieces.images, atol=1e-5) and torch.equal(whole.found, pieces.found)


@every_attack
@pytest.mark.parametrize("labels", [[1], [4, 1]], ids=["one identity", "two in another order"])
def test_an_identity_does_not_depend_on_who_else_is_attacked(
    name: str, labels: list[int], target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    attack = small(name)
    inputs = stored_priors(attack)
    all_of_them = run_attack(attack, target, inputs, task_of([0, 1, 2, 3, 4]))
    some = run_attack(attack, target, inputs, task_of(labels))
    rows = [2 * label + restart for label in labels for restart in range(2)]
    assert torch.equal(all_of_them.labels[rows], some.labels)
    assert torch.allclose(all_of_them.images[rows], some.images, atol=1e-5)
    assert torch.equal(all_of_them.found[rows], some.found)


@every_attack
def test_an_identity_out_of_reach_leaves_the_others_and_its_own_guess_alone(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    """The last class is never answered; its guess is still the same whoever else is attacked."""
    with torch.no_grad():
        target.head.bias[4] = -1e4  # type: ignore[index]
    attack = small(name)
    inputs = stored_priors(attack)
    all_of_them = run_attack(attack, target, inputs, task_of([0, 1, 2, 3, 4]))
    some = run_attack(attack, target, inputs, task_of([4, 0]))
    assert torch.allclose(all_of_them.images[[8, 9, 0, 1]], some.images, atol=1e-5)


@every_attack
def test_leaves_the_target_as_it_was(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    before = {key: value.clone() for key, value in target.state_dict().items()}
    attack = small(name)
    handle = TargetHandle(target, Defense(), attack.access)
    for prior in priors_of(attack):
        if prior.asks is not None:
            fit(prior, handle, stored_priors)
    attack.reconstruct(handle, stored_priors(attack), task_of([0, 1]))
    assert not any(module.training for module in target.modules())
    assert not any(p.requires_grad or p.grad is not None for p in target.parameters())
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


@every_attack
def test_counts_every_image_the_target_sees(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    attack, task = small(name), task_of([0, 1, 3])
    seen: list[int] = []
    target.register_forward_hook(lambda module, given, answer: seen.append(len(given[0])))
    handle = TargetHandle(target, Defense(), attack.access)
    attack.reconstruct(handle, stored_priors(attack), task)
    assert handle.queries == sum(seen)
    expected = FACTS[name].queries
    assert handle.queries == expected(6) if expected is not None else handle.queries > 0


@every_attack
def test_sees_post_process_exactly_below_white_box(
    name: str, target: TargetModel, stored_priors: Callable[[Attack | Prior], Inputs]
) -> None:
    attack = small(name)
    outcome = []
    for defense in (Defense(), Reversing()):
        handle = TargetHandle(target, defense, attack.access)
        fitted = []
        for prior in priors_of(attack):
            if prior.asks is not None:
                networks = fit(prior, handle, stored_priors)
                fitted += [value.flatten().double() for net in networks.values() for value in net.state_dict().values()]
        found = attack.reconstruct(handle, stored_priors(attack), task_of([0, 1]))
        outcome.append(torch.cat([found.images.flatten().double(), *fitted]))
    is_seen = not torch.allclose(outcome[0], outcome[1], atol=1e-6)
    assert is_seen == (attack.access < AccessLevel.WHITE_BOX)
