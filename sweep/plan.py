"""Cells to a DAG of recipes, without what is stored. Plain Python: no Ray, no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from midef.core.canonical import digest
from midef.core.errors import MidefError
from midef.core.recipe import KINDS, ArtifactKey, Recipe
from sweep.spec import PlannedCell, Sweep

if TYPE_CHECKING:
    from midef.storage import Store

_TIMINGS_READ = 12
"""Stored artifacts whose seconds are read per kind of work, newest runs or not: enough for a median."""


@dataclass
class Node:
    """One artifact to build. needs: nodes of this plan it waits for; cells: result files it completes."""

    recipe: Recipe
    needs: frozenset[ArtifactKey]
    cells: tuple[PlannedCell, ...] = ()
    expected_s: float | None = None
    remaining_s: float = 0.0

    @property
    def key(self) -> ArtifactKey:
        return self.recipe.key

    @property
    def work(self) -> str:
        return work_of(self.recipe)


@dataclass
class Plan:
    """What is to be done and what is not.

    nodes: to build, inputs before what needs them; rows_only: cells whose scores are stored but whose rows are not;
    done, failed_before, refused: cells by what is known of them; unshared: artifacts if nothing were shared.
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

    @property
    def is_empty(self) -> bool:
        return not self.nodes and not self.rows_only

    def expected(self) -> tuple[float, int]:
        """Seconds of the nodes with a known timing, and how many nodes have none."""
        known = [n.expected_s for n in self.nodes.values() if n.expected_s is not None]
        return sum(known), len(self.nodes) - len(known)


def make_plan(sweep: Sweep, store: Store | None, *, retry_failed: bool = False) -> Plan:
    """Which artifacts are missing, in an order that works, for the cells that have no result yet.

    store: None plans as if nothing were stored. retry_failed: plan cells whose stored result says failed, too.
    """
    states = store.results.cells() if store is not None else {}
    stored = store.artifacts.keys() if store is not None else set()
    plan = Plan(sweep, {}, [], [], [], [])
    _count(plan, sweep.cells, stored)
    wanted: dict[ArtifactKey, list[PlannedCell]] = defaultdict(list)
    for planned in sweep.cells:
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
    for cells in wanted.values():
        _add(plan, cells[0].recipes.scores, stored)
    for key, cells in wanted.items():
        plan.nodes[key].cells = tuple(cells)
    _estimate(plan, store, stored)
    return plan


def work_of(recipe: Recipe) -> str:
    """Nodes of equal work are expected to take about equally long: kind, component and budget, whatever the seed."""
    budget = {name: value for name, value in recipe.params.items() if name not in ("seed", "defense")}
    if "private" in recipe.inputs:
        budget["resolution_px"] = recipe.inputs["private"].params["resolution_px"]
    return f"{recipe.kind}:{recipe.component}:{digest(budget)[:8]}"


def _count(plan: Plan, cells: Iterable[PlannedCell], stored: set[ArtifactKey]) -> None:
    seen: set[ArtifactKey] = set()
    for planned in cells:
        if planned.refused:
            continue
        for recipe in planned.recipes.scores.walk():
            plan.unshared[recipe.kind] += 1
            if recipe.key not in seen:
                seen.add(recipe.key)
                plan.shared[recipe.kind] += 1
                plan.cached[recipe.kind] += recipe.key in stored


def _add(plan: Plan, recipe: Recipe, stored: set[ArtifactKey]) -> None:
    """Add `recipe` and what it lacks. What is stored is a leaf: its own inputs are not needed."""
    if recipe.key in stored or recipe.key in plan.nodes:
        return
    for needed in recipe.inputs.values():
        _add(plan, needed, stored)
    needs = frozenset(needed.key for needed in recipe.inputs.values() if needed.key not in stored)
    plan.nodes[recipe.key] = Node(recipe, needs)


def _estimate(plan: Plan, store: Store | None, stored: set[ArtifactKey]) -> None:
    timings = _timings(store, stored, {n.work for n in plan.nodes.values()}) if store is not None else {}
    for node in plan.nodes.values():
        node.expected_s = timings.get(node.work)
    fallback = _relative_cost()
    dependants: dict[ArtifactKey, list[Node]] = defaultdict(list)
    for node in plan.nodes.values():
        for key in node.needs:
            dependants[key].append(node)
    for node in reversed(plan.nodes.values()):  # every dependant stands after what it needs
        own = node.expected_s if node.expected_s is not None else fallback[node.recipe.kind]
        node.remaining_s = own + max((d.remaining_s for d in dependants[node.key]), default=0.0)


