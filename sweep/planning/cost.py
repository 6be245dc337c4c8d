"""Cost of work: seconds that stored artifacts of equal work took, estimates where there are none, and sums of both."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from midef.core.canonical import digest
from midef.core.errors import MidefError
from midef.core.recipe import ArtifactKey, Recipe
from midef.sweep.planning.estimate import training_work
from midef.sweep.planning.resources import gpus_of
from midef.sweep.spec.profiles import Profile

if TYPE_CHECKING:
    from midef.storage import Store

_TIMINGS_READ = 12
"""Stored artifacts whose seconds are read per work, newest runs or not: enough for a median."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """Seconds that stored artifacts of equal work took.

    Args:
        low: the fastest.
        expected: the median.
        worst: the slowest.
        count: how many were read.
        device: that built them.
        work: as `work_of` names it.
    """

    low: float
    expected: float
    worst: float
    count: int
    device: str
    work: str = ""

    @property
    def on_gpu(self) -> bool:
        return not self.device.startswith("cpu")


@dataclass(frozen=True)
class Cost:
    """Hours of work and of GPUs, each (low, expected, worst): if all went as fast as the fastest stored artifact of
    equal work, as the median, as the slowest.

    Args:
        hours: of nodes that were timed.
        estimated: nodes that were never timed, in no sum but `estimated_hours`.
        estimated_hours: of one core of this machine, about; see `midef.sweep.planning.estimate`.
        unknown: nodes without timing and estimate, in no sum.
        gpu_hours: of GPUs held, by nodes that were timed on one.
        gpu_predicted: of GPUs held by the others, from operations; see `midef.sweep.planning.gpu`.
        gpu_estimated: nodes that hold one and were never timed on one, in `gpu_predicted`.
        gpu_unknown: those without an estimate, in no sum.
        timed: stored artifacts whose seconds were read.
        devices: that built them.
    """

    hours: tuple[float, float, float]
    estimated: int
    estimated_hours: float
    unknown: int
    gpu_hours: tuple[float, float, float]
    gpu_predicted: tuple[float, float, float]
    gpu_estimated: int
    gpu_unknown: int
    timed: int
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Priced:
    """A node as its cost is counted.

    Args:
        kind: of artifact.
        estimated_s: without a GPU; None where nobody estimated it.
        on_gpu_s: (low, expected, worst), of a GPU that never did it; None where nobody estimated it.
    """

    kind: str
    timing: Timing | None
    estimated_s: float | None
    on_gpu_s: tuple[float, float, float] | None = None


def cost_of(nodes: Iterable[Priced], profile: Profile) -> Cost:
    """The cost of nodes under a profile. GPU-hours are of GPUs held; a timing of a CPU says nothing about them."""
    hours, gpu_hours, gpu_predicted = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    unknown = gpu_unknown = gpu_estimated = estimated = 0
    estimated_hours = 0.0
    devices, timed = set(), {}
    for node in nodes:
        timing, estimated_s = node.timing, node.estimated_s
        held = gpus_of(node.kind, profile)
        if held and (timing is None or not timing.on_gpu):
            gpu_estimated += node.on_gpu_s is not None
            gpu_unknown += node.on_gpu_s is None
            for i, seconds in enumerate(node.on_gpu_s or ()):
                gpu_predicted[i] += held * seconds / 3600
        if timing is None:
            if estimated_s is None:
                unknown += 1
            else:
                estimated, estimated_hours = estimated + 1, estimated_hours + estimated_s / 3600
            continue
        timed[timing.work] = timing.count
        devices.add(timing.device)
        for i, seconds in enumerate((timing.low, timing.expected, timing.worst)):
            hours[i] += seconds / 3600
            if timing.on_gpu:
                gpu_hours[i] += held * seconds / 3600
    low, expected, worst = hours
    return Cost(
        (low, expected, worst),
        estimated,
        estimated_hours,
        unknown,
        (gpu_hours[0], gpu_hours[1], gpu_hours[2]),
        (gpu_predicted[0], gpu_predicted[1], gpu_predicted[2]),
        gpu_estimated,
        gpu_unknown,
        sum(timed.values()),
        tuple(sorted(devices)),
    )


def work_of(recipe: Recipe) -> str:
    """Kind, component and budget of a recipe: equal work is expected to take equally long, whatever the seed.

    Trainings under defenses whose steps take about equally long count as equal.
    """
    budget = {name: value for name, value in recipe.params.items() if name not in ("seed", "defense")}
    if "defense" in recipe.params:
        budget["training_work"] = training_work(str(recipe.params["defense"].get("name", "")))
    if "private" in recipe.inputs:
        budget["resolution_px"] = recipe.inputs["private"].params["resolution_px"]
    return f"{recipe.kind}:{recipe.component}:{digest(budget)[:8]}"


def read_timings(store: Store, stored: Iterable[ArtifactKey], works: set[str]) -> dict[str, Timing]:
    """Timings of works, from stored artifacts; those of a GPU, where both kinds of device did it."""
    kinds = {work.partition(":")[0] for work in works}
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    by_kind: Counter[str] = Counter()
    for key in sorted(stored):
        if key.kind not in kinds or by_kind[key.kind] >= 4 * _TIMINGS_READ:
            continue
        by_kind[key.kind] += 1
        try:
            meta = store.artifacts.meta(key)
            work, wall_s = work_of(store.artifacts.recipe(key)), float(meta["wall_s"])
        except MidefError as error:
            log.warning("no seconds are read from %s: %s", key.short, error)
            continue
        device = str(meta["facts"].get("device", "cpu"))
        if work in works and len(seconds[work][device]) < _TIMINGS_READ:
            seconds[work][device].append(wall_s)
    timings = {}
    for work, by_device in seconds.items():
        device = max(by_device, key=lambda name: (not name.startswith("cpu"), len(by_device[name]), name))
        took = by_device[device]
        timings[work] = Timing(min(took), median(took), max(took), len(took), device, work)
    return timings
