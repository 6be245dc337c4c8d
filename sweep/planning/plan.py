"""Cells to a DAG of recipes, without what is stored. Plain Python: no Ray, no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from midef.core.canonical import digest
from midef.core.errors import MidefError
from midef.core.failure import Failure
from midef.core.recipe import KINDS, ArtifactKey, Recipe
from midef.sweep.planning.resources import gpus_of
from midef.sweep.spec.profiles import Profile
from midef.sweep.spec.resolve import PlannedCell, Sweep, without_collections

if TYPE_CHECKING:
    from midef.storage import Store

_TIMINGS_READ = 12
"""Stored artifacts whose seconds are read per kind of work, newest runs or not: enough for a median."""

Chosen = Callable[[PlannedCell], bool]


def everything(planned: PlannedCell) -> bool:
    """Chooses every cell."""
    return True


@dataclass(frozen=True)
class Timing:
    """Seconds that stored artifacts of equal work took: fastest, median, slowest; how many; on what device."""

    low: float
    expected: float
    worst: float
    count: int
    device: str

    @property
    def on_gpu(self) -> bool:
        return not self.device.startswith("cpu")


@dataclass
class Node:
    """One artifact to build.

    needs: nodes of this plan it waits for; cells: result files it completes; remaining_s: of the longest path of work
    that begins here; urgent: what comes after it is not known yet, so it goes before all that is not urgent.
    """

    recipe: Recipe
    needs: frozenset[ArtifactKey]
    cells: tuple[PlannedCell, ...] = ()
    timing: Timing | None = None
    remaining_s: float = 0.0
    urgent: bool = False

    @property
    def expected_s(self) -> float | None:
        return None if self.timing is None else self.timing.expected

    @property
    def key(self) -> ArtifactKey:
        return self.recipe.key

    @cached_property
    def work(self) -> str:
        return work_of(self.recipe)


@dataclass
class Plan:
    """What is to be done and what is not.

    nodes: to build, inputs before what needs them; rows_only: cells whose scores are stored but whose rows are not;
    done, failed_before, refused: cells by what is known of them; unshared: artifacts if nothing were shared;
    cells: those the plan is about, all of the sweep's unless some were chosen.
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

    @property
    def is_empty(self) -> bool:
        return not self.nodes and not self.rows_only

    def cost(self, kind: str | None = None) -> Cost:
        """What the nodes of a kind (of all kinds) will take."""
        return cost_of([n for n in self.nodes.values() if kind in (None, n.recipe.kind)], self.sweep.profile)


@dataclass(frozen=True)
class More:
    """What to build next.

    recipes: artifacts; what is asked for after them is not known yet, so they and what they wait for are urgent;
    cells: whose scores are built and whose rows are then written, in their place among the plan's own. withdrawn: asked
    for before and of no use any more: not built if it has not begun.
    """

    recipes: Sequence[Recipe] = ()
    cells: Sequence[PlannedCell] = ()
    withdrawn: Sequence[ArtifactKey] = ()


Grow = Callable[[Node, Failure | None], More]
"""Asked once per node that ended; with None if its artifact is stored, else why not: it failed, or its input did."""


@dataclass(frozen=True)
class Cost:
    """Hours of work and of GPUs, each (low, expected, worst): if all went as fast as the fastest stored artifact of
    equal work, as the median, as the slowest. unknown, gpu_unknown: nodes that were never timed (on a GPU), in no sum.
    """

    hours: tuple[float, float, float]
    unknown: int
    gpu_hours: tuple[float, float, float]
    gpu_unknown: int
    timed: int
    devices: tuple[str, ...]


