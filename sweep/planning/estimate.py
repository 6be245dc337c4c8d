"""Estimated seconds of work that was never timed: images that pass through networks, times operations of an image.

From facts that every component has (steps, epochs, images, resolution, operations of a network) and rates measured on
one machine, scaled by the speed of this one. About right within a factor of 2 or 3; what runs soon tells better.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any, NamedTuple, cast

from midef.attacks import ATTACKS, PRIORS, AccessLevel, Attack, Prior
from midef.core.choice import Choice
from midef.core.errors import MidefError
from midef.core.recipe import Recipe
from midef.datasets import DATASETS, Dataset
from midef.defenses import DEFENSES
from midef.metrics.extractors import EXTRACTORS
from midef.models import ARCHITECTURES
from midef.stages.recipes import FITTED_HEAD, PUBLISHED, SERVED
from midef.sweep.planning.alike import Alike

log = logging.getLogger(__name__)

# CPU seconds of one core of an Intel Xeon (2.5 GHz, AVX-512), torch 2.14, tiny networks at 32 px, measured by
# `python benchmarks/unit_costs.py`.
NODE_S = 0.3
"""Of any node: reading what it needs, warming up."""
TRAINING_S = 1.5
"""Of any training of a classifier: the first step, imports."""
SEEN_S = 0.030
"""Of a billion operations."""
LEARNED, SEARCHED = 3.0, 2.0
"""Forward passes that a training step takes as long as, and a step of a search, whose networks are frozen."""
DRAWN_GFLOP = 0.0067
"""Billion operations that handling an image in a search takes as long as, beside its networks."""
RENDERED_S = 0.0006 / 1024
"""Of a pixel of a data set that is read or drawn."""
PUBLIC_PRIOR_S, TARGETED_PRIOR_S = 0.0018 / 1024, 0.0045 / 1024
"""Of a pixel of an image that a prior learns in steps: alone, and against a target."""
FITTED_PRIOR_S = 0.0005 / 1024
"""Of a pixel of an image that a surrogate, or a network trained in epochs, learns."""
READ_TRAITS_S = 0.0011 / 1024
"""Of a pixel of an image that is drawn for a trait regressor, and learned."""
USUAL_WIDTH = 16
"""Channels of the networks of priors behind these rates; wider ones take longer."""
REFERENCE_LOOP_S = 0.006
"""Of `_loop` on that machine."""
GPU_SPEED = 60.0
"""Of a GPU, where that core is 1."""
UNUSUAL_S = 10.0
"""Of work about which nothing is known."""
UNKNOWN_IMAGES = 10_000
"""Images of a data set whose size cannot be read here."""


class Sizes(NamedTuple):
    """Number of images in the splits of a data set."""

    train: int
    select: int
    report: int

    @property
    def all(self) -> int:
        return sum(self)


class Work(NamedTuple):
    """Work of a node.

    Args:
        gflop: billion operations, forward; what also goes back counts as several passes.
        other_s: seconds of one core that no GPU makes fewer.
    """

    gflop: float = 0.0
    other_s: float = 0.0


UNUSUAL = Work(other_s=UNUSUAL_S)


class Estimates:
    """Estimated seconds of recipes.

    Args:
        locations: digest of a split recipe -> fields that say where its files lie.
        cpus: threads of a node.
    """

    def __init__(self, locations: Mapping[str, Mapping[str, Any]], *, cpus: int = 1) -> None:
        self.locations = locations
        self.speed = slowness() / float(max(1, cpus) ** 0.7)  # threads share work of small networks badly
        self._counted: dict[Recipe, Sizes | None] = {}
        self._made: dict[int, tuple[Any, Any]] = {}
        self._alike = Alike()
        self._works: dict[int, Work] = {}

    def seconds(self, recipe: Recipe) -> float:
        """About how long a node with this recipe takes, without a GPU."""
        work = self.work(recipe)
        return NODE_S + (SEEN_S * work.gflop + work.other_s) * self.speed

    def work(self, recipe: Recipe) -> Work:
        """Operations of a node with this recipe, and seconds of what no device makes faster; the same for all seeds."""
        group = self.group(recipe)
        known = self._works.get(group)
        if known is None:
            known = self._works[group] = self._work(recipe)
        return known

    def group(self, recipe: Recipe) -> int:
        """Number of the recipes that differ from this one in nothing but seeds."""
        return self._alike.group(recipe)

    def _work(self, recipe: Recipe) -> Work:
        try:
            work = _RULES[recipe.kind](self, recipe)
        except Exception as error:  # noqa: BLE001  # components of other packages say how much they do: no plan ends here
            log.debug("%s is not estimated: %r", recipe.component, error)
            return UNUSUAL
        try:
            work = Work(float(work.gflop), float(work.other_s))
        except (OverflowError, TypeError, ValueError):
            work = Work(math.nan)
        if not all(math.isfinite(part) and part >= 0 for part in work):
            log.debug("%s is not estimated: %s", recipe.component, work)
            return UNUSUAL
        return work

    def split(self, recipe: Recipe) -> Work:
        return Work(other_s=RENDERED_S * self.sizes(recipe).all * _px(recipe) ** 2)

    def training(self, recipe: Recipe) -> Work:
        if recipe.component in (PUBLISHED, SERVED):
            return Work(other_s=1.0)
        params, private = recipe.params, recipe.inputs["private"]
        sizes, gflop = self.sizes(private), self.gflop(recipe)
        if recipe.component == FITTED_HEAD:
            return Work(gflop * (2 * sizes.train + sizes.select + sizes.report))
        epochs = int(params["training"]["epochs"])
        learned = LEARNED * epochs * sizes.train * training_work(str(params.get("defense", {}).get("name", "")))
        return Work(gflop * (learned + epochs * sizes.select + sizes.train + sizes.report), TRAINING_S)

    def prior(self, recipe: Recipe) -> Work:
        prior = self._remade(recipe.params["params"], lambda: _prior_of(recipe))
        if prior is None:
            return UNUSUAL
        public = recipe.inputs.get("public")
        if public is None:  # others trained it
            return Work(other_s=1.0)
        images = prior.images_trained_on(self.sizes(public).all)
        if gflop := prior.learned_gflop(_px(public)):
            return Work(LEARNED * images * gflop)
        rate = PUBLIC_PRIOR_S if prior.asks is None else TARGETED_PRIOR_S
        if recipe.kind == "surrogate" or hasattr(prior, "epochs"):
            rate = FITTED_PRIOR_S
        wider = max(1.0, float(getattr(prior, "width", 0)) / USUAL_WIDTH) ** 1.5
        return Work(rate * _px(public) ** 2 * images * wider / SEEN_S)

    def substitute(self, recipe: Recipe) -> Work:
        public, params = recipe.inputs["public"], recipe.params
        images = int(params.get("epochs", 1)) * self.sizes(public).all
        wider = max(1.0, float(params.get("width", 0)) / USUAL_WIDTH) ** 1.5
        return Work(FITTED_PRIOR_S * _px(public) ** 2 * images * wider / SEEN_S)

    def regressor(self, recipe: Recipe) -> Work:
        return Work(READ_TRAITS_S * int(recipe.params["images"]) * _px(recipe) ** 2 / SEEN_S)

    def extractor(self, recipe: Recipe) -> Work:
        return Work(other_s=1.0)

    def student(self, recipe: Recipe) -> Work:
        made = recipe.inputs["reconstructions"]
        images = int(made.params["identities"] * made.params["images_per_identity"])
        network = self._remade(
            recipe.params["architecture"],
            lambda: ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"])),
        )
        gflop = 0.0 if network is None else float(network.gflop(_px(made.inputs["private"])))
        return Work(LEARNED * int(recipe.params["training"]["epochs"]) * images * gflop, TRAINING_S)

    def attack(self, recipe: Recipe) -> Work:
        params = recipe.params
        attack = self._remade(params["attack"], lambda: _attack_of(recipe))
        if attack is None:
            return UNUSUAL
        identities, each = params["identities"], params["images_per_identity"]
        images = attack.images_drawn(reconstructions=identities * each, identities=identities)
        prior = getattr(attack, "prior", None)
        drawing = prior.gflop(_px(recipe.inputs["private"])) if isinstance(prior, Prior) else 0.0
        passes = SEARCHED if attack.access >= AccessLevel.WHITE_BOX else 1.0
        return Work(float(images) * (DRAWN_GFLOP + passes * (self.gflop(recipe.inputs["target"]) + drawing)))

    def scores(self, recipe: Recipe) -> Work:
        made = recipe.inputs["reconstructions"].params
        sizes = self.sizes(recipe.inputs["private"])
        judged = sizes.all + sizes.report + int(made["identities"] * made["images_per_identity"])
        target, evaluator = self.gflop(recipe.inputs["target"]), self.gflop(recipe.inputs["evaluator"])
        read = sum(EXTRACTORS.get(name).gflop for name in recipe.params.get("extractors", ()))
        return Work(judged * evaluator + sizes.report * target + (judged - sizes.report) * read)

    def sizes(self, split: Recipe) -> Sizes:
        """Images in the splits of a data set; guessed where it cannot be read here."""
        return self.counted(split) or self._published(split)

    def _published(self, split: Recipe) -> Sizes:
        """Images of the published splits; guessed where they are not known."""
        try:
            counts = self._data_set(split).published_sizes()
        except MidefError:
            counts = {}
        if not counts:
            return Sizes(UNKNOWN_IMAGES * 8 // 10, UNKNOWN_IMAGES // 10, UNKNOWN_IMAGES // 10)
        return Sizes(*(counts.get(name, 0) for name in Sizes._fields))

    def counted(self, split: Recipe) -> Sizes | None:
        """Images in the splits of a data set; None where it cannot be read here, or does not say."""
        if split not in self._counted:
            try:
                counts = self._data_set(split).sizes()
            except (MidefError, OSError):
                counts = {}
            self._counted[split] = Sizes(*(counts.get(name, 0) for name in Sizes._fields)) if counts else None
        return self._counted[split]

    def identities(self, split: Recipe) -> int:
        """Identities of a data set; 0 where it cannot be read here."""
        try:
            return self._data_set(split).n_identities()
        except (MidefError, OSError):
            return 0

    def _data_set(self, split: Recipe) -> Dataset:
        params = {k: v for k, v in split.params["params"].items() if k != "fingerprint"}
        places = self.locations.get(split.key.digest) or dict.fromkeys(_required_places(split.component), "")
        return DATASETS.make(split.component, {**params, **places})

    def gflop(self, target: Recipe) -> float:
        """Billion operations for an image of a target or evaluator."""
        if target.component == PUBLISHED:
            return 0.0
        architecture = target.params["architecture"]
        made = self._remade(architecture, lambda: ARCHITECTURES.remake(Choice.from_plain(architecture)))
        return 0.0 if made is None else float(made.gflop(_px(target.inputs["private"])))

    def _remade(self, params: Any, make: Callable[[], Any]) -> Any:
        """The component of these parameters, made once: nodes share them. None where this machine lacks it."""
        known = self._made.get(id(params))
        if known is None:
            try:
                made = make()
            except MidefError:
                made = None
            known = self._made[id(params)] = (params, made)  # the parameters are kept, or another's could get the id
        return known[1]


_RULES: dict[str, Callable[[Estimates, Recipe], Work]] = {
    "split": Estimates.split,
    **dict.fromkeys(("target", "evaluator"), Estimates.training),
    **dict.fromkeys(("prior", "surrogate", "inverter"), Estimates.prior),
    "substitute": Estimates.substitute,
    "regressor": Estimates.regressor,
    "extractor": Estimates.extractor,
    "student": Estimates.student,
    "reconstructions": Estimates.attack,
    "scores": Estimates.scores,
}


def _required_places(name: str) -> list[str]:
    """Fields of a data set that have to say where its files lie."""
    if name not in DATASETS.names():
        return []
    known = fields(cast(Any, DATASETS.get(name)))
    return [f.name for f in known if f.metadata.get("location") and f.default is MISSING]


def _px(split: Recipe) -> int:
    return int(split.params["resolution_px"])


def _prior_of(recipe: Recipe) -> Prior:
    return PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))


def _attack_of(recipe: Recipe) -> Attack:
    return ATTACKS.remake(Choice.from_plain(recipe.params["attack"]))


@lru_cache(maxsize=1024)
def training_work(defense: str) -> float:
    """Of a training step under a defense, or under several that are combined; an undefended one is 1."""
    work = 1.0
    for name in filter(None, defense.split("+")):
        if name in DEFENSES.names():
            work *= DEFENSES.get(name).training_work
    return work


@lru_cache(maxsize=1)
def slowness() -> float:
    """Seconds that this machine takes where the one of the rates takes one: the best of a few short tries."""
    return min(5.0, max(0.2, min(_loop() for _ in range(5)) / REFERENCE_LOOP_S))


def _loop() -> float:
    start = time.thread_time()  # of this process: what others use says nothing about the machine
    total = 0
    for number in range(100_000):
        total += number & 7
    return time.thread_time() - start if total else 0.0


def on_gpu(seconds: float) -> float:
    """About how long a node takes on a GPU that takes so many seconds without one."""
    return NODE_S + max(0.0, seconds - NODE_S) / GPU_SPEED


def load_here(slots: float) -> float:
    """How many times longer work takes on this machine because of what else runs now, if so many nodes join it."""
    try:
        others = max(0.0, os.getloadavg()[0] - 1)  # but for who asks
    except (AttributeError, OSError):
        others = 0.0
    # the load is that of all processors, of which this process may have been given a few
    shared = min(1.0, cpus_here() / (os.cpu_count() or 1))
    return max(1.0, (others * shared + slots) / cpus_here())


def cpus_here() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
