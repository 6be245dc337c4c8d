"""How the targets and evaluators of a run are trained: in the node's own process, or by workers of Ray Train.

`train_workers: auto` is decided here, once per run, from what its Ray has and what the plan holds. The decision never
changes what is learned: several workers share a training only where they learn what one learns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from midef.core.choice import Choice
from midef.core.errors import MidefError
from midef.core.recipe import ArtifactKey, Recipe
from midef.defenses import PHASE_ONE, Defense
from midef.defenses.stack import remake_defense
from midef.models import ARCHITECTURES
from midef.stages.recipes import CLASSIFIER, NO_DEFENSE
from midef.sweep.planning.estimate import Estimates
from midef.sweep.planning.gpu_shares import GpuShares
from midef.sweep.planning.width import width
from midef.sweep.spec.profiles import TRAINED, Profile

IMAGES_EACH = 8
"""Images of a batch that each of several workers gets at least. With fewer, a GPU mostly waits for the others."""
FULL_BATCHES = 4
"""Batches of an epoch from which on several workers share them: then none is smaller than planned."""
OWN = "in the node's own process"


@dataclass(frozen=True, kw_only=True)
class Facilities:
    """What a run's Ray has, as far as it decides how trainings run.

    Args:
        gpus: there are, or can be.
        is_joined: it ran before this run and stays; otherwise it was started here for this run alone.
        are_alike: all GPUs are of one kind, so that they draw the same random numbers.
        lacks: why Ray Train cannot be relied on there; "" if it can.
    """

    gpus: float = 0.0
    is_joined: bool = False
    are_alike: bool = True
    lacks: str = ""


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """How the trainings of a run are done.

    Args:
        workers: most processes of Ray Train, by kind of artifact; 0 trains in the node's own process.
        ordered: kinds whose number is written in the specification or the profile: every node gets it.
        on_gpu: kinds whose workers have a GPU each.
        shares: of a GPU that a node holds itself, where there are GPUs.
        gpus: there are, or can be.
        lacks: why Ray Train is not used although it would be.
        most: processes that may share a training; asked only where several could.
    """

    workers: Mapping[str, int] = field(default_factory=dict)
    ordered: Collection[str] = ()
    on_gpu: Collection[str] = ()
    shares: GpuShares = field(default_factory=GpuShares)
    gpus: float = 0.0
    lacks: str = ""
    most: Callable[[Recipe], int] = field(default=lambda recipe: 1, repr=False, compare=False)
    _known: dict[ArtifactKey, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def workers_of(self, recipe: Recipe) -> int:
        """Processes of Ray Train that train this artifact; 0 if the node's own process makes it."""
        workers = self.workers.get(recipe.kind, 0)
        if not is_trained(recipe):
            return 0
        if workers <= 1 or recipe.kind in self.ordered:
            return 0 if self._trains_on_a_part(recipe) else workers
        if recipe.key not in self._known:
            self._known[recipe.key] = min(workers, self.most(recipe))
        return self._known[recipe.key]

    def _trains_on_a_part(self, recipe: Recipe) -> bool:
        """Whether a worker would waste its whole GPU: the node's own process learns the same on a part of one."""
        would = self.workers.get(recipe.kind, 0) == 1 and recipe.kind in self.on_gpu and recipe.kind not in self.ordered
        return would and self.shares.is_measured(recipe)

    def gpus_of(self, recipe: Recipe) -> float:
        """GPUs that the node of this artifact holds: one for each of its workers, or its own share."""
        workers = self.workers_of(recipe)
        if workers:
            return float(workers) if recipe.kind in self.on_gpu else 0.0
        return self.shares.of(recipe)

    def use_ray(self, kinds: Iterable[str] = TRAINED) -> bool:
        """Whether artifacts of these kinds are trained through Ray Train."""
        return any(self.workers.get(kind, 0) for kind in kinds)

    def text(self, recipes: Iterable[Recipe]) -> str:
        """One line that says how those of these artifacts are trained that are; "" if none is."""
        trained = [recipe for recipe in recipes if is_trained(recipe)]
        said = _by_way(trained, self._way)
        parts = [recipe for recipe in trained if self._trains_on_a_part(recipe)]
        fewer = sum(self.workers_of(recipe) < self.workers.get(recipe.kind, 0) for recipe in trained) - len(parts)
        if fewer:
            why = "as many would learn something else, or get too few images each"
            said += f"; {fewer} of {len(trained)} by fewer: {why}"
        if parts:
            said += f"; {len(parts)} of {len(trained)} {OWN}, on a part of a GPU"
        said += _said_of_draws(trained, {kind: self.workers[kind] for kind in self.ordered})
        return f"{said} ({self.lacks})" if said and self.lacks else said

    def _way(self, kind: str) -> str:
        workers = self.workers.get(kind, 0)
        if not workers:
            return OWN
        where = f" on {self.gpus:g} GPUs" if kind in self.on_gpu and self.gpus > 1 else ""
        return f"through Ray Train, {'one worker' if workers == 1 else f'{workers} workers'} each{where}"


