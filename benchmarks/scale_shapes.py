"""Shapes of plans: nodes, what they wait for, seconds, shares of a GPU, bytes; by the real planner, and larger ones.

A sweep with more seeds is the same sweep with more of what a seed adds. `Shape.of` takes the plans of two seeds apart
into what they share (splits, evaluators, priors without a target, backbones) and the block that a seed adds; a plan of
n seeds is the shared part and n blocks, which is tested against the planner. So are plans made that the planner would
need minutes and gigabytes for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from midef.attacks import PRIORS
from midef.core.choice import Choice
from midef.core.recipe import ArtifactKey, Recipe
from midef.models import ARCHITECTURES
from midef.sweep.catalogue.matrix37 import matrix37
from midef.sweep.planning.estimate import Estimates, on_gpu
from midef.sweep.planning.plan import Node, Plan, make_plan
from midef.sweep.planning.resources import gpus_of
from midef.sweep.spec.resolve import resolve

LOADED_PRIOR_BYTES = 59e6 * 4
"""Of published weights that are loaded, not made: StyleGAN2 at 1,024 px, 30 and 29 million numbers."""
SMALL_BYTES = 30_000.0
"""Of scores, statistics and other tables."""
PUBLISHED_PX = 224
"""Resolution for which networks of published weights are counted; it hardly matters."""
CLASSES = 1000


@dataclass(frozen=True)
class Work:
    """A node of a shape.

    Args:
        name: for a person.
        kind: of its artifact.
        seconds: expected, on the device it gets.
        rank_s: of the longest path that starts with it, as the planner estimates: the larger goes first.
        gpu: share of a GPU that it holds.
        cells: result files that it completes.
        stored_bytes: of its artifact.
        read_bytes: of the artifacts it starts from.
        shared: numbers of the nodes it waits for in the shared part.
        own: numbers of those it waits for in its own block.
    """

    name: str
    kind: str
    seconds: float
    rank_s: float
    gpu: float = 0.0
    cells: int = 0
    stored_bytes: float = 0.0
    read_bytes: float = 0.0
    shared: tuple[int, ...] = ()
    own: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shape:
    """A plan: a shared part, whose nodes have only `shared` inputs, and so many equal blocks; inputs first in both."""

    shared: tuple[Work, ...]
    block: tuple[Work, ...] = ()
    blocks: int = 1

    @property
    def nodes(self) -> int:
        return round(self.total(lambda one: 1))

    @property
    def cells(self) -> int:
        return round(self.total(lambda one: one.cells))

    def total(self, of: Callable[[Work], float]) -> float:
        """Sum over all nodes."""
        return sum(map(of, self.shared)) + self.blocks * sum(map(of, self.block))

    def critical_s(self) -> float:
        """Seconds of the longest path: no number of machines ends sooner."""
        ends: list[float] = []
        for one in self.shared:
            ends.append(one.seconds + max((ends[i] for i in one.shared), default=0.0))
        own: list[float] = []
        for one in self.block:
            before = [*(ends[i] for i in one.shared), *(own[i] for i in one.own)]
            own.append(one.seconds + max(before, default=0.0))
        return max((*ends, *own), default=0.0)

    def with_cells(self, cells: int) -> Shape:
        """The shape with as many blocks as make about so many cells; at least one."""
        each = sum(one.cells for one in self.block)
        return replace(self, blocks=max(1, round((cells - sum(one.cells for one in self.shared)) / each)))

    @classmethod
    def of(
        cls,
        one: Plan,
        other: Plan,
        seconds_of: Callable[[Plan, Node], float],
        bytes_of: Callable[[Plan, Recipe], float],
    ) -> Shape:
        """Take apart the plans of the same sweep for one seed and for another one.

        Args:
            seconds_of: a node of a plan takes.
            bytes_of: the artifact of a recipe has.
        """
        parts = [[key for key in one.nodes if (key in other.nodes) is is_shared] for is_shared in (True, False)]
        numbers = {key: i for part in parts for i, key in enumerate(part)}
        own = set(parts[1])

        def work(key: ArtifactKey) -> Work:
            node = one.nodes[key]
            return Work(
                f"{key.kind} {key.digest[:6]}",
                key.kind,
                seconds_of(one, node),
                node.remaining_s,
                gpu=gpus_of(key.kind, one.sweep.profile),
                cells=len(node.cells),
                stored_bytes=bytes_of(one, node.recipe),
                read_bytes=sum(bytes_of(one, needed) for needed in node.recipe.inputs.values()),
                shared=tuple(sorted(numbers[needed] for needed in node.needs - own)),
                own=tuple(sorted(numbers[needed] for needed in node.needs & own)),
            )

        return cls(*(tuple(map(work, part)) for part in parts))


def plan_of(profile: str, seeds: list[int], px: int | None = None) -> Plan:
    """Plan of the published matrix of 37 setups, as if nothing were stored; no data set has to be here.

    Args:
        px: of the setups that are kept; all if None.
    """
    changes = {"profile": profile, "stand_ins": profile != "paper", "seeds": seeds}
    sweep = resolve(matrix37().model_copy(update=changes), absent=True)
    return make_plan(sweep, None, chosen=lambda planned: px in (None, planned.cell.setup.resolution_px))


def matrix(profile: str, px: int | None = None) -> Shape:
    """The published matrix with one seed: `paper` at the rates of published trainings, `small` by its estimates.

    Seconds on a GPU of `paper` are operations at the middle rate of `midef.sweep.planning.gpu.REFERENCE` (RTX A5000);
    of `small`, whose networks are too tiny for a GPU's rate, a sixtieth of the estimate for one core
    (`midef.sweep.planning.estimate.on_gpu`). Nodes without a GPU take the estimate for one core.

    Args:
        px: of the setups that are kept; all if None.
    """

    def seconds_of(plan: Plan, node: Node) -> float:
        assert node.estimated_s is not None
        if not gpus_of(node.recipe.kind, plan.sweep.profile):
            return node.estimated_s
        if profile != "paper":
            return on_gpu(node.estimated_s)
        on_gpu_s = plan.priced(node).on_gpu_s
        assert on_gpu_s is not None
        return on_gpu_s[1]

    known: dict[ArtifactKey, float] = {}

    def bytes_of(plan: Plan, recipe: Recipe) -> float:
        if recipe.key not in known:
            known[recipe.key] = stored_bytes(recipe, plan.estimates)
        return known[recipe.key]

    return Shape.of(plan_of(profile, [0], px), plan_of(profile, [1], px), seconds_of, bytes_of)


def stored_bytes(recipe: Recipe, estimates: Estimates) -> float:
    """Bytes of an artifact: weights by the numbers of its networks, images by their pixels, 30 KB of anything else."""
    if recipe.kind == "split":
        return 3.0 * estimates.sizes(recipe).all * int(recipe.params["resolution_px"]) ** 2
    if recipe.kind == "reconstructions":
        made, px = recipe.params, int(recipe.inputs["private"].params["resolution_px"])
        return 3.0 * made["identities"] * made["images_per_identity"] * px**2
    with torch.device("meta"):
        if recipe.kind in ("target", "evaluator") and "architecture" in recipe.params:
            split = recipe.inputs.get("private")
            px = PUBLISHED_PX if split is None else int(split.params["resolution_px"])
            architecture = ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"]))
            return 4.0 * _numbers(architecture.build(CLASSES, px))
        if recipe.kind in ("prior", "surrogate", "inverter"):
            if "public" not in recipe.inputs:
                return LOADED_PRIOR_BYTES
            prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
            networks = prior.networks(int(recipe.inputs["public"].params["resolution_px"]), CLASSES)
            return 4.0 * sum(map(_numbers, networks.values()))
    return SMALL_BYTES


def _numbers(network: torch.nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())
