"""Cost of a matched sweep before it starts: trainings of the searches, and what attacks the strengths they choose.

A search is bounded, not known: it takes as few trainings as the target has seeds where the first strength fits, and the
limit of the specification at most. Seconds of one training are those of stored trainings of equal work, else estimated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from midef.core.recipe import KINDS, ArtifactKey, Recipe
from midef.core.text import durations
from midef.sweep.matching.match_accuracy import groups_of, is_reference, match_spec_of
from midef.sweep.matching.pareto_search import ParetoTask
from midef.sweep.planning.cost import cost_of, read_timings
from midef.sweep.planning.plan import Node, Plan, make_plan
from midef.sweep.spec.resolve import Sweep

if TYPE_CHECKING:
    from midef.storage import Store

EXPECTED_TRAININGS = 4
"""Trainings with the first seed that a search usually takes, see `benchmarks/matching.md`; the other seeds confirm."""
Three = tuple[float, float, float]
"""Low, expected, worst."""
Count = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Cost of one kind of work; each of three is low, expected, worst.

    Args:
        stage: `match` for the trainings of searches, else a kind of artifact.
        pieces: how many are built.
        hours: of those of which equal work is stored.
        estimated_hours: of the others, of one core of this machine.
        gpu_hours: of GPUs held, timed or predicted from operations.
        timed: stored artifacts whose seconds were read.
        unknown: pieces without a timing and an estimate, in no sum.
    """

    stage: str
    pieces: Count
    hours: Three
    estimated_hours: Three
    gpu_hours: Three
    timed: int = 0
    unknown: int = 0

    @property
    def seconds(self) -> Three:
        """Timed and estimated together."""
        low, expected, worst = (3600 * (a + b) for a, b in zip(self.hours, self.estimated_hours, strict=True))
        return low, expected, worst


@dataclass(frozen=True, kw_only=True)
class MatchCost:
    """Cost of a matched sweep.

    Args:
        pairs: searches, each of one defense on one network and data set.
        trainings_each: most trainings of one search.
        stages: in the order they run.
    """

    pairs: int
    trainings_each: int
    stages: tuple[StageCost, ...]

    @property
    def total(self) -> StageCost:
        """Sum of the stages."""
        return _sum("total", self.stages)


def match_cost(sweep: Sweep, store: Store | None) -> MatchCost:
    """Cost of what `midef match` would do; builds nothing.

    Args:
        sweep: with a section `match` or `front`.
        store: whose artifacts are not built again, and whose timings count; None as if nothing were stored.

    Raises:
        SpecError: everything wrong with the section.
    """
    searches = _searches_of_front(sweep) if sweep.spec.front is not None else _searches_of_match(sweep)
    plan = make_plan(sweep, None)
    stored = store.artifacts.keys() if store is not None else set()
    nodes: dict[str, list[tuple[Node, Count]]] = defaultdict(list)
    nodes["match"] = [(_node(recipe, plan), count) for recipe, count in searches.targets]
    for node, count in _rest(plan, stored, searches):
        nodes[node.recipe.kind].append((node, count))
    if store is not None and stored:
        everything = [node for members in nodes.values() for node, _ in members]
        timings = read_timings(store, stored, {node.work for node in everything})
        for node in everything:
            node.timing = timings.get(node.work)
    return MatchCost(
        pairs=searches.pairs,
        trainings_each=searches.each,
        stages=tuple(_stage(name, nodes[name], plan) for name in ("match", *KINDS) if nodes[name]),
    )


@dataclass(frozen=True)
class _Searches:
    """Trainings of searches.

    Args:
        pairs: searches.
        each: most trainings of one.
        targets: one target of each, and of what is not searched, with how many are trained.
        counted: keys of the targets that these stand for.
        attacked: scores that follow every training of a search; none where the chosen strength alone is attacked.
    """

    pairs: int
    each: int
    targets: Sequence[tuple[Recipe, Count]]
    counted: frozenset[ArtifactKey]
    attacked: Sequence[Recipe] = ()


def _searches_of_match(sweep: Sweep) -> _Searches:
    spec, pairs = match_spec_of(sweep), 0
    targets: list[tuple[Recipe, Count]] = []
    counted: set[ArtifactKey] = set()
    for group in groups_of(sweep).values():
        cases = list(group.cases)
        if group.reference is not None and all(case.written != group.reference.written for case in cases):
            cases.append(group.reference)
        for case in cases:
            seeds, most = len(case.seeds), spec.trainings
            count = (seeds, seeds, seeds)
            if case.strength is not None and not is_reference(case, group):
                pairs += 1
                count = (min(seeds, most), min(most, EXPECTED_TRAININGS + seeds - 1), most)
            targets.append((case.target(case.written, case.seeds[0]), count))
            counted.update(case.target(case.written, seed).key for seed in case.seeds)
    return _Searches(pairs, spec.trainings, targets, frozenset(counted))