def cost_of(nodes: Sequence[Node], profile: Profile) -> Cost:
    """The cost of nodes under a profile. GPU-hours are of GPUs held; a timing of a CPU says nothing about them."""
    hours, gpu_hours = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    unknown = gpu_unknown = 0
    devices, timed = set(), {}
    for node in nodes:
        held, timing = gpus_of(node.recipe.kind, profile), node.timing
        if held and (timing is None or not timing.on_gpu):
            gpu_unknown += 1
        if timing is None:
            unknown += 1
            continue
        timed[node.work] = timing.count
        devices.add(timing.device)
        for i, seconds in enumerate((timing.low, timing.expected, timing.worst)):
            hours[i] += seconds / 3600
            if timing.on_gpu:
                gpu_hours[i] += held * seconds / 3600
    low, expected, worst = hours
    gpu_low, gpu_expected, gpu_worst = gpu_hours
    return Cost(
        (low, expected, worst),
        unknown,
        (gpu_low, gpu_expected, gpu_worst),
        gpu_unknown,
        sum(timed.values()),
        tuple(sorted(devices)),
    )


@without_collections
def make_plan(sweep: Sweep, store: Store | None, *, retry_failed: bool = False, chosen: Chosen = everything) -> Plan:
    """Which artifacts are missing, in an order that works, for the cells that have no result yet.

    store: None plans as if nothing were stored. retry_failed: plan cells whose stored result says failed, too.
    chosen: the cells the plan is about.
    """
    states = store.results.cells() if store is not None else {}
    stored = store.artifacts.keys() if store is not None else set()
    cells = tuple(planned for planned in sweep.cells if chosen(planned))
    plan = Plan(sweep, {}, [], [], [], [], cells=cells)
    _count(plan, cells, stored)
    wanted: dict[ArtifactKey, list[PlannedCell]] = defaultdict(list)
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
            wanted[planned.recipes.scores.key].append(planned)
    for same in wanted.values():
        _add(plan, same[0].recipes.scores, stored.__contains__)
    for key, same in wanted.items():
        plan.nodes[key].cells = tuple(same)
    _estimate(plan, store, stored)
    return plan


def extend_plan(plan: Plan, more: More, store: Store | None) -> list[Node]:
    """Add what is asked for and what it lacks, without what is stored or planned already; returns the new nodes, inputs
    first.

    What is planned already stays as it is, also where it failed in this run: it gains the cells, and may become urgent.
    A cell whose scores are stored adds nothing; so does one that is refused. The plan's counts stay those of its
    beginning.
    """
    is_stored = cache(store.artifacts.has) if store is not None else lambda key: False
    cells = [planned for planned in more.cells if not planned.refused]
    asked = [(recipe, True) for recipe in more.recipes] + [(planned.recipes.scores, False) for planned in cells]
    before = len(plan.nodes)
    for recipe, _ in asked:
        if recipe.key not in plan.nodes and not is_stored(recipe.key):
            _add(plan, recipe, is_stored)
    added = list(islice(plan.nodes.values(), before, None))
    for planned in cells:
        node = plan.nodes.get(planned.recipes.scores.key)
        if node is not None and planned.cell.digest not in {other.cell.digest for other in node.cells}:
            node.cells += (planned,)
    _time_like_the_rest(plan, added, store)
    for recipe, urgent in asked:
        if recipe.key in plan.nodes:
            _put_on_path(plan, plan.nodes[recipe.key], urgent=urgent)
    return added


def start_growing(sweep: Sweep, more: More, store: Store, grow: Grow) -> Plan:
    """The plan of what is asked for first. What somebody stored since it was asked for counts as ended, as in a run."""
    plan = make_plan(sweep, store, chosen=lambda planned: False)
    asked = [more]
    while asked:
        more = asked.pop()
        extend_plan(plan, more, store)
        asked += [grow(node, None) for node in stored_meanwhile(plan, more)]
    return plan


def stored_meanwhile(plan: Plan, more: More) -> list[Node]:
    """What was asked for and needs no work, after the plan was extended: it was stored between the two."""
    recipes = [*more.recipes, *(planned.recipes.scores for planned in more.cells if not planned.refused)]
    return [Node(recipe, frozenset()) for recipe in recipes if recipe.key not in plan.nodes]


def work_of(recipe: Recipe) -> str:
    """Nodes of equal work are expected to take about equally long: kind, component and budget, whatever the seed."""
    budget = {name: value for name, value in recipe.params.items() if name not in ("seed", "defense")}
    if "private" in recipe.inputs:
        budget["resolution_px"] = recipe.inputs["private"].params["resolution_px"]
    return f"{recipe.kind}:{recipe.component}:{digest(budget)[:8]}"


