"""Every component's work in a cell, tiny and fixed: what `hot_loops.py --before` times in two checkouts.

Nothing here is keyed by a name: registries say what there is, so a new component is timed from its first day. Run as a
script it serves one checkout: a line of JSON asks for a stage, a line of JSON answers with its CPU seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import midef
from midef.attacks import ATTACKS, PRIORS, AccessLevel, SmallBudget
from midef.core import Recipe
from midef.core.recipe import Inputs
from midef.core.setup import Protocol, Setup
from midef.datasets import DATASETS
from midef.defenses import DEFENSES
from midef.metrics import METRICS, standard_metrics
from midef.models import ARCHITECTURES
from midef.stages import BuildContext, StudentPlan, build, ensure, problems_as_target, recipes_for_cell
from midef.stages.handle import handle_of, served_scores
from midef.stages.recipes import NO_DEFENSE, split_recipe, target_recipe
from midef.stages.scores import measure
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target
from midef.storage import Store
from midef.testing.metrics import evidence
from midef.testing.trainings import made, network_of, written
from midef.training import TrainingRecipe

try:
    from midef.stages.heap import freed_memory_kept
except ImportError:  # a checkout from before it
    freed_memory_kept = nullcontext

PX, ASKED = 32, 512
PEOPLE = {"name": "synthetic_faces", "identities": 16, "train_images": 8, "select_images": 1, "report_images": 2}
PUBLIC_PEOPLE = {**PEOPLE, "population": "public", "identities": 32}
BUDGET = SmallBudget(
    search=20, steps=12, epochs=2, inverter_width=16, latent_dim=32, public_steps=12, width=16, batch_size=32
)
TRAINING = TrainingRecipe(epochs=4, batch_size=32, learning_rate=0.02)
PROTOCOL = Protocol(identities=8, images_per_identity=1, evaluator_resolution_px=PX)
ASKS_MORE = ("asks_network", "changes", "students", "needs_traits", "compares_answers")
"""Facts of a metric that more than the reconstructions have to be judged for it."""


@dataclass(frozen=True)
class Stage:
    """Work of one component.

    Args:
        group: what it belongs to, such as `attack`.
        recipe: of what is built in the n-th run; None where nothing is.
        work: otherwise what is done: given the context, it prepares the work and returns it.
    """

    group: str
    recipe: Callable[[int], Recipe] | None = None
    work: Callable[[BuildContext], Callable[[], object]] | None = None


def stages() -> dict[str, Stage]:
    """Every stage by its name, in the order in which they need each other."""
    found: dict[str, Stage] = {}
    for part in (_attacks, _priors, _defenses, _architectures, _scores, _metrics):
        for name, stage in part():
            found.setdefault(name, stage)
    return found


def _private() -> Recipe:
    return split_recipe(DATASETS.choose(PEOPLE), PX)


def _public() -> Recipe:
    return split_recipe(DATASETS.choose(PUBLIC_PEOPLE), PX)


def _cell(attack: str, *, run: int = 0, seed: int = 0, metrics: tuple[str, ...] | None = None) -> Any:
    """Recipes of a cell; every run has an evaluator of its own."""
    setup = Setup(
        id="timed",
        attack=ATTACKS.choose({"name": attack, **ATTACKS.get(attack).small(BUDGET)}),
        architecture=network_of(NO_DEFENSE.name),
        evaluator=network_of(NO_DEFENSE.name),
        private=DATASETS.choose(PEOPLE),
        public=DATASETS.choose(PUBLIC_PEOPLE),
        resolution_px=PX,
        protocol=PROTOCOL,
    )
    return recipes_for_cell(
        setup,
        NO_DEFENSE,
        seed,
        training=TRAINING,
        evaluator_training=TrainingRecipe(epochs=1, batch_size=32, learning_rate=0.02 / (1 + run)),
        metrics=metrics,
        regressor_images=256,
        student=StudentPlan(architecture=network_of(NO_DEFENSE.name), weights=None, epochs=1),
    )


def _fixed(group: str, recipe: Recipe) -> Stage:
    return Stage(group, recipe=lambda run: recipe)


def _attacks() -> Iterator[tuple[str, Stage]]:
    for name in ATTACKS.names():
        yield f"attack {name}", _fixed("attack", _cell(name).reconstructions)


def _priors() -> Iterator[tuple[str, Stage]]:
    target = _cell(ATTACKS.names()[0]).target
    for name in ATTACKS.names():
        for recipe in _cell(name).reconstructions.walk():
            if recipe.kind in ("prior", "surrogate", "inverter"):
                yield f"prior {recipe.component}", _fixed("prior", recipe)
    for name in PRIORS.names():
        prior = PRIORS.make(name, PRIORS.get(name).small(BUDGET))
        yield f"prior {name}", _fixed("prior", prior.recipe(public=_public(), target=target))


def _target(defense: str) -> Recipe:
    return target_recipe(_private(), network_of(defense), written(defense), TRAINING, seed=0, public=_public())


def _defenses() -> Iterator[tuple[str, Stage]]:
    for name in DEFENSES.names():
        target = _target(name)
        for recipe in target.walk():
            if recipe.kind == "substitute":
                yield f"substitute of {name}", _fixed("defense", recipe)
        yield f"training {name}", _fixed("defense", target)
        if made(name).changes_answers:
            yield f"answers {name}", Stage("answers", work=lambda context, name=name: _answers(_target(name), context))


def _answers(recipe: Recipe, context: BuildContext) -> Callable[[], object]:
    folder, spec = ensure(recipe, context), TargetSpec.of(recipe)
    handle = handle_of(spec, load_target(spec, folder, context, PEOPLE["identities"]), AccessLevel.SCORES, context)  # type: ignore[arg-type]
    images = torch.rand(ASKED, 3, PX, PX, generator=torch.Generator().manual_seed(0))
    return lambda: served_scores(handle, images, seed=0, at_once=256)


def _architectures() -> Iterator[tuple[str, Stage]]:
    for name in ARCHITECTURES.names():
        choice = ARCHITECTURES.choose(name)
        if not ARCHITECTURES.get(name).is_small or problems_as_target(choice):
            continue
        px = next(px for px in (PX, 64, 112, 224) if not ARCHITECTURES.make(name).problems(px))
        private = split_recipe(DATASETS.choose(PEOPLE), px)
        training = TrainingRecipe(epochs=1, batch_size=32, learning_rate=0.02)
        recipe = target_recipe(private, choice, NO_DEFENSE, training, seed=0)
        yield f"architecture {name}", _fixed("architecture", recipe)


def _scores() -> Iterator[tuple[str, Stage]]:
    attack = next(name for name in ATTACKS.names() if ATTACKS.get(name).access == AccessLevel.WHITE_BOX)
    scored = next(name for name in ATTACKS.names() if ATTACKS.get(name).access == AccessLevel.SCORES)
    yield "evaluator training", _fixed("evaluate", _cell(attack).evaluator)
    yield "scores, first cell of an evaluator", Stage("evaluate", recipe=lambda run: _cell(attack, run=run).scores)
    yield "scores, its next cell", _fixed("evaluate", _cell(attack, seed=1).scores)
    for name in METRICS.names():
        metric = METRICS.get(name)
        if name in standard_metrics() or metric.extractors:
            continue
        cell = _cell(scored if metric.compares_answers else attack, metrics=(name,))
        for recipe in cell.scores.walk():
            if recipe.kind in ("regressor", "student"):
                yield f"{recipe.kind} {recipe.component}", _fixed("evaluate", recipe)
        if any(getattr(metric, fact, False) for fact in ASKS_MORE):
            yield f"scores of {name} alone", _fixed("evaluate", cell.scores)


def _metrics() -> Iterator[tuple[str, Stage]]:
    given = evidence(n=512, n_report=512, classes=16, dim=64)
    for name in METRICS.names():
        yield f"metric {name}", Stage("metric", work=lambda context, name=name: lambda: measure([name], given))


class Served:
    """The stages of the checkout whose `midef` this process has imported.

    Args:
        folder: of the store that both checkouts share.
    """

    def __init__(self, folder: Path) -> None:
        self.context = BuildContext(store=Store.open(folder))
        self.stages = stages()

    def keys(self) -> dict[str, str]:
        """What each stage makes: its key; stages of two checkouts with another key do other work."""
        return {name: "" if stage.recipe is None else str(stage.recipe(0).key) for name, stage in self.stages.items()}

    def seconds(self, name: str, run: int, repeats: int, kept: Path | None) -> float:
        """CPU seconds of a stage in its n-th run, done several times; what it starts from is made before.

        Args:
            kept: folder for a copy of what it made; None keeps nothing.
        """
        stage = self.stages[name]
        if stage.work is not None:
            with build.torch_settings(1), freed_memory_kept():
                return _seconds_of(stage.work(self.context), repeats, kept)
        assert stage.recipe is not None, f"{name} neither builds nor does anything"
        return sum(self._build(stage.recipe(run * repeats + i), kept) for i in range(repeats))

    def _build(self, recipe: Recipe, kept: Path | None) -> float:
        for needed in recipe.inputs.values():
            ensure(needed, self.context)
        begun = time.process_time()
        build.build_recipe(recipe, self.context, publish=False)
        spent = time.process_time() - begun
        if kept is not None:  # once more, where what it writes can be looked at
            inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, self.context))
            kept.mkdir(parents=True)
            with build.torch_settings(1):
                import_module(build._BUILDERS[recipe.kind]).build(recipe, inputs, self.context, kept)
        return spent


def _seconds_of(work: Callable[[], object], repeats: int, kept: Path | None) -> float:
    begun = time.process_time()
    for _ in range(repeats):
        made = work()
    spent = time.process_time() - begun
    if kept is not None:
        kept.mkdir(parents=True)
        if isinstance(made, torch.Tensor):
            save_file({"answers": made.contiguous()}, kept / "answers.safetensors")
        else:
            (kept / "measurements.json").write_text(json.dumps(made))
    return spent


def main() -> None:
    """Answer questions, a line of JSON each: `{}` for the stages, else the arguments of `Served.seconds`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a stage prints is no answer
    torch.set_num_threads(1)
    served = Served(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        try:
            if asked:
                kept = asked["kept"] and Path(asked["kept"])
                answer = {"s": served.seconds(asked["name"], asked["run"], asked["repeats"], kept)}
            else:
                groups = {name: stage.group for name, stage in served.stages.items()}
                answer = {"keys": served.keys(), "groups": groups, "midef": str(Path(midef.__file__).parent)}
        except Exception as error:  # noqa: BLE001 (any failure of a stage is a row of the table, with its reason)
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
