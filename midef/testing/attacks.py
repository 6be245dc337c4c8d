"""The suite of attacks and their priors, on a toy target that answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from typing_extensions import override

from midef.attacks import ATTACKS, PRIORS, AccessLevel, Attack, Prior, Reconstructions, SmallBudget
from midef.attacks.base import Task
from midef.attacks.priors.base import FitContext, PublicPrior, TargetedPrior
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError, Choice, Inputs, Recipe, Registry, SpecError, derive_seed
from midef.core.errors import TrainingDiverged
from midef.core.traces import MOST_POINTS, SERIES, Traces
from midef.datasets import DATASETS, Dataset, Images, Splits
from midef.defenses import Defense
from midef.defenses.serving import Query
from midef.nn.network import Forward, TargetModel
from midef.testing.positions import is_ours, positions, rises_to_the_end
from midef.testing.suite import Contract
from midef.testing.values import changed
from midef.training.finite import check_weights

RESOLUTION_PX, CLASSES = 32, 5
TINY = SmallBudget(search=6, steps=3, epochs=1, inverter_width=4, latent_dim=6, public_steps=2, width=4, batch_size=4)
"""What `Attack.small` is asked for in tests."""

PUBLIC = Recipe("split", "synthetic_faces", {"population": "public", "resolution_px": RESOLUTION_PX})
OTHER_PUBLIC = Recipe("split", "image_folder", {"fingerprint": "abc", "resolution_px": RESOLUTION_PX})
TARGET = Recipe("target", "classifier", {"seed": 0})
OTHER_TARGET = Recipe("target", "classifier", {"seed": 1})

Stored: TypeAlias = Callable[[Attack | Prior], Inputs]


class Reversing(Defense):
    """Serves the probabilities in reverse order of the classes: nobody can miss whether it took part."""

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return query.probabilities.flip(1)


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
    """The attack at the budget of a test."""
    return ATTACKS.make(name, ATTACKS.get(name).small(TINY))


def small_prior(name: str) -> Prior:
    """The prior at the budget of a test."""
    return PRIORS.make(name, PRIORS.get(name).small(TINY))


def weights(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """All tensors of several networks."""
    return {f"{role}.{k}": v for role, network in networks.items() for k, v in network.state_dict().items()}


def priors_of(component: Attack | Prior) -> list[Prior]:
    """Its priors, and the priors these start from first."""
    found: list[Prior] = []
    for f in fields(component):
        if isinstance(value := getattr(component, f.name), Prior):
            found += [*priors_of(value), value]
    return found


def fit(prior: Prior, handle: TargetHandle, stored: Stored) -> dict[str, nn.Module]:
    """Its networks, trained on random public images from what it requires with random weights."""
    torch.manual_seed(0)
    networks = prior.networks(RESOLUTION_PX, CLASSES)
    context = FitContext(inputs=stored(prior), public=public_set)
    if isinstance(prior, TargetedPrior):
        prior.fit(networks, public_splits(), handle, context)
    else:
        assert isinstance(prior, PublicPrior)
        prior.fit(networks, public_splits(), context)
    return networks


def public_set() -> Dataset:
    """A public data set that says how its images are made."""
    return DATASETS.make(PUBLIC.component, {"population": "public"})


def public_splits() -> Splits:
    rng = torch.Generator().manual_seed(5)

    def part(n: int) -> Images:
        shape = (n, 3, RESOLUTION_PX, RESOLUTION_PX)
        return Images(torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8), torch.full((n,), -1))

    return Splits(part(8), part(3), part(4), ())


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


@dataclass(frozen=True)
class Searched:
    """One search of every identity, made once for all questions about it. Read it, never change it.

    Args:
        told: positions of the work.
        asked: the highest access level that the search asked the target for; None if it asked nothing.
        queries: images it was charged for.
        seen: images the target answered.
    """

    attack: Attack
    inputs: Inputs
    task: Task
    reconstructions: Reconstructions
    told: list[float]
    asked: AccessLevel | None
    queries: int
    seen: int

    def rows(self, labels: Sequence[int]) -> list[int]:
        """Numbers of the rows of these identities."""
        return [row for label in labels for row in torch.nonzero(self.task.labels == label).flatten().tolist()]


def search_all(name: str, stored: Stored) -> Searched:
    """A search of every identity, in an order in which no label is its position."""
    attack, target, task = small(name), toy_target(), task_of([3, 0, 4, 1, 2])
    inputs, seen = stored(attack), list[int]()
    target.register_forward_hook(lambda module, given, answer: seen.append(len(given[0])))
    handle = Recorder(target, Defense(), AccessLevel.WHITE_BOX)
    with positions() as told:
        found = attack.reconstruct(handle, inputs, task)
    return Searched(attack, inputs, task, found, told, handle.asked, handle.queries, sum(seen))


def check_traces(traces: Traces, task: Task) -> None:
    """Traces have a row for each pair or for each identity, as many points as steps, and finite numbers."""
    rows = list(zip(traces.labels.tolist(), traces.restarts.tolist(), strict=True))
    pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
    assert rows in (pairs, [(label, -1) for label in sorted(set(task.labels.tolist()))])
    assert 0 < len(traces.steps) <= MOST_POINTS and (np.diff(traces.steps) > 0).all()
    assert traces.series.keys() <= set(SERIES)
    for values in traces.series.values():
        assert values.shape == (len(rows), len(traces.steps)) and np.isfinite(values).all()


def toy_target() -> TargetModel:
    """A linear target whose batch norm is set so that images of a random small generator fall into every class."""
    torch.manual_seed(2)
    pixels = 3 * RESOLUTION_PX**2
    norm, head = nn.BatchNorm1d(pixels), nn.Linear(pixels, CLASSES)
    blocks = [("pixels", nn.Sequential(nn.Flatten(), norm))]
    model = TargetModel(blocks, head, feature_dim=pixels, n_classes=CLASSES)
    torch.manual_seed(1)
    networks = WganGp(latent_dim=TINY.latent_dim, width=TINY.width).networks(RESOLUTION_PX, CLASSES)
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        images = networks["generator"].eval()(torch.randn(256, TINY.latent_dim))
        norm.running_mean.copy_(images.flatten(1).mean(0))
        norm.running_var.copy_(images.flatten(1).var(0))
        head.weight.mul_(3)
        head.bias.zero_()
    return model.train()  # whoever attacks it has to put it into eval mode


def storing(folder_for: Callable[[str], Path]) -> Stored:
    """Gives an attack or a prior what it requires with random weights, stored as the stage stores it.

    Args:
        folder_for: a new folder, by the beginning of its name.
    """

    def store(attack: Attack | Prior) -> Inputs:
        def fetch(recipe: Recipe) -> Path:
            folder = folder_for("prior")
            prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
            torch.manual_seed(1)
            networks = prior.networks(RESOLUTION_PX, CLASSES)
            if not weights(networks):  # what it draws comes from elsewhere
                assert isinstance(prior, PublicPrior)
                prior.fit(networks, public_splits(), FitContext(inputs=Inputs({}, fetch), public=public_set))
            prior.store(networks, folder)
            return folder

        return Inputs(attack.requires(target=TARGET, public=PUBLIC), fetch)

    return store


class _OnAToyTarget(Contract):
    """What attacks and priors are asked on."""

    @pytest.fixture(scope="module")
    @classmethod
    def stored_priors(cls, tmp_path_factory: pytest.TempPathFactory) -> Stored:
        """Gives an attack or a prior what it requires with random weights, stored as the stage stores it."""

        return storing(tmp_path_factory.mktemp)

    @pytest.fixture
    def target(self) -> TargetModel:
        """See `toy_target`."""
        return toy_target()


AllSearched: TypeAlias = Callable[[str], Searched]


class AttackContract(_OnAToyTarget):
    """What every attack answers."""

    registry: ClassVar[Registry[Any]] = ATTACKS

    @classmethod
    @override
    def cases(cls) -> Mapping[str, Sequence[Any]]:
        above = [name for name in cls.asked() if ATTACKS.get(name).access > AccessLevel.LABELS]
        return {**super().cases(), "above_labels": above, "labels": [[1], [4, 1]]}

    @pytest.fixture(scope="class")
    @classmethod
    def searched(cls, stored_priors: Stored) -> AllSearched:
        """The search of an attack, see `search_all`."""
        return cache(lambda name: search_all(name, stored_priors))

    def test_says_where_it_comes_from(self, name: str) -> None:
        cls = ATTACKS.get(name)
        assert isinstance(cls.access, AccessLevel)
        assert "20" in cls.paper, f"{name}: paper should name authors and year"
        assert "Source:" in (cls.__doc__ or ""), f"{name}: its docstring should cite its source"

    def test_refuses_an_unknown_field_of_its_prior(self, name: str) -> None:
        for f in fields(ATTACKS.make(name)):
            if isinstance(getattr(ATTACKS.make(name), f.name), Prior):
                with pytest.raises(SpecError, match="no_such_field"):
                    ATTACKS.make(name, {f.name: {"no_such_field": 1}})

    def test_parameters_of_the_prior_are_in_the_key(self, name: str) -> None:
        attack = small(name)
        for f in fields(attack):
            prior = getattr(attack, f.name)
            if not isinstance(prior, Prior):
                continue
            for inner in fields(prior):
                other = replace(attack, **{f.name: changed(PRIORS, prior, inner.name)})
                assert ATTACKS.describe(other) != ATTACKS.describe(attack), f"{f.name}.{inner.name}"
                needed = {role: recipe.key for role, recipe in attack.requires(target=TARGET, public=PUBLIC).items()}
                now = {role: recipe.key for role, recipe in other.requires(target=TARGET, public=PUBLIC).items()}
                assert needed != now, f"{f.name}.{inner.name} is not in the prior's key"

    def test_the_budget_of_a_test_comes_back_from_its_choice(self, name: str) -> None:
        attack = small(name)
        assert ATTACKS.remake(Choice.from_plain(ATTACKS.describe(attack).keyed)) == attack
        assert ATTACKS.describe(attack) != ATTACKS.choose(name), "what it costs is smaller in a small profile"

    def test_requires_what_depends_on_the_target_once_per_target_and_the_rest_once_for_all(self, name: str) -> None:
        attack = small(name)
        mine = attack.requires(target=TARGET, public=PUBLIC)
        other = attack.requires(target=OTHER_TARGET, public=PUBLIC)
        assert bool(mine) == bool(priors_of(attack)) and set(mine) == set(other)
        assert mine == attack.requires(target=TARGET, public=PUBLIC)
        for role, recipe in mine.items():
            depends = TARGET in list(recipe.walk())
            assert (TARGET in recipe.inputs.values()) == (PRIORS.get(recipe.component).asks is not None)
            assert (recipe.key == other[role].key) == (not depends), role

    def test_requires_other_things_for_another_public_set(self, name: str) -> None:
        attack = small(name)
        mine = attack.requires(target=TARGET, public=PUBLIC)
        other = attack.requires(target=TARGET, public=OTHER_PUBLIC)
        assert all(mine[role].key != other[role].key for role in mine)

    def test_uses_exactly_the_access_it_declares(self, name: str, searched: AllSearched) -> None:
        """What a prior asks is what it says: the next test."""
        of_search = searched(name)
        asked = [of_search.asked, *(prior.asks for prior in priors_of(of_search.attack))]
        assert max(level for level in asked if level is not None) == of_search.attack.access

    def test_a_prior_asks_the_target_exactly_what_it_says(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        for prior in priors_of(small(name)):
            handle = Recorder(target, Defense(), AccessLevel.WHITE_BOX)
            fit(prior, handle, stored_priors)
            assert handle.asked == prior.asks and (handle.queries > 0) == (prior.asks is not None)
            assert prior.asks is None or prior.asks <= small(name).access

    def test_fails_below_its_access_level(self, above_labels: str, target: TargetModel, stored_priors: Stored) -> None:
        attack = small(above_labels)
        handle = TargetHandle(target, Defense(), AccessLevel(attack.access - 1))
        with pytest.raises(AccessError):
            for prior in priors_of(attack):
                fit(prior, handle, stored_priors)
            attack.reconstruct(handle, stored_priors(attack), task_of([0, 1]))

    def test_gives_one_image_in_range_for_each_pair(self, name: str, searched: AllSearched) -> None:
        attack, task, found = searched(name).attack, searched(name).task, searched(name).reconstructions
        assert found.images.shape == (10, 3, RESOLUTION_PX, RESOLUTION_PX) and found.images.dtype == torch.float32
        assert found.images.min() >= 0 and found.images.max() <= 1
        assert torch.equal(found.labels, task.labels) and torch.equal(found.restarts, task.restarts)
        assert found.found.shape == (10,) and found.found.dtype == torch.bool
        assert not found.images.requires_grad
        assert len(found.images.flatten(1).unique(dim=0)) == 10, "every (label, restart) has its own reconstruction"
        assert (found.traces is not None) == bool(attack.records), "`records` says what its traces hold"
        if found.traces is not None:
            check_traces(found.traces, task)

    def test_tells_how_far_it_is(self, name: str, searched: AllSearched) -> None:
        told = searched(name).told
        if told or is_ours(ATTACKS.get(name)):
            rises_to_the_end(told)

    def test_through_a_prior_that_knows_traits_it_gives_those_of_each_image(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        """Else no network reads them either: `knows_traits` says that none has to."""
        task = task_of([0, 3])
        for word, held in ATTACKS.exchangeable(name).items():
            for other in (one for one in held.others if held.registry.get(one).knows_traits):
                attack = ATTACKS.make(name, {**ATTACKS.get(name).small(TINY), word: other})
                found = run_attack(attack, target, stored_priors(attack), task)
                assert attack.knows_traits and found.traits is not None, f"return the traits that {other} knows"
                assert len(found.traits) == len(task.labels) and found.traits.isfinite().all()

    def test_repeats_with_the_same_seed_and_not_with_another(
        self, name: str, target: TargetModel, searched: AllSearched
    ) -> None:
        first = searched(name)
        torch.manual_seed(99)  # results do not hang on the global generator
        again = run_attack(first.attack, target, first.inputs, first.task)
        other = run_attack(first.attack, target, first.inputs, task_of([0, 1, 4], seed=4))
        images = first.reconstructions.images
        assert torch.equal(images, again.images) and torch.equal(first.reconstructions.found, again.found)
        same = (images[first.rows([0, 1, 4])] - other.images).abs().amax(dim=(1, 2, 3)) < 1e-6
        assert not same.any() if first.attack.draws else same.all()

    def test_a_search_ruined_by_its_last_step_gives_no_picture(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        """A bound on latents, or a generator that ends in a sigmoid, makes a picture of infinity."""
        attack, task = small(name), task_of([0, 2])
        inputs = stored_priors(attack)
        if steps := steps_of(lambda: run_attack(attack, target, inputs, task)):
            with after_step(steps, torch.inf):
                images = run_attack(attack, target, inputs, task).images
            assert images.isnan().flatten(1).all(dim=1).any(), "infinity in what is searched gave pictures"

    def test_results_do_not_depend_on_the_chunk(
        self, name: str, target: TargetModel, searched: AllSearched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = searched(name)
        for cls in type(whole.attack).__mro__:
            if hasattr(sys.modules[cls.__module__], "CHUNK"):
                monkeypatch.setattr(sys.modules[cls.__module__], "CHUNK", 3)
        pieces = run_attack(whole.attack, target, whole.inputs, whole.task)
        assert torch.allclose(whole.reconstructions.images, pieces.images, atol=1e-5)
        assert torch.equal(whole.reconstructions.found, pieces.found)

    def test_an_identity_does_not_depend_on_who_else_is_attacked(
        self, name: str, labels: list[int], target: TargetModel, searched: AllSearched
    ) -> None:
        all_of_them, rows = searched(name).reconstructions, searched(name).rows(labels)
        some = run_attack(searched(name).attack, target, searched(name).inputs, task_of(labels))
        assert torch.equal(all_of_them.labels[rows], some.labels)
        assert torch.allclose(all_of_them.images[rows], some.images, atol=1e-5)
        assert torch.equal(all_of_them.found[rows], some.found)

    def test_an_identity_out_of_reach_leaves_the_others_and_its_own_guess_alone(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        """The last class is never answered; its guess is still the same whoever else is attacked."""
        with torch.no_grad():
            target.get_parameter("head.bias")[4] = -1e4
        attack = small(name)
        inputs = stored_priors(attack)
        all_of_them = run_attack(attack, target, inputs, task_of([0, 1, 2, 3, 4]))
        some = run_attack(attack, target, inputs, task_of([4, 0]))
        assert torch.allclose(all_of_them.images[[8, 9, 0, 1]], some.images, atol=1e-5)

    def test_leaves_the_target_as_it_was(self, name: str, target: TargetModel, stored_priors: Stored) -> None:
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

    def test_counts_every_image_the_target_sees(self, name: str, searched: AllSearched) -> None:
        queries = searched(name).queries
        assert queries == searched(name).seen
        expected = searched(name).attack.queries(reconstructions=10, identities=5)
        assert queries == expected if expected is not None else queries > 0

    def test_sees_the_defense_of_answers_exactly_below_white_box(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        attack = small(name)
        outcome = []
        for defense in (Defense(), Reversing()):
            handle = TargetHandle(target, defense, attack.access)
            fitted = []
            for prior in priors_of(attack):
                if prior.asks is not None:
                    networks = fit(prior, handle, stored_priors)
                    fitted += [
                        value.flatten().double() for net in networks.values() for value in net.state_dict().values()
                    ]
            found = attack.reconstruct(handle, stored_priors(attack), task_of([0, 1]))
            outcome.append(torch.cat([found.images.flatten().double(), *fitted]))
        is_seen = not torch.allclose(outcome[0], outcome[1], atol=1e-6)
        assert is_seen == (attack.access < AccessLevel.WHITE_BOX)


class PriorContract(_OnAToyTarget):
    """What every prior answers."""

    registry: ClassVar[Registry[Any]] = PRIORS

    def test_comes_back_from_its_recipe(self, name: str) -> None:
        recipe = PRIORS.make(name).recipe(public=PUBLIC, target=TARGET)
        assert PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version)) == PRIORS.make(name)
        assert ("target" in recipe.inputs) == (PRIORS.get(name).asks is not None)
        assert PRIORS.get(name).paper

    def test_every_parameter_is_in_the_key(self, name: str) -> None:
        prior = small_prior(name)
        base = prior.recipe(public=PUBLIC, target=TARGET)
        for f in fields(prior):
            assert changed(PRIORS, prior, f.name).recipe(public=PUBLIC, target=TARGET).key != base.key, f.name

    def test_asks_the_target_exactly_what_it_says(self, name: str, target: TargetModel, stored_priors: Stored) -> None:
        prior = small_prior(name)
        handle = Recorder(target, Defense(), AccessLevel.WHITE_BOX)
        fit(prior, handle, stored_priors)
        assert handle.asked == prior.asks and (handle.queries > 0) == (prior.asks is not None)

    def test_tells_how_far_it_is(self, name: str, target: TargetModel, stored_priors: Stored) -> None:
        handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
        with positions() as told:
            taken = steps_of(lambda: fit(small_prior(name), handle, stored_priors))
        if told or (taken and is_ours(PRIORS.get(name))):  # without steps of an optimizer it takes no time
            rises_to_the_end(told)

    def test_the_target_answers_in_eval_mode_and_stays_as_it_was(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        """In train mode its answers hang on the batch, and its running statistics drift."""
        seen: list[bool] = []
        target.register_forward_hook(
            lambda module, given, answer: seen.append(any(m.training for m in module.modules()))
        )
        before = {key: value.clone() for key, value in target.state_dict().items()}
        prior = small_prior(name)
        fit(prior, TargetHandle(target, Defense(), AccessLevel.WHITE_BOX), stored_priors)
        assert bool(seen) == (prior.asks is not None) and not any(seen)
        assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())

    def test_the_same_seeds_train_the_same_networks_and_training_changes_them(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
        first, again = (weights(fit(small_prior(name), handle, stored_priors)) for _ in range(2))
        torch.manual_seed(0)
        fresh = weights(small_prior(name).networks(RESOLUTION_PX, CLASSES))
        assert first.keys() == again.keys() == fresh.keys()
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert not first or any(not torch.equal(first[key], fresh[key]) for key in first)

    def test_weights_ruined_by_the_last_step_are_no_success(
        self, name: str, target: TargetModel, stored_priors: Stored
    ) -> None:
        """No loss is computed after the last step, so nothing else would tell."""
        handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)

        def train() -> None:
            check_weights(weights(fit(small_prior(name), handle, stored_priors)))  # as before it is stored

        if steps := steps_of(train):
            with after_step(steps, torch.nan), pytest.raises(TrainingDiverged, match=r"not finite|became nan"):
                train()


def steps_of(run: Callable[[], object]) -> int:
    """How often any optimizer steps in this run."""
    seen: list[None] = []
    hook = register_optimizer_step_post_hook(lambda *_: seen.append(None))
    try:
        run()
    finally:
        hook.remove()
    return len(seen)


@contextmanager
def after_step(number: int, value: float) -> Iterator[None]:
    """After so many steps of any optimizer, the first tensor that it moves holds this value only."""
    left = number

    def ruin(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            with torch.no_grad():
                optimizer.param_groups[0]["params"][0].fill_(value)

    hook = register_optimizer_step_post_hook(ruin)
    try:
        yield
    finally:
        hook.remove()
