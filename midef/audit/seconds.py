"""About how long the attacks of an audit take, before any runs: what stored work of the same kind took, else counted
operations, with the speed of the audited model measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from midef.attacks import ATTACKS, Attack
from midef.audit.black_box import BlackBox
from midef.audit.given import Model
from midef.core.lazy import torch
from midef.core.recipe import Recipe, each_once
from midef.stages.recipes import GIVEN
from midef.sweep.planning.cost import Timing, read_timings, work_of
from midef.sweep.planning.estimate import SEEN_S, Estimates, on_gpu

if TYPE_CHECKING:
    from midef.storage import Store

_PROBED, _TRIES = 8, 3
"""Images of a probe, and how often it is made; the fastest counts."""


class Seconds:
    """Seconds of what an attack still needs, by artifact. What is stored costs nothing; the judge is part of it.

    Estimates are right within a factor of 2 or 3, as those of a sweep (`midef.sweep.planning.estimate`).

    Args:
        model: is asked about a few grey images, unless that is paid for.
        recipe_of: the last artifact of an attack.
        questions_of: images that an attack shows the model.
        locations: of data sets, as `Estimates` takes them.
        store: None for none.
        device: of the attacks.
    """

    def __init__(
        self,
        model: Model,
        recipe_of: Callable[[Attack], Recipe],
        questions_of: Callable[[Attack], int],
        *,
        locations: Mapping[str, Mapping[str, Any]],
        store: Store | None = None,
        device: str = "cpu",
    ) -> None:
        self._recipe_of, self._questions_of, self._store = recipe_of, questions_of, store
        self._is_gpu = device.partition(":")[0] == "cuda"
        self._estimates = _WithGiven(locations, seconds_of_image(model))
        self._question_s = 1 / model.network.rate.per_s if isinstance(model.network, BlackBox) else 0.0
        self._known: dict[str, Mapping[str, float]] = {}
        self._timings: dict[str, Timing | None] = {}

    def __call__(self, attack: Attack) -> Mapping[str, float]:
        """Seconds by artifact."""
        label = ATTACKS.describe(attack).label
        if label not in self._known:
            self._known[label] = self._seconds(attack, label)
        return self._known[label]

    def _seconds(self, attack: Attack, label: str) -> Mapping[str, float]:
        recipe = self._recipe_of(attack)
        if self._store is not None and self._store.artifacts.has(recipe.key):
            return {}
        missing = [r for r in each_once([recipe]) if self._store is None or not self._store.artifacts.has(r.key)]
        parts = {str(one.key): self._of(one) for one in missing}
        if self._question_s:
            parts[f"questions of {label}"] = self._questions_of(attack) * self._question_s
        return parts

    def _of(self, recipe: Recipe) -> float:
        timing = self._timing(recipe)
        if timing is not None and timing.on_gpu == self._is_gpu:
            return timing.expected
        seconds = self._estimates.seconds(recipe)
        return on_gpu(seconds) if self._is_gpu else seconds

    def _timing(self, recipe: Recipe) -> Timing | None:
        """Of stored work of the same kind that does not ask the model: how long that takes depends on the model."""
        if self._store is None or any(one.component == GIVEN for one in each_once([recipe])):
            return None
        work = work_of(recipe)
        if work not in self._timings:
            stored = self._store.artifacts.keys(recipe.kind)
            self._timings[work] = read_timings(self._store, stored, {work}).get(work)
        return self._timings[work]


class _WithGiven(Estimates):
    """Estimates that know how fast the audited model answers.

    Args:
        locations: as of `Estimates`.
        image_s: seconds of the model for an image.
    """

    def __init__(self, locations: Mapping[str, Mapping[str, Any]], image_s: float) -> None:
        super().__init__(locations)
        self._image_gflop = image_s / (SEEN_S * self.speed)

    @override
    def gflop(self, target: Recipe) -> float:
        return self._image_gflop if target.component == GIVEN else super().gflop(target)


def seconds_of_image(model: Model) -> float:
    """Seconds of the model for one image, on one core; 0.0 of one whose questions are paid for: it is not asked."""
    if isinstance(model.network, BlackBox):
        return 0.0
    px = model.input.resolution_px
    images = torch.full((_PROBED, model.input.channels, px, px), 0.5)
    threads, took = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for _ in range(_TRIES):
                start = time.process_time()  # of this process: others use the machine, too
                model.network(images)
                took.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    return min(took) / _PROBED