def _count(plan: Plan, cells: Iterable[PlannedCell], stored: set[ArtifactKey]) -> None:
    below: dict[ArtifactKey, frozenset[ArtifactKey]] = {}

    def needed(recipe: Recipe) -> frozenset[ArtifactKey]:
        """Keys of the recipe and all it needs: the union of what is known of its inputs, not another walk."""
        known = below.get(recipe.key)
        if known is None:
            known = frozenset((recipe.key,)).union(*[needed(other) for other in recipe.inputs.values()])
            below[recipe.key] = known
        return known

    unshared: Counter[str] = Counter()
    for planned in cells:
        if not planned.refused:
            unshared.update([key.kind for key in needed(planned.recipes.scores)])
    shared, cached = Counter(key.kind for key in below), Counter(key.kind for key in below if key in stored)
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
    if store is not None and stored:
        timings = _timings(store, stored, {n.work for n in plan.nodes.values()})
        for node in plan.nodes.values():
            node.timing = timings.get(node.work)
    dependants: dict[ArtifactKey, list[Node]] = defaultdict(list)
    for node in plan.nodes.values():
        for key in node.needs:
            dependants[key].append(node)
    for node in reversed(plan.nodes.values()):  # every dependant stands after what it needs
        node.remaining_s = _own_s(node) + max((d.remaining_s for d in dependants[node.key]), default=0.0)


def _time_like_the_rest(plan: Plan, added: Sequence[Node], store: Store | None) -> None:
    """Timings of added nodes: those of equal work in the plan, else of stored artifacts."""
    if not added:
        return
    new = {node.key for node in added}
    known = {node.work: node.timing for key, node in plan.nodes.items() if key not in new}
    unknown = {node.work for node in added} - known.keys()
    if store is not None and unknown:
        stored = {key for kind in {work.partition(":")[0] for work in unknown} for key in store.artifacts.keys(kind)}
        known |= _timings(store, stored, unknown)
    for node in added:
        node.timing = known.get(node.work)


def _put_on_path(plan: Plan, node: Node, *, urgent: bool) -> None:
    """Tell a node and all it waits for how much work begins there, and whether it is urgent."""
    told = [(node, 0.0)]
    while told:
        node, after_s = told.pop()
        path_s = _own_s(node) + after_s
        if path_s > node.remaining_s or urgent > node.urgent:
            node.remaining_s, node.urgent = max(node.remaining_s, path_s), node.urgent or urgent
            told += [(plan.nodes[key], node.remaining_s) for key in node.needs]


_RELATIVE_S = dict.fromkeys(KINDS, 10.0) | {"target": 30.0, "prior": 200.0, "reconstructions": 20.0, "split": 5.0}
"""Guesses that only order nodes when nothing was timed yet; never shown."""


def _own_s(node: Node) -> float:
    return node.expected_s if node.expected_s is not None else _RELATIVE_S[node.recipe.kind]


def _timings(store: Store, stored: set[ArtifactKey], works: set[str]) -> dict[str, Timing]:
    """Seconds of stored artifacts of the same work; those of a GPU, where both kinds of device did it."""
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
        except MidefError:
            continue  # damaged: found again, and reported, when it is used
        device = str(meta["facts"].get("device", "cpu"))
        if work in works and len(seconds[work][device]) < _TIMINGS_READ:
            seconds[work][device].append(wall_s)
    found = {}
    for work, by_device in seconds.items():
        device = max(by_device, key=lambda name: (not name.startswith("cpu"), len(by_device[name]), name))
        took = by_device[device]
        found[work] = Timing(min(took), median(took), max(took), len(took), device)
    return found