def _relative_cost() -> Mapping[str, float]:
    """Guesses that only order nodes when nothing was timed yet; never shown."""
    return dict.fromkeys(KINDS, 10.0) | {"target": 30.0, "prior": 200.0, "reconstructions": 20.0, "split": 5.0}


def _timings(store: Store, stored: set[ArtifactKey], works: set[str]) -> dict[str, float]:
    """Median seconds of stored artifacts of the same work."""
    kinds = {work.partition(":")[0] for work in works}
    seconds: dict[str, list[float]] = defaultdict(list)
    by_kind: Counter[str] = Counter()
    for key in sorted(stored):
        if key.kind not in kinds or by_kind[key.kind] >= 4 * _TIMINGS_READ:
            continue
        by_kind[key.kind] += 1
        try:
            work, wall_s = work_of(store.artifacts.recipe(key)), float(store.artifacts.meta(key)["wall_s"])
        except MidefError:
            continue  # damaged: found again, and reported, when it is used
        if work in works and len(seconds[work]) < _TIMINGS_READ:
            seconds[work].append(wall_s)
    return {work: median(values) for work, values in seconds.items()}


def plan_text(plan: Plan, *, slots: int | None = None) -> str:
    """Counts with and without sharing, what is cached, what it will cost."""
    sweep = plan.sweep
    cells = sweep.cells
    setups = len({c.cell.setup.id for c in cells})
    defenses = len({c.cell.defense for c in cells})
    seeds = len({c.cell.seed for c in cells})
    lines = [
        f"sweep {sweep.name}  profile {sweep.profile.name}  ({sweep.digest[:10]})",
        f"{setups} setups x {defenses} defenses x {seeds} seeds = {len(cells)} cells: {len(plan.done)} done, "
        f"{len(cells) - len(plan.done) - len(plan.failed_before) - len(plan.refused)} to do, "
        f"{len(plan.failed_before)} failed before, {len(plan.refused)} refused",
        "",
        f"{'artifact':<16}{'unshared':>10}{'shared':>10}{'cached':>10}{'to build':>10}   expected per piece",
    ]
    todo = Counter(node.recipe.kind for node in plan.nodes.values())
    for kind in KINDS:
        if plan.unshared[kind]:
            known = sorted({n.expected_s for n in plan.nodes.values() if n.recipe.kind == kind and n.expected_s})
            cost = f"{_range(known)} s, median of stored" if known else ("no timing yet" if todo[kind] else "")
            lines.append(
                f"{kind:<16}{plan.unshared[kind]:>10,}{plan.shared[kind]:>10,}{plan.cached[kind]:>10,}"
                f"{todo[kind]:>10,}   {cost}".rstrip()
            )
    totals = [sum(c.values()) for c in (plan.unshared, plan.shared, plan.cached)]
    lines.append(f"{'total':<16}{totals[0]:>10,}{totals[1]:>10,}{totals[2]:>10,}{len(plan.nodes):>10,}")
    known_s, unknown = plan.expected()
    if plan.nodes:
        parts = [f"{known_s / 60:.1f} min of work"] if known_s else []
        parts += [f"{unknown} pieces without a timing yet"] if unknown else []
        wide = f" ({known_s / slots / 60:.0f} min on {slots} slots)" if slots and known_s else ""
        lines += ["", f"to build {len(plan.nodes):,} artifacts: {' + '.join(parts)}{wide}"]
    elif plan.is_empty:
        lines += ["", "nothing to do"]
    lines += [f"refused: {text}" for text in refusals(plan.refused)]
    if plan.failed_before:
        lines.append(f"{len(plan.failed_before)} cells failed before; run again with --retry-failed to try them again")
    return "\n".join(lines)


def refusals(refused: Sequence[PlannedCell]) -> list[str]:
    """One line per refused setup and defense."""
    lines = {f"{c.cell.defense.label} on {c.cell.setup.architecture.name}: {c.refused}" for c in refused}
    return sorted(lines)


def _range(values: Sequence[float]) -> str:
    low, high = f"{values[0]:.1f}", f"{values[-1]:.1f}"
    return low if low == high else f"{low} to {high}"