def expected_text(profile: Profile, recipes: Iterable[Recipe]) -> str:
    """The same line before a Ray is known, with what it depends on."""

    def way(kind: str) -> str:
        workers = profile.ordered_workers(kind)
        if workers is None:
            on_gpus = ", or has GPUs" if profile.gpus.get(kind) else ""
            return f"{OWN}, or through Ray Train if the run joins a cluster{on_gpus}"
        return Trainings(workers={kind: workers})._way(kind)

    trained = [recipe for recipe in recipes if is_trained(recipe)]
    return _by_way(trained, way) + _said_of_draws(trained, {kind: profile.ordered_workers(kind) for kind in TRAINED})


def _said_of_draws(trained: Sequence[Recipe], ordered: Mapping[str, int | None]) -> str:
    """What an order changes of these artifacts, whose keys it does not change; "" if nothing.

    Args:
        ordered: workers by kind, where a number is written.
    """
    drawing = sum((ordered.get(recipe.kind) or 0) > 1 and _draws(recipe) for recipe in trained)
    if not drawing:
        return ""
    has = "has" if drawing == 1 else "have"
    return (
        f"; {drawing} of {len(trained)} {has} layers or a loss that draw: several workers learn something else than one"
    )


def _by_way(trained: Sequence[Recipe], way: Callable[[str], str]) -> str:
    """Kinds of these artifacts and the way each is trained; those of one way together."""
    ways: dict[str, list[str]] = defaultdict(list)
    for kind in TRAINED:
        if any(recipe.kind == kind for recipe in trained):
            ways[way(kind)].append(f"{kind}s")
    return "; ".join(f"{' and '.join(kinds)} train {how}" for how, kinds in ways.items())


def choose_trainings(
    profile: Profile,
    recipes: Sequence[Recipe],
    facilities: Facilities,
    estimates: Estimates,
    measured: GpuShares | None = None,
) -> Trainings:
    """Decide how the targets and evaluators of a run are trained.

    A number in the profile is an order. `auto` trains through Ray Train on a Ray that was joined, and where there are
    GPUs of which the profile gives such a node one: with as many workers as keep GPUs at work that would idle, because
    fewer nodes can ever run at once.

    Args:
        recipes: artifacts that the run builds.
        estimates: know how many images and identities a data set has.
        measured: shares of a GPU; None for the profile's.
    """
    gpus = facilities.gpus
    shares = profile.gpus if gpus else {}
    workers: dict[str, int] = {}
    ordered, on_gpu = set[str](), set[str]()
    lacks = ""
    for kind in TRAINED:
        written = profile.ordered_workers(kind)
        if written is not None:
            workers[kind] = written
            ordered.add(kind)
            on_gpu |= {kind} if written and gpus else set()
        elif facilities.is_joined or shares.get(kind):
            lacks = facilities.lacks
            workers[kind] = 0 if lacks else 1
            on_gpu |= {kind} if shares.get(kind) and not lacks else set()
    chosen = Trainings(
        workers=workers,
        ordered=frozenset(ordered),
        on_gpu=frozenset(on_gpu),
        shares=measured if measured is not None and gpus else GpuShares(by_kind=shares),
        gpus=gpus,
        lacks=lacks,
        most=partial(most_workers, estimates=estimates),
    )
    free = on_gpu - ordered
    if not free or not facilities.are_alike:
        return chosen
    return replace(chosen, workers=workers | dict.fromkeys(free, _widest(chosen, free, recipes)))


