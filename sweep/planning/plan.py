"""Cells to a DAG of recipes, without what is stored. Plain Python: no Ray, no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice
from typing import TYPE_CHECKING

from midef.core.failure import Failure
from midef.core.recipe import KINDS, ArtifactKey, Recipe
from midef.sweep.planning.cost import Cost, Priced, Timing, cost_of, read_timings, work_of
from midef.sweep.planning.estimate import Estimates
from midef.sweep.planning.gpu import REFERENCE, GpuRates
from midef.sweep.planning.selection import CellFilter, every_cell
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep, without_collections

if TYPE_CHECKING:
    from midef.storage import Store


@dataclass
class Node:
    """One artifact to build.

    Args:
        needs: nodes of this plan it waits for.
        cells: result files it completes.
        timing: of stored artifacts of equal work; None if there are none.
        estimated_s: about how long it takes without a GPU, from facts alone; None where nobody estimated it.
        remaining_s: of the longest path of work that starts with it.
        urgent: what comes after it is not known yet, so it goes before all that is not urgent.
    """

    recipe: Recipe
    needs: frozenset[ArtifactKey]
    cells: tuple[PlannedCell, ...] = ()
    timing: Timing | None = None
    estimated_s: float | None = None
    remaining_s: float = 0.0
    urgent: bool = False

    @property
    def expected_s(self) -> float | None:
        """Median of stored artifacts of equal work; None if there are none."""
        return None if self.timing is None else self.timing.expected

    @property
    def ranked_s(self) -> float:
        """Seconds by which nodes are ordered: expected, or estimated."""
        return (self.estimated_s or 1.0) if self.timing is None else self.timing.expected

    @property
    def key(self) -> ArtifactKey:
        return self.recipe.key

    @cached_property
    def work(self) -> str:
        return work_of(self.recipe)


@dataclass
class Plan:
    """Artifacts to build, and cells by what is known of them.

    Args:
        nodes: to build, inputs before what needs them.
        rows_only: cells whose scores are stored but whose rows are not.
        shared: artifacts of the cells, by kind.
        unshared: by kind, if nothing were shared.
        cached: stored ones, by kind.
        cells: those the plan is about, all of the sweep's unless some were chosen.
        rates: of the GPU that hours are predicted for.
    """

    sweep: Sweep
    nodes: dict[ArtifactKey, Node]
    rows_only: list[PlannedCell]
    done: list[PlannedCell]
    failed_before: list[PlannedCell]
    refused: list[PlannedCell]
    shared: Counter[str] = field(default_factory=Counter)
    unshared: Counter[str] = field(default_factory=Counter)
    cached: Counter[str] = field(default_factory=Counter)
    cells: tuple[PlannedCell, ...] = ()
    rates: GpuRates = REFERENCE

    @property
    def is_empty(self) -> bool:
        return not self.nodes and not self.rows_only

    def cost(self, kind: str | None = None) -> Cost:
        """Cost of the nodes of a kind; of all nodes without one."""
        of_kind = (n for n in self.nodes.values() if kind in (None, n.recipe.kind))
        return cost_of(map(self.priced, of_kind), self.sweep.profile)

    def priced(self, node: Node) -> Priced:
        """A node with its seconds on a GPU, predicted from its operations."""
        on_gpu_s = None if node.estimated_s is None else self.rates.seconds(self.estimates.work(node.recipe))
        return Priced(node.recipe.kind, node.timing, node.estimated_s, on_gpu_s)

    def cost_of_setup(self, setup: str) -> Cost:
        """Cost of all that the cells of a setup need and that is to be built; what setups share counts for each."""
        needed: dict[ArtifactKey, Node] = {}
        for planned in self.cells:
            if planned.cell.setup.id == setup and not planned.refused:
                keys = [recipe.key for recipe in planned.recipes.scores.walk()]
                needed |= {key: self.nodes[key] for key in keys if key in self.nodes}
        return cost_of(map(self.priced, needed.values()), self.sweep.profile)

    @cached_property
    def estimates(self) -> Estimates:
        """Estimates of what was never timed."""
        return Estimates(self.sweep.locations, cpus=self.sweep.profile.cpus)


@dataclass(frozen=True)
class More:
    """Work to add to a plan while it runs.

    Args:
        recipes: artifacts; what is requested after them is not known yet, so they and what they wait for are urgent.
        cells: whose scores are built and whose rows are then written, in their place among the plan's own.
        withdrawn: requested before and of no use any more: not built if not begun.
    """

    recipes: Sequence[Recipe] = ()
    cells: Sequence[PlannedCell] = ()
    withdrawn: Sequence[ArtifactKey] = ()


Grow = Callable[[Node, Failure | None], More]
"""Called once per node that ended; with None if its artifact is stored, else why not: it failed, or its input did."""


@without_collections
def make_plan(
    sweep: Sweep, store: Store | None, *, retry_failed: bool = False, chosen: CellFilter = every_cell
) -> Plan:
    """Artifacts that are missing for the cells without a result, in an order that works.

    Args:
        store: None plans as if nothing were stored.
        retry_failed: plan cells whose stored result is a failure, too.
        chosen: the cells the plan is about.
    """
    states = store.results.cells() if store is not None else {}
    stored = store.artifacts.keys() if store is not None else set()
    cells = tuple(planned for planned in sweep.cells if chosen(planned))
    plan = Plan(sweep, {}, [], [], [], [], cells=cells)
    _count(plan, cells, stored)
    by_scores: dict[ArtifactKey, list[PlannedCell]] = defaultdict(list)
    for planned in cells:
        state = states.get(planned.cell.digest)
        if planned.refused:
            plan.refused.append(planned)
        elif state == "ok":
            plan.done.append(planned)
        elif state == "failed" and not retry_failed:
            plan.failed_before.append(planned)
        elif planned.recipes.scores.key in stored:
            plan.rows_only.append(planned)
        else:
            by_scores[planned.recipes.scores.key].append(planned)
    for same in by_scores.values():
        _add(plan, same[0].recipes.scores, stored.__contains__)
    for key, same in by_scores.items():
        plan.nodes[key].cells = tuple(same)
    _estimate(plan, store, stored)
    return plan


def extend_plan(plan: Plan, more: More, store: Store | None) -> list[Node]:
    """Add requested work and its inputs, except what is stored or planned; returns the new nodes, inputs first.

    What is planned already stays as it is, also where it failed in this run: it gains the cells, and may become urgent.
    A cell whose scores are stored adds nothing; so does one that is refused. The plan's counts stay those of its
    beginning.
    """
    is_stored = cache(store.artifacts.has) if store is not None else lambda key: False
    cells = [planned for planned in more.cells if not planned.refused]
    requested = [(recipe, True) for recipe in more.recipes] + [(planned.recipes.scores, False) for planned in cells]
    before = len(plan.nodes)
    for recipe, _ in requested:
        if recipe.key not in plan.nodes and not is_stored(recipe.key):
            _add(plan, recipe, is_stored)
    added = list(islice(plan.nodes.values(), before, None))
    for planned in cells:
        node = plan.nodes.get(planned.recipes.scores.key)
        if node is not None and planned.cell.digest not in {other.cell.digest for other in node.cells}:
            node.cells += (planned,)
    _time_like_the_rest(plan, added, store)
    for recipe, urgent in requested:
        if recipe.key in plan.nodes:
            _put_on_path(plan, plan.nodes[recipe.key], urgent=urgent)
    return added


def start_growing(sweep: Sweep, more: More, store: Store, grow: Grow) -> Plan:
    """Plan of the first request. What was stored since it was requested counts as ended, as in a run."""
    plan = make_plan(sweep, store, chosen=lambda planned: False)
    pending = [more]
    while pending:
        more = pending.pop()
        extend_plan(plan, more, store)
        pending += [grow(node, None) for node in stored_meanwhile(plan, more)]
    return plan


def stored_meanwhile(plan: Plan, more: More) -> list[Node]:
    """Nodes of requested work that was stored before the plan was extended by it."""
    recipes = [*more.recipes, *(planned.recipes.scores for planned in more.cells if not planned.refused)]
    return [Node(recipe, frozenset()) for recipe in recipes if recipe.key not in plan.nodes]


def _count(plan: Plan, cells: Iterable[PlannedCell], stored: set[ArtifactKey]) -> None:
    """Count artifacts by kind: shared, unshared, stored."""
    unshared: Counter[str] = Counter()
    needed: set[str] = set()
    for planned in cells:
        if not planned.refused:
            names = planned.recipes.scores.names
            needed.update(names)
            unshared.update([name.partition("/")[0] for name in names])
    keys = [ArtifactKey.parse(name) for name in needed]
    shared, cached = Counter(key.kind for key in keys), Counter(key.kind for key in keys if key in stored)
    for kind in filter(unshared.get, KINDS):
        plan.unshared[kind], plan.shared[kind], plan.cached[kind] = unshared[kind], shared[kind], cached[kind]


def _add(plan: Plan, recipe: Recipe, is_stored: Callable[[ArtifactKey], bool]) -> None:
    """Add `recipe`, which is not stored, and what it lacks. What is stored is a leaf: its inputs are not needed."""
    needs = []
    for needed in recipe.inputs.values():
        key = needed.key
        if not is_stored(key):
            needs.append(key)
            if key not in plan.nodes:
                _add(plan, needed, is_stored)
    plan.nodes[recipe.key] = Node(recipe, frozenset(needs))


def _estimate(plan: Plan, store: Store | None, stored: set[ArtifactKey]) -> None:
    """Set timings, estimates and remaining seconds of all nodes."""
    estimates = plan.estimates
    if store is not None and stored:
        groups = {key: estimates.group(node.recipe) for key, node in plan.nodes.items()}
        works = {group: plan.nodes[key].work for group, key in {group: key for key, group in groups.items()}.items()}
        timings = read_timings(store, stored, set(works.values()))
        for key, node in plan.nodes.items():
            node.timing = timings.get(works[groups[key]])
    after_s: dict[ArtifactKey, float] = {}
    for key, node in reversed(plan.nodes.items()):  # every dependant stands after what it needs
        node.estimated_s = estimates.seconds(node.recipe)
        node.remaining_s = remaining = node.ranked_s + after_s.get(key, 0.0)
        for needed in node.needs:
            if remaining > after_s.get(needed, 0.0):
                after_s[needed] = remaining


def _time_like_the_rest(plan: Plan, added: Sequence[Node], store: Store | None) -> None:
    """Timings and estimates of added nodes: timings of equal work in the plan, else of stored artifacts."""
    if not added:
        return
    new = {node.key for node in added}
    known = {node.work: node.timing for key, node in plan.nodes.items() if key not in new}
    unknown = {node.work for node in added} - known.keys()
    if store is not None and unknown:
        stored = {key for kind in {work.partition(":")[0] for work in unknown} for key in store.artifacts.keys(kind)}
        known |= read_timings(store, stored, unknown)
    for node in added:
        node.timing = known.get(node.work)
        node.estimated_s = plan.estimates.seconds(node.recipe)


def _put_on_path(plan: Plan, node: Node, *, urgent: bool) -> None:
    """Raise remaining seconds and urgency of a node and of all it waits for."""
    to_update = [(node, 0.0)]
    while to_update:
        node, after_s = to_update.pop()
        path_s = node.ranked_s + after_s
        if path_s > node.remaining_s or urgent > node.urgent:
            node.remaining_s, node.urgent = max(node.remaining_s, path_s), node.urgent or urgent
            to_update += [(plan.nodes[key], node.remaining_s) for key in node.needs]