def _searches_of_front(sweep: Sweep) -> _Searches:
    task = ParetoTask.of(sweep)
    trials, choice = task.spec.trials, task.strength.written
    recipes = [entry.cell(choice, sweep.spec.seeds[0]).recipes for entry in task.entries]
    targets = [(found.target, (trials, trials, trials)) for found in recipes]
    counted = frozenset(found.target.key for found in recipes)
    return _Searches(len(task.entries), trials, targets, counted, [found.scores for found in recipes])


def _rest(plan: Plan, stored: set[ArtifactKey], searches: _Searches) -> Iterable[tuple[Node, Count]]:
    """What is built beside those targets. What depends on one of them is another thing at another strength."""
    nodes = dict(plan.nodes)
    for scores in searches.attacked:
        nodes |= {recipe.key: _node(recipe, plan) for recipe in scores.walk() if recipe.key not in nodes}
    trials = searches.each if searches.attacked else 1
    for key, node in nodes.items():
        depends = any(recipe.key in searches.counted for recipe in node.recipe.walk())
        if key not in searches.counted and (depends or key not in stored):
            count = trials if depends else 1
            yield node, (count, count, count)


def _node(recipe: Recipe, plan: Plan) -> Node:
    return Node(recipe, frozenset(), estimated_s=plan.estimates.seconds(recipe))


def _stage(name: str, members: Sequence[tuple[Node, Count]], plan: Plan) -> StageCost:
    parts = []
    for node, count in members:
        cost = cost_of([plan.priced(node)], plan.sweep.profile)
        gpu = [timed + about for timed, about in zip(cost.gpu_hours, cost.gpu_predicted, strict=True)]
        parts.append(
            StageCost(
                stage=name,
                pieces=count,
                hours=_times(cost.hours, count),
                estimated_hours=_times((cost.estimated_hours,) * 3, count),
                gpu_hours=_times(gpu, count),
                timed=cost.timed,
                unknown=count[2] if cost.unknown else 0,
            )
        )
    whole = _sum(name, parts)
    timed = {node.work: node.timing.count for node, _ in members if node.timing is not None}
    return replace(whole, timed=sum(timed.values()))


def _times(each: Sequence[float], count: Count) -> Three:
    low, expected, worst = (one * n for one, n in zip(each, count, strict=True))
    return low, expected, worst


def _sum(name: str, parts: Sequence[StageCost]) -> StageCost:
    def added(field: str) -> Three:
        low, expected, worst = (sum(getattr(part, field)[i] for part in parts) for i in range(3))
        return low, expected, worst

    low, expected, worst = (sum(part.pieces[i] for part in parts) for i in range(3))
    return StageCost(
        stage=name,
        pieces=(low, expected, worst),
        hours=added("hours"),
        estimated_hours=added("estimated_hours"),
        gpu_hours=added("gpu_hours"),
        timed=sum(part.timed for part in parts),
        unknown=sum(part.unknown for part in parts),
    )


def cost_text(cost: MatchCost) -> str:
    """A line for each stage, and the total; at most 100 characters each."""
    head = f"{'stage':<16}{'pieces':<20}{'time low / expected / worst':<29}{'GPU-hours':<22}basis"
    lines = [head, *(_line(stage) for stage in cost.stages), _line(cost.total)]
    searches = "1 search" if cost.pairs == 1 else f"{cost.pairs:,} searches"
    searched = f"match: {searches}, at most {cost.trainings_each:,} trainings each"
    return "\n".join([*lines, searched])


def _line(stage: StageCost) -> str:
    pieces = _counts(stage.pieces)
    gpu = (
        f"{stage.gpu_hours[0]:,.2f} / {stage.gpu_hours[1]:,.2f} / {stage.gpu_hours[2]:,.2f}"
        if any(stage.gpu_hours)
        else "-"
    )
    basis = [f"{stage.timed} stored" if stage.timed else "", "estimated" if any(stage.estimated_hours) else ""]
    basis += [f"{stage.unknown} unknown" if stage.unknown else ""]
    time = durations(stage.seconds) if any(stage.seconds) else "-"
    return f"{stage.stage:<16}{pieces:<20}{time:<29}{gpu:<22}{', '.join(filter(None, basis))}".rstrip()


def _counts(pieces: Count) -> str:
    """`33`, or `6 / 12 / 33` where they differ."""
    return f"{pieces[0]:,}" if pieces[0] == pieces[2] else " / ".join(f"{n:,}" for n in pieces)