def _widest(trainings: Trainings, free: Collection[str], recipes: Sequence[Recipe]) -> int:
    """Largest number of workers with which all that can ever run at once still has its GPUs; at least 1.

    Args:
        trainings: with one worker for each artifact of the kinds that are free.
    """
    gpus = trainings.gpus
    keys = {recipe.key for recipe in recipes}
    needs = {recipe.key: {other.key for other in recipe.inputs.values()} & keys for recipe in recipes}
    held = {recipe.key: trainings.gpus_of(recipe) for recipe in recipes}
    if _on_one_level(recipes, held) > gpus:  # a plan may be large, and this is told at once
        return 1
    most = {recipe.key: trainings.most(recipe) for recipe in recipes if recipe.kind in free and is_trained(recipe)}

    def needed(workers: int) -> float:
        return width(needs, held | {key: float(min(workers, one)) for key, one in most.items()})

    candidates = range(1, 1 + min(int(gpus), max(most.values(), default=1)))
    return max(1, bisect_right(candidates, gpus, key=needed))


def _on_one_level(recipes: Sequence[Recipe], held: Mapping[ArtifactKey, float]) -> float:
    """Most that is held by artifacts as many steps after the first ones: none of them waits for another."""
    level: dict[ArtifactKey, int] = {}
    sums: dict[int, float] = defaultdict(float)
    for recipe in recipes:  # inputs before what needs them
        level[recipe.key] = 1 + max((level.get(other.key, 0) for other in recipe.inputs.values()), default=0)
        sums[level[recipe.key]] += held[recipe.key]
    return max(sums.values(), default=0.0)


# ---------------------------------------------------------------------------------------------- facts of a recipe


def is_trained(recipe: Recipe) -> bool:
    """Whether this is a target or evaluator that is trained; published weights are read, heads of judges are fitted."""
    return recipe.kind in TRAINED and recipe.component == CLASSIFIER


def most_workers(recipe: Recipe, estimates: Estimates) -> int:
    """Processes that may share a training because they learn what one learns; 1 if only one does.

    Args:
        recipe: of a target or evaluator that is trained.
    """
    try:
        defense = _defense_of(recipe)
    except MidefError:  # a component that this machine lacks
        return 1
    if _draws(recipe) or any("training_state" in part.owned_slots() for part in defense.parts()):
        return 1
    if any(type(part).images_of_epoch is not Defense.images_of_epoch for part in defense.parts()):
        return 1  # how many images it leaves is not known here
    planned, private = recipe.params["training"], recipe.inputs["private"]
    learned = {**planned, **defense.training_overrides(planned)}
    if learned.get("compiled"):
        return 1
    batch = int(learned["batch_size"])
    sizes = estimates.counted(private)
    if sizes is None or FULL_BATCHES * batch > sizes.train:
        return 1
    if each := defense.images_per_identity:
        batch = each * min(batch // each, estimates.identities(private))
    return max(1, batch // IMAGES_EACH)


def _draws(recipe: Recipe) -> bool:
    """Whether a training draws in layers or in the loss: each process would draw other numbers."""
    try:
        if ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"])).facts().draws:
            return True
        phase: Recipe | None = recipe
        while phase is not None:  # the network of a first phase has the surgery of its defense
            if _defense_of(phase).draws_in_layers():
                return True
            phase = phase.inputs.get(PHASE_ONE)
    except MidefError:  # a component that this machine lacks
        return True
    return False


def _defense_of(recipe: Recipe) -> Defense:
    params = recipe.params
    return remake_defense(Choice.from_plain(params["defense"]) if "defense" in params else NO_DEFENSE)