def plan_text(plan: Plan) -> str:
    """Counts with and without sharing, what is cached, what it will cost."""
    sweep, cells = plan.sweep, plan.cells
    setups = len({c.cell.setup.id for c in cells})
    defenses = len({c.cell.defense for c in cells})
    seeds = len({c.cell.seed for c in cells})
    to_do = len(cells) - len(plan.done) - len(plan.failed_before) - len(plan.refused)
    several = setups * defenses * seeds == len(cells)
    size = f"{setups} setups x {defenses} defenses x {seeds} seeds = {len(cells)} cells"
    chosen = "" if len(cells) == len(sweep.cells) else f" of {len(sweep.cells)}, as chosen"
    lines = [
        f"sweep {sweep.name}  profile {sweep.profile.name}  ({sweep.digest[:10]})",
        f"{size if several else f'{setups} setups, {len(cells)} cells'}{chosen}: {len(plan.done)} done, "
        f"{to_do} to do, {len(plan.failed_before)} failed before, {len(plan.refused)} refused",
        "",
        f"{'artifact':<16}{'unshared':>10}{'shared':>10}{'cached':>10}{'to build':>10}   "
        f"{'hours low / expected / worst':<30}{'GPU-hours':<22}basis".rstrip(),
    ]
    todo = Counter(node.recipe.kind for node in plan.nodes.values())
    for kind in KINDS:
        if plan.unshared[kind]:
            counts = [c[kind] for c in (plan.unshared, plan.shared, plan.cached, todo)]
            cost = _cost_text(plan.cost(kind)) if todo[kind] else ""
            lines.append((f"{kind:<16}" + "".join(f"{n:>10,}" for n in counts) + f"   {cost}").rstrip())
    totals = [sum(c.values()) for c in (plan.unshared, plan.shared, plan.cached)]
    whole = plan.cost()
    last = f"{'total':<16}{totals[0]:>10,}{totals[1]:>10,}{totals[2]:>10,}{len(plan.nodes):>10,}"
    lines.append((last + (f"   {_cost_text(whole)}" if plan.nodes else "")).rstrip())
    if plan.nodes:
        known = f"{_range(whole.hours)} hours of work" if whole.unknown < len(plan.nodes) else ""
        missing = f"{whole.unknown} pieces without a timing yet, in no sum" if whole.unknown else ""
        lines += ["", f"to build {len(plan.nodes):,} artifacts: " + " + ".join(filter(None, (known, missing)))]
    elif plan.is_empty:
        lines += ["", "nothing to do"]
    lines += [f"refused: {text}" for text in refusals(plan.refused)]
    if plan.failed_before:
        lines.append(f"{len(plan.failed_before)} cells failed before; run again with --retry-failed to try them again")
    return "\n".join(lines)


def _cost_text(cost: Cost) -> str:
    """Hours, GPU-hours and what they rest on."""
    basis = f"{cost.timed} stored on {', '.join(cost.devices)}" if cost.timed else "no timing yet"
    if cost.timed and cost.unknown:
        basis += f"; {cost.unknown} without"
    hours = _range(cost.hours) if cost.timed else "unknown"
    if cost.gpu_unknown:
        gpu = "unknown" if not cost.gpu_hours[1] else f"{_range(cost.gpu_hours)} + unknown"
    else:
        gpu = _range(cost.gpu_hours) if cost.gpu_hours[1] else "-"
    return f"{hours:<30}{gpu:<22}{basis}"


def _range(three: tuple[float, float, float]) -> str:
    digits = 0 if three[1] >= 100 else 1 if three[1] >= 1 else 3
    return " / ".join(f"{hours:.{digits}f}" for hours in three)


def refusals(refused: Sequence[PlannedCell]) -> list[str]:
    """One line per reason and what it concerns."""
    concerned: dict[str, dict[str, None]] = defaultdict(dict)
    for c in refused:
        what = f"{c.cell.defense.label} on {c.cell.setup.architecture.name}" if c.answered_by else c.cell.setup.id
        concerned[c.refused][what] = None
    counts = Counter(c.refused for c in refused)
    return sorted(
        f"{', '.join(what)}: {reason}" + ("" if counts[reason] == len(what) else f" ({counts[reason]} cells)")
        for reason, what in concerned.items()
    )
